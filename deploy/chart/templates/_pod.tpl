{{- define "bucketconnection.env" -}}
- name: BUCKETCONNECTION_OPERATOR_NAMESPACE
  valueFrom:
    fieldRef:
      fieldPath: metadata.namespace
- name: POD_NAME
  valueFrom:
    fieldRef:
      fieldPath: metadata.name
# glibc keeps what many reconciles at once have needed, for each of its arenas.
- name: MALLOC_ARENA_MAX
  value: "2"
- name: BUCKETCONNECTION_LOG
  value: {{ .Values.log.filter | quote }}
- name: BUCKETCONNECTION_PER_OBJECT_METRICS
  value: {{ .Values.metrics.perObject | quote }}
{{- with .Values.watch.namespaces }}
- name: BUCKETCONNECTION_NAMESPACE
  value: {{ join "," . | quote }}
{{- end }}
{{- with .Values.clusterId }}
- name: BUCKETCONNECTION_CLUSTER_ID
  value: {{ . | quote }}
{{- end }}
{{- with .Values.aws.region }}
- name: AWS_REGION
  value: {{ . | quote }}
{{- end }}
{{- if or .Values.aws.caBundle.configMap .Values.aws.caBundle.secret }}
- name: AWS_CA_BUNDLE
  value: /etc/bucketconnection/ca/{{ .Values.aws.caBundle.key }}
{{- end }}
{{- with .Values.proxy.httpsProxy }}
- name: HTTPS_PROXY
  value: {{ . | quote }}
# The API server and the credential endpoint of EKS Pod Identity are never behind the proxy.
- name: NO_PROXY
  value: {{ append $.Values.proxy.noProxy "$(KUBERNETES_SERVICE_HOST),kubernetes.default.svc,169.254.170.23,fd00:ec2::23" | join "," | quote }}
{{- end }}
{{- with .Values.tracing.endpoint }}
- name: OTEL_EXPORTER_OTLP_ENDPOINT
  value: {{ . | quote }}
{{- end }}
{{- with .Values.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "bucketconnection.mounts" -}}
{{- if or .Values.aws.caBundle.configMap .Values.aws.caBundle.secret }}
- name: ca
  mountPath: /etc/bucketconnection/ca
  readOnly: true
{{- end }}
{{- with .Values.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "bucketconnection.volumes" -}}
{{- if and .Values.aws.caBundle.configMap .Values.aws.caBundle.secret }}
{{- fail "aws.caBundle: name a configMap or a secret, not both" }}
{{- end }}
{{- if .Values.aws.caBundle.configMap }}
- name: ca
  configMap:
    name: {{ .Values.aws.caBundle.configMap }}
{{- else if .Values.aws.caBundle.secret }}
- name: ca
  secret:
    secretName: {{ .Values.aws.caBundle.secret }}
{{- end }}
{{- with .Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end }}
