{{/* What the schema cannot say: values that do not go together. */}}
{{- define "sessionscope.validate" -}}
{{- if not .Values.hostPID -}}
{{- fail "hostPID must be true: the kernel and NVIDIA's driver name processes by the host's ids, so that without it no process belongs to a session" -}}
{{- end -}}
{{- $privileged := eq .Values.securityProfile "privileged" -}}
{{- if and (eq .Values.gpu.access "host") (not $privileged) -}}
{{- fail "gpu.access host needs securityProfile privileged: a container that is not privileged may not open the devices of GPUs; use gpu.access runtime" -}}
{{- end -}}
{{- if not $privileged -}}
{{- $held := .Values.capabilities -}}
{{- range $held -}}
{{- if hasPrefix "CAP_" . -}}
{{- fail (printf "capabilities: Kubernetes writes %s, without CAP_" (trimPrefix "CAP_" .)) -}}
{{- end -}}
{{- end -}}
{{- if not (or (has "SYS_ADMIN" $held) (and (has "BPF" $held) (has "PERFMON" $held))) -}}
{{- fail "capabilities needs BPF and PERFMON: without them the agent does not start (exit code 4); for a runtime older than 2023, SYS_ADMIN" -}}
{{- end -}}
{{- end -}}
{{- if and .Values.gpu.runtimeClassName (ne .Values.gpu.access "runtime") -}}
{{- fail "gpu.runtimeClassName needs gpu.access runtime" -}}
{{- end -}}
{{- if and .Values.gpu.hostFolder (ne .Values.gpu.access "host") -}}
{{- fail "gpu.hostFolder needs gpu.access host" -}}
{{- end -}}
{{- $tls := .Values.tls -}}
{{- if and $tls.certManager.enabled $tls.secretName -}}
{{- fail "tls.secretName and tls.certManager.enabled exclude each other: cert-manager writes a Secret of its own" -}}
{{- end -}}
{{- if and $tls.certManager.enabled (not $tls.certManager.issuerRef.name) -}}
{{- fail "tls.certManager.enabled needs tls.certManager.issuerRef.name: the Issuer or ClusterIssuer that signs" -}}
{{- end -}}
{{- if and $tls.clientCA.secretName (not (include "sessionscope.tlsSecret" .)) -}}
{{- fail "tls.clientCA.secretName needs tls.secretName or tls.certManager.enabled: clients show certificates by TLS only" -}}
{{- end -}}
{{- $web := .Values.webConfig -}}
{{- if and $web.secretName (include "sessionscope.tlsSecret" .) -}}
{{- fail "webConfig.secretName excludes tls: write tls_server_config into the file, and set webConfig.tls" -}}
{{- end -}}
{{- if and (or $web.tls $web.clientCertificates) (not $web.secretName) -}}
{{- fail "webConfig.tls and webConfig.clientCertificates say what is in the file: webConfig.secretName has to name its Secret" -}}
{{- end -}}
{{- if and .Values.auth.secretName (not .Values.auth.metricsKey) (not .Values.auth.sessionsKey) -}}
{{- fail "auth.secretName needs auth.metricsKey or auth.sessionsKey: otherwise every door stays open" -}}
{{- end -}}
{{- if and .Values.serviceMonitor.basicAuth .Values.auth.secretName .Values.auth.metricsKey -}}
{{- fail "serviceMonitor.basicAuth and auth.metricsKey exclude each other: Prometheus shows a password or a token" -}}
{{- end -}}
{{- if and .Values.podMonitor.enabled (eq (toString .Values.serviceMonitor.enabled) "true") -}}
{{- fail "podMonitor.enabled and serviceMonitor.enabled exclude each other: each agent would be scraped twice" -}}
{{- end -}}
{{- if and .Values.networkPolicy.enabled (not .Values.networkPolicy.from) -}}
{{- fail "networkPolicy.enabled needs networkPolicy.from: who may reach the port, such as the namespace of Prometheus" -}}
{{- end -}}
{{- if and (not .Values.otlp.endpoint) (or .Values.otlp.headersSecret.name .Values.otlp.caSecret.name) -}}
{{- fail "otlp.headersSecret and otlp.caSecret need otlp.endpoint: without it there are no traces" -}}
{{- end -}}
{{- if and (eq (toString .Values.priorityQuota.create) "true") (not (hasPrefix "system-" .Values.priorityClassName)) -}}
{{- fail "priorityQuota.create needs a priorityClassName of the system, such as system-node-critical: no other one takes a quota" -}}
{{- end -}}
{{- end -}}
