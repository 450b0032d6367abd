{{/* Name of every object. */}}
{{- define "sessionscope.fullname" -}}
{{- .Values.fullnameOverride | default "sessionscope" -}}
{{- end -}}

{{/* By what Services, monitors and policies find the pods: never changed, a DaemonSet refuses that. */}}
{{- define "sessionscope.selector" -}}
app.kubernetes.io/name: sessionscope
{{- end -}}

{{/* Labels of every object; the chart's own go before commonLabels. */}}
{{- define "sessionscope.labels" -}}
{{- $own := dict
  "app.kubernetes.io/name" "sessionscope"
  "app.kubernetes.io/instance" .Release.Name
  "app.kubernetes.io/version" .Chart.AppVersion
  "app.kubernetes.io/managed-by" .Release.Service
  "helm.sh/chart" (printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_") -}}
{{- toYaml (merge $own .Values.commonLabels) -}}
{{- end -}}

{{/* Labels besides those of every object: (list $ (dict …)). */}}
{{- define "sessionscope.labelsWith" -}}
{{- $own := include "sessionscope.labels" (first .) | fromYaml -}}
{{- toYaml (merge $own (last .)) -}}
{{- end -}}

{{- define "sessionscope.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{- .Values.serviceAccount.name | default (include "sessionscope.fullname" .) -}}
{{- else -}}
{{- .Values.serviceAccount.name | default "default" -}}
{{- end -}}
{{- end -}}

{{- define "sessionscope.image" -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" .Values.image.repository (.Values.image.tag | default .Chart.AppVersion) -}}
{{- end -}}
{{- end -}}

{{/* auto, true or false: (list $ value). "true" or nothing. */}}
{{- define "sessionscope.whereOperator" -}}
{{- $root := first . -}}
{{- $value := last . | toString -}}
{{- if or (eq $value "true") (and (eq $value "auto") ($root.Capabilities.APIVersions.Has "monitoring.coreos.com/v1")) -}}
true
{{- end -}}
{{- end -}}

{{/* Which monitor there is: ServiceMonitor, PodMonitor or nothing. */}}
{{- define "sessionscope.monitor" -}}
{{- if .Values.podMonitor.enabled -}}
PodMonitor
{{- else if include "sessionscope.whereOperator" (list . .Values.serviceMonitor.enabled) -}}
ServiceMonitor
{{- end -}}
{{- end -}}

{{/* The Secret with the agent's certificate, if the chart knows one. */}}
{{- define "sessionscope.tlsSecret" -}}
{{- if .Values.tls.certManager.enabled -}}
{{- include "sessionscope.fullname" . }}-tls
{{- else -}}
{{- .Values.tls.secretName -}}
{{- end -}}
{{- end -}}

{{/* HTTP or HTTPS. */}}
{{- define "sessionscope.scheme" -}}
{{- if or (include "sessionscope.tlsSecret" .) .Values.webConfig.tls -}}HTTPS{{- else -}}HTTP{{- end -}}
{{- end -}}

{{/* Whether each client must have a certificate: "true" or nothing. */}}
{{- define "sessionscope.wantsCertificates" -}}
{{- if or .Values.tls.clientCA.secretName .Values.webConfig.clientCertificates -}}true{{- end -}}
{{- end -}}

{{- define "sessionscope.serverName" -}}
{{- .Values.tls.serverName | default (printf "%s.%s.svc" (include "sessionscope.fullname" .) .Release.Namespace) -}}
{{- end -}}
