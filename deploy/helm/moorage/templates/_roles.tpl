{{/* The roles that are deployed, as a JSON list. */}}
{{- define "moorage.roles" -}}
{{- $roles := list "core" "jobservice" "portal" "registry" -}}
{{- if .Values.metrics.enabled -}}{{- $roles = append $roles "exporter" -}}{{- end -}}
{{- $roles | toJson -}}
{{- end -}}

{{/* The portal reads the REST API and has no database. */}}
{{- define "moorage.portalSettings" -}}
{{- $core := dict "root" . "component" "core" -}}
{{- $s := dict
  "DATA_DIR" "/var/lib/moorage"
  "PORTAL__CORE_URL" (printf "%s://%s-core:%s" (include "moorage.scheme" .) (include "moorage.fullname" .) (include "moorage.servicePort" $core))
-}}
{{- if .Values.internalTLS.enabled -}}
{{- $_ := set $s "PORTAL__CA_FILE" "/etc/moorage/tls/ca.crt" -}}
{{- end -}}
{{- $s | toJson -}}
{{- end -}}

{{/* Where those who tell of every part find the others; of jobservice the database tells. */}}
{{- define "moorage.healthSettings" -}}
{{- $s := dict -}}
{{- range $role := without (list "core" "registry" "portal") .component -}}
{{- $port := include "moorage.servicePort" (dict "root" $.root "component" $role) -}}
{{- $url := printf "%s://%s-%s:%s" (include "moorage.scheme" $.root) (include "moorage.fullname" $.root) $role $port -}}
{{- $_ := set $s (printf "HEALTH__%s_URL" (upper $role)) $url -}}
{{- end -}}
{{- if .root.Values.internalTLS.enabled -}}
{{- $_ := set $s "HEALTH__CA_FILE" "/etc/moorage/tls/ca.crt" -}}
{{- end -}}
{{- $s | toJson -}}
{{- end -}}

{{/* Until it listens, a pod is not asked whether it lives. */}}
{{- define "moorage.startup" -}}
{{- $own := default dict .values.startupProbe -}}
{{- $given := dict "periodSeconds" 2 "timeoutSeconds" 5 "failureThreshold" 60 "initialDelaySeconds" (int (default 0 $own.initialDelaySeconds)) -}}
{{- include "moorage.probe" (dict "root" .root "path" "/healthz" "given" $given) -}}
{{- end -}}

{{/* How many pods may be away at once when nodes are emptied. */}}
{{- define "moorage.budget" -}}
{{- $budget := default dict .values.podDisruptionBudget -}}
{{- if and (ne false $budget.enabled) (or (hasKey $budget "minAvailable") (hasKey $budget "maxUnavailable") (include "moorage.several" .)) }}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  name: {{ include "moorage.fullname" .root }}-{{ .component }}
  namespace: {{ .root.Release.Namespace }}
  labels: {{- include "moorage.labels" . | nindent 4 }}
spec:
  {{- if hasKey $budget "minAvailable" }}
  minAvailable: {{ $budget.minAvailable }}
  {{- else }}
  maxUnavailable: {{ ternary 1 $budget.maxUnavailable (kindIs "invalid" $budget.maxUnavailable) }}
  {{- end }}
  selector:
    matchLabels: {{- include "moorage.selector" . | nindent 6 }}
{{- end }}
{{- end -}}

{{- define "moorage.autoscaler" -}}
{{- $scale := default dict .values.autoscaling -}}
{{- if $scale.enabled }}
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata:
  name: {{ include "moorage.fullname" .root }}-{{ .component }}
  namespace: {{ .root.Release.Namespace }}
  labels: {{- include "moorage.labels" . | nindent 4 }}
spec:
  scaleTargetRef:
    apiVersion: apps/v1
    kind: Deployment
    name: {{ include "moorage.fullname" .root }}-{{ .component }}
  minReplicas: {{ default 2 $scale.minReplicas }}
  maxReplicas: {{ default 10 $scale.maxReplicas }}
  metrics:
    {{- if or $scale.targetCPUUtilizationPercentage (not $scale.targetMemoryUtilizationPercentage) }}
    - type: Resource
      resource:
        name: cpu
        target: {type: Utilization, averageUtilization: {{ default 70 $scale.targetCPUUtilizationPercentage }}}
    {{- end }}
    {{- with $scale.targetMemoryUtilizationPercentage }}
    - type: Resource
      resource:
        name: memory
        target: {type: Utilization, averageUtilization: {{ . }}}
    {{- end }}
  {{- with $scale.behavior }}
  behavior: {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}
{{- end -}}
