{{/*
Nodes: those with a GPU, by the label of the GPU operator or those of node feature discovery for NVIDIA's PCI vendor id.
By itself it labels class and vendor (0300 VGA controller, 0302 3D controller), in the GPU operator's configuration the
vendor only. GKE has a label of its own. The label sessionscope/disabled takes the agent from a node, for a new driver.
*/}}
{{- define "sessionscope.affinity" -}}
nodeAffinity:
  requiredDuringSchedulingIgnoredDuringExecution:
    nodeSelectorTerms:
    {{- if eq .Values.nodes "all" }}
    - matchExpressions:
      - {key: kubernetes.io/os, operator: In, values: [linux]}
      - {key: sessionscope/disabled, operator: DoesNotExist}
    {{- else }}
    {{- $feature := "feature.node.kubernetes.io/pci-" }}
    {{- range list "nvidia.com/gpu" (print $feature "10de") (print $feature "0300_10de") (print $feature "0302_10de") }}
    - matchExpressions:
      - {key: {{ . }}.present, operator: In, values: ["true"]}
      - {key: sessionscope/disabled, operator: DoesNotExist}
    {{- end }}
    - matchExpressions:
      - {key: cloud.google.com/gke-accelerator, operator: Exists}
      - {key: sessionscope/disabled, operator: DoesNotExist}
    {{- end }}
{{- end -}}

{{- define "sessionscope.tolerations" -}}
{{- if eq .Values.nodes "all" -}}
- operator: Exists
{{- else -}}
- {key: nvidia.com/gpu, operator: Exists}
# A node that is drained or in trouble is the one to look at.
- {key: node.kubernetes.io/unschedulable, operator: Exists, effect: NoSchedule}
- {key: node.kubernetes.io/not-ready, operator: Exists, effect: NoExecute}
- {key: node.kubernetes.io/unreachable, operator: Exists, effect: NoExecute}
{{- end -}}
{{- end -}}
