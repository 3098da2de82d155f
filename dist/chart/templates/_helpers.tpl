{{- define "image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}

{{- /* "true" if an admission policy adds the finalizer when a session is created, otherwise empty. */ -}}
{{- define "finalizerAtCreation" -}}
{{- $can := .Capabilities.APIVersions.Has "admissionregistration.k8s.io/v1/MutatingAdmissionPolicy" -}}
{{- $wanted := .Values.admission.finalizerAtCreation -}}
{{- if or (eq $wanted "always") (and (eq $wanted "auto") $can) }}true{{ end }}
{{- end }}

{{- /* The selector of a shard, in the format of --watch-label-selector. */ -}}
{{- define "selector" -}}
{{- $parts := list -}}
{{- range $key, $value := .matchLabels }}{{ $parts = append $parts (printf "%s=%s" $key $value) }}{{ end -}}
{{- range .matchExpressions -}}
{{- if eq .operator "Exists" }}{{ $parts = append $parts .key }}{{ end -}}
{{- if eq .operator "DoesNotExist" }}{{ $parts = append $parts (printf "!%s" .key) }}{{ end -}}
{{- if eq .operator "In" }}{{ $parts = append $parts (printf "%s in (%s)" .key (join "," .values)) }}{{ end -}}
{{- if eq .operator "NotIn" }}{{ $parts = append $parts (printf "%s notin (%s)" .key (join "," .values)) }}{{ end -}}
{{- end -}}
{{ join "," $parts }}
{{- end }}

{{- /* The name of a shard's objects, and the labels that select its pods. */ -}}
{{- define "shardName" -}}
payment-session-operator{{ with .name }}-{{ . }}{{ end }}
{{- end }}
{{- define "shardLabels" -}}
app.kubernetes.io/name: payment-session-operator
{{- with .name }}
app.kubernetes.io/instance: {{ . | quote }}
{{- end }}
{{- end }}
