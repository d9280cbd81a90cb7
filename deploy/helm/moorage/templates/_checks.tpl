{{/* What would be unsafe to ignore stops the render with a sentence that says what to do. */}}

{{- define "moorage.checks" -}}
{{- $v := .Values -}}
{{- $tls := $v.expose.tls -}}

{{- if not (regexMatch "^https?://[^/]+/?$" (toString $v.externalURL)) -}}
{{- fail (printf "externalURL is %q: write the address that clients use, such as https://registry.example.com, without a path." (toString $v.externalURL)) -}}
{{- end -}}
{{- if not (or (dig "ipv4" "enabled" true $v.ipFamily) (dig "ipv6" "enabled" true $v.ipFamily)) -}}
{{- fail "ipFamily: enable ipv4, ipv6 or both." -}}
{{- end -}}
{{- if $tls.enabled -}}
{{- if and (eq $tls.certSource "secret") (not $tls.secret.secretName) -}}
{{- fail "expose.tls.certSource is secret: name the Secret that holds tls.crt and tls.key in expose.tls.secret.secretName." -}}
{{- end -}}
{{- if and (eq $tls.certSource "none") (not (include "moorage.direct" .)) -}}
{{- fail (printf "expose.tls.certSource none leaves the certificate to an ingress controller, and expose.type is %s: choose auto or secret, or set expose.tls.enabled to false where a proxy in front ends TLS." $v.expose.type) -}}
{{- end -}}
{{- end -}}
{{- if eq $v.expose.type "route" -}}
{{- if not $v.expose.route.parentRefs -}}
{{- fail "expose.type is route: name the Gateway in expose.route.parentRefs." -}}
{{- end -}}
{{- end -}}
{{- range $name := list "httpProxy" "httpsProxy" -}}
{{- $url := toString (default "" (index $v.proxy $name)) -}}
{{- if and (contains "://" $url) (not (regexMatch "^https?://" $url)) -}}
{{- fail (printf "proxy.%s: only HTTP proxies are known: write http://proxy.example.com:3128, or https:// where the proxy itself speaks TLS." $name) -}}
{{- end -}}
{{- end -}}
{{- with $v.uaaSecretName -}}
{{- fail "uaaSecretName is set, and there is no sign-in by UAA: remove it, and sign in by OpenID Connect or LDAP instead." -}}
{{- end -}}
{{- if dig "middleware" "enabled" false $v.registry -}}
{{- fail "registry.middleware is enabled, and downloads cannot be sent through CloudFront: set registry.middleware.enabled to false; clients are then sent to signed addresses of the bucket itself." -}}
{{- end -}}
{{- if and $v.secretKey (not $v.existingSecretSecretKey) (lt (len (toString $v.secretKey)) 16) -}}
{{- fail "secretKey is shorter than 16 characters: what it encrypts would not be safe." -}}
{{- end -}}
{{- if $v.internalTLS.enabled -}}
{{- range $component := list "core" "registry" "jobservice" "portal" "exporter" -}}
{{- $part := default dict (index $v.internalTLS $component) -}}
{{- $used := or (ne $component "exporter") $v.metrics.enabled -}}
{{- if and $used (eq $v.internalTLS.certSource "secret") (not $part.secretName) -}}
{{- fail (printf "internalTLS.certSource is secret: name the Secret with tls.crt, tls.key and ca.crt in internalTLS.%s.secretName." $component) -}}
{{- end -}}
{{- if and $used (eq $v.internalTLS.certSource "manual") (not (and $part.crt $part.key $v.internalTLS.trustCa)) -}}
{{- fail (printf "internalTLS.certSource is manual: give internalTLS.trustCa, internalTLS.%s.crt and internalTLS.%s.key." $component $component) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if and (include "moorage.traced" .) (not $v.trace.otel.endpoint) -}}
{{- fail "trace.enabled is true: name the collector in trace.otel.endpoint, such as collector:4318." -}}
{{- end -}}
{{- include "moorage.checkStorage" . -}}
{{- include "moorage.checkServers" . -}}
{{- end -}}

{{- define "moorage.checkStorage" -}}
{{- $v := .Values -}}
{{- $storage := $v.persistence.imageChartStorage -}}
{{- $type := $storage.type -}}
{{- if and (has $type (list "s3" "oss" "gcs")) (not (include "moorage.given" (index $storage $type).bucket)) -}}
{{- fail (printf "persistence.imageChartStorage.%s.bucket is missing: name the bucket; it must exist." $type) -}}
{{- end -}}
{{- if and (eq $type "oss") (not (include "moorage.given" $storage.oss.region)) -}}
{{- fail "persistence.imageChartStorage.oss.region is missing, such as cn-hangzhou." -}}
{{- end -}}
{{- if eq $type "azure" -}}
{{- if not (and (include "moorage.given" $storage.azure.accountname) (include "moorage.given" $storage.azure.container)) -}}
{{- fail "persistence.imageChartStorage.azure: name the accountname and the container; both must exist." -}}
{{- end -}}
{{- end -}}
{{- if eq $type "swift" -}}
{{- $swift := $storage.swift -}}
{{- if not (and $swift.regionendpoint $swift.container (or $swift.existingSecret (and $swift.accesskey $swift.secretkey))) -}}
{{- fail "persistence.imageChartStorage.type is swift, which is reached through its S3 face: set swift.regionendpoint to that address, swift.accesskey and swift.secretkey (or swift.existingSecret) to a pair of EC2 credentials, and keep swift.container." -}}
{{- end -}}
{{- end -}}
{{- if include "moorage.files" . -}}
{{- $claim := $v.persistence.persistentVolumeClaim.registry -}}
{{- if not $v.persistence.enabled -}}
{{- fail "persistence.enabled is false, and blobs are files: pods would lose them with each restart and not see each other's. Enable it, or choose an object store in persistence.imageChartStorage.type." -}}
{{- end -}}
{{- if eq $claim.accessMode "ReadWriteOncePod" -}}
{{- fail "persistence.persistentVolumeClaim.registry.accessMode is ReadWriteOncePod, and the pods of registry, core and jobservice share the volume: use ReadWriteMany, or ReadWriteOnce on one node." -}}
{{- end -}}
{{- if include "moorage.oneNode" . -}}
{{- range $component := list "registry" "core" "jobservice" -}}
{{- $part := index $v $component -}}
{{- $apart := dig "podAntiAffinity" "requiredDuringSchedulingIgnoredDuringExecution" list (default dict $part.affinity) -}}
{{- if and $apart (include "moorage.several" (dict "values" $part)) -}}
{{- fail (printf "%s: replicas on different nodes cannot share a volume of the access mode ReadWriteOnce. Use ReadWriteMany, an object store, or one replica." $component) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "moorage.checkServers" -}}
{{- $v := .Values -}}
{{- if eq $v.database.type "external" -}}
{{- $db := $v.database.external -}}
{{- if not $db.host -}}
{{- fail "database.type is external: name its host in database.external.host." -}}
{{- end -}}
{{- if not (has (default "disable" $db.sslmode) (list "disable" "require" "verify-ca" "verify-full")) -}}
{{- fail (printf "database.external.sslmode is %q, which may fall back to plain text: choose disable, require, verify-ca or verify-full." $db.sslmode) -}}
{{- end -}}
{{- end -}}
{{- if eq $v.redis.type "external" -}}
{{- if not $v.redis.external.addr -}}
{{- fail "redis.type is external: name it in redis.external.addr as host:port, or set redis.type to none." -}}
{{- end -}}
{{- $url := get (include "moorage.redisSettings" . | fromJson) "REDIS__URL" -}}
{{- if and (not $v.redis.external.sentinelMasterSet) (regexMatch ",.*/[0-9]+$" $url) -}}
{{- fail "redis.external.addr names several nodes, which are those of a cluster, and a cluster has the database 0 alone: remove coreDatabaseIndex, harborDatabaseIndex and cacheLayerDatabaseIndex, or name the Sentinels' set in sentinelMasterSet." -}}
{{- end -}}
{{- end -}}
{{- end -}}
