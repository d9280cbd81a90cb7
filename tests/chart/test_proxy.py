"""The proxy to other servers: who uses it, what goes past it, where its password is."""

import pytest
from tests.chart.matrix import SETS
from tests.support.charts import Rendered, file, merged, nested, render

from moorage.config.outgoing import OutgoingSettings, ProxyAddress
from moorage.outgoing import HttpProxies

PROXY = ProxyAddress(False, "proxy.example.test", 3128)
WITH_ACCOUNT = ProxyAddress(False, "proxy.example.test", 3128, ("me", "p@ss"))


@pytest.fixture(scope="module")
def proxied() -> Rendered:
    """Every component uses it."""
    return render(SETS["proxied"])


def outgoing(found: Rendered, role: str) -> OutgoingSettings:
    """What a role is told."""
    return found.settings(role).outgoing


def test_the_roles_that_speak_to_others_use_it(proxied: Rendered) -> None:
    """The registry too, whose proxy caches are in it; neither the portal nor the exporter does."""
    for role in ("core", "registry", "jobservice"):
        proxies = HttpProxies(outgoing(proxied, role))
        assert proxies.of("http", "registry.example", 80) == PROXY
        assert proxies.of("https", "registry.example", 443) == WITH_ACCOUNT
    assert outgoing(proxied, "portal") == OutgoingSettings()
    metrics = render(merged(SETS["proxied"], nested(metrics__enabled=True)))
    assert outgoing(metrics, "exporter") == OutgoingSettings()


def test_the_address_is_in_a_secret_alone(proxied: Rendered) -> None:
    """It may hold a password."""
    named = {"httpProxy": "MOORAGE_OUTGOING__HTTP_PROXY"}
    named["httpsProxy"] = "MOORAGE_OUTGOING__HTTPS_PROXY"
    for key, variable in named.items():
        assert proxied.secret_of("core", variable) == ("values", key)
    assert proxied.secret("values")["httpsProxy"] == "http://me:p%40ss@proxy.example.test:3128"
    assert "p%40ss" not in proxied.text


@pytest.mark.parametrize(
    ("host", "direct"),
    [
        ("localhost", True),
        ("nas.local", True),
        ("10.1.2.3", True),
        ("moorage-core", True),
        ("scanner.security.svc", True),
        ("scanner.security.svc.cluster.local", True),
        ("registry.example", False),
        ("192.168.1.1", False),
    ],
)
def test_what_goes_past_it(proxied: Rendered, host: str, direct: bool) -> None:
    """What the values say, this release, and Services of the cluster."""
    assert (HttpProxies(outgoing(proxied, "core")).of("https", host, 443) is None) is direct


def test_components_choose(proxied: Rendered) -> None:
    """The core of Harbor is core and registry here."""
    found = render(SETS["proxied-core"])
    proxy = ProxyAddress(True, "proxy", 443)
    for role, used in (("core", True), ("registry", True), ("jobservice", False)):
        proxies = HttpProxies(outgoing(found, role))
        assert (proxies.of("https", "registry.example", 443) == proxy) is used
        assert proxies.of("http", "registry.example", 80) is None


def test_without_one_nothing_is_said() -> None:
    """Harbor's own values name what goes past a proxy that there is not."""
    for found in (render(None), render(file("harbor-defaults"))):
        assert outgoing(found, "core") == outgoing(found, "jobservice") == OutgoingSettings()


def test_a_variable_of_ones_own_goes_first() -> None:
    """So that the address can come from a Secret that exists."""
    own = {
        "name": "MOORAGE_OUTGOING__HTTPS_PROXY",
        "valueFrom": {"secretKeyRef": {"name": "proxy", "key": "url"}},
    }
    found = render(merged(SETS["proxied"], nested(core__extraEnvVars=[own])))
    assert found.secret_of("core", "MOORAGE_OUTGOING__HTTPS_PROXY") == ("proxy", "url")
