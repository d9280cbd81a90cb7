"""Proxies to other servers: how they are written, what goes past them, what they are asked for."""

import asyncio
import socket
from collections.abc import Callable, Iterator
from ipaddress import ip_network
from threading import Event
from typing import Any

import pytest

from moorage.config.loading import BadSettings, load
from moorage.config.outgoing import OutgoingSettings, ProxyAddress, parse_bypass, parse_proxy
from moorage.errors import AddressRefused
from moorage.outgoing import EVERYWHERE, Guard, HttpProxies
from moorage.outgoing.proxies import SILENT, SILENT_SECONDS, Silent

pytestmark = pytest.mark.anyio

PROXY = "http://me:s3cret@proxy.corp:3128"
SETTINGS = OutgoingSettings.model_validate({"http_proxy": PROXY, "https_proxy": PROXY})


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("http://proxy.corp:3128", ProxyAddress(False, "proxy.corp", 3128)),
        ("http://proxy/", ProxyAddress(False, "proxy", 80)),
        ("HTTPS://Proxy.Corp", ProxyAddress(True, "proxy.corp", 443)),
        ("http://[::1]:3128", ProxyAddress(False, "::1", 3128)),
        ("http://me:p%40s%3As%2F@10.0.0.1", ProxyAddress(False, "10.0.0.1", 80, ("me", "p@s:s/"))),
        ("http://me@proxy:8080", ProxyAddress(False, "proxy", 8080, ("me", ""))),
    ],
)
def test_addresses_of_proxies(url: str, address: ProxyAddress) -> None:
    """With a user and without; what is written in percent is what it stands for."""
    assert parse_proxy(url) == address


@pytest.mark.parametrize(
    "url",
    [
        "proxy.corp:3128",
        "proxy",
        "socks5://u:s3cret@proxy:1080",
        "http://",
        "http://:3128",
        "http://u:s3cret@:3128",
        "http://u:s3cret@proxy:port",
        "http://u:s3cret@proxy:70000",
        "http://proxy:0",
        "http://u:s3/cret@proxy:3128",
        "http://u:s3#cret@proxy:3128",
        "http://u:s3?cret@proxy:3128",
        "http://u:s3 cret@proxy:3128",
        "http://u:s3\ncret@proxy:3128",
        "http://pro xy:3128",
        "http://proxy_:3128/path",
        "http://pröxy:3128",
        "http://[::1:3128",
        "http://-proxy:3128",
    ],
)
def test_what_is_no_address_of_a_proxy_stops_the_start(url: str) -> None:
    """Named by its setting, and without its password."""
    with pytest.raises(BadSettings) as refused:
        load({"MOORAGE_OUTGOING__HTTPS_PROXY": url})
    assert "outgoing.https_proxy" in str(refused.value)
    assert "give http://host:port" in str(refused.value)
    assert "s3" not in str(refused.value)


def test_a_password_is_never_shown() -> None:
    """Neither by the settings nor by what is made of them."""
    for each in (SETTINGS, parse_proxy(PROXY), SETTINGS.model_dump_json()):
        assert "s3cret" not in f"{each} {each!r}"
    assert str(parse_proxy(PROXY)) == "http://proxy.corp:3128"
    assert str(parse_proxy("https://u:p@[::1]:3128")) == "https://[::1]:3128"


def test_an_empty_variable_is_no_proxy() -> None:
    """As a compose file makes of one that is unset."""
    environment = {"MOORAGE_OUTGOING__HTTP_PROXY": "", "MOORAGE_OUTGOING__NO_PROXY": '["", " "]'}
    assert load(environment).outgoing == OutgoingSettings()


@pytest.mark.parametrize(
    ("entry", "covered", "others"),
    [
        ("example.com", ["example.com", "a.example.com", "b.a.example.com."], ["anexample.com"]),
        (".example.com", ["a.example.com", "b.a.example.com"], ["example.com", "x.com"]),
        ("*.example.com", ["a.example.com"], ["example.com", "example.com.evil.net"]),
        ("Example.COM.", ["example.com", "a.example.com"], ["com"]),
        ("10.0.0.0/8", ["10.1.2.3"], ["11.1.2.3", "10.1.2.3.nip.io", "fd00::1"]),
        ("10.1.2.3/8", ["10.9.9.9"], ["9.9.9.9"]),
        ("10.1.2.3", ["10.1.2.3"], ["10.1.2.4", "110.1.2.3"]),
        ("fd00::/8", ["fd12::1"], ["fe80::1", "10.1.2.3"]),
        ("::2", ["::2", "0:0:0:0:0:0:0:2"], ["::3"]),
        ("[::2]", ["::2"], ["::3"]),
        ("*", ["anything.net", "10.1.2.3", "::2"], []),
        ("local", ["a.local"], ["alocal.net"]),
    ],
)
def test_what_goes_past_a_proxy(entry: str, covered: list[str], others: list[str]) -> None:
    """Names as curl and Go match them, addresses and networks where a URL has an address."""
    bypass = parse_bypass(entry)
    assert [host for host in covered if not bypass.covers(host, 443)] == []
    assert [host for host in others if bypass.covers(host, 443)] == []


@pytest.mark.parametrize(
    ("entry", "host"),
    [
        ("example.com:8443", "a.example.com"),
        ("10.0.0.0/8:8443", "10.1.2.3"),
        ("10.1.2.3:8443", "10.1.2.3"),
        ("[::2]:8443", "::2"),
        ("[fd00::/8]:8443", "fd00::1"),
        ("*:8443", "anything.net"),
    ],
)
def test_what_goes_past_a_proxy_on_one_port(entry: str, host: str) -> None:
    """And on no other one."""
    assert parse_bypass(entry).covers(host, 8443)
    assert not parse_bypass(entry).covers(host, 443)


@pytest.mark.parametrize(
    "entry",
    [
        "10.0.0.0/33",
        "https://a.example",
        "a b",
        "a..b",
        "10.0.0.*",
        "*a.example",
        "a/b",
        ":80",
        "..",
        "*.",
        "-",
    ],
)
def test_what_names_no_host_stops_the_start(entry: str) -> None:
    """It would let pass what should not, or the other way round."""
    with pytest.raises(BadSettings, match=r"outgoing\.no_proxy.*is no host"):
        load({"MOORAGE_OUTGOING__NO_PROXY": f'["{entry}"]'})


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "LOCALHOST",
        "localhost.",
        "a.localhost",
        "127.0.0.1",
        "127.8.9.1",
        "0.0.0.0",
        "::1",
        "::",
        "::ffff:127.0.0.1",
        "moorage-core",
        "2130706433",
        "0x7f000001",
    ],
)
async def test_this_machine_is_never_asked_for_by_way_of_a_proxy(host: str) -> None:
    """It would be the proxy's own. Directly, the guard judges it."""
    proxies = HttpProxies(SETTINGS)
    assert proxies.of("http", host, 80) is proxies.of("https", host, 443) is None
    assert proxies.of("https", "registry.example", 443) == parse_proxy(PROXY)


def names(monkeypatch: pytest.MonkeyPatch, known: dict[str, list[str]]) -> list[str]:
    """Make these names known, and no other; returns what was looked up."""
    asked: list[str] = []

    def look_up(host: Any, port: Any, *_: Any, **__: Any) -> Any:
        asked.append(host)
        if host.rstrip(".") not in known:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        found = known[host.rstrip(".")]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (each, port)) for each in found]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    return asked


KNOWN = {
    "public.example": ["93.184.216.34"],
    "metadata.evil.net": ["169.254.169.254"],
    "inside.corp": ["10.1.2.3"],
    "two.evil.net": ["93.184.216.34", "169.254.169.254"],
    "mapped.evil.net": ["::ffff:10.1.2.3"],
    "scoped.evil.net": ["fe80::1%eth0"],
    "xn--lclhst-jua.evil.net": ["127.0.0.1"],
}


@pytest.mark.parametrize(
    "host",
    [
        # addresses
        "10.1.2.3",
        "169.254.169.254",
        "168.63.129.16",
        "fd00:ec2::254",
        "::ffff:169.254.169.254",
        "64:ff9b::a9fe:a9fe",
        "fe80::1",
        "fe80::1%eth0",
        "2606:4700::1111%25eth0",
        "::1%lo",
        # spellings that another reader takes for an address
        "127.1",
        "0177.0.0.1",
        "0x7f.0.0.1",
        "0x7f.1",
        "169.254.43518",
        "0251.0376.0251.0376",
        "127.0.0.01",
        "127.0.0.1.",
        "169.254.169.254.",
        "1.2.3.4.5",
        "1.1.1.256",
        "a.0xa9fea9fe",
        "a.2852039166",
        # no names
        "a..b",
        "public.example..",
        ".public.example",
        "public.example:25",
        "user@public.example",
        "public.example/x",
        "public.example%2f.evil.net",
        "public.example#",
        "pub lic.example",
        "public.example\r\nHost: x",
        "-.example",
        "*.example",
        "[public.example]",
        "a" * 64 + ".example",
        "a." * 130 + "example",
        "\uff11\uff12\uff17.0.0.1",
        "loc\u200balhost.evil.net",
        "",
        # names that are known here
        "metadata.evil.net",
        "METADATA.evil.net.",
        "inside.corp",
        "two.evil.net",
        "mapped.evil.net",
        "scoped.evil.net",
        "xn--lclhst-jua.evil.net",
        # names of private networks that are not
        "metadata.google.internal",
        "metadata.google.internal.",
        "instance-data.ec2.INTERNAL",
        "nas.local",
        "router.lan",
        "fritz.home.arpa",
        "intranet.corp",
        "kubernetes.default.svc",
        "kubernetes.default.svc.cluster.local",
        "localhost.localdomain",
    ],
)
async def test_what_a_proxy_is_not_asked_for(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    """Private addresses in every spelling, names that have one, names of private networks."""
    names(monkeypatch, KNOWN)
    with pytest.raises(AddressRefused):
        await Guard((), None, HttpProxies(SETTINGS)).admit(host, 443)


@pytest.mark.parametrize(
    "host",
    [
        "93.184.216.34",
        "2606:4700::1111",
        "public.example",
        "Public.Example.",
        "unknown.example",
        "_acme.unknown.example",
        "3com.unknown-2.example",
        "1.1.1.1.example",
        "xn--bcher-kva.example",
    ],
)
async def test_what_a_proxy_is_asked_for(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    """Public addresses and names, and names that nobody here knows."""
    names(monkeypatch, KNOWN)
    await Guard((), None, HttpProxies(SETTINGS)).admit(host, 443)


async def test_the_operator_opens_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    """For addresses and names that have one there; names that are private anywhere need all."""
    names(monkeypatch, KNOWN)
    inside = Guard((ip_network("10.0.0.0/8"),), None, HttpProxies(SETTINGS))
    await inside.admit("10.1.2.3", 443)
    await inside.admit("inside.corp", 443)
    for host in ("metadata.evil.net", "two.evil.net", "registry.internal"):
        with pytest.raises(AddressRefused):
            await inside.admit(host, 443)
    for host in ("192.168.1.1", "registry.internal", "inside.corp"):
        await Guard(EVERYWHERE, None, HttpProxies(SETTINGS)).admit(host, 443)
    with pytest.raises(AddressRefused, match="usual form"):
        await Guard(EVERYWHERE, None, HttpProxies(SETTINGS)).admit("0x7f.1", 443)


@pytest.fixture
def silent() -> Iterator[Event]:
    """What ends the silence of name servers."""
    found = Event()
    yield found
    found.set()


async def test_a_silent_name_server_costs_one_request_some_time(
    monkeypatch: pytest.MonkeyPatch, silent: Event
) -> None:
    """The others do not wait for it; names that are known are judged all the same."""
    asked: list[str] = []

    def look_up(host: Any, port: Any, *_: Any, **__: Any) -> Any:
        asked.append(host)
        if host == "silent.example":
            silent.wait(60)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("10.1.2.3", port))]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    monkeypatch.setattr("moorage.outgoing.guard.PROXIED_SECONDS", 0.1)
    guard = Guard((), None, HttpProxies(SETTINGS))
    for _ in range(20):
        await guard.admit("silent.example", 443)
    assert asked == ["silent.example"]
    monkeypatch.setattr("moorage.outgoing.guard.PROXIED_SECONDS", 60.0)  # it answers, if late
    with pytest.raises(AddressRefused):
        await guard.admit("inside.example", 443)
    silent.set()


def test_silence_is_remembered_for_a_while_and_not_of_everybody() -> None:
    """A minute; the oldest of too many names is asked for again."""
    now = 0.0
    clock: Callable[[], float] = lambda: now  # noqa: E731 - reads what changes below
    silent = Silent(clock)
    silent.add("a.example")
    assert "a.example" in silent
    now = SILENT_SECONDS + 1
    assert "a.example" not in silent
    for number in range(SILENT + 1):
        silent.add(f"{number}.example")
    assert "0.example" not in silent
    assert f"{SILENT}.example" in silent


async def test_too_many_names_that_wait_are_refused(
    monkeypatch: pytest.MonkeyPatch, silent: Event
) -> None:
    """Rather than left to the proxy: who floods the name server gets nothing past the guard."""
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: silent.wait(60) and [])
    monkeypatch.setattr("moorage.outgoing.guard.PROXIED_SECONDS", 0.1)
    guard = Guard((), None, HttpProxies(SETTINGS))
    asked = (guard.admit(f"{number}.example", 443) for number in range(70))
    outcomes = await asyncio.gather(*asked, return_exceptions=True)
    assert sum("other names wait" in str(each) for each in outcomes) == 6
    silent.set()
