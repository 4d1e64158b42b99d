{{- define "midspan.fullname" -}}
{{- if contains .Chart.Name .Release.Name }}{{ .Release.Name | trunc 52 | trimSuffix "-" }}{{ else }}{{ printf "%s-%s" .Release.Name .Chart.Name | trunc 52 | trimSuffix "-" }}{{ end }}
{{- end }}

{{- define "midspan.selector" -}}
app.kubernetes.io/name: midspan
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "midspan.labels" -}}
{{ include "midspan.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{- define "midspan.image" -}}
{{- if .Values.image.digest }}{{ .Values.image.repository }}@{{ .Values.image.digest }}{{ else }}{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}{{ end }}
{{- end }}

{{- define "midspan.scheme" -}}
{{- if .Values.tls.existingSecret }}https{{ else }}http{{ end }}
{{- end }}

{{- /* The settings: those of the values, and what the chart itself decides. */ -}}
{{- define "midspan.config" -}}
{{- $name := include "midspan.fullname" . -}}
{{- $hosts := list $name (printf "%s.%s" $name .Release.Namespace) (printf "%s.%s.svc" $name .Release.Namespace) (printf "%s.%s.svc.cluster.local" $name .Release.Namespace) -}}
{{- $own := dict "listen" "0.0.0.0:18080" "otlp-grpc" "0.0.0.0:4317" "otlp-http" "0.0.0.0:4318" "data" "/data" "allow-host" (concat $hosts .Values.allowHosts) -}}
{{- if .Values.auth.existingSecret }}{{ $_ := set $own "token-file" "/etc/midspan-tokens/tokens" }}{{ else }}{{ $_ := set $own "insecure" true }}{{ end -}}
{{- if .Values.tls.existingSecret }}{{ $_ := merge $own (dict "tls-cert" "/etc/midspan-tls/tls.crt" "tls-key" "/etc/midspan-tls/tls.key" "otlp-tls-cert" "/etc/midspan-tls/tls.crt" "otlp-tls-key" "/etc/midspan-tls/tls.key") }}{{ end -}}
{{- range $key, $value := merge $own .Values.config }}
{{ $key }}: {{ if kindIs "float64" $value }}{{ if eq $value (floor $value) }}{{ $value | int64 }}{{ else }}{{ $value }}{{ end }}{{ else }}{{ toJson $value }}{{ end }}
{{- end }}
{{- end }}
