{{/* What the PostgreSQL and the Redis of a trial have in common. */}}

{{/* The `spec` of a claim. "-" turns dynamic provisioning off, as in harbor-helm. */}}
{{- define "moorage.claim" -}}
accessModes: [{{ default "ReadWriteOnce" .accessMode }}]
resources:
  requests:
    storage: {{ default "1Gi" .size }}
{{- if eq (toString .storageClass) "-" }}
storageClassName: ""
{{- else if .storageClass }}
storageClassName: {{ .storageClass }}
{{- end }}
{{- end -}}

{{/* Volume or claim of a server: (dict "root" $ "claim" map "persistent" bool). */}}
{{- define "moorage.serverVolume" -}}
{{- if not .persistent -}}
- name: data
  emptyDir: {}
{{- else if .claim.existingClaim -}}
- name: data
  persistentVolumeClaim:
    claimName: {{ .claim.existingClaim }}
{{- end -}}
{{- end -}}

{{- define "moorage.serverClaim" -}}
{{- if and .persistent (not .claim.existingClaim) -}}
volumeClaimTemplates:
  - metadata:
      name: data
      labels: {{- include "moorage.selector" (dict "root" .root "component" .component) | nindent 8 }}
      {{- with .claim.annotations }}
      annotations: {{- toYaml . | nindent 8 }}
      {{- end }}
    spec: {{- include "moorage.claim" .claim | nindent 6 }}
{{- end -}}
{{- end -}}

{{/* The head of a server's StatefulSet, down to its containers. */}}
{{- define "moorage.server" -}}
---
apiVersion: v1
kind: Service
metadata:
  name: {{ include "moorage.fullname" .root }}-{{ .component }}
  namespace: {{ .root.Release.Namespace }}
  labels: {{- include "moorage.labels" . | nindent 4 }}
spec:
  type: ClusterIP
  {{- include "moorage.families" .root | nindent 2 }}
  selector: {{- include "moorage.selector" . | nindent 4 }}
  ports:
    - name: tcp-{{ .component }}
      port: {{ .port }}
      targetPort: {{ .component }}
---
apiVersion: apps/v1
kind: StatefulSet
metadata:
  name: {{ include "moorage.fullname" .root }}-{{ .component }}
  namespace: {{ .root.Release.Namespace }}
  labels: {{- include "moorage.labels" . | nindent 4 }}
spec:
  replicas: 1
  serviceName: {{ include "moorage.fullname" .root }}-{{ .component }}
  selector:
    matchLabels: {{- include "moorage.selector" . | nindent 6 }}
  {{- include "moorage.serverClaim" . | nindent 2 }}
  template:
    metadata:
      {{- include "moorage.podAnnotations" . | nindent 6 }}
      labels: {{- include "moorage.podLabels" . | nindent 8 }}
    spec:
      {{- include "moorage.pullSecrets" .root | nindent 6 }}
      {{- with .values.serviceAccountName }}
      serviceAccountName: {{ . }}
      {{- end }}
      automountServiceAccountToken: {{ default false .values.automountServiceAccountToken }}
      enableServiceLinks: false
      terminationGracePeriodSeconds: 120
      securityContext: {{- include "moorage.podSecurity" . | nindent 8 }}
      {{- include "moorage.placement" . | nindent 6 }}
{{- end -}}
