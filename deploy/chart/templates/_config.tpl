{{/*
sessionscope.toml. Helm reads a number of a values file as a floating one, and toToml writes it so: 256.0, and 10000000 as
10000000.0 under Helm 3 and 1e+07 under Helm 4; the agent takes neither for an integer. JSON of a scalar, or of an array
of strings, is TOML as well, and toJson writes 256.
*/}}
{{- define "sessionscope.config" -}}
{{- if kindIs "string" .Values.config -}}
{{- .Values.config | trim }}
{{ else -}}
# Settings of the agents: docs/configuration.md. Pods are recognised without any.
{{ range $table, $keys := omit .Values.config "rules" }}
{{- if $keys }}
[{{ $table }}]
{{ range $key, $value := $keys -}}
{{ $key }} = {{ toJson $value }}
{{ end -}}
{{- end -}}
{{- end -}}
{{- range .Values.config.rules }}
[[rules]]
{{ range $key, $value := . -}}
{{ $key }} = {{ toJson $value }}
{{ end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* web.yml: paths and nothing secret; empty where there is none. */}}
{{- define "sessionscope.web" -}}
{{- if include "sessionscope.tlsSecret" . -}}
tls_server_config:
  cert_file: /etc/sessionscope-tls/tls.crt
  key_file: /etc/sessionscope-tls/tls.key
  {{- if .Values.tls.clientCA.secretName }}
  client_auth_type: RequireAndVerifyClientCert
  client_ca_file: /etc/sessionscope-client-ca/ca.crt
  {{- end }}
{{ end -}}
{{- end -}}
