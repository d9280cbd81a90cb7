{{/*
nginx.conf. What stands in `server { }` is deploy/nginx/moorage.conf.template, of which
files/moorage.conf.template is a copy; here its words are filled in.

Each Service is named twice: a request that met a pod which just left is tried again on a new
connection, and Kubernetes sends that one to another pod.
*/}}

{{- define "moorage.nginxUpstream" -}}
{{- $server := printf "server %s-%s:%s max_fails=0;" (include "moorage.fullname" .root) .component (include "moorage.servicePort" .) -}}
{{- printf "%s %s" $server $server -}}
{{- end -}}

{{/* `listen` lines: (dict "root" $ "port" 8443 "kind" " ssl"). The one for IPv6 is left out at the
     start where the node has none. */}}
{{- define "moorage.nginxListen" -}}
{{- $lines := list -}}
{{- if dig "ipv4" "enabled" true .root.Values.ipFamily -}}
{{- $lines = append $lines (printf "%v%s" .port .kind) -}}
{{- end -}}
{{- if dig "ipv6" "enabled" true .root.Values.ipFamily -}}
{{- $lines = append $lines (printf "[::]:%v%s" .port .kind) -}}
{{- end -}}
{{- join ";\n    listen " $lines -}}
{{- end -}}

{{- define "moorage.nginxServer" -}}
{{- $tls := eq true .Values.expose.tls.enabled -}}
{{- $listen := include "moorage.nginxListen" (dict "root" . "port" (ternary 8443 8080 $tls) "kind" (ternary " ssl http2" "" $tls)) -}}
{{- if $tls -}}
{{- $listen = printf "%s;\n    ssl_certificate /etc/nginx/tls/tls.crt;\n    ssl_certificate_key /etc/nginx/tls/tls.key;\n    ssl_protocols TLSv1.2 TLSv1.3;\n    ssl_session_cache shared:tls:10m" $listen -}}
{{- end -}}
{{- $conf := .Files.Get "files/moorage.conf.template" -}}
{{- $conf = regexReplaceAll "(?m)^#.*\n" $conf "" -}}
{{- $conf = regexReplaceAll "(?m)^ *# ssl_certificate.*\n" $conf "" -}}
{{- range $component := list "registry" "core" "portal" -}}
{{- $conf = replace (printf "${%s}" (upper $component)) (include "moorage.nginxUpstream" (dict "root" $ "component" $component)) $conf -}}
{{- end -}}
{{- $conf = replace "${LISTEN}" $listen $conf -}}
{{- $conf = replace "${ACCEL}" "/-/blobs/" $conf -}}
{{- $folder := ternary (include "moorage.blobFolder" . | trimSuffix "/") "/nowhere" (eq "true" (include "moorage.accel" .)) -}}
{{- $conf = replace "${BLOBS}" (printf "%s/" $folder) $conf -}}
{{- /* The scheme that clients use, also where TLS ends in front and nothing says so. */ -}}
{{- $conf = replace "X-Forwarded-Proto $moorage_scheme" (printf "X-Forwarded-Proto %s" (include "moorage.externalScheme" .)) $conf -}}
{{- if .Values.internalTLS.enabled -}}
{{- $conf = replace "proxy_pass http://" "proxy_pass https://" $conf -}}
{{- $names := list -}}
{{- range $component := list "registry" "core" "portal" -}}
{{- $names = append $names (printf "    moorage_%s %s-%s;" $component (include "moorage.fullname" $) $component) -}}
{{- end -}}
{{- $conf = printf "map $proxy_host $moorage_role {\n%s\n}\n\nproxy_ssl_trusted_certificate /etc/nginx/internal/ca.crt;\nproxy_ssl_verify on;\nproxy_ssl_verify_depth 3;\nproxy_ssl_server_name on;\nproxy_ssl_name $moorage_role;\nproxy_ssl_protocols TLSv1.2 TLSv1.3;\n\n%s" (join "\n" $names) $conf -}}
{{- end -}}
{{- $conf -}}
{{- if $tls }}

server {
    listen {{ include "moorage.nginxListen" (dict "root" . "port" 8080 "kind" "") }};
    location / {
        return 308 https://$host{{ regexFind ":[0-9]+$" (urlParse .Values.externalURL).host }}$request_uri;
    }
}
{{- end }}
{{- end -}}

{{- define "moorage.nginxConf" -}}
# Not one for each core of the node: on a large one they would fill what the pod may have of memory.
worker_processes 8;
pid /tmp/nginx.pid;
error_log /dev/stderr warn;
events {
    worker_connections 4096;
}
http {
    access_log /dev/stdout;
    server_tokens off;
    client_body_temp_path /tmp/body;
    proxy_temp_path /tmp/proxy;
    fastcgi_temp_path /tmp/fastcgi;
    uwsgi_temp_path /tmp/uwsgi;
    scgi_temp_path /tmp/scgi;
    keepalive_timeout 75s;

    server {
        listen {{ include "moorage.nginxListen" (dict "root" . "port" 8081 "kind" "") | replace "\n    " "\n        " }};
        access_log off;
        location = /alive {
            return 204;
        }
        location / {
            return 404;
        }
    }

{{ include "moorage.nginxServer" . | trim | indent 4 }}
}
{{ end -}}
