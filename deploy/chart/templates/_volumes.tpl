{{/* Secrets that are mounted as files: volume → name of the Secret, at /etc/sessionscope-VOLUME. */}}
{{- define "sessionscope.secrets" -}}
{{- $secrets := dict
  "tls" (include "sessionscope.tlsSecret" .)
  "client-ca" .Values.tls.clientCA.secretName
  "web" .Values.webConfig.secretName
  "tokens" .Values.auth.secretName
  "users" .Values.userHash.secretName
  "otlp" .Values.otlp.caSecret.name -}}
{{- range $volume, $secret := $secrets }}
{{- if $secret }}
{{ $volume }}: {{ $secret | quote }}
{{- end }}
{{- end }}
{{- end -}}

{{- define "sessionscope.mounts" -}}
- {name: configuration, mountPath: /etc/sessionscope, readOnly: true}
# The whole hierarchy, where the runtime gives a container a cgroup namespace of its own.
- {name: cgroup, mountPath: /sys/fs/cgroup, readOnly: true}
# The tracepoint of NVIDIA's driver. The kernel's types in /sys/kernel/btf are in every container's /sys.
- {name: tracing, mountPath: /sys/kernel/tracing, readOnly: true}
# Which sessions there are, kept over a restart of the pod (sessions.state).
- {name: state, mountPath: /run/sessionscope}
{{- if .Values.gpu.hostFolder }}
# One of the folders in which the agent looks.
- {name: nvidia, mountPath: /usr/local/nvidia/lib64, readOnly: true}
{{- end }}
{{- range $volume, $secret := include "sessionscope.secrets" . | fromYaml }}
- {name: {{ $volume }}, mountPath: /etc/sessionscope-{{ $volume }}, readOnly: true}
{{- end }}
{{- end -}}

{{- define "sessionscope.volumes" -}}
- name: configuration
  configMap:
    name: {{ include "sessionscope.fullname" . }}
- name: cgroup
  hostPath: {path: /sys/fs/cgroup, type: Directory}
- name: tracing
  hostPath: {path: /sys/kernel/tracing, type: Directory}
- name: state
  hostPath: {path: /run/sessionscope, type: DirectoryOrCreate}
{{- with .Values.gpu.hostFolder }}
- name: nvidia
  hostPath: {path: {{ . | quote }}, type: Directory}
{{- end }}
{{- range $volume, $secret := include "sessionscope.secrets" . | fromYaml }}
- name: {{ $volume }}
  # 256 is 0400: the agent is root and reads them, nobody else does.
  secret: {secretName: {{ $secret | quote }}, defaultMode: 256}
{{- end }}
{{- end -}}
