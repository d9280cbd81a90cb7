"""What each value causes: objects and their fields."""

from collections.abc import Mapping
from typing import Any

import pytest
from tests.chart.matrix import INTERNAL, METRICS, RDS, S3, SETS, service
from tests.support.charts import NAMESPACE, Rendered, file, merged, nested, render, render_all

ROLES = ("core", "jobservice", "portal", "registry")


@pytest.fixture(scope="module")
def ha() -> Rendered:
    """The values of a Harbor in high availability, unchanged."""
    return render(file("ha"))


def test_two_pods_of_everything(ha: Rendered) -> None:
    """On different nodes, replaced one by one, and no two away at once when nodes are emptied."""
    assert set(ha.of("Deployment")) == {"nginx", *ROLES}
    for name, each in ha.of("Deployment").items():
        assert each["spec"]["replicas"] == 2
        pod = each["spec"]["template"]["spec"]
        assert pod["nodeSelector"] == {"type": "registry"}
        (term,) = pod["affinity"]["podAntiAffinity"][
            "requiredDuringSchedulingIgnoredDuringExecution"
        ]
        assert term["labelSelector"]["matchExpressions"][0]["values"] == [name]
        assert each["spec"]["template"]["metadata"]["labels"]["component"] == name
        # There may be no third node for a surplus pod: one of the old ones goes first then.
        assert each["spec"]["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 1}
        assert ha.one("PodDisruptionBudget", name)["spec"]["maxUnavailable"] == 1


def test_high_availability_shares_no_volume(ha: Rendered) -> None:
    """The shared volume for logs of jobs is not made; the cache has the class that it was given."""
    assert not ha.of("PersistentVolumeClaim")
    assert set(ha.of("StatefulSet")) == {"redis"}
    (claim,) = ha.one("StatefulSet", "redis")["spec"]["volumeClaimTemplates"]
    assert claim["spec"]["storageClassName"] == "fast-blocks"
    assert claim["spec"]["accessModes"] == ["ReadWriteOnce"]
    assert claim["spec"]["resources"]["requests"]["storage"] == "30Gi"
    assert "ReadWriteMany" not in ha.text


def test_high_availability_reaches_its_servers(ha: Rendered) -> None:
    """PostgreSQL of the cloud under TLS, the bucket, the cache; the address that clients use."""
    for role in ("core", "registry", "jobservice"):
        settings = ha.settings(role)
        assert settings.database.host == "db.example.test"
        assert settings.database.name == "registry"
        assert settings.database.sslmode == "require"
        assert settings.storage.s3 is not None
        assert settings.storage.s3.bucket == "images"
        assert settings.redis is not None
        assert settings.redis.address().hosts == (("moorage-redis", 6379),)
        assert settings.http.external_url == "https://registry.example.test"
        assert settings.http.relative_locations
        assert settings.cache.expire_hours == 24


def test_high_availability_is_one_service_in_front(ha: Rendered) -> None:
    """Under the name that the values give, plain: TLS ends before it. Images are ours."""
    found = ha.objects[[e["metadata"]["name"] for e in ha.objects].index("harbor")]
    assert found["spec"]["ports"] == [{"name": "http", "port": 80, "targetPort": "http"}]
    assert found["spec"]["selector"]["component"] == "nginx"
    assert not ha.of("Ingress")
    assert "goharbor/" not in ha.text
    assert ha.container("nginx")["image"].startswith("nginx:")
    assert ha.container("nginx")["resources"]["limits"] == {"memory": "200Mi", "cpu": "100m"}
    # Each worker takes 2 MiB before its first request, and a node may have a hundred cores.
    assert "worker_processes 8;" in ha.one("ConfigMap", "nginx")["data"]["nginx.conf"]


def test_the_roles_are_verbs_of_the_product() -> None:
    """Each runs `serve` with its role; the exporter only where metrics are wanted."""
    found = render(METRICS)
    for role in (*ROLES, "exporter"):
        container = found.container(role)
        assert container["command"] + container["args"] == ["moorage", "serve", "--role", role]
        assert container["livenessProbe"]["httpGet"]["path"] == "/healthz"
        assert container["startupProbe"]["httpGet"]["path"] == "/healthz"
        assert container["readinessProbe"]["httpGet"]["path"] == "/readyz"
    assert "exporter" not in render().of("Deployment")


def test_a_pod_has_time_to_end() -> None:
    """Proxies learn of it first, then requests end, then what it holds is closed."""
    found = render(nested(terminationGracePeriodSeconds=300))
    for role in ROLES:
        assert found.pod(role)["terminationGracePeriodSeconds"] == 300
        assert found.container(role)["lifecycle"]["preStop"]["exec"]["command"] == ["sleep", "10"]
    assert found.settings("registry").http.grace_seconds == 275


def test_the_portal_knows_the_core_alone() -> None:
    """It has no database, no blobs and no secret."""
    found = render(INTERNAL)
    environment = found.environment("portal")
    assert environment["MOORAGE_PORTAL__CORE_URL"] == "https://moorage-core:443"
    assert not [name for name in environment if "DATABASE" in name or "SECRET" in name]
    assert not any("valueFrom" in each for each in found.container("portal")["env"])
    assert render().environment("portal")["MOORAGE_PORTAL__CORE_URL"] == "http://moorage-core:80"


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_the_health_page_knows_every_part(scheme: str) -> None:
    """The core and the exporter ask the other roles at their Services; a part that nobody asks
    would be left out of `/api/v2.0/health` and of the alerts."""
    found = render(merged(METRICS, INTERNAL if scheme == "https" else {}))
    ports = {"core": 443, "registry": 5443, "portal": 443}
    if scheme == "http":
        ports = {"core": 80, "registry": 5000, "portal": 80}
    urls = {role: f"{scheme}://moorage-{role}:{port}" for role, port in ports.items()}
    for asking, others in (("core", ("registry", "portal")), ("exporter", tuple(ports))):
        health = found.settings(asking).health
        for role in ports:
            assert getattr(health, f"{role}_url") == (urls[role] if role in others else "")
        assert (str(health.ca_file) == "/etc/moorage/tls/ca.crt") == (scheme == "https")
        mounted = {each["mountPath"] for each in found.container(asking)["volumeMounts"]}
        assert ("/etc/moorage/tls" in mounted) == (scheme == "https")


def test_internal_tls() -> None:
    """Roles answer HTTPS, are asked over HTTPS, and Services have the ports of Harbor's."""
    found = render(merged(INTERNAL, METRICS))
    for role, port in (("core", 443), ("registry", 5443), ("jobservice", 443), ("portal", 443)):
        assert found.one("Service", role)["spec"]["ports"][0]["port"] == port
        assert found.container(role)["readinessProbe"]["httpGet"]["scheme"] == "HTTPS"
    settings = found.settings("registry")
    assert settings.http.port == 8443
    assert str(settings.http.cert_file) == "/etc/moorage/tls/tls.crt"
    annotations = found.one("Ingress", "ingress")["metadata"]["annotations"]
    assert annotations["nginx.ingress.kubernetes.io/backend-protocol"] == "HTTPS"
    (endpoint,) = found.of("ServiceMonitor").values()
    assert endpoint["spec"]["endpoints"][0]["tlsConfig"]["serverName"] == "moorage-core"
    secrets = render(SETS["internal-tls-with-secrets"])
    volumes = {each["name"]: each for each in secrets.pod("jobservice")["volumes"]}
    assert volumes["tls"]["secret"]["secretName"] == "jobs-tls"


@pytest.mark.parametrize("kind", ["clusterIP", "nodePort", "loadBalancer"])
def test_services_in_front(kind: str) -> None:
    """Type, name, ports, labels and annotations come from the section of that type."""
    section: dict[str, Any] = {"name": "front", "annotations": {"a": "b"}, "labels": {"c": "d"}}
    section["ports"] = {"httpPort": 8000, "httpsPort": 8001}
    if kind == "nodePort":
        section["ports"] = {"http": {"port": 8000, "nodePort": 30100}, "https": {"port": 8001}}
    found = render(nested(expose={"type": kind, kind: section}))
    service = next(e for e in found.objects if e["metadata"]["name"] == "front")
    assert service["spec"]["type"].lower() == kind.lower()
    assert [each["port"] for each in service["spec"]["ports"]] == [8000, 8001]
    assert service["metadata"]["annotations"] == {"a": "b"}
    assert service["metadata"]["labels"]["c"] == "d"
    if kind == "nodePort":
        assert service["spec"]["ports"][0]["nodePort"] == 30100


def test_services_of_one_address_or_for_some() -> None:
    """A fixed address, or the networks that may connect."""
    balancer = render(SETS["load-balancer"]).of("Service")["moorage"]["spec"]
    assert balancer["loadBalancerSourceRanges"] == ["10.0.0.0/8"]
    assert render(SETS["load-balancer-with-tls"]).of("Service")["moorage"]["spec"][
        "loadBalancerIP"
    ] == ("192.0.2.7")
    fixed = render(SETS["cluster-ip-fixed"]).of("Service")["moorage"]["spec"]
    assert fixed["clusterIP"] == "10.96.7.7"


@pytest.mark.parametrize(
    ("families", "host", "policy"),
    [
        ((True, True), "", {"ipFamilyPolicy": "PreferDualStack"}),
        ((True, False), "0.0.0.0", {"ipFamilyPolicy": "SingleStack", "ipFamilies": ["IPv4"]}),
        ((False, True), "::", {"ipFamilyPolicy": "SingleStack", "ipFamilies": ["IPv6"]}),
    ],
)
def test_families(families: tuple[bool, bool], host: str, policy: Mapping[str, Any]) -> None:
    """Services, roles and nginx listen on what is wanted."""
    four, six = families
    both = {"ipv4": {"enabled": four}, "ipv6": {"enabled": six}}
    found = render(merged(service("clusterIP"), nested(ipFamily=both)))
    assert found.settings("core").http.host == host
    for each in found.of("Service").values():
        assert policy.items() <= each["spec"].items()
    conf = found.one("ConfigMap", "nginx")["data"]["nginx.conf"]
    assert ("listen [::]:8080;" in conf) == six
    assert ("listen 8080;" in conf) == four


def test_files_of_one_node_keep_their_pods_together() -> None:
    """All that hold the volume run where it is attached; the volume outlives the release."""
    found = render(METRICS)
    claim = found.one("PersistentVolumeClaim", "registry")
    assert claim["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"
    for role in ("registry", "core", "jobservice", "exporter"):
        pod = found.pod(role)
        (term,) = pod["affinity"]["podAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
        wanted = term["labelSelector"]["matchLabels"].items()
        labels = found.one("Deployment", role)["spec"]["template"]["metadata"]["labels"]
        assert wanted <= labels.items()
        mounts = {each["name"]: each["mountPath"] for each in pod["containers"][0]["volumeMounts"]}
        assert mounts["blobs"] == "/storage"
        assert str(found.settings(role).storage.filesystem.rootdirectory) == "/storage"
    assert "blobs" not in {each["name"] for each in found.pod("portal")["volumes"]}


def test_files_for_many_and_in_a_claim_of_ones_own() -> None:
    """A shared file system lets pods run anywhere; an existing claim is mounted and not made."""
    many = render(SETS["files-for-many"])
    assert "affinity" not in many.pod("registry")
    assert many.one("PersistentVolumeClaim", "registry")["spec"]["storageClassName"] == "nfs"
    own = render(SETS["files-in-a-claim"])
    assert not own.of("PersistentVolumeClaim")
    volumes = {each["name"]: each for each in own.pod("core")["volumes"]}
    assert volumes["blobs"]["persistentVolumeClaim"]["claimName"] == "blobs"
    mounts = {each["name"]: each for each in own.container("core")["volumeMounts"]}
    assert mounts["blobs"]["subPath"] == "registry"


def test_nginx_sends_blobs_that_are_files() -> None:
    """It reads their volume, on its node where it has one; not behind an ingress, not from S3."""
    inside = nested(expose__type="clusterIP")
    for volume, together in (({}, True), (SETS["files-for-many"], False)):
        found = render(merged(inside, volume))
        mounts = {each["name"]: each for each in found.container("nginx")["volumeMounts"]}
        assert mounts["blobs"] == {"name": "blobs", "mountPath": "/storage", "readOnly": True}
        assert ("affinity" in found.pod("nginx")) == together
        conf = found.one("ConfigMap", "nginx")["data"]["nginx.conf"]
        assert "alias /storage/;" in conf
        assert f"location {found.settings('registry').http.accel_redirect} {{" in conf
    elsewhere = merged(inside, nested(nginx__affinity={"nodeAffinity": {}}))
    for values in (None, merged(inside, S3), elsewhere):
        found = render(values)
        assert not found.settings("registry").http.accel_redirect
        if "nginx" in found.of("Deployment"):
            assert "blobs" not in {each["name"] for each in found.pod("nginx")["volumes"]}


def test_traces() -> None:
    """Harbor's values for a collector of OpenTelemetry reach every role; those of Jaeger none."""
    found = render(SETS["traced"])
    for role in (*ROLES, "exporter"):
        trace = found.settings(role).trace
        assert trace.enabled
        assert trace.endpoint == "https://collector:4318/v1/traces"
        assert trace.sample_rate == 0.1
        assert trace.attributes == {
            "application": "images",
            "number": "7",
            "service.namespace": "registry",
        }
    assert not render(SETS["old-keys"]).settings("core").trace.enabled


def test_an_identity_of_the_cloud() -> None:
    """One annotation serves every pod that uses the bucket; nobody holds a key."""
    found = render(SETS["s3-by-irsa"])
    account = found.of("ServiceAccount")["moorage"]
    assert "eks.amazonaws.com/role-arn" in account["metadata"]["annotations"]
    for role in ("registry", "core", "jobservice"):
        assert found.pod(role)["serviceAccountName"] == "moorage"
        storage = found.settings(role).storage
        assert storage.s3 is not None
        assert not storage.s3.accesskey
    azure = render(SETS["azure-by-identity"])
    labels = azure.one("Deployment", "core")["spec"]["template"]["metadata"]["labels"]
    assert labels["azure.workload.identity/use"] == "true"
    registry = merged(S3, nested(registry__serviceAccountName="mine", core__serviceAccountName="c"))
    named = render(registry)
    assert [named.pod(role).get("serviceAccountName") for role in ROLES] == [
        "c",
        "mine",
        None,
        "mine",
    ]


def test_stores() -> None:
    """Each type of store in its own settings."""
    names = ("s3-with-everything", "gcs-with-a-secret", "gcs-by-identity", "oss", "swift")
    found = render_all({name: SETS[name] for name in names})
    s3 = found["s3-with-everything"].settings("registry").storage.s3
    assert s3 is not None
    assert (s3.rootdirectory, s3.keyid, s3.chunksize) == ("some/folder", "k", 5242880)
    gcs = found["gcs-with-a-secret"].settings("registry").storage.gcs
    assert gcs is not None
    assert str(gcs.keyfile) == "/etc/moorage/gcs/key.json"
    identity = found["gcs-by-identity"].settings("registry").storage.gcs
    assert identity is not None
    assert identity.useworkloadidentity
    oss = found["oss"].settings("registry").storage.s3
    assert oss is not None
    assert oss.endpoint == "https://s3.oss-cn-hangzhou-internal.aliyuncs.com"
    assert not oss.path_style
    swift = found["swift"].settings("registry").storage.s3
    assert swift is not None
    assert (swift.endpoint, swift.bucket, swift.accesskey) == ("https://s3", "c", "a")


def test_databases() -> None:
    """Several hosts, authorities and poolers; the pool never grows to what Harbor's needs."""
    names = ("database-several-hosts", "database-with-an-authority", "database-behind-a-pooler")
    found = render_all({name: SETS[name] for name in (*names, "harbor-defaults")})
    several = found[names[0]].settings("core").database
    assert several.host == "db-1,db-2:5433"
    assert several.sslmode == "verify-full"
    authority = found[names[1]]
    assert str(authority.settings("core").database.sslrootcert) == "/etc/moorage/database-ca/ca.crt"
    volumes = {each["name"]: each for each in authority.pod("core")["volumes"]}
    assert volumes["database-ca"]["secret"]["secretName"] == "rds"
    assert found[names[2]].settings("core").database.transaction_pooler
    assert found["harbor-defaults"].settings("core").database.pool_size == 10
    assert render(nested(database__maxOpenConns=4)).settings("core").database.pool_size == 4


def test_caches() -> None:
    """One server, Sentinels, a cluster, TLS, none."""
    names = ("redis-sentinel", "redis-cluster", "redis-tls", "redis-none")
    found = render_all({name: SETS[name] for name in names})
    sentinel = found["redis-sentinel"].settings("core").redis
    assert sentinel is not None
    address = sentinel.address()
    assert (address.hosts, address.service, address.db, address.username) == (
        (("s-1", 26379), ("s-2", 26379)),
        "main",
        6,
        "u",
    )
    cluster = found["redis-cluster"].settings("core").redis
    assert cluster is not None
    assert len(cluster.address().hosts) == 3
    tls = found["redis-tls"].settings("core").redis
    assert tls is not None
    assert tls.address().tls
    assert str(tls.ca_file) == "/etc/moorage/ca/ca.crt"
    assert found["redis-tls"].secret_of("core", "MOORAGE_REDIS__PASSWORD") == (
        "redis",
        "REDIS_PASSWORD",
    )
    assert found["redis-none"].settings("core").redis is None
    assert not any("redis" in name for name in found["redis-none"].of("StatefulSet"))


def test_the_trial_servers() -> None:
    """One pod each; the database is kept, the cache is not unless a class is named."""
    found = render()
    database, redis = (found.one("StatefulSet", name)["spec"] for name in ("database", "redis"))
    assert database["volumeClaimTemplates"][0]["spec"]["resources"]["requests"]["storage"] == "1Gi"
    assert "volumeClaimTemplates" not in redis
    assert (database["replicas"], redis["replicas"]) == (1, 1)
    settings = found.settings("core")
    assert settings.database.host == "moorage-database"
    assert settings.database.username == "moorage"
    claimed = nested(persistence__persistentVolumeClaim__database__existingClaim="mine")
    volumes = render(claimed).pod("database", "StatefulSet")["volumes"]
    assert {"name": "data", "persistentVolumeClaim": {"claimName": "mine"}} in volumes


def test_numbers_of_background_work() -> None:
    """Slots, days, tries and seconds have their settings."""
    values = nested(
        jobservice={
            "maxJobWorkers": 4,
            "loggerSweeperDuration": 3,
            "notification": {
                "webhook_job_max_retry": 7,
                "webhook_job_http_client_timeout": 9,
            },
        },
        registry__upload_purging__age="1h30m",
        cache={"enabled": False, "expireHours": 5},
        logLevel="fatal",
        outgoingNetworks=["10.20.0.0/16"],
        trustedProxies=["10.1.0.0/16"],
        registry__relativeurls=False,
    )
    settings = render(values).settings("jobservice")
    assert (settings.jobs.slots, settings.jobs.log_days) == (4, 3)
    assert (settings.webhooks.tries, settings.webhooks.timeout_seconds) == (7, 9)
    assert settings.uploads.age_seconds == 5400
    assert (settings.cache.enabled, settings.cache.expire_hours) == (False, 5)
    assert settings.log.level == "error"
    assert [str(each) for each in settings.outgoing.allow] == ["10.20.0.0/16"]
    assert [str(each) for each in settings.http.trusted_proxies] == ["10.1.0.0/16"]
    assert not settings.http.relative_locations


def test_settings_that_nobody_can_change() -> None:
    """`configureUserSettings` reaches the settings of that name, by way of a Secret."""
    found = render(SETS["user-settings"])
    configuration = found.settings("core").configuration
    assert configuration.auth_mode == "ldap_auth"
    assert configuration.robot_token_duration == 7
    assert configuration.read_only is False
    assert found.secret("values")["setting.ldap_search_password"] == "p"
    where = found.secret_of("core", "MOORAGE_CONFIGURATION__LDAP_SEARCH_PASSWORD")
    assert where == ("values", "setting.ldap_search_password")


def test_migration_by_a_hook() -> None:
    """Before an upgrade, once, with the settings of the roles."""
    job = render(SETS["migrate-by-hook"]).one("Job", "migrate")
    assert job["metadata"]["annotations"]["helm.sh/hook"] == "pre-upgrade"
    container = job["spec"]["template"]["spec"]["containers"][0]
    assert container["command"] + container["args"] == ["moorage", "migrate"]
    assert not render(RDS).of("Job")


def test_the_hook_needs_nothing_of_the_upgrade() -> None:
    """It runs before anything else of it is applied: a setting, a Secret or an account that comes
    with the upgrade is not there yet, and a password that changed would be the old one."""
    hook = nested(enableMigrateHelmHook=True, core__configureUserSettings='{"read_only": true}')
    account = nested(serviceAccount__create=True)
    found = render(merged(SETS["database-password"], hook, account))
    names = [name for name in found.environment("migrate", "Job") if "DATABASE" not in name]
    assert names == ["MOORAGE_DATA_DIR", "MOORAGE_LOG__FORMAT", "MOORAGE_LOG__LEVEL"]
    assert "serviceAccountName" not in found.pod("migrate", "Job")
    (secret,) = found.of("Secret")["migrate"]["data"].items()
    assert secret[0] == "databasePassword"
    assert (
        found.settings("migrate", "Job").database.password
        == found.settings("core").database.password
    )
    annotations = found.one("Secret", "migrate")["metadata"]["annotations"]
    assert annotations["helm.sh/hook"] == "pre-upgrade"
    assert int(annotations["helm.sh/hook-weight"]) < int(
        found.one("Job", "migrate")["metadata"]["annotations"]["helm.sh/hook-weight"]
    )
    named = render(merged(RDS, hook)).container("migrate", "Job")["env"]
    (password,) = (each for each in named if "valueFrom" in each)
    assert password["valueFrom"]["secretKeyRef"] == {"name": "db", "key": "password"}


def test_scaling() -> None:
    """An autoscaler takes the place of a number of replicas, and brings a budget."""
    found = render(SETS["autoscaled"])
    scaler = found.one("HorizontalPodAutoscaler", "registry")["spec"]
    assert (scaler["minReplicas"], scaler["maxReplicas"]) == (3, 50)
    assert "replicas" not in found.one("Deployment", "registry")["spec"]
    assert found.one("PodDisruptionBudget", "registry")
    assert found.one("HorizontalPodAutoscaler", "nginx")


def test_budgets_spreading_and_strategies() -> None:
    """What the values say goes before what the chart thinks best."""
    found = render(SETS["spread-and-budgets"])
    assert found.one("PodDisruptionBudget", "registry")["spec"]["minAvailable"] == 2
    assert "core" not in found.of("PodDisruptionBudget")
    (constraint,) = found.pod("registry")["topologySpreadConstraints"]
    assert constraint["whenUnsatisfiable"] == "DoNotSchedule"
    assert constraint["labelSelector"]["matchLabels"]["component"] == "registry"
    soft = found.pod("core")["topologySpreadConstraints"]
    assert {each["whenUnsatisfiable"] for each in soft} == {"ScheduleAnyway"}
    strategy = found.one("Deployment", "registry")["spec"]["strategy"]
    assert strategy["rollingUpdate"] == {"maxSurge": "50%", "maxUnavailable": 0}
    recreated = render(SETS["recreated"]).one("Deployment", "registry")["spec"]["strategy"]
    assert recreated == {"type": "Recreate"}


def test_everything_a_pod_may_be_told() -> None:
    """Labels, annotations, classes, accounts, resources, images and variables."""
    found = render(SETS["everything-said"])
    deployment, pod = found.one("Deployment", "core"), found.pod("core")
    template = deployment["spec"]["template"]["metadata"]
    assert template["annotations"]["example.test/team"] == "images"
    assert template["labels"]["team"] == "images"
    assert pod["priorityClassName"] == "high"
    assert pod["serviceAccountName"] == "core"
    assert pod["initContainers"][0]["name"] == "i"
    assert pod["tolerations"] == [{"key": "k", "operator": "Exists"}]
    assert pod["imagePullSecrets"] == [{"name": "pull"}]
    assert pod["securityContext"]["runAsUser"] == 1000770000
    container = found.container("core")
    assert container["image"] == "registry.internal:5000/mirror/moorage@sha256:" + "0" * 64
    assert container["resources"] == {
        "requests": {"cpu": "100m", "memory": "256Mi"},
        "limits": {"memory": "1Gi"},
    }
    assert container["readinessProbe"]["periodSeconds"] == 3
    assert found.settings("core").log.level == "debug"
    assert found.one("Service", "core")["metadata"]["annotations"] == {"s": "t"}
    assert str(found.settings("core").outgoing.ca_file) == "/etc/moorage/ca/ca.crt"


def test_images() -> None:
    """One of one's own is used, one of the goharbor project is not."""
    own = {"repository": "registry.internal/ours", "tag": "7"}
    theirs = {"repository": "mirror.internal/goharbor/harbor-core", "tag": "v2"}
    found = render(nested(portal__image=own, core__image=theirs))
    assert found.container("portal")["image"] == "registry.internal/ours:7"
    assert found.container("core")["image"].startswith("moorage:")


def test_metrics() -> None:
    """A port on each Service and a monitor of those Services, as Harbor's have them."""
    found = render(merged(METRICS, nested(metrics__core__port=9001)))
    monitor = found.of("ServiceMonitor")["moorage"]["spec"]
    (listed,) = monitor["selector"]["matchExpressions"]
    assert set(listed["values"]) == {*ROLES, "exporter"}
    for role in listed["values"]:
        ports = {e["name"]: e["port"] for e in found.one("Service", role)["spec"]["ports"]}
        assert ports["http-metrics"] == (9001 if role == "core" else 8001)
    assert found.settings("exporter").http.port == 8001
    assert monitor["endpoints"][0]["port"] == "http-metrics"


def test_names() -> None:
    """Overrides rename every object; the namespace stands in each."""
    found = render(SETS["names"])
    for each in found.objects:
        name = each["metadata"]["name"]
        assert name.startswith("images") or each["kind"] == "Service", name
        assert each["metadata"]["namespace"] == NAMESPACE
    assert found.of("Deployment")["images-core"]["metadata"]["labels"]["app"] == "reg"
