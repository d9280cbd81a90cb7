{{/* Names, labels, images. Each definition says what it is given. */}}

{{- define "moorage.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{/* The name of a release, and what every object's name begins with. */}}
{{- define "moorage.fullname" -}}
{{- $name := include "moorage.name" . -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* Labels of an object: (dict "root" $ "component" "core"). `component` is the one that values
     written for harbor-helm select in their affinities. */}}
{{- define "moorage.labels" -}}
{{- include "moorage.selector" . }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
app.kubernetes.io/part-of: {{ include "moorage.name" .root }}
{{- end -}}

{{/* What selects the pods of a component; never changes over upgrades. */}}
{{- define "moorage.selector" -}}
app: {{ include "moorage.name" .root | quote }}
release: {{ .root.Release.Name | quote }}
component: {{ .component }}
app.kubernetes.io/name: {{ include "moorage.name" .root }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{/* An image: (dict "root" $ "kind" "moorage" "own" .Values.core.image). Images of the goharbor
     project hold other programs, so that values which name them get ours. */}}
{{- define "moorage.image" -}}
{{- $image := index .root.Values.images .kind -}}
{{- $own := default dict .own -}}
{{- if and $own.repository (not (contains "goharbor/" $own.repository)) -}}
{{- $image = $own -}}
{{- end -}}
{{- $repository := $image.repository -}}
{{- with .root.Values.images.registry -}}
{{- $repository = printf "%s/%s" (trimSuffix "/" .) $repository -}}
{{- end -}}
{{- if $image.digest -}}
{{- printf "%s@%s" $repository $image.digest -}}
{{- else -}}
{{- printf "%s:%s" $repository (toString (default .root.Chart.AppVersion $image.tag)) -}}
{{- end -}}
{{- end -}}

{{/* "true" behind an ingress or a route: nginx is left out. */}}
{{- define "moorage.direct" -}}
{{- if has .Values.expose.type (list "ingress" "route") -}}true{{- end -}}
{{- end -}}

{{- define "moorage.scheme" -}}
{{- ternary "https" "http" (eq true .Values.internalTLS.enabled) -}}
{{- end -}}

{{/* The port on which every role listens. */}}
{{- define "moorage.port" -}}
{{- if .Values.internalTLS.enabled -}}8443{{- else -}}8080{{- end -}}
{{- end -}}

{{/* The port of a role's Service: (dict "root" $ "component" "core"); the same as Harbor's. */}}
{{- define "moorage.servicePort" -}}
{{- $tls := eq true .root.Values.internalTLS.enabled -}}
{{- if eq .component "registry" -}}
{{- ternary 5443 5000 $tls -}}
{{- else if eq .component "exporter" -}}
{{- dig "exporter" "port" 8001 .root.Values.metrics -}}
{{- else -}}
{{- ternary 443 80 $tls -}}
{{- end -}}
{{- end -}}

{{/* Scheme of the external URL, host, and host with port. */}}
{{- define "moorage.externalScheme" -}}
{{- (urlParse .Values.externalURL).scheme -}}
{{- end -}}

{{- define "moorage.externalHost" -}}
{{- regexReplaceAll ":[0-9]+$" (urlParse .Values.externalURL).host "" -}}
{{- end -}}

{{/* Families of the addresses of a Service. */}}
{{- define "moorage.families" -}}
{{- $four := dig "ipv4" "enabled" true .Values.ipFamily -}}
{{- $six := dig "ipv6" "enabled" true .Values.ipFamily -}}
{{- if and $four $six -}}
ipFamilyPolicy: PreferDualStack
{{- else -}}
ipFamilyPolicy: SingleStack
ipFamilies: [{{ ternary "IPv4" "IPv6" $four }}]
{{- end -}}
{{- end -}}
