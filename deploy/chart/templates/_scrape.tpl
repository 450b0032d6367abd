{{/* What ServiceMonitor and PodMonitor have in common: above the endpoint, and the endpoint. */}}
{{- define "sessionscope.scrapeJob" -}}
# The rules take the job to be called sessionscope.
jobLabel: app.kubernetes.io/name
{{- with .Values.serviceMonitor.sampleLimit }}
sampleLimit: {{ toJson . }}
{{- end }}
{{- if .Values.serviceMonitor.nativeHistograms }}
# Native histograms travel as protobuf only; rules and dashboards use the classic ones, so both are kept.
scrapeProtocols:
- PrometheusProto
- OpenMetricsText1.0.0
- PrometheusText0.0.4
scrapeNativeHistograms: true
scrapeClassicHistograms: true
{{- end }}
{{- end -}}

{{- define "sessionscope.endpoint" -}}
{{- $monitor := .Values.serviceMonitor -}}
port: metrics
path: /metrics
interval: {{ $monitor.interval }}
{{- with $monitor.scrapeTimeout }}
scrapeTimeout: {{ . }}
{{- end }}
# `namespace` and `pod` are those of the session, not of the agent.
honorLabels: true
{{- if eq (include "sessionscope.scheme" .) "HTTPS" }}
scheme: https
{{- end }}
{{- $secret := include "sessionscope.tlsSecret" . }}
{{- if or $secret $monitor.tlsConfig }}
tlsConfig:
  {{- $own := dict }}
  {{- if $secret }}
  {{- $own = dict "serverName" (include "sessionscope.serverName" .) }}
  {{- with .Values.tls.caKey }}
  {{- $_ := set $own "ca" (dict "secret" (dict "name" $secret "key" .)) }}
  {{- end }}
  {{- end }}
  {{- toYaml (mergeOverwrite $own $monitor.tlsConfig) | nindent 2 }}
{{- end }}
{{- if and .Values.auth.secretName .Values.auth.metricsKey }}
authorization:
  credentials: {name: {{ .Values.auth.secretName | quote }}, key: {{ .Values.auth.metricsKey | quote }}}
{{- end }}
{{- with $monitor.basicAuth }}
basicAuth:
  {{- toYaml . | nindent 2 }}
{{- end }}
relabelings:
- sourceLabels: [__meta_kubernetes_pod_node_name]
  targetLabel: node
# Alerts and panels name the instance. A pod's address says nothing to people and changes with each restart.
- sourceLabels: [__meta_kubernetes_pod_node_name]
  targetLabel: instance
# What is left of the agent's own pod changes with each rollout: each series would be there twice, and each alert that
# waits would begin anew. `pod` and `container` of vdi_session_info are the session's.
- action: labeldrop
  regex: pod|container|endpoint|service
{{- range $label := list "cluster" "environment" }}
{{- with index $.Values $label }}
- {targetLabel: {{ $label }}, replacement: {{ . | quote }}}
{{- end }}
{{- end }}
{{- with $monitor.relabelings }}
{{ toYaml . }}
{{- end }}
{{- with $monitor.metricRelabelings }}
metricRelabelings:
{{ toYaml . }}
{{- end }}
{{- end -}}
