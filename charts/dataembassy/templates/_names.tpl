{{- define "dataembassy.labels" -}}
app.kubernetes.io/name: dataembassy
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: operator
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{- define "dataembassy.selector" -}}
app.kubernetes.io/name: dataembassy
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: operator
{{- end -}}

{{- /* Names of cluster-scoped objects hold the namespace, so that two releases do not take each other's. */ -}}
{{- define "dataembassy.clusterName" -}}
{{- printf "%s-%s-operator" .Release.Namespace .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "dataembassy.name" -}}
{{- printf "%s-operator" .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- /* An image by digest where there is one: a tag can be moved, a digest cannot. Argument: (list image chart). */ -}}
{{- define "dataembassy.image" -}}
{{- $image := index . 0 -}}
{{- $chart := index . 1 -}}
{{- if $image.digest -}}
{{ $image.repository }}@{{ $image.digest }}
{{- else -}}
{{ $image.repository }}:{{ $image.tag | default $chart.AppVersion }}
{{- end -}}
{{- end -}}
