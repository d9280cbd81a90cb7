{{/* What pods have in common. Each takes (dict "root" $ "component" "core" "values" .Values.core). */}}

{{- define "moorage.podAnnotations" -}}
{{- $all := default dict .values.podAnnotations -}}
{{- $revision := include "moorage.valuesRevision" .root -}}
{{- if and .secrets $revision -}}
{{- $all = merge (dict "revision/values" $revision) $all -}}
{{- end -}}
{{- with $all -}}
annotations: {{- toYaml . | nindent 2 }}
{{- end -}}
{{- end -}}

{{- define "moorage.podLabels" -}}
{{- $identity := dig "annotations" "azure.workload.identity/client-id" "" .root.Values.serviceAccount -}}
{{- include "moorage.labels" (dict "root" .root "component" .component) }}
{{- if and (or .blobs .files) (include "moorage.oneNode" .root) }}
volume: blobs
{{- end }}
{{- if and .blobs $identity }}
azure.workload.identity/use: "true"
{{- end }}
{{- with .values.podLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* Pods that hold blobs fall back on the registry's account, so that one annotation serves all. */}}
{{- define "moorage.serviceAccount" -}}
{{- $own := default dict .root.Values.serviceAccount -}}
{{- $shared := "" -}}
{{- if $own.create -}}{{- $shared = default (include "moorage.fullname" .root) $own.name -}}
{{- else -}}{{- $shared = $own.name -}}{{- end -}}
{{- if and .blobs (not $shared) -}}{{- $shared = .root.Values.registry.serviceAccountName -}}{{- end -}}
{{- default "" (default $shared .values.serviceAccountName) -}}
{{- end -}}

{{- define "moorage.podSecurity" -}}
{{- $default := dict "runAsNonRoot" true "runAsUser" .uid "runAsGroup" .uid "fsGroup" .uid "fsGroupChangePolicy" "OnRootMismatch" "seccompProfile" (dict "type" "RuntimeDefault") -}}
{{- toYaml (mergeOverwrite $default (deepCopy (default dict .root.Values.podSecurityContext))) -}}
{{- end -}}

{{- define "moorage.containerSecurity" -}}
{{- toYaml (mergeOverwrite (dict "readOnlyRootFilesystem" true) (deepCopy (default dict .Values.containerSecurityContext))) -}}
{{- end -}}

{{/* Where pods run. Nothing said: replicas spread over nodes and zones as far as they can. */}}
{{- define "moorage.placement" -}}
{{- $affinity := deepCopy (default dict .values.affinity) -}}
{{- if and (or .blobs .files) (include "moorage.oneNode" .root) (not $affinity) -}}
{{- $affinity = dict "podAffinity" (dict "requiredDuringSchedulingIgnoredDuringExecution" (list (dict
  "topologyKey" "kubernetes.io/hostname"
  "labelSelector" (dict "matchLabels" (dict "release" .root.Release.Name "app" (include "moorage.name" .root) "volume" "blobs"))))) -}}
{{- end -}}
{{- with $affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- if .values.topologySpreadConstraints }}
topologySpreadConstraints:
{{- $labels := include "moorage.selector" . | fromYaml }}
{{- range .values.topologySpreadConstraints }}
{{- $constraint := deepCopy . }}
{{- if not .labelSelector }}{{- $_ := set $constraint "labelSelector" (dict "matchLabels" $labels) }}{{- end }}
  - {{- toYaml $constraint | nindent 4 }}
{{- end }}
{{- else if and (not $affinity) (include "moorage.several" .) }}
topologySpreadConstraints:
{{- $selector := include "moorage.selector" . }}
{{- range list "kubernetes.io/hostname" "topology.kubernetes.io/zone" }}
  - maxSkew: 1
    topologyKey: {{ . }}
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels: {{- $selector | nindent 8 }}
{{- end }}
{{- end }}
{{- end -}}

{{- define "moorage.several" -}}
{{- if or (gt (int (default 1 .values.replicas)) 1) (dig "autoscaling" "enabled" false .values) -}}true{{- end -}}
{{- end -}}

{{/* Replicas and how they are replaced. A pod that may not stand on another's node, where there is
     no further node, could never be replaced by a surplus one: one of the old ones goes first. */}}
{{- define "moorage.replicas" -}}
{{- if not (dig "autoscaling" "enabled" false .values) -}}
replicas: {{ ternary 1 .values.replicas (kindIs "invalid" .values.replicas) }}
{{ end -}}
revisionHistoryLimit: {{ default 10 .values.revisionHistoryLimit }}
{{- $strategy := deepCopy (default .root.Values.updateStrategy .values.updateStrategy) -}}
{{- if eq (lower (toString $strategy.type)) "recreate" }}
strategy:
  type: Recreate
{{- else }}
{{- $apart := dig "podAntiAffinity" "requiredDuringSchedulingIgnoredDuringExecution" list (default dict .values.affinity) }}
{{- $room := ternary 1 0 (and (not (empty $apart)) (eq "true" (include "moorage.several" .))) }}
strategy:
  type: RollingUpdate
  rollingUpdate: {{- toYaml (mergeOverwrite (dict "maxSurge" 1 "maxUnavailable" $room) (default dict $strategy.rollingUpdate)) | nindent 4 }}
{{- end }}
{{- end -}}

{{- define "moorage.pullSecrets" -}}
{{- with .Values.imagePullSecrets -}}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end -}}
{{- end -}}

{{/* Certificates that pods trust or show. Volumes, then their mounts. */}}
{{- define "moorage.certificateVolumes" -}}
{{- $v := .root.Values -}}
{{- if and $v.internalTLS.enabled (ne .component "migrate") }}
- name: tls
  secret:
    secretName: {{ include "moorage.internalSecret" . }}
{{- end }}
{{- if and $v.caBundleSecretName .database }}
- name: ca
  secret:
    secretName: {{ $v.caBundleSecretName }}
    items: [{key: ca.crt, path: ca.crt}]
{{- end }}
{{- if and .database (eq $v.database.type "external") $v.database.external.caSecretName (hasPrefix "verify" (toString $v.database.external.sslmode)) }}
- name: database-ca
  secret:
    secretName: {{ $v.database.external.caSecretName }}
    items: [{key: ca.crt, path: ca.crt}]
{{- end }}
{{- if and .database $v.persistence.imageChartStorage.caBundleSecretName (not (include "moorage.files" .root)) }}
- name: storage-ca
  secret:
    secretName: {{ $v.persistence.imageChartStorage.caBundleSecretName }}
    items: [{key: ca.crt, path: ca.crt}]
{{- end }}
{{- $gcs := $v.persistence.imageChartStorage.gcs }}
{{- if and .database (eq $v.persistence.imageChartStorage.type "gcs") $gcs.existingSecret (not $gcs.useWorkloadIdentity) }}
- name: gcs
  secret:
    secretName: {{ $gcs.existingSecret }}
    items: [{key: GCS_KEY_DATA, path: key.json}]
{{- end }}
{{- end -}}

{{- define "moorage.mounts" -}}
{{- range include "moorage.certificateVolumes" . | fromYamlArray }}
- name: {{ .name }}
  mountPath: /etc/moorage/{{ .name }}
  readOnly: true
{{- end }}
{{- end -}}

{{/* A probe: (dict "root" $ "path" "/healthz" ...). */}}
{{- define "moorage.probe" -}}
{{- $probe := dict "httpGet" (dict "path" .path "port" "http" "scheme" (include "moorage.scheme" .root | upper)) -}}
{{- toYaml (mergeOverwrite $probe .given) -}}
{{- end -}}
