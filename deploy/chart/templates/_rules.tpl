{{/* The permissions of the operator. Everything that grants permissions takes its rules from here. */}}

{{/* In each namespace with connections. */}}
{{- define "bucketconnection.rules.namespace" -}}
- apiGroups: [bucketconnection.dev]
  resources: [bucketconnections]
  verbs: [get, list, watch, patch]
- apiGroups: [bucketconnection.dev]
  resources: [bucketconnections/status]
  verbs: [patch]
{{- if .Values.observeOnly }}
# By name, never list or watch, and no writes.
- apiGroups: [""]
  resources: [secrets]
  verbs: [get]
{{- else }}
# By name, never list or watch. Server-side apply of a new Secret needs create in addition to patch.
- apiGroups: [""]
  resources: [secrets]
  verbs: [get, create, patch, delete]
{{- end }}
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create]
{{- end }}

{{/* In the whole cluster, if the operator reconciles all namespaces: the AWSAccounts and their status. */}}
{{- define "bucketconnection.rules.cluster" -}}
- apiGroups: [bucketconnection.dev]
  resources: [awsaccounts]
  verbs: [get, list, watch, patch]
- apiGroups: [bucketconnection.dev]
  resources: [awsaccounts/status]
  verbs: [patch]
# The uid of kube-system distinguishes this cluster from others that use the same AWS account, and from a rebuilt one. The uid of an
# object's namespace distinguishes it from an earlier one of the same name. Labels are read if an AWSAccount selects by label.
- apiGroups: [""]
  resources: [namespaces]
  verbs: [get]
{{- end }}

{{/* In the whole cluster, if the operator reconciles listed namespaces: it only reads. */}}
{{- define "bucketconnection.rules.clusterReads" -}}
- apiGroups: [bucketconnection.dev]
  resources: [awsaccounts]
  verbs: [get, list, watch]
# The uid of kube-system distinguishes this cluster from others that use the same AWS account, and from a rebuilt one. The uid of an
# object's namespace distinguishes it from an earlier one of the same name. Labels are read if an AWSAccount selects by label.
- apiGroups: [""]
  resources: [namespaces]
  resourceNames: {{ toJson (concat (list "kube-system") .Values.watch.namespaces) }}
  verbs: [get]
{{- end }}

{{/* For access.groups. */}}
{{- define "bucketconnection.rules.access" -}}
- apiGroups: [rbac.authorization.k8s.io]
  resources: [roles, rolebindings]
  verbs: [get, create, patch, delete]
{{- end }}
