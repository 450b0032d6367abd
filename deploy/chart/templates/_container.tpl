{{/* What the container is given: environment, rights, probes. Variables go before sessionscope.toml. */}}
{{- define "sessionscope.env" -}}
- name: NODE_NAME
  valueFrom:
    fieldRef:
      fieldPath: spec.nodeName
# What traces say of whom they are (docs/traces.md).
- name: POD_NAME
  valueFrom:
    fieldRef:
      fieldPath: metadata.name
- name: POD_NAMESPACE
  valueFrom:
    fieldRef:
      fieldPath: metadata.namespace
{{- if eq .Values.gpu.access "runtime" }}
# Where NVIDIA's container runtime starts the pod, it brings the driver's library in; no GPU is reserved.
- {name: NVIDIA_VISIBLE_DEVICES, value: all}
- {name: NVIDIA_DRIVER_CAPABILITIES, value: utility}
{{- else }}
# NVIDIA's container runtime brings nothing in.
- {name: NVIDIA_VISIBLE_DEVICES, value: void}
{{- if eq .Values.gpu.access "none" }}
- {name: SESSIONSCOPE_GPU_ENABLED, value: "false"}
{{- end }}
{{- end }}
{{- if include "sessionscope.tlsSecret" . }}
- {name: SESSIONSCOPE_WEB_CONFIG_FILE, value: /etc/sessionscope/web.yml}
{{- else if .Values.webConfig.secretName }}
- {name: SESSIONSCOPE_WEB_CONFIG_FILE, value: /etc/sessionscope-web/{{ .Values.webConfig.key }}}
{{- end }}
{{- with .Values.auth }}
{{- if and .secretName .metricsKey }}
- {name: SESSIONSCOPE_WEB_METRICS_TOKENS, value: /etc/sessionscope-tokens/{{ .metricsKey }}}
{{- end }}
{{- if and .secretName .sessionsKey }}
- {name: SESSIONSCOPE_WEB_SESSION_TOKENS, value: /etc/sessionscope-tokens/{{ .sessionsKey }}}
{{- end }}
{{- end }}
{{- with .Values.userHash }}
{{- if .secretName }}
- {name: SESSIONSCOPE_SESSIONS_USER, value: hashed}
- {name: SESSIONSCOPE_SESSIONS_USER_KEY, value: /etc/sessionscope-users/{{ .key }}}
{{- end }}
{{- end }}
{{- with .Values.otlp }}
{{- if .endpoint }}
- {name: SESSIONSCOPE_TRACES_ENDPOINT, value: {{ .endpoint | quote }}}
- {name: SESSIONSCOPE_TRACES_PROTOCOL, value: {{ .protocol }}}
- {name: SESSIONSCOPE_TRACES_RATIO, value: {{ toJson .ratio | quote }}}
{{- with $.Values.environment }}
- {name: SESSIONSCOPE_TRACES_ENVIRONMENT, value: {{ . | quote }}}
{{- end }}
{{- if .headersSecret.name }}
# OpenTelemetry knows headers by a variable only.
- name: OTEL_EXPORTER_OTLP_HEADERS
  valueFrom:
    secretKeyRef:
      name: {{ .headersSecret.name }}
      key: {{ .headersSecret.key }}
{{- end }}
{{- if .caSecret.name }}
- {name: OTEL_EXPORTER_OTLP_CERTIFICATE, value: /etc/sessionscope-otlp/{{ .caSecret.key }}}
{{- end }}
{{- end }}
{{- end }}
{{- with .Values.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "sessionscope.securityContext" -}}
{{- if eq .Values.securityProfile "privileged" -}}
# Kernel programs, and the device files of the GPUs. Runtimes older than 2023 do not know the two capabilities that the
# programs need, and their seccomp profiles refuse the system call.
privileged: true
runAsUser: 0
readOnlyRootFilesystem: true
{{- else -}}
privileged: false
runAsUser: 0
readOnlyRootFilesystem: true
{{- if not (has "SYS_ADMIN" .Values.capabilities) }}
# Kubernetes refuses this beside SYS_ADMIN.
allowPrivilegeEscalation: false
{{- end }}
capabilities:
  drop: [ALL]
  add: {{ toJson .Values.capabilities }}
# Since 2023 the profiles of the runtimes let bpf() and perf_event_open() through for who has BPF and PERFMON.
seccompProfile:
  type: RuntimeDefault
# The runtimes' profile of AppArmor refuses /proc/1/root, and SELinux's type container_t refuses bpf() and tracefs.
appArmorProfile:
  type: Unconfined
seLinuxOptions:
  type: spc_t
{{- end -}}
{{- end -}}

{{/* A probe: (list $ path). The health checks are open to everybody; the kubelet does not look at the certificate. */}}
{{- define "sessionscope.probe" -}}
{{- $root := first . -}}
{{- if include "sessionscope.wantsCertificates" $root -}}
# The kubelet has no certificate to show.
tcpSocket: {port: metrics}
{{- else if eq (include "sessionscope.scheme" $root) "HTTPS" -}}
httpGet: {path: {{ last . }}, port: metrics, scheme: HTTPS}
{{- else -}}
httpGet: {path: {{ last . }}, port: metrics}
{{- end -}}
{{- end -}}
