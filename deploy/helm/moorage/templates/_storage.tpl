{{/* The blob store: settings and secrets of each `imageChartStorage.type`. */}}

{{- define "moorage.files" -}}
{{- if eq .Values.persistence.imageChartStorage.type "filesystem" -}}true{{- end -}}
{{- end -}}

{{- define "moorage.blobClaim" -}}
{{- default (printf "%s-registry" (include "moorage.fullname" .)) .Values.persistence.persistentVolumeClaim.registry.existingClaim -}}
{{- end -}}

{{/* "true" when pods that hold blobs must share a node: the volume is attached to one. */}}
{{- define "moorage.oneNode" -}}
{{- if and (include "moorage.files" .) (eq (default "ReadWriteOnce" .Values.persistence.persistentVolumeClaim.registry.accessMode) "ReadWriteOnce") -}}true{{- end -}}
{{- end -}}

{{/* "true" when nginx sends blobs that are files itself. On a volume of one node it has to run there,
     unless the values say where it runs. */}}
{{- define "moorage.accel" -}}
{{- if and (include "moorage.files" .) (not (include "moorage.direct" .)) -}}
{{- if not (and (include "moorage.oneNode" .) .Values.nginx.affinity) -}}true{{- end -}}
{{- end -}}
{{- end -}}

{{- define "moorage.blobFolder" -}}
{{- default "/storage" .Values.persistence.imageChartStorage.filesystem.rootdirectory -}}
{{- end -}}

{{/* The mount of the volume of blobs. */}}
{{- define "moorage.blobMount" -}}
- name: blobs
  mountPath: {{ include "moorage.blobFolder" . }}
  {{- with .Values.persistence.persistentVolumeClaim.registry.subPath }}
  subPath: {{ . }}
  {{- end }}
{{- end -}}

{{/* Values that harbor-helm shows as examples say nothing. */}}
{{- define "moorage.given" -}}
{{- $text := toString (default "" .) -}}
{{- if not (has $text (list "bucketname" "accountname" "base64encodedaccountkey" "containername" "base64-encoded-json-key-file" "accesskeyid" "accesskeysecret" "regionname")) -}}
{{- $text -}}
{{- end -}}
{{- end -}}

{{/* Settings below `storage.` without their secrets, as JSON. */}}
{{- define "moorage.storage" -}}
{{- $storage := .Values.persistence.imageChartStorage -}}
{{- $type := $storage.type -}}
{{- $s := dict -}}
{{- $pass := list "rootdirectory" "chunksize" "storageclass" "concurrency" "timeout" "retries" "retryseconds" "skipverify" "endpoint" -}}
{{- if eq $type "filesystem" -}}
{{- $_ := set $s "DRIVER" "filesystem" -}}
{{- $_ := set $s "FILESYSTEM__ROOTDIRECTORY" (include "moorage.blobFolder" .) -}}
{{- with $storage.filesystem.maxthreads -}}{{- $_ := set $s "FILESYSTEM__MAXTHREADS" . -}}{{- end -}}
{{- else if eq $type "s3" -}}
{{- $_ := set $s "DRIVER" "s3" -}}
{{- range $key := concat $pass (list "region" "bucket" "regionendpoint" "encrypt" "keyid" "secure" "forcepathstyle" "profile" "bulkdelete") -}}
{{- if ne $key "endpoint" -}}
{{- $value := index $storage.s3 $key -}}
{{- if and (ne nil $value) (ne "" (toString $value)) -}}{{- $_ := set $s (printf "S3__%s" (upper $key)) $value -}}{{- end -}}
{{- end -}}
{{- end -}}
{{- else if eq $type "oss" -}}
{{- $oss := $storage.oss -}}
{{- $_ := set $s "DRIVER" "s3" -}}
{{- $_ := set $s "S3__REGION" $oss.region -}}
{{- $_ := set $s "S3__BUCKET" $oss.bucket -}}
{{- $host := printf "%s%s.aliyuncs.com" (trimPrefix "oss-" $oss.region) (ternary "-internal" "" (eq true $oss.internal)) -}}
{{- $endpoint := default (printf "s3.oss-%s" $host) $oss.endpoint -}}
{{- if not (contains "://" $endpoint) -}}
{{- $endpoint = printf "%s://%s" (ternary "http" "https" (eq false $oss.secure)) $endpoint -}}
{{- end -}}
{{- $_ := set $s "S3__REGIONENDPOINT" $endpoint -}}
{{- $_ := set $s "S3__FORCEPATHSTYLE" false -}}
{{- with $oss.rootdirectory -}}{{- $_ := set $s "S3__ROOTDIRECTORY" . -}}{{- end -}}
{{- with $oss.encrypt -}}{{- $_ := set $s "S3__ENCRYPT" . -}}{{- end -}}
{{- else if eq $type "swift" -}}
{{- $swift := $storage.swift -}}
{{- $_ := set $s "DRIVER" "s3" -}}
{{- $_ := set $s "S3__REGION" (default "us-east-1" $swift.region) -}}
{{- $_ := set $s "S3__BUCKET" $swift.container -}}
{{- $_ := set $s "S3__REGIONENDPOINT" $swift.regionendpoint -}}
{{- with $swift.prefix -}}{{- $_ := set $s "S3__ROOTDIRECTORY" . -}}{{- end -}}
{{- with $swift.insecureskipverify -}}{{- $_ := set $s "S3__SKIPVERIFY" . -}}{{- end -}}
{{- else if eq $type "gcs" -}}
{{- $_ := set $s "DRIVER" "gcs" -}}
{{- range $key := append $pass "bucket" -}}
{{- with index $storage.gcs $key -}}{{- $_ := set $s (printf "GCS__%s" (upper $key)) . -}}{{- end -}}
{{- end -}}
{{- if $storage.gcs.useWorkloadIdentity -}}{{- $_ := set $s "GCS__USEWORKLOADIDENTITY" true -}}{{- end -}}
{{- if and $storage.gcs.existingSecret (not $storage.gcs.useWorkloadIdentity) -}}
{{- $_ := set $s "GCS__KEYFILE" "/etc/moorage/gcs/key.json" -}}
{{- end -}}
{{- else if eq $type "azure" -}}
{{- $_ := set $s "DRIVER" "azure" -}}
{{- range $key := concat $pass (list "accountname" "container" "realm") -}}
{{- with index $storage.azure $key -}}{{- $_ := set $s (printf "AZURE__%s" (upper $key)) . -}}{{- end -}}
{{- end -}}
{{- end -}}
{{- if $storage.disableredirect -}}{{- $_ := set $s "REDIRECT__DISABLE" true -}}{{- end -}}
{{- if not (include "moorage.files" .) -}}
{{- if $storage.caBundleSecretName -}}
{{- $_ := set $s (printf "%s__CACERT" (upper $s.DRIVER)) "/etc/moorage/storage-ca/ca.crt" -}}
{{- else if .Values.caBundleSecretName -}}
{{- $_ := set $s (printf "%s__CACERT" (upper $s.DRIVER)) "/etc/moorage/ca/ca.crt" -}}
{{- end -}}
{{- end -}}
{{- $s | toJson -}}
{{- end -}}

{{/* Secrets of the store: a JSON list of what `moorage.secret` takes, with `setting`. */}}
{{- define "moorage.storageSecrets" -}}
{{- $storage := .Values.persistence.imageChartStorage -}}
{{- $type := $storage.type -}}
{{- $all := list -}}
{{- if eq $type "s3" -}}
{{- $s3 := $storage.s3 -}}
{{- $all = list
  (dict "name" "s3AccessKey" "existing" $s3.existingSecret "key" "REGISTRY_STORAGE_S3_ACCESSKEY" "value" $s3.accesskey)
  (dict "name" "s3SecretKey" "existing" $s3.existingSecret "key" "REGISTRY_STORAGE_S3_SECRETKEY" "value" $s3.secretkey) -}}
{{- else if eq $type "oss" -}}
{{- $oss := $storage.oss -}}
{{- $all = list
  (dict "name" "s3AccessKey" "value" (include "moorage.given" $oss.accesskeyid))
  (dict "name" "s3SecretKey" "existing" $oss.existingSecret "key" "REGISTRY_STORAGE_OSS_ACCESSKEYSECRET" "value" (include "moorage.given" $oss.accesskeysecret)) -}}
{{- else if eq $type "swift" -}}
{{- $swift := $storage.swift -}}
{{- $all = list
  (dict "name" "s3AccessKey" "existing" $swift.existingSecret "key" "REGISTRY_STORAGE_SWIFT_ACCESSKEY" "value" $swift.accesskey)
  (dict "name" "s3SecretKey" "existing" $swift.existingSecret "key" "REGISTRY_STORAGE_SWIFT_SECRETKEY" "value" $swift.secretkey) -}}
{{- else if eq $type "gcs" -}}
{{- if not (or $storage.gcs.useWorkloadIdentity $storage.gcs.existingSecret) -}}
{{- $all = list (dict "name" "gcsKey" "value" (include "moorage.given" $storage.gcs.encodedkey)) -}}
{{- end -}}
{{- else if eq $type "azure" -}}
{{- $all = list (dict "name" "azureKey" "existing" $storage.azure.existingSecret "key" "AZURE_STORAGE_ACCESS_KEY" "value" (include "moorage.given" $storage.azure.accountkey)) -}}
{{- end -}}
{{- $all | toJson -}}
{{- end -}}
