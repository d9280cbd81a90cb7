"""Sets of values that people have: each must render, be valid, and start the product."""

from typing import Any

from tests.support.charts import file, merged, nested

S3 = nested(
    persistence__imageChartStorage={"type": "s3", "s3": {"region": "eu-central-1", "bucket": "b"}}
)
RDS = nested(
    database={
        "type": "external",
        "external": {"host": "db.example.test", "username": "u", "existingSecret": "db"},
    }
)
INGRESS: dict[str, Any] = nested(expose__ingress__className="nginx")
METRICS = nested(metrics={"enabled": True, "serviceMonitor": {"enabled": True}})
ALL_ON = merged(
    METRICS, nested(metrics={"prometheusRule": {"enabled": True}, "dashboards": {"enabled": True}})
)
INTERNAL = nested(internalTLS__enabled=True)
MANUAL = {"crt": "a certificate", "key": "its key"}


def service(kind: str, **more: object) -> dict[str, Any]:
    """Exposed by a Service of a kind."""
    return nested(expose__type=kind, expose__tls__enabled=False, **more)


def store(kind: str, **settings: object) -> dict[str, Any]:
    """Blobs in a store of a kind."""
    return nested(persistence__imageChartStorage={"type": kind, kind: settings})


def redis(**settings: object) -> dict[str, Any]:
    """A Redis of one's own."""
    return nested(redis={"type": "external", "external": settings})


def database(**settings: object) -> dict[str, Any]:
    """A PostgreSQL of one's own."""
    return merged(RDS, nested(database__external=settings))


SETS: dict[str, dict[str, Any]] = {
    "defaults": {},
    "harbor-defaults": file("harbor-defaults"),
    "ha": file("ha"),
    "ha-with-metrics": merged(file("ha"), ALL_ON),
    "ha-with-internal-tls": merged(file("ha"), INTERNAL),
    # --- exposed
    "ingress-of-a-class": INGRESS,
    "ingress-with-a-secret": nested(
        expose__tls={"certSource": "secret", "secret": {"secretName": "tls"}}
    ),
    "ingress-of-the-controller": nested(expose__tls__certSource="none"),
    "ingress-without-tls": nested(expose__tls__enabled=False),
    "ingress-gce": nested(expose__ingress__controller="gce"),
    "ingress-alb": nested(expose__ingress__controller="alb"),
    "ingress-ncp": nested(expose__ingress__controller="ncp"),
    "route": nested(
        expose={"type": "route", "route": {"parentRefs": [{"name": "gate", "namespace": "infra"}]}}
    ),
    "cluster-ip": service("clusterIP"),
    "cluster-ip-fixed": service("clusterIP", expose__clusterIP__staticClusterIP="10.96.7.7"),
    "cluster-ip-with-tls": nested(expose__type="clusterIP"),
    "node-port": service("nodePort"),
    "node-port-with-tls": nested(
        expose={
            "type": "nodePort",
            "tls": {"certSource": "secret", "secret": {"secretName": "tls"}},
        }
    ),
    "load-balancer": service("loadBalancer", expose__loadBalancer__sourceRanges=["10.0.0.0/8"]),
    "load-balancer-with-tls": nested(
        expose={"type": "loadBalancer", "loadBalancer": {"IP": "192.0.2.7"}}
    ),
    "ipv4-only": merged(service("clusterIP"), nested(ipFamily__ipv6__enabled=False)),
    "ipv6-only": merged(service("clusterIP"), nested(ipFamily__ipv4__enabled=False)),
    # --- stores
    "s3-with-keys": store("s3", bucket="b", region="r", accesskey="a", secretkey="s"),
    "s3-of-another": store("s3", bucket="b", regionendpoint="http://minio:9000", secure=False),
    "s3-with-everything": store(
        "s3",
        bucket="b",
        region="r",
        encrypt=True,
        keyid="k",
        chunksize="5242880",
        rootdirectory="/some/folder",
        storageclass="STANDARD",
        v4auth=True,
        multipartcopychunksize="33554432",
    ),
    "s3-by-irsa": merged(
        S3,
        nested(
            serviceAccount={
                "create": True,
                "annotations": {"eks.amazonaws.com/role-arn": "arn:aws:iam::1:role/registry"},
            }
        ),
    ),
    "gcs-with-a-key": store("gcs", bucket="b", encodedkey="e30="),
    "gcs-with-a-secret": store("gcs", bucket="b", existingSecret="gcs"),
    "gcs-by-identity": store("gcs", bucket="b", useWorkloadIdentity=True),
    "azure-with-a-key": store("azure", accountname="a", container="c", accountkey="a2V5"),
    "azure-by-identity": merged(
        store("azure", accountname="a", container="c"),
        nested(
            serviceAccount={
                "create": True,
                "annotations": {"azure.workload.identity/client-id": "id"},
            }
        ),
    ),
    "oss": store(
        "oss", region="cn-hangzhou", bucket="b", accesskeyid="i", accesskeysecret="s", internal=True
    ),
    "swift": store(
        "swift", container="c", regionendpoint="https://s3", accesskey="a", secretkey="s"
    ),
    "files-for-many": nested(
        persistence__persistentVolumeClaim__registry={
            "accessMode": "ReadWriteMany",
            "storageClass": "nfs",
        },
        registry__replicas=3,
        core__replicas=2,
    ),
    "files-in-a-claim": nested(
        persistence__persistentVolumeClaim__registry={
            "existingClaim": "blobs",
            "subPath": "registry",
        }
    ),
    # --- servers
    "database-several-hosts": database(host="db-1,db-2:5433", sslmode="verify-full"),
    "database-with-an-authority": database(sslmode="verify-ca", caSecretName="rds"),
    "database-password": database(existingSecret="", password='it\'s: "quoted" {{ no }}'),
    "database-behind-a-pooler": merged(RDS, nested(database__transactionPooler=True)),
    "redis-external": redis(addr="cache.example.test:6379", password="p"),
    "redis-tls": merged(
        redis(addr="cache:6380", tlsOptions={"enable": True}, existingSecret="redis"),
        nested(caBundleSecretName="authority"),
    ),
    "redis-sentinel": redis(
        addr="s-1:26379,s-2:26379", sentinelMasterSet="main", coreDatabaseIndex="6", username="u"
    ),
    "redis-cluster": redis(addr="n-1:6379,n-2:6379,n-3:6379", coreDatabaseIndex="0"),
    "redis-none": nested(redis__type="none"),
    "nothing-kept": merged(S3, nested(persistence__enabled=False)),
    # --- how it runs
    "internal-tls": INTERNAL,
    "internal-tls-with-secrets": nested(
        internalTLS={
            "enabled": True,
            "certSource": "secret",
            **{name: {"secretName": f"{name}-tls"} for name in ("core", "registry", "portal")},
            "jobservice": {"secretName": "jobs-tls"},
        }
    ),
    "internal-tls-by-hand": merged(
        METRICS,
        nested(
            internalTLS={
                "enabled": True,
                "certSource": "manual",
                "trustCa": "an authority",
                **dict.fromkeys(("core", "registry", "portal", "jobservice", "exporter"), MANUAL),
            }
        ),
    ),
    "given-secrets": nested(
        secretKey="sixteen letters or more",
        harborAdminPassword="Chosen-by-me-1",
        database__internal__password="db",
        redis__internal__password="re",
    ),
    "existing-secrets": nested(
        existingSecretSecretKey="key",
        existingSecretAdminPassword="admin",
        existingSecretAdminPasswordKey="password",
    ),
    "user-settings": nested(
        core__configureUserSettings='{"auth_mode": "ldap_auth", "ldap_url": "ldap://l", '
        '"ldap_search_password": "p", "robot_token_duration": 7, "read_only": false}'
    ),
    "migrate-by-hook": merged(RDS, S3, nested(enableMigrateHelmHook=True)),
    "autoscaled": merged(
        S3,
        RDS,
        nested(
            registry__autoscaling={"enabled": True, "minReplicas": 3, "maxReplicas": 50},
            core__autoscaling={"enabled": True, "targetMemoryUtilizationPercentage": 80},
            nginx__autoscaling={"enabled": True},
            expose__type="clusterIP",
        ),
    ),
    "spread-and-budgets": merged(
        S3,
        RDS,
        nested(
            registry={
                "replicas": 3,
                "podDisruptionBudget": {"minAvailable": 2},
                "topologySpreadConstraints": [
                    {
                        "maxSkew": 1,
                        "topologyKey": "topology.kubernetes.io/zone",
                        "whenUnsatisfiable": "DoNotSchedule",
                    }
                ],
            },
            core={"replicas": 2, "podDisruptionBudget": {"enabled": False}},
            updateStrategy={"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "50%"}},
        ),
    ),
    "recreated": nested(updateStrategy__type="Recreate", jobservice__updateStrategy__type=None),
    "everything-said": merged(
        S3,
        RDS,
        ALL_ON,
        nested(
            imagePullSecrets=[{"name": "pull"}],
            images__registry="registry.internal:5000/mirror",
            images__moorage__digest="sha256:" + "0" * 64,
            caBundleSecretName="authority",
            outgoingNetworks=["10.20.0.0/16"],
            logLevel="fatal",
            podSecurityContext={"runAsUser": 1000770000},
            core={
                "extraEnvVars": [{"name": "MOORAGE_LOG__LEVEL", "value": "debug"}],
                "nodeSelector": {"a": "b"},
                "tolerations": [{"key": "k", "operator": "Exists"}],
                "podAnnotations": {"example.test/team": "images"},
                "podLabels": {"team": "images"},
                "priorityClassName": "high",
                "serviceAccountName": "core",
                "initContainers": [{"name": "i", "image": "busybox"}],
                "resources": {"limits": {"memory": "1Gi"}},
                "serviceAnnotations": {"s": "t"},
                "readinessProbe": {"periodSeconds": 3},
            },
        ),
    ),
    "names": nested(fullnameOverride="images", nameOverride="reg"),
    "traced": merged(
        S3,
        nested(
            metrics__enabled=True,
            trace={
                "enabled": True,
                "provider": "otel",
                "sample_rate": 0.1,
                "namespace": "registry",
                "attributes": {"application": "images", "number": 7},
                "otel": {"endpoint": "collector:4318", "insecure": False},
            },
        ),
    ),
    "proxied": merged(
        S3,
        nested(
            proxy={
                "httpProxy": "proxy.example.test:3128",
                "httpsProxy": "http://me:p%40ss@proxy.example.test:3128",
                "noProxy": "127.0.0.1,localhost, .local,,10.0.0.0/8,",
            },
        ),
    ),
    "proxied-core": nested(proxy={"httpsProxy": "https://proxy:443", "components": ["core"]}),
    "old-keys": nested(
        notary={"enabled": True},
        chartmuseum={"enabled": True},
        clair={"enabled": False},
        trace={"enabled": True, "provider": "jaeger", "jaeger": {"endpoint": "http://j/api"}},
        trivy={"enabled": True, "gitHubToken": "t"},
    ),
}
