{{/* Settings of the product, as environment variables of its pods. */}}

{{/* Seconds of a duration such as 168h or 1h30m: (dict "text" "168h" "name" "where it stands"). */}}
{{- define "moorage.seconds" -}}
{{- $text := toString .text -}}
{{- if not (regexMatch "^([0-9]+h)?([0-9]+m)?([0-9]+s)?$" $text) -}}
{{- fail (printf "%s is %q: write a duration such as 168h or 90m." .name $text) -}}
{{- end -}}
{{- $sum := 0 -}}
{{- range regexFindAll "[0-9]+[hms]" $text -1 -}}
{{- $unit := regexFind "[hms]" . -}}
{{- $sum = add $sum (mul (regexFind "[0-9]+" . | int64) (get (dict "h" 3600 "m" 60 "s" 1) $unit)) -}}
{{- end -}}
{{- $sum -}}
{{- end -}}

{{/* All settings of the roles that have a database, without their secrets: JSON of name → text. */}}
{{- define "moorage.settings" -}}
{{- $v := .Values -}}
{{- $s := dict -}}
{{- $_ := set $s "DATA_DIR" "/var/lib/moorage" -}}
{{- $_ := mergeOverwrite $s (include "moorage.httpSettings" . | fromJson) -}}
{{- $_ := mergeOverwrite $s (include "moorage.databaseSettings" . | fromJson) -}}
{{- $_ := mergeOverwrite $s (include "moorage.redisSettings" . | fromJson) -}}
{{- range $key, $value := include "moorage.storage" . | fromJson -}}
{{- $_ := set $s (printf "STORAGE__%s" $key) $value -}}
{{- end -}}
{{- if include "moorage.accel" . -}}{{- $_ := set $s "HTTP__ACCEL_REDIRECT" "/-/blobs/" -}}{{- end -}}
{{- $_ := set $s "CACHE__ENABLED" (ne false $v.cache.enabled) -}}
{{- $_ := set $s "CACHE__EXPIRE_HOURS" (default 24 $v.cache.expireHours) -}}
{{- $_ := set $s "JOBS__SLOTS" (default 10 $v.jobservice.maxJobWorkers) -}}
{{- $_ := set $s "JOBS__LOG_DAYS" (default 14 $v.jobservice.loggerSweeperDuration) -}}
{{- with $v.jobservice.notification -}}
{{- $_ := set $s "WEBHOOKS__TRIES" (max 1 (default 3 .webhook_job_max_retry | int)) -}}
{{- $_ := set $s "WEBHOOKS__TIMEOUT_SECONDS" (default 3 .webhook_job_http_client_timeout) -}}
{{- end -}}
{{- with $v.registry.upload_purging -}}
{{- if and (ne false .enabled) .age -}}
{{- $_ := set $s "UPLOADS__AGE_SECONDS" (include "moorage.seconds" (dict "text" .age "name" "registry.upload_purging.age")) -}}
{{- end -}}
{{- end -}}
{{- with $v.outgoingNetworks -}}{{- $_ := set $s "OUTGOING__ALLOW" (toJson .) -}}{{- end -}}
{{- with $v.caBundleSecretName -}}{{- $_ := set $s "OUTGOING__CA_FILE" "/etc/moorage/ca/ca.crt" -}}{{- end -}}
{{- $s | toJson -}}
{{- end -}}

{{/* Whether spans are sent. Jaeger takes them in the form of OpenTelemetry too, and in no other. */}}
{{- define "moorage.traced" -}}
{{- if and .Values.trace.enabled (eq "otel" (toString .Values.trace.provider)) -}}true{{- end -}}
{{- end -}}

{{/* Those of every role, the portal's among them. */}}
{{- define "moorage.httpSettings" -}}
{{- $v := .Values -}}
{{- $four := dig "ipv4" "enabled" true $v.ipFamily -}}
{{- $six := dig "ipv6" "enabled" true $v.ipFamily -}}
{{- $s := dict
  "HTTP__HOST" (ternary "" (ternary "0.0.0.0" "::" $four) (and $four $six))
  "HTTP__PORT" (include "moorage.port" .)
  "HTTP__EXTERNAL_URL" $v.externalURL
  "HTTP__RELATIVE_LOCATIONS" (ne false $v.registry.relativeurls)
  "HTTP__GRACE_SECONDS" (max 1 (sub (int $v.terminationGracePeriodSeconds) 25))
  "HTTP__TRUSTED_PROXIES" (toJson (default list $v.trustedProxies))
  "LOG__LEVEL" (ternary "error" $v.logLevel (eq $v.logLevel "fatal"))
  "LOG__FORMAT" "json"
-}}
{{- if include "moorage.traced" . -}}
{{- $otel := $v.trace.otel -}}
{{- $endpoint := toString $otel.endpoint -}}
{{- if not (contains "://" $endpoint) -}}
{{- $endpoint = printf "%s://%s" (ternary "https" "http" (eq false $otel.insecure)) $endpoint -}}
{{- end -}}
{{- $attributes := deepCopy (default dict $v.trace.attributes) -}}
{{- with $v.trace.namespace -}}{{- $_ := set $attributes "service.namespace" . -}}{{- end -}}
{{- $texts := dict -}}
{{- range $key, $value := $attributes -}}{{- $_ := set $texts $key (toString $value) -}}{{- end -}}
{{- $_ := set $s "TRACE__ENABLED" true -}}
{{- $_ := set $s "TRACE__ENDPOINT" (printf "%s%s" (trimSuffix "/" $endpoint) (default "/v1/traces" $otel.url_path)) -}}
{{- $_ := set $s "TRACE__SAMPLE_RATE" (ternary 1 $v.trace.sample_rate (kindIs "invalid" $v.trace.sample_rate)) -}}
{{- $_ := set $s "TRACE__ATTRIBUTES" (toJson $texts) -}}
{{- end -}}
{{- if $v.internalTLS.enabled -}}
{{- $_ := set $s "HTTP__CERT_FILE" "/etc/moorage/tls/tls.crt" -}}
{{- $_ := set $s "HTTP__KEY_FILE" "/etc/moorage/tls/tls.key" -}}
{{- end -}}
{{- $s | toJson -}}
{{- end -}}

{{- define "moorage.databaseSettings" -}}
{{- $v := .Values -}}
{{- $s := dict "DATABASE__POOL_SIZE" (default 10 $v.database.poolSize) -}}
{{- $most := int (default 0 $v.database.maxOpenConns) -}}
{{- if and (gt $most 0) (lt $most (int $s.DATABASE__POOL_SIZE)) -}}
{{- $_ := set $s "DATABASE__POOL_SIZE" $most -}}
{{- end -}}
{{- if $v.database.transactionPooler -}}{{- $_ := set $s "DATABASE__TRANSACTION_POOLER" true -}}{{- end -}}
{{- if eq $v.database.type "internal" -}}
{{- $_ := set $s "DATABASE__HOST" (printf "%s-database" (include "moorage.fullname" .)) -}}
{{- $_ := set $s "DATABASE__NAME" "registry" -}}
{{- $_ := set $s "DATABASE__USERNAME" "moorage" -}}
{{- else -}}
{{- $db := $v.database.external -}}
{{- $_ := set $s "DATABASE__HOST" $db.host -}}
{{- $_ := set $s "DATABASE__PORT" (default 5432 $db.port) -}}
{{- $_ := set $s "DATABASE__NAME" (default "registry" $db.coreDatabase) -}}
{{- $_ := set $s "DATABASE__USERNAME" $db.username -}}
{{- $_ := set $s "DATABASE__SSLMODE" (default "disable" $db.sslmode) -}}
{{- if hasPrefix "verify" (toString $db.sslmode) -}}
{{- if $db.caSecretName -}}
{{- $_ := set $s "DATABASE__SSLROOTCERT" "/etc/moorage/database-ca/ca.crt" -}}
{{- else if $v.caBundleSecretName -}}
{{- $_ := set $s "DATABASE__SSLROOTCERT" "/etc/moorage/ca/ca.crt" -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- $s | toJson -}}
{{- end -}}

{{- define "moorage.redisSettings" -}}
{{- $v := .Values -}}
{{- $s := dict -}}
{{- if eq $v.redis.type "internal" -}}
{{- $_ := set $s "REDIS__URL" (printf "redis://%s-redis:6379" (include "moorage.fullname" .)) -}}
{{- else if eq $v.redis.type "external" -}}
{{- $redis := $v.redis.external -}}
{{- $tls := dig "tlsOptions" "enable" false $redis -}}
{{- $scheme := ternary "rediss" "redis" (eq true $tls) -}}
{{- $db := "" -}}
{{- range list $redis.coreDatabaseIndex $redis.harborDatabaseIndex $redis.cacheLayerDatabaseIndex -}}
{{- if not (has (toString .) (list "" "<nil>")) -}}{{- $db = toString . -}}{{- end -}}
{{- end -}}
{{- if has $db (list "" "0") -}}{{- $db = "" -}}{{- else -}}{{- $db = printf "/%s" $db -}}{{- end -}}
{{- if $redis.sentinelMasterSet -}}
{{- $_ := set $s "REDIS__URL" (printf "%s+sentinel://%s/%s%s" $scheme $redis.addr $redis.sentinelMasterSet $db) -}}
{{- with $redis.sentinelUsername -}}{{- $_ := set $s "REDIS__SENTINEL_USERNAME" . -}}{{- end -}}
{{- else -}}
{{- $_ := set $s "REDIS__URL" (printf "%s://%s%s" $scheme $redis.addr $db) -}}
{{- end -}}
{{- with $redis.username -}}{{- $_ := set $s "REDIS__USERNAME" . -}}{{- end -}}
{{- if $tls -}}
{{- with $v.caBundleSecretName -}}{{- $_ := set $s "REDIS__CA_FILE" "/etc/moorage/ca/ca.crt" -}}{{- end -}}
{{- end -}}
{{- end -}}
{{- $s | toJson -}}
{{- end -}}

{{/* Whether a role reaches other servers through a proxy: (dict "root" $ "component" "registry").
     Harbor's core has what here the registry does: projects that are a cache of another one. */}}
{{- define "moorage.proxied" -}}
{{- $proxy := .root.Values.proxy -}}
{{- $component := ternary "core" .component (eq .component "registry") -}}
{{- if and (or $proxy.httpProxy $proxy.httpsProxy) (has .component (list "core" "registry" "jobservice")) (has $component (default list $proxy.components)) -}}true{{- end -}}
{{- end -}}

{{/* What is reached without the proxy, as a JSON list: what the values say, and the cluster. */}}
{{- define "moorage.noProxy" -}}
{{- $found := list -}}
{{- range splitList "," (toString (default "" .Values.proxy.noProxy)) -}}
{{- with trim . -}}{{- $found = append $found . -}}{{- end -}}
{{- end -}}
{{- range $name := concat (include "moorage.roles" . | fromJsonArray) (list "database" "redis") -}}
{{- $found = append $found (printf "%s-%s" (include "moorage.fullname" $) $name) -}}
{{- end -}}
{{- concat $found (list ".svc" ".cluster.local") | uniq | toJson -}}
{{- end -}}

{{/* The setting that a secret is for. */}}
{{- define "moorage.settingOf" -}}
{{- $type := .root.Values.persistence.imageChartStorage.type -}}
{{- if hasPrefix "setting." .name -}}
CONFIGURATION__{{ trimPrefix "setting." .name | upper }}
{{- else -}}
{{- get (dict
  "secretKey" "AUTH__SECRET_KEY"
  "adminPassword" "AUTH__ADMIN_PASSWORD"
  "databasePassword" "DATABASE__PASSWORD"
  "redisPassword" "REDIS__PASSWORD"
  "sentinelPassword" "REDIS__SENTINEL_PASSWORD"
  "httpProxy" "OUTGOING__HTTP_PROXY"
  "httpsProxy" "OUTGOING__HTTPS_PROXY"
  "s3AccessKey" "STORAGE__S3__ACCESSKEY"
  "s3SecretKey" "STORAGE__S3__SECRETKEY"
  "gcsKey" "STORAGE__GCS__ENCODEDKEY"
  "azureKey" "STORAGE__AZURE__ACCOUNTKEY"
) .name -}}
{{- end -}}
{{- end -}}

{{/* The `env` of a container: (dict "root" $ "settings" dict "secrets" bool "extra" list), with
     `only` as the one secret, in the Secret `from` where that is given, and without those that
     `without` names. A name in `extra` goes before ours. */}}
{{- define "moorage.env" -}}
{{- $root := .root -}}
{{- $taken := list -}}
{{- range .extra -}}{{- $taken = append $taken .name -}}{{- end -}}
{{- $env := list -}}
{{- range $key, $value := .settings -}}
{{- $env = append $env (dict "name" (printf "MOORAGE_%s" $key) "value" (toString $value)) -}}
{{- end -}}
{{- if .secrets -}}
{{- $only := default "" .only -}}
{{- $from := default "" .from -}}
{{- range (include "moorage.secrets" $root | fromJson).all -}}
{{- if and (has $only (list "" .name)) (not (has .name (default list $.without))) -}}
{{- $setting := include "moorage.settingOf" (dict "root" $root "name" .name) -}}
{{- $ref := dict "name" (default .secret $from) "key" .key -}}
{{- if and (eq .name "adminPassword") (eq .source "generated") -}}
{{- /* Without it the first start makes a password and prints it once. */ -}}
{{- $_ := set $ref "optional" true -}}
{{- end -}}
{{- $env = append $env (dict "name" (printf "MOORAGE_%s" $setting) "valueFrom" (dict "secretKeyRef" $ref)) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- $all := list -}}
{{- range $env -}}
{{- if not (has .name $taken) -}}{{- $all = append $all . -}}{{- end -}}
{{- end -}}
{{- toYaml (concat $all (default list .extra)) -}}
{{- end -}}
