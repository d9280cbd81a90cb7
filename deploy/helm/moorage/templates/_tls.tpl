{{/* Certificates: whose, in which Secret, and how those that are made here are kept. */}}

{{/* What clients see. */}}
{{- define "moorage.exposedSecret" -}}
{{- if eq .Values.expose.tls.certSource "secret" -}}
{{- .Values.expose.tls.secret.secretName -}}
{{- else -}}
{{- include "moorage.fullname" . }}-tls
{{- end -}}
{{- end -}}

{{/* What roles show one another: (dict "root" $ "component" "core"). One for all when it is made
     here, one each as in harbor-helm otherwise. */}}
{{- define "moorage.internalSecret" -}}
{{- $tls := .root.Values.internalTLS -}}
{{- $part := default dict (index $tls .component) -}}
{{- if eq $tls.certSource "secret" -}}
{{- $part.secretName -}}
{{- else if eq $tls.certSource "manual" -}}
{{- printf "%s-%s-internal-tls" (include "moorage.fullname" .root) .component -}}
{{- else -}}
{{- printf "%s-internal-tls" (include "moorage.fullname" .root) -}}
{{- end -}}
{{- end -}}

{{/* A certificate with its authority, read back when it was made before for the same names:
     (dict "root" $ "secret" name "common" name "names" list). All of a Secret but its head. */}}
{{- define "moorage.certificate" -}}
{{- $kept := default dict (lookup "v1" "Secret" .root.Release.Namespace .secret) -}}
{{- $old := default dict $kept.data -}}
{{- $names := join " " .names -}}
{{- if ne $names (dig "metadata" "annotations" "names" $names $kept) -}}{{- $old = dict -}}{{- end -}}
metadata:
  name: {{ .secret }}
  namespace: {{ .root.Release.Namespace }}
  labels: {{- include "moorage.labels" (dict "root" .root "component" "tls") | nindent 4 }}
  annotations:
    names: {{ $names | quote }}
type: kubernetes.io/tls
data:
{{- if and (index $old "tls.crt") (index $old "tls.key") (index $old "ca.crt") -}}
{{- toYaml (pick $old "tls.crt" "tls.key" "ca.crt") | nindent 2 -}}
{{- else -}}
{{- $authority := genCA (printf "%s authority" .common | trunc 60) 3650 -}}
{{- $addresses := list -}}
{{- if regexMatch "^[0-9.]+$" .common -}}{{- $addresses = list .common -}}{{- end -}}
{{- $made := genSignedCert .common $addresses .names 3650 $authority }}
  ca.crt: {{ b64enc $authority.Cert }}
  tls.crt: {{ b64enc $made.Cert }}
  tls.key: {{ b64enc $made.Key }}
{{- end -}}
{{- end -}}
