{{/* What an operator should know of these values: a JSON list of sentences. */}}

{{- define "moorage.remarks" -}}
{{- $v := .Values -}}
{{- $storage := $v.persistence.imageChartStorage -}}
{{- $r := list -}}

{{- /* images */ -}}
{{- $foreign := list -}}
{{- $named := dict "nginx" $v.nginx "portal" $v.portal "core" $v.core "jobservice" $v.jobservice "exporter" $v.exporter "registry.registry" (default dict $v.registry.registry) "registry.controller" (default dict $v.registry.controller) "database.internal" $v.database.internal "redis.internal" $v.redis.internal "trivy" $v.trivy -}}
{{- range $name, $part := $named -}}
{{- if contains "goharbor/" (toString (dig "image" "repository" "" $part)) -}}{{- $foreign = append $foreign $name -}}{{- end -}}
{{- end -}}
{{- if $foreign -}}
{{- $r = append $r (printf "Images of the goharbor project hold other programs and are not used: %s run the images under `images`." (join ", " $foreign)) -}}
{{- end -}}

{{- /* secrets */ -}}
{{- $generated := list -}}
{{- range (include "moorage.secrets" . | fromJson).all -}}
{{- if eq .source "generated" -}}{{- $generated = append $generated .name -}}{{- end -}}
{{- end -}}
{{- $published := list -}}
{{- range $name, $value := dict "secretKey" $v.secretKey "harborAdminPassword" $v.harborAdminPassword "database.internal.password" $v.database.internal.password -}}
{{- if has (toString $value) (list "not-a-secure-key" "Harbor12345" "harbor12345" "changeme" "changeit" "password" "admin") -}}{{- $published = append $published $name -}}{{- end -}}
{{- end -}}
{{- if $published -}}
{{- $r = append $r (printf "Published defaults are no secrets, and count as not set: %s." (join ", " $published)) -}}
{{- end -}}
{{- if $generated -}}
{{- if include "moorage.cluster" . -}}
{{- $r = append $r (printf "Made once, kept over upgrades and when the release goes: %s, in the Secret %s. Back it up: without secretKey the secrets in the database cannot be read." (join ", " $generated) (include "moorage.generatedSecret" .)) -}}
{{- else -}}
{{- $r = append $r (printf "There was no cluster to ask, so no secret was made: before the pods can start, make the Secret %s with the keys %s, or give them as values or existing Secrets." (include "moorage.generatedSecret" .) (join ", " $generated)) -}}
{{- end -}}
{{- end -}}

{{- /* what is unsafe and was asked for */ -}}
{{- if and (eq $v.database.type "internal") (not $v.persistence.enabled) -}}
{{- $r = append $r "WARNING: persistence.enabled is false: the database is empty again after each restart of its pod." -}}
{{- end -}}
{{- if eq $v.database.type "internal" -}}
{{- $r = append $r "The database inside of this release is for trials: one pod, no standby, no backup. For everything else use database.type external." -}}
{{- end -}}
{{- if eq $v.database.type "external" -}}
{{- $r = append $r (printf "The database %v at %v has to be empty at the first start: that of a Harbor is refused, and left as it is." (default "registry" $v.database.external.coreDatabase) $v.database.external.host) -}}
{{- end -}}
{{- if and (eq $v.database.type "external") (eq (toString $v.database.external.sslmode) "require") -}}
{{- $r = append $r "database.external.sslmode require encrypts and does not check who answers; verify-full does." -}}
{{- end -}}
{{- if and $v.expose.tls.enabled (hasPrefix "http://" $v.externalURL) -}}
{{- $r = append $r "WARNING: externalURL begins with http:// while expose.tls is enabled: clients are sent to plain addresses with their passwords. Write https://." -}}
{{- end -}}
{{- if and (eq $v.expose.type "ingress") (ne (include "moorage.externalHost" .) (toString $v.expose.ingress.hosts.core)) -}}
{{- $r = append $r (printf "WARNING: clients use %s, and the ingress answers for %v alone: write one name into externalURL and expose.ingress.hosts.core." $v.externalURL $v.expose.ingress.hosts.core) -}}
{{- end -}}
{{- if and (eq $v.expose.type "route") $v.internalTLS.enabled -}}
{{- $r = append $r (printf "WARNING: pods answer HTTPS alone, and a gateway asks them so where a BackendTLSPolicy says it: make one for each of the Services %[1]s-registry, %[1]s-core and %[1]s-portal." (include "moorage.fullname" .)) -}}
{{- end -}}
{{- if and (not $v.expose.tls.enabled) (hasPrefix "https://" $v.externalURL) -}}
{{- $r = append $r "TLS ends in front of this release; what is in front must not be passed by." -}}
{{- end -}}
{{- if eq false $v.cache.enabled -}}
{{- $r = append $r "cache.enabled is false: every pull asks the database. true, the default of this chart, is faster by far." -}}
{{- end -}}
{{- if eq false $v.registry.relativeurls -}}
{{- $r = append $r "registry.relativeurls is false: pushes break where a proxy changes scheme, host or port. true is the default of this chart." -}}
{{- end -}}
{{- if include "moorage.oneNode" . -}}
{{- $r = append $r "Blobs are files on a volume that one node can attach: all pods of registry, core, jobservice and exporter run on that node, and nginx where it sends blobs. Use ReadWriteMany or an object store for more." -}}
{{- end -}}
{{- if and (include "moorage.files" .) (not (include "moorage.direct" .)) (not (include "moorage.accel" .)) -}}
{{- $r = append $r "The registry sends blobs itself: nginx.affinity may keep nginx from the node of their volume. Without it nginx reads them there." -}}
{{- end -}}
{{- if and (not (include "moorage.files" .)) $v.persistence.persistentVolumeClaim.registry.existingClaim -}}
{{- $r = append $r "persistence.persistentVolumeClaim.registry is not used: blobs are in an object store." -}}
{{- end -}}
{{- if eq $storage.type "oss" -}}
{{- $r = append $r (printf "OSS is reached through its S3 face at %s." (get (include "moorage.storage" . | fromJson) "S3__REGIONENDPOINT")) -}}
{{- end -}}
{{- if and (eq $storage.type "azure") (not (include "moorage.secretNamed" (dict "root" . "name" "azureKey"))) -}}
{{- $r = append $r "No key of the storage account is given: the workload's identity is asked." -}}
{{- end -}}
{{- if and (eq $storage.type "gcs") (not $storage.gcs.existingSecret) (not (include "moorage.secretNamed" (dict "root" . "name" "gcsKey"))) -}}
{{- $r = append $r "No key for the bucket is given: the workload's identity is asked." -}}
{{- end -}}
{{- if and (eq $storage.type "s3") (not (include "moorage.secretNamed" (dict "root" . "name" "s3AccessKey"))) -}}
{{- $r = append $r "No keys for the bucket are given: the usual chain of credentials is asked, such as IRSA." -}}
{{- end -}}

{{- if or $v.proxy.httpProxy $v.proxy.httpsProxy -}}
{{- $through := list -}}
{{- range $role := list "core" "registry" "jobservice" -}}
{{- if include "moorage.proxied" (dict "root" $ "component" $role) -}}{{- $through = append $through $role -}}{{- end -}}
{{- end -}}
{{- if $through -}}
{{- $r = append $r (printf "Through the proxy other servers are reached from %s. The proxy looks names up itself: its own rules have to keep them from your private networks." (join ", " $through)) -}}
{{- else -}}
{{- $r = append $r "proxy.components names neither core nor jobservice: connections go out directly." -}}
{{- end -}}
{{- end -}}

{{- /* keys without a meaning */ -}}
{{- $ignored := list -}}
{{- with $v.persistence.persistentVolumeClaim.jobservice -}}
{{- if or .jobLog .scanDataExports $v.jobservice.jobLoggers -}}{{- $ignored = append $ignored "persistence.persistentVolumeClaim.jobservice and jobservice.jobLoggers (logs of jobs are in the database and no volume is made, so that none has to be shared)" -}}{{- end -}}
{{- end -}}
{{- if dig "enabled" false $v.trivy -}}{{- $ignored = append $ignored "trivy (there is no scanner yet: NOTHING IS SCANNED)" -}}{{- end -}}
{{- if and $v.trace.enabled (not (include "moorage.traced" .)) -}}{{- $ignored = append $ignored (printf "trace.provider %v (NO TRACES ARE SENT; Jaeger takes those of OpenTelemetry on its port 4318: set trace.provider to otel, and trace.otel.endpoint)" $v.trace.provider) -}}{{- end -}}
{{- if and (include "moorage.traced" .) (or $v.trace.otel.compression (ne 10 (int (default 10 $v.trace.otel.timeout)))) -}}{{- $ignored = append $ignored "trace.otel.compression and timeout (spans go as they are, and a try ends after 10 s)" -}}{{- end -}}
{{- if $v.caSecretName -}}{{- $ignored = append $ignored "caSecretName" -}}{{- end -}}
{{- if or $v.core.secretName (trim (toString (default "" $v.core.tokenKey))) -}}{{- $ignored = append $ignored "core.secretName, tokenKey, tokenCert (keys that sign tokens are in the database, and change by themselves)" -}}{{- end -}}
{{- if eq (toString $v.core.quotaUpdateProvider) "redis" -}}{{- $ignored = append $ignored "core.quotaUpdateProvider (quotas are kept in the database)" -}}{{- end -}}
{{- if or $v.core.secret $v.core.existingSecret $v.jobservice.secret $v.jobservice.existingSecret $v.registry.secret $v.registry.existingSecret $v.core.xsrfKey $v.core.existingXsrfSecret -}}{{- $ignored = append $ignored "secrets between components (roles share secretKey alone)" -}}{{- end -}}
{{- if $v.registry.credentials -}}{{- $ignored = append $ignored "registry.credentials" -}}{{- end -}}
{{- if $v.registry.controller -}}{{- $ignored = append $ignored "registry.controller" -}}{{- end -}}
{{- if gt (int (default 0 $v.database.maxOpenConns)) (int $v.database.poolSize) -}}{{- $ignored = append $ignored (printf "database.maxOpenConns (a pod holds database.poolSize connections, %v)" $v.database.poolSize) -}}{{- end -}}
{{- if and (eq false (dig "upload_purging" "enabled" true $v.registry)) -}}{{- $ignored = append $ignored "registry.upload_purging.enabled (uploads that nobody ends go after a day)" -}}{{- end -}}
{{- if and (eq $storage.type "s3") (eq false $storage.s3.v4auth) -}}{{- $ignored = append $ignored "s3.v4auth (every request is signed with version 4)" -}}{{- end -}}
{{- if and (eq $storage.type "s3") (or $storage.s3.multipartcopy $storage.s3.multipartcopychunksize $storage.s3.multipartcopymaxconcurrency $storage.s3.multipartcopythresholdsize) -}}{{- $ignored = append $ignored "s3.multipartcopy* (nothing is ever copied)" -}}{{- end -}}
{{- range $name := list "notary" "chartmuseum" "clair" -}}
{{- if dig "enabled" false (default dict (index $v $name)) -}}{{- $ignored = append $ignored $name -}}{{- end -}}
{{- end -}}
{{- range $name := list "core" "registry" "jobservice" "exporter" -}}
{{- if ne "/metrics" (dig $name "path" "/metrics" $v.metrics) -}}{{- $ignored = append $ignored (printf "metrics.%s.path (it is /metrics)" $name) -}}{{- end -}}
{{- end -}}
{{- if and (dig "metrics" "exporter" "port" 8001 (dict "metrics" $v.metrics) | int | ne 8001) $v.metrics.enabled -}}
{{- $r = append $r (printf "The exporter's Service has the port %v; its pods listen on 8001." $v.metrics.exporter.port) -}}
{{- end -}}
{{- if $ignored -}}
{{- $r = append $r (printf "Without a meaning here: %s." (join "; " $ignored)) -}}
{{- end -}}
{{- $others := include "moorage.unused" . | fromJsonArray -}}
{{- if $others -}}
{{- $r = append $r (printf "Without a meaning here either; the reference of values says why: %s." (join ", " $others)) -}}
{{- end -}}
{{- $r | toJson -}}
{{- end -}}

{{/* Keys of files/no-meaning that are set, as a JSON list; without those of a store, a server or an
     exposure that is not the chosen one. */}}
{{- define "moorage.unused" -}}
{{- $v := .Values -}}
{{- $chosen := dict "expose" $v.expose.type "database" $v.database.type "redis" $v.redis.type "imageChartStorage" $v.persistence.imageChartStorage.type -}}
{{- $found := list -}}
{{- range $path := .Files.Lines "files/no-meaning" -}}
{{- $at := $v -}}
{{- $above := "" -}}
{{- range $name := splitList "." $path -}}
{{- $kind := get $chosen $above -}}
{{- $elsewhere := and $kind (ne $kind $name) (not (has $name (list "tls" "maxIdleConns"))) -}}
{{- if or $elsewhere (not (kindIs "map" $at)) -}}{{- $at = "" -}}{{- else -}}{{- $at = index $at $name -}}{{- end -}}
{{- $above = $name -}}
{{- end -}}
{{- if and $path $at -}}{{- $found = append $found $path -}}{{- end -}}
{{- end -}}
{{- $found | toJson -}}
{{- end -}}
