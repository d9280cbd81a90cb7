{{/*
Where each secret comes from.

    an existing Secret that the values name      stays as it is
    a value                                      <fullname>-values, from these values alone
    neither                                      <fullname>-generated: made once, read back by
                                                 `lookup` afterwards, kept when the release goes

Without a cluster to ask (`helm template`, and what deploys with it) nothing is generated: a secret
that changed with each render would end the use of everything that is encrypted under it. The pods
then name the Secret that has to be made beforehand.
*/}}

{{/* "true" when there is a cluster to ask. A list is never empty: it says its kind at least. */}}
{{- define "moorage.cluster" -}}
{{- if lookup "v1" "Service" .Release.Namespace "" -}}true{{- end -}}
{{- end -}}

{{- define "moorage.valuesSecret" -}}{{ include "moorage.fullname" . }}-values{{- end -}}
{{- define "moorage.generatedSecret" -}}{{ include "moorage.fullname" . }}-generated{{- end -}}

{{/* One secret: (dict "root" $ "existing" name "key" key "value" text "name" n "generate" bool).
     JSON of secret, key, name, source; empty when there is none. */}}
{{- define "moorage.secret" -}}
{{- $published := list "not-a-secure-key" "Harbor12345" "harbor12345" "changeme" "changeit" "password" "admin" -}}
{{- $value := toString (default "" .value) -}}
{{- if and .generate (has $value $published) -}}
{{- $value = "" -}}
{{- end -}}
{{- if .existing -}}
{{- dict "source" "existing" "secret" .existing "key" .key "name" .name | toJson -}}
{{- else if $value -}}
{{- dict "source" "value" "secret" (include "moorage.valuesSecret" .root) "key" .name "name" .name "value" $value | toJson -}}
{{- else if .generate -}}
{{- dict "source" "generated" "secret" (include "moorage.generatedSecret" .root) "key" .name "name" .name | toJson -}}
{{- end -}}
{{- end -}}

{{/* The data of <fullname>-values as JSON; `{}` when there is none. */}}
{{- define "moorage.valuesData" -}}
{{- $data := dict -}}
{{- range (include "moorage.secrets" . | fromJson).all -}}
{{- if eq .source "value" -}}{{- $_ := set $data .key (b64enc .value) -}}{{- end -}}
{{- end -}}
{{- $data | toJson -}}
{{- end -}}

{{/* A random word that changes when what these values hold does, so that pods are replaced. A
     checksum would let everybody who may read pods try out passwords. It is kept at the Secret;
     without a cluster there is none. */}}
{{- define "moorage.valuesRevision" -}}
{{- $data := include "moorage.valuesData" . -}}
{{- if and (ne "{}" $data) (include "moorage.cluster" .) -}}
{{- if not (hasKey .Values "revisionOfValues") -}}
{{- $old := lookup "v1" "Secret" .Release.Namespace (include "moorage.valuesSecret" .) -}}
{{- $revision := dig "metadata" "annotations" "revision" "" (default dict $old) -}}
{{- if or (not $revision) (ne $data (toJson (default dict $old.data))) -}}
{{- $revision = randAlphaNum 16 -}}
{{- end -}}
{{- /* One render has one word: every template is given the same values. */ -}}
{{- $_ := set .Values "revisionOfValues" $revision -}}
{{- end -}}
{{- .Values.revisionOfValues -}}
{{- end -}}
{{- end -}}

{{/* All secrets that the values call for: JSON of {"all": [...]}. */}}
{{- define "moorage.secrets" -}}
{{- $v := .Values -}}
{{- $found := list
  (include "moorage.secret" (dict "root" . "name" "secretKey" "existing" $v.existingSecretSecretKey "key" "secretKey" "value" $v.secretKey "generate" true))
  (include "moorage.secret" (dict "root" . "name" "adminPassword" "existing" $v.existingSecretAdminPassword "key" (default "HARBOR_ADMIN_PASSWORD" $v.existingSecretAdminPasswordKey) "value" $v.harborAdminPassword "generate" true))
-}}
{{- if eq $v.database.type "internal" -}}
{{- $found = append $found (include "moorage.secret" (dict "root" . "name" "databasePassword" "value" $v.database.internal.password "generate" true)) -}}
{{- else -}}
{{- $db := $v.database.external -}}
{{- $found = append $found (include "moorage.secret" (dict "root" . "name" "databasePassword" "existing" $db.existingSecret "key" "password" "value" $db.password)) -}}
{{- end -}}
{{- if eq $v.redis.type "internal" -}}
{{- $found = append $found (include "moorage.secret" (dict "root" . "name" "redisPassword" "value" $v.redis.internal.password "generate" true)) -}}
{{- else if eq $v.redis.type "external" -}}
{{- $redis := $v.redis.external -}}
{{- $found = append $found (include "moorage.secret" (dict "root" . "name" "redisPassword" "existing" $redis.existingSecret "key" "REDIS_PASSWORD" "value" $redis.password)) -}}
{{- $found = append $found (include "moorage.secret" (dict "root" . "name" "sentinelPassword" "existing" $redis.existingSentinelSecret "key" "SENTINEL_PASSWORD" "value" $redis.sentinelPassword)) -}}
{{- end -}}
{{- range $name := list "httpProxy" "httpsProxy" -}}
{{- $url := toString (default "" (index $v.proxy $name)) -}}
{{- if and $url (not (contains "://" $url)) -}}{{- $url = printf "http://%s" $url -}}{{- end -}}
{{- $found = append $found (include "moorage.secret" (dict "root" $ "name" $name "value" $url)) -}}
{{- end -}}
{{- range include "moorage.storageSecrets" . | fromJsonArray -}}
{{- $found = append $found (include "moorage.secret" (mergeOverwrite (dict "root" $) .)) -}}
{{- end -}}
{{- range $key, $value := include "moorage.userSettings" . | fromJson -}}
{{- $text := $value | toJson -}}
{{- if kindIs "string" $value -}}{{- $text = $value -}}{{- end -}}
{{- $found = append $found (dict "source" "value" "secret" (include "moorage.valuesSecret" $) "key" (printf "setting.%s" $key) "name" (printf "setting.%s" $key) "value" $text | toJson) -}}
{{- end -}}
{{- $all := list -}}
{{- range $found -}}
{{- if . -}}{{- $all = append $all (fromJson .) -}}{{- end -}}
{{- end -}}
{{- dict "all" $all | toJson -}}
{{- end -}}

{{/* One of them by its name: (dict "root" $ "name" "secretKey"); JSON, or nothing. */}}
{{- define "moorage.secretNamed" -}}
{{- $name := .name -}}
{{- range (include "moorage.secrets" .root | fromJson).all -}}
{{- if eq .name $name -}}{{- . | toJson -}}{{- end -}}
{{- end -}}
{{- end -}}

{{/* `core.configureUserSettings` as JSON of the settings that the product knows. */}}
{{- define "moorage.userSettings" -}}
{{- $text := toString (default "" .Values.core.configureUserSettings) -}}
{{- if $text -}}
{{- $settings := fromJson $text -}}
{{- if hasKey $settings "Error" -}}
{{- fail "core.configureUserSettings is no JSON object: write it as '{\"auth_mode\": \"ldap_auth\"}'." -}}
{{- end -}}
{{- $known := .Files.Lines "files/configuration-keys" -}}
{{- range $key, $value := $settings -}}
{{- if not (has $key $known) -}}
{{- fail (printf "core.configureUserSettings: there is no setting %q; remove it, or look for its name in the reference of settings, under configuration." $key) -}}
{{- end -}}
{{- end -}}
{{- $settings | toJson -}}
{{- else -}}{}{{- end -}}
{{- end -}}
