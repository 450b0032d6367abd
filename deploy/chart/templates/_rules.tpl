{{/*
The groups of files of files/rules/: (list $ (list path …)). The files are not templates, so Prometheus's own {{ … }}
stays as it is; the chart reads them as YAML, puts the thresholds in the places of their names, and writes YAML.
*/}}
{{- define "sessionscope.groups" -}}
{{- $root := first . -}}
{{- $groups := list -}}
{{- range $path := last . -}}
{{- $text := include "sessionscope.withRunbooks" (list $root ($root.Files.Get $path)) -}}
{{- $text = $text | replace "daemonset=\"sessionscope\"" (printf "daemonset=%q" (include "sessionscope.fullname" $root)) -}}
{{- range $group := (fromYaml $text).groups -}}
{{- $rules := list -}}
{{- range $rule := $group.rules -}}
{{- $made := $rule -}}
{{- if $rule.alert -}}
{{- $made = include "sessionscope.alert" (list $root $rule) | fromYaml -}}
{{- end -}}
{{- if $made -}}
{{- $rules = append $rules $made -}}
{{- end -}}
{{- end -}}
{{- if $rules -}}
{{- $groups = append $groups (set $group "rules" $rules) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- toYaml $groups -}}
{{- end -}}

{{/* An alert with its thresholds and what rules.alerts says of it; nothing where that turns it off. (list $ rule) */}}
{{- define "sessionscope.alert" -}}
{{- $root := first . -}}
{{- $rule := last . -}}
{{- $variant := $rule.labels.severity -}}
{{- range $value := omit $rule.labels "severity" -}}
{{- $variant = printf "%s-%s" $variant $value -}}
{{- end -}}
{{- $chosen := index $root.Values.rules.alerts $rule.alert | default dict -}}
{{- $chosen = index $chosen $variant | default dict -}}
{{- if ne (toString $chosen.enabled) "false" -}}
{{- $thresholds := index $root.Values.rules.thresholds $rule.alert | default dict -}}
{{- range $name, $value := index $thresholds $variant | default dict -}}
{{- $place := printf "<%s>" $name -}}
{{- $number := toJson $value -}}
{{- $_ := set $rule "expr" ($rule.expr | replace $place $number) -}}
{{- range $key, $text := $rule.annotations -}}
{{- $_ := set $rule.annotations $key ($text | replace $place $number) -}}
{{- end -}}
{{- end -}}
{{- with regexFind "<[a-z][a-z0-9_]*>" $rule.expr -}}
{{- fail (printf "rules.thresholds.%s.%s has no %s: a threshold cannot be taken away; rules.alerts.%s.%s.enabled=false turns the alert off" $rule.alert $variant (trimAll "<>" .) $rule.alert $variant) -}}
{{- end -}}
{{- with $chosen.for -}}
{{- $_ := set $rule "for" . -}}
{{- end -}}
{{- $labels := mergeOverwrite $rule.labels $root.Values.rules.alertLabels ($chosen.labels | default dict) -}}
{{- with $chosen.severity -}}
{{- $_ := set $labels "severity" . -}}
{{- end -}}
{{- toYaml $rule -}}
{{- end -}}
{{- end -}}

{{/* A text with the links to runbooks that are wanted. (list $ text) */}}
{{- define "sessionscope.withRunbooks" -}}
{{- $root := first . -}}
{{- $shipped := $root.Files.Get "files/runbooks" | trim -}}
{{- last . | replace $shipped ($root.Values.runbookUrl | default $shipped) -}}
{{- end -}}

{{/* A PrometheusRule: (list $ suffix-of-the-name paths). */}}
{{- define "sessionscope.prometheusRule" -}}
{{- $root := first . -}}
{{- $groups := include "sessionscope.groups" (list $root (last .)) -}}
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: {{ include "sessionscope.fullname" $root }}{{ index . 1 }}
  namespace: {{ $root.Release.Namespace }}
  labels:
    {{- include "sessionscope.labelsWith" (list $root $root.Values.rules.labels) | nindent 4 }}
spec:
  groups:
    {{- $groups | nindent 4 }}
{{- end -}}
