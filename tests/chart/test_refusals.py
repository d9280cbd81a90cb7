"""What would be unsafe to ignore stops the render with a sentence that says what to do."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from tests.chart.matrix import METRICS, database, redis, service, store
from tests.support.charts import HELMS, Refused, merged, nested, render

APART: dict[str, Any] = {
    "podAntiAffinity": {
        "requiredDuringSchedulingIgnoredDuringExecution": [
            {"topologyKey": "kubernetes.io/hostname", "labelSelector": {}}
        ]
    }
}

CASES: dict[str, tuple[dict[str, Any], str]] = {
    "an address without a scheme": (nested(externalURL="registry.example.com"), "externalURL is"),
    "an address with a path": (nested(externalURL="https://example.com/registry"), "externalURL"),
    "no family of addresses": (
        nested(ipFamily={"ipv4": {"enabled": False}, "ipv6": {"enabled": False}}),
        "ipFamily: enable",
    ),
    "a certificate without its secret": (
        nested(expose__tls__certSource="secret"),
        "expose.tls.secret.secretName",
    ),
    "nginx without a certificate": (
        nested(expose={"type": "nodePort", "tls": {"certSource": "none"}}),
        "choose auto or secret",
    ),
    "a route without a gateway": (nested(expose__type="route"), "expose.route.parentRefs"),
    "uaa": (nested(uaaSecretName="uaa"), "OpenID Connect or LDAP"),
    "cloudfront": (
        nested(registry__middleware__enabled=True),
        "set registry.middleware.enabled to false",
    ),
    "a short key": (nested(secretKey="short"), "secretKey is shorter than 16"),
    "internal certificates without a secret": (
        nested(internalTLS={"enabled": True, "certSource": "secret"}),
        "internalTLS.core.secretName",
    ),
    "internal certificates without an authority": (
        nested(internalTLS={"enabled": True, "certSource": "manual"}),
        "internalTLS.trustCa",
    ),
    "internal certificates but the exporter's": (
        merged(
            METRICS,
            nested(
                internalTLS={
                    "enabled": True,
                    "certSource": "secret",
                    **{
                        name: {"secretName": "s"}
                        for name in ("core", "registry", "portal", "jobservice")
                    },
                }
            ),
        ),
        "internalTLS.exporter.secretName",
    ),
    "no bucket": (store("s3", region="r"), "s3.bucket is missing"),
    "the example's bucket": (store("s3", bucket="bucketname"), "s3.bucket is missing"),
    "the example's region": (store("oss", bucket="b", region="regionname"), "oss.region"),
    "no container": (store("azure", accountname="a"), "azure: name the accountname"),
    "swift by its own protocol": (
        store("swift", authurl="https://a", username="u", password="p", container="c"),
        "set swift.regionendpoint",
    ),
    "files that are not kept": (nested(persistence__enabled=False), "choose an object store"),
    "files of one pod": (
        nested(persistence__persistentVolumeClaim__registry__accessMode="ReadWriteOncePod"),
        "use ReadWriteMany",
    ),
    "files of one node on several": (
        nested(core={"replicas": 2, "affinity": APART}),
        "core: replicas on different nodes",
    ),
    "no host of the database": (nested(database__type="external"), "database.external.host"),
    "a mode that may fall back": (database(sslmode="prefer"), "may fall back to plain text"),
    "a numbered database of a cluster": (
        redis(addr="n-1:6379,n-2:6379", harborDatabaseIndex="6"),
        "a cluster has the database 0 alone",
    ),
    "no address of redis": (redis(password="p"), "redis.external.addr"),
    "a setting that nobody knows": (
        nested(core__configureUserSettings='{"auth_mod": "db_auth"}'),
        'there is no setting "auth_mod"',
    ),
    "settings that are no json": (
        nested(core__configureUserSettings="auth_mode: db_auth"),
        "core.configureUserSettings is no JSON object",
    ),
    "a duration that is none": (
        nested(registry__upload_purging__age="7 days"),
        "write a duration such as",
    ),
    "traces without a collector": (
        nested(trace={"enabled": True, "provider": "otel"}),
        "trace.otel.endpoint",
    ),
    "a proxy of another kind": (
        nested(proxy__httpsProxy="socks5://me:secret@proxy:1080"),
        "proxy.httpsProxy: only HTTP proxies are known",
    ),
    # the schema
    "a key at the top that nobody knows": (nested(externalUrl="https://a.b"), "externalUrl"),
    "a way to expose that nobody knows": (service("ClusterIP"), "/expose/type"),
    "a store that nobody knows": (store("ceph"), "/imageChartStorage/type"),
    "a database that nobody knows": (nested(database__type="rds"), "/database/type"),
}


@pytest.mark.parametrize("helm", HELMS)
def test_what_stops_the_render(helm: str) -> None:
    """Each with its own sentence, in both Helms."""

    def told(values: dict[str, Any]) -> str:
        try:
            render(values, helm=helm)
        except Refused as refused:
            return str(refused)
        return "(rendered)"

    with ThreadPoolExecutor(4) as threads:
        answers = threads.map(told, [values for values, _ in CASES.values()])
        for (name, (_, sentence)), answer in zip(CASES.items(), answers, strict=True):
            plain = answer.replace("\\", "").replace(".", "/") if "/" in sentence else answer
            wanted = sentence.replace(".", "/") if "/" in sentence else sentence
            assert wanted in plain.replace("\\", ""), f"{name}: {answer}"
