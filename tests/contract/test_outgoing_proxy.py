"""Through a real forward proxy to servers that only it can look up, and what each side sees."""

import asyncio
import base64
import hashlib
import socket
import ssl
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import pytest
from tests.support.certificates import Authority
from tests.support.lines import Handler, Tap, listening
from tests.support.tinyproxy import Tinyproxy, running_tinyproxy
from tools.ports import free_port

from moorage.config.outgoing import OutgoingSettings
from moorage.errors import AddressRefused, Unreachable
from moorage.outgoing import Guard, HttpProxies, transport

pytestmark = pytest.mark.anyio

HOST = "registry.example"
BODY = bytes(range(256)) * (40 << 12)  # 40 MiB


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tinyproxy]:
    """One for everybody."""
    with running_tinyproxy(tmp_path_factory.mktemp("proxy"), [HOST]) as found:
        yield found


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tinyproxy]:
    """One that wants a password."""
    folder = tmp_path_factory.mktemp("strict")
    with running_tinyproxy(folder, [HOST], account=("me", "s3cret")) as found:
        yield found


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """Whom everybody trusts."""
    return Authority(tmp_path)


def through(url: str, authority: Authority | None = None, **more: Any) -> Guard:
    """A guard whose requests go through a proxy; nothing private is allowed."""
    said = {"http_proxy": url, "https_proxy": url, **more}
    settings = OutgoingSettings.model_validate(said)
    trusted = authority.path if authority else None
    return Guard(settings.allow, trusted, HttpProxies(settings))


@dataclass
class Target:
    """Answers every request, and keeps the heads."""

    body: bytes = b"hi"
    heads: list[bytes] = field(default_factory=list)

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            self.heads.append(await reader.readuntil(b"\r\n\r\n"))
            head = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(self.body)
            writer.write(head + self.body)
            await writer.drain()

    def serving(self, tls: ssl.SSLContext | None = None) -> AbstractAsyncContextManager[int]:
        """Its port."""
        return listening(self._answer, tls)


async def fetched(guard: Guard, url: str, headers: dict[str, str] | None = None) -> httpx2.Response:
    """The whole answer to a GET."""
    async with guard.client() as client:
        return await client.get(url, headers=headers)


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_each_side_sees_what_is_its_own(
    strict: Tinyproxy, authority: Authority, scheme: str
) -> None:
    """The proxy its account, the server what is for it; what is under TLS the server alone."""
    target, tap = Target(), Tap(strict.port)
    headers = {"authorization": "Bearer for-the-server", "proxy-authorization": "Basic forged"}
    tls = authority.server_context(HOST) if scheme == "https" else None
    async with target.serving(tls) as port, tap.open() as line:
        guard = through(f"http://me:s3cret@127.0.0.1:{line}", authority)
        url = f"{scheme}://{HOST}:{port}/secret-path"
        async with guard.client() as client:
            for _ in range(2):
                assert (await client.get(url, headers=headers)).text == "hi"
    assert len(target.heads) == 2
    for head in target.heads:
        assert b"proxy-auth" not in head.lower()
        assert b"\r\nauthorization: Bearer for-the-server\r\n" in head
        assert head.startswith(b"GET /secret-path HTTP/1.1\r\n")
    seen = b"".join(tap.sent)
    account = base64.b64encode(b"me:s3cret")
    assert b"forged" not in seen
    if scheme == "https":
        assert len(tap.sent) == 1, "the second request goes through the same tunnel"
        assert seen.startswith(
            f"CONNECT {HOST}:{port} HTTP/1.1\r\nHost: {HOST}:{port}\r\n".encode()
        )
        assert seen.count(account) == 1
        assert b"for-the-server" not in seen
        assert b"secret-path" not in seen
        assert strict.asked()[-1] == f"CONNECT {HOST}:{port}"
    else:
        assert seen.count(account) == 2
        assert strict.asked()[-1] == f"GET {url}"


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_large_bodies(proxy: Tinyproxy, authority: Authority, scheme: str) -> None:
    """They are read from the connection itself, whatever is between, and every byte arrives."""
    target = Target(BODY)
    tls = authority.server_context(HOST) if scheme == "https" else None
    assert len(BODY) > transport.LARGE
    async with target.serving(tls) as port:
        guard = through(proxy.url, authority)
        async with (
            guard.streaming() as client,
            client.stream("GET", f"{scheme}://{HOST}:{port}/") as answer,
        ):
            assert isinstance(answer.stream.__dict__["_stream"], transport._Large)
            found = hashlib.sha256()
            async for part in answer.aiter_raw():
                found.update(part)
    assert found.digest() == hashlib.sha256(BODY).digest()


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_a_proxy_that_has_tls(strict: Tinyproxy, authority: Authority, scheme: str) -> None:
    """Its certificate is checked, and TLS to the server goes through that to the proxy."""
    target, tap = Target(), Tap(strict.port)
    tls = authority.server_context(HOST) if scheme == "https" else None
    proxys = authority.server_context("127.0.0.1")
    async with target.serving(tls) as port, tap.open(proxys) as line:
        url = f"{scheme}://{HOST}:{port}/"
        guard = through(f"https://me:s3cret@127.0.0.1:{line}", authority)
        async with guard.client() as client:
            for _ in range(2):
                assert (await client.get(url)).text == "hi"
        guard = through(f"https://me:s3cret@127.0.0.1:{line}")
        with pytest.raises(Unreachable, match="its certificate is not trusted") as refused:
            await fetched(guard, url)
    assert str(refused.value).startswith(f"the proxy https://127.0.0.1:{line}: ")
    assert len(tap.sent) == (1 if tls else 2)


@pytest.mark.parametrize("bypass", [HOST, f".{HOST.partition('.')[2]}", "*", f"{HOST}:PORT"])
async def test_what_goes_past_it(
    proxy: Tinyproxy, monkeypatch: pytest.MonkeyPatch, bypass: str
) -> None:
    """The proxy hears nothing of it, and the guard judges it as ever."""
    real, before = socket.getaddrinfo, proxy.asked()
    monkeypatch.setattr(
        socket, "getaddrinfo", lambda _, port, *rest, **more: real("127.0.0.1", port, *rest, **more)
    )
    async with Target().serving() as port:
        entries = [bypass.replace("PORT", str(port))]
        url = f"http://{HOST}:{port}/"
        open_guard = through(proxy.url, no_proxy=entries, allow=["127.0.0.0/8"])
        assert (await fetched(open_guard, url)).text == "hi"
        with pytest.raises(AddressRefused):
            await fetched(through(proxy.url, no_proxy=entries), url)
    assert proxy.asked() == before


async def test_what_a_user_must_not_reach_is_not_asked_for(proxy: Tinyproxy) -> None:
    """The proxy is in another network: what it reaches is not what we do."""
    before = proxy.asked()
    target = Target()
    async with target.serving() as port:
        for host in ("127.0.0.1", "localhost", "0x7f.1", "127.1", "[::ffff:127.0.0.1]", "10.0.0.1"):
            for scheme in ("http", "https"):
                with pytest.raises((AddressRefused, Unreachable)):
                    await fetched(through(proxy.url), f"{scheme}://{host}:{port}/")
    assert proxy.asked() == before
    assert target.heads == []


def answering(status: bytes, heads: list[bytes]) -> Handler:
    """A proxy that answers every request so, and keeps the heads."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 %b\r\ncontent-length: 6\r\n\r\ns3cret" % status)
        await writer.drain()

    return handle


async def test_an_address_of_ipv6_has_brackets() -> None:
    """Or its end would be the port."""
    heads: list[bytes] = []
    async with listening(answering(b"502 Bad Gateway", heads)) as port:
        guard = through(f"http://127.0.0.1:{port}")
        with pytest.raises(Unreachable, match="cannot reach it, and says so with status 502"):
            await fetched(guard, "https://[2606:4700::1111]:81/")
        assert (await fetched(guard, "http://[2606:4700::1111]:81/")).status_code == 502
    assert heads[0].startswith(
        b"CONNECT [2606:4700::1111]:81 HTTP/1.1\r\nHost: [2606:4700::1111]:81\r\n"
    )
    assert heads[1].startswith(b"GET http://[2606:4700::1111]:81/ HTTP/1.1\r\n")
    assert b"Host: [2606:4700::1111]:81\r\n" in heads[1]


@pytest.mark.parametrize(
    ("scheme", "account", "said"),
    [
        ("http", "", "asks for a user name and password: give them in outgoing.{}_proxy"),
        ("https", "", "asks for a user name and password: give them in outgoing.{}_proxy"),
        ("https", "me:wr0ng@", "does not take the user name and password of outgoing.{}_proxy"),
    ],
)
async def test_wrong_credentials(strict: Tinyproxy, scheme: str, account: str, said: str) -> None:
    """The message says which setting, and holds no password.

    This proxy answers a wrong password with 401, which for http:// is the server's to say.
    """
    guard = through(strict.url.replace("//", f"//{account}"))
    with pytest.raises(Unreachable, match=said.format(scheme)) as refused:
        await fetched(guard, f"{scheme}://{HOST}:81/")
    assert str(refused.value).startswith(f"{HOST}: the proxy {strict.url} ")
    with pytest.raises(Unreachable, match=said.format("http")) as unwelcome:
        await guard.greet_proxies()
    for error in (refused.value, unwelcome.value):
        assert "wr0ng" not in f"{error!r} {error.__cause__!r}"


async def test_a_proxy_that_answers_takes_us(strict: Tinyproxy, proxy: Tinyproxy) -> None:
    """`moorage doctor` asks."""
    url = strict.url.replace("//", "//me:s3cret@")
    found = await through(url, https_proxy=proxy.url).greet_proxies()
    assert found == [f"{strict.url} for http://", f"{proxy.url} for https://"]


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("host", ["127.0.0.1", "no.such.invalid"])
async def test_a_proxy_that_is_not_there(scheme: str, host: str) -> None:
    """It is named with its setting, and without the password."""
    port = free_port()
    guard = through(f"http://me:s3cret@{host}:{port}")
    with pytest.raises(Unreachable, match=rf"look at the setting outgoing\.{scheme}_proxy") as down:
        await fetched(guard, f"{scheme}://{HOST}/")
    assert str(down.value).startswith(f"the proxy http://{host}:{port}: ")
    assert "s3cret" not in f"{down.value!r} {down.value.__cause__!r}"


async def test_what_the_proxy_refuses_or_cannot_reach(tmp_path: Path) -> None:
    """Its answer, with what to look at; none that the server gives is taken for one."""
    with running_tinyproxy(tmp_path, [HOST], ports=[443]) as narrow:
        guard = through(narrow.url)
        with pytest.raises(Unreachable, match="status 403: its rules have to allow port 444"):
            await fetched(guard, f"https://{HOST}:444/")
        with pytest.raises(Unreachable, match="cannot reach it, and says so with status 5"):
            await fetched(guard, "https://unknown.example/")


async def test_what_speaks_no_http_is_no_proxy() -> None:
    """Or says nothing."""

    async def babble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")  # what is unread at the end would be a reset
        writer.write(b"220 mail.example ESMTP\r\n")
        await writer.drain()

    async with listening(babble) as port:
        for scheme in ("http", "https"):
            with pytest.raises(Unreachable, match=r"does not speak HTTP|broke off"):
                await fetched(through(f"http://127.0.0.1:{port}"), f"{scheme}://{HOST}/")


async def test_a_proxy_that_trickles_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tunnel has to be open in time, also where an answer may take as long as it comes."""
    monkeypatch.setattr("moorage.outgoing.connections.TUNNEL_SECONDS", 1.0)
    ended = asyncio.Event()

    async def trickle(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            writer.write(b"HTTP/1.1 200 OK\r\n")
            while True:
                writer.write(b"a: b\r\n")
                await writer.drain()
                await asyncio.sleep(0.1)
        finally:
            ended.set()

    async with (
        listening(trickle) as port,
        through(f"http://127.0.0.1:{port}").streaming() as client,
        asyncio.timeout(60),
    ):
        with pytest.raises(Unreachable, match=r"the proxy .* does not answer in time"):
            await client.get(f"https://{HOST}/")
        await ended.wait()


async def test_tunnels_that_fail_leave_room_for_others(
    proxy: Tinyproxy, authority: Authority
) -> None:
    """However many: neither certificates that are wrong nor refusals use up the connections."""
    wrong, right = Target(), Target()
    async with (
        wrong.serving(Authority(authority.path.parent / "..").server_context(HOST)) as bad,
        right.serving(authority.server_context(HOST)) as good,
        through(proxy.url, authority).streaming() as client,
    ):
        for _ in range(transport.CONNECTIONS + 1):
            with pytest.raises(Unreachable, match="not trusted"):
                await client.get(f"https://{HOST}:{bad}/")
        assert (await client.get(f"https://{HOST}:{good}/")).text == "hi"
    assert wrong.heads == []


async def test_a_forwarder_that_refuses_our_password() -> None:
    """As most do: its 407 is never taken for the server's answer."""
    async with listening(answering(b"407 No", [])) as port:
        guard = through(f"http://me:s3cret@127.0.0.1:{port}")
        with pytest.raises(Unreachable, match="does not take the user name") as refused:
            await fetched(guard, f"http://{HOST}/")
    assert "s3cret" not in str(refused.value)
