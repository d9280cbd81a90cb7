"""Secrets are made once: in a cluster they are read back, and without one none is made."""

import base64
from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import pytest
from cryptography import x509
from tests.support.charts import HELMS, NAMESPACE, Rendered, file, merged, nested, render
from tests.support.kubeapi import KubeApi, running_api

TLS = merged(nested(internalTLS__enabled=True), nested(expose__type="clusterIP"))
GENERATED = ["adminPassword", "databasePassword", "redisPassword", "secretKey"]


@pytest.fixture
def api() -> Iterator[KubeApi]:
    """A cluster."""
    with running_api() as found:
        yield found


def apply(api: KubeApi, found: Rendered) -> None:
    """Keep the Secrets of an output, as an installation does."""
    ours = {"meta.helm.sh/release-name": "moorage", "meta.helm.sh/release-namespace": NAMESPACE}
    for each in found.of("Secret").values():
        kept = deepcopy(dict(each))
        kept["metadata"].setdefault("annotations", {}).update(ours)
        api.secrets[each["metadata"]["name"]] = kept


@pytest.mark.parametrize("helm", HELMS)
def test_an_upgrade_changes_no_secret(api: KubeApi, helm: str) -> None:
    """Passwords, keys and certificates are the same afterwards, and so is everything else."""
    first = render(TLS, *api.arguments, helm=helm)
    made = first.secret("generated")
    assert sorted(made) == GENERATED
    assert len(set(made.values())) == len(GENERATED)
    assert all(len(value) == 32 for value in made.values())
    assert {"tls", "internal-tls"} <= first.of("Secret").keys()
    apply(api, first)
    assert render(TLS, *api.arguments, helm=helm).text == first.text


def test_two_releases_have_different_secrets(api: KubeApi) -> None:
    """They come from no fixed seed."""
    one, other = (render(None, *api.arguments).secret("generated") for _ in range(2))
    assert not set(one.values()) & set(other.values())


def test_a_secret_that_is_new_is_added(api: KubeApi) -> None:
    """What a later version or setting needs joins what is there; nothing is removed."""
    apply(api, render(merged(nested(redis__type="none")), *api.arguments))
    before = dict(api.secrets["moorage-generated"]["data"])
    api.secrets["moorage-generated"]["data"]["ours"] = base64.b64encode(b"kept").decode()
    after = render(None, *api.arguments).secret("generated")
    assert sorted(after) == sorted([*GENERATED, "ours"])
    assert all(base64.b64decode(before[key]).decode() == after[key] for key in before)


def test_it_stays_when_the_release_goes(api: KubeApi) -> None:
    """Without its key the secrets in the database would be lost."""
    made = render(None, *api.arguments).one("Secret", "generated")
    assert made["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"


def test_without_a_cluster_no_secret_is_made() -> None:
    """What deploys from `helm template` sees no change with each render, and pods name theirs."""
    found = render(TLS)
    assert not found.of("Secret")
    assert found.secret_of("core", "MOORAGE_AUTH__SECRET_KEY") == ("generated", "secretKey")
    volumes = {each["name"]: each for each in found.pod("core")["volumes"]}
    assert volumes["tls"]["secret"]["secretName"] == "moorage-internal-tls"


def marks(found: Rendered, name: str = "core") -> dict[str, str]:
    """The annotations of a workload's pods."""
    metadata = found.one("Deployment", name)["spec"]["template"]["metadata"]
    return dict(metadata.get("annotations") or {})


def test_given_values_are_a_secret_of_their_own(api: KubeApi) -> None:
    """It holds what the values say and nothing else. Pods are replaced when it changes, by a word
    that is made at random: from a checksum anybody who reads pods could guess passwords."""
    values = nested(secretKey="sixteen letters or more", harborAdminPassword="Chosen-by-me-1")
    found = render(values, *api.arguments)
    assert found.secret("values") == {
        "secretKey": "sixteen letters or more",
        "adminPassword": "Chosen-by-me-1",
    }
    assert found.secret_of("core", "MOORAGE_AUTH__SECRET_KEY") == ("values", "secretKey")
    assert marks(found) == marks(found, "registry") == {"revision/values": mark_of(found)}
    elsewhere = render(values, *api.arguments)
    assert marks(elsewhere) != marks(found)  # nothing of the values is in it
    apply(api, found)
    assert render(values, *api.arguments).text == found.text
    other = render(merged(values, nested(harborAdminPassword="Chosen-by-me-2")), *api.arguments)
    assert marks(other) == {"revision/values": mark_of(other)} != marks(found)
    apply(api, other)
    fewer = render(nested(secretKey="sixteen letters or more"), *api.arguments)
    assert marks(fewer) != marks(other)
    assert not marks(render(values))  # no cluster to keep it


def mark_of(found: Rendered) -> str:
    """What the Secret of given values is marked with."""
    return str(found.one("Secret", "values")["metadata"]["annotations"]["revision"])


def test_existing_secrets_are_named() -> None:
    """Nothing of theirs is rendered."""
    found = render(
        merged(
            file("ha"),
            nested(
                existingSecretSecretKey="one",
                existingSecretAdminPassword="two",
                existingSecretAdminPasswordKey="pass",
                redis__type="none",
            ),
        )
    )
    assert not found.of("Secret")
    where = {
        "MOORAGE_AUTH__SECRET_KEY": ("one", "secretKey"),
        "MOORAGE_AUTH__ADMIN_PASSWORD": ("two", "pass"),
        "MOORAGE_DATABASE__PASSWORD": ("database-login", "password"),
        "MOORAGE_STORAGE__S3__ACCESSKEY": ("bucket-keys", "REGISTRY_STORAGE_S3_ACCESSKEY"),
        "MOORAGE_STORAGE__S3__SECRETKEY": ("bucket-keys", "REGISTRY_STORAGE_S3_SECRETKEY"),
    }
    for role in ("core", "registry", "jobservice"):
        assert {name: found.secret_of(role, name) for name in where} == where


def test_published_defaults_count_as_not_set(api: KubeApi) -> None:
    """Whoever reads the documentation of Harbor knows them."""
    found = render(file("harbor-defaults"), *api.arguments)
    assert "Harbor12345" not in found.text
    assert "not-a-secure-key" not in found.text
    assert sorted(found.secret("generated")) == GENERATED
    settings = found.settings("core")
    assert settings.auth.secret_key is not None


def names(certificate: str) -> list[str]:
    """The DNS names in a certificate."""
    read = x509.load_pem_x509_certificate(certificate.encode())
    found = read.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return list(found.get_values_for_type(x509.DNSName))


def test_certificates_name_what_they_are_for(api: KubeApi) -> None:
    """The host that clients use; every Service of a role."""
    found = render(merged(TLS, nested(externalURL="https://r.example.test:8443")), *api.arguments)
    assert names(found.secret("tls")["tls.crt"]) == ["r.example.test"]
    internal = names(found.secret("internal-tls")["tls.crt"])
    for role in ("core", "registry", "jobservice", "portal", "exporter"):
        assert {f"moorage-{role}", f"moorage-{role}.registry.svc"} <= set(internal)


def test_another_address_has_another_certificate(api: KubeApi) -> None:
    """Clients would refuse the old one; what roles show one another stays as it is."""
    before = render(merged(TLS, nested(externalURL="https://old.example.test")), *api.arguments)
    apply(api, before)
    moved = merged(TLS, nested(externalURL="https://new.example.test"))
    after = render(moved, *api.arguments)
    assert names(after.secret("tls")["tls.crt"]) == ["new.example.test"]
    assert after.secret("internal-tls") == before.secret("internal-tls")
    apply(api, after)
    assert render(moved, *api.arguments).text == after.text


def test_the_ingress_has_the_host_of_its_rule(api: KubeApi) -> None:
    """Its certificate is for that name."""
    found = render(nested(expose__ingress__hosts__core="i.example.test"), *api.arguments)
    assert names(found.secret("tls")["tls.crt"]) == ["i.example.test"]
    ingress: Any = found.one("Ingress", "ingress")
    assert ingress["spec"]["tls"] == [{"hosts": ["i.example.test"], "secretName": "moorage-tls"}]
