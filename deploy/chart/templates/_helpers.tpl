{{- define "bucketconnection.name" -}}
{{ .Values.fullnameOverride | default "bucketconnection" }}
{{- end }}

{{- define "bucketconnection.serviceAccount" -}}
{{ .Values.serviceAccount.name | default (include "bucketconnection.name" .) }}
{{- end }}

{{/* The subject of every binding. */}}
{{- define "bucketconnection.subjects" -}}
subjects:
  - kind: ServiceAccount
    name: {{ include "bucketconnection.serviceAccount" . }}
    namespace: {{ .Release.Namespace }}
{{- end }}

{{- define "bucketconnection.image" -}}
{{- with .Values.image -}}
{{ .repository }}{{ if .digest }}@{{ .digest }}{{ else }}:{{ .tag | default $.Chart.AppVersion }}{{ end }}
{{- end }}
{{- end }}

{{- define "bucketconnection.selector" -}}
app.kubernetes.io/name: bucketconnection
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "bucketconnection.labels" -}}
{{ include "bucketconnection.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{/* What Pod Security `restricted` asks for, and a root file system that no one can write. */}}
{{- define "bucketconnection.podSecurity" -}}
securityContext:
  runAsNonRoot: true
  runAsUser: 65532
  runAsGroup: 65532
  seccompProfile:
    type: RuntimeDefault
{{- end }}

{{- define "bucketconnection.containerSecurity" -}}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities:
    drop: [ALL]
{{- end }}

{{/* Port of a URL such as http://proxy:3128; 443 or 80 by its scheme if it names none. */}}
{{- define "bucketconnection.port" -}}
{{- $url := urlParse . -}}
{{- if regexMatch ":[0-9]+$" $url.host -}}
{{ regexFind "[0-9]+$" $url.host }}
{{- else -}}
{{ eq $url.scheme "https" | ternary 443 80 }}
{{- end -}}
{{- end }}
