"""The way out: which addresses it takes, and how it bounds what comes back. Real sockets."""

import asyncio
import collections
import socket
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import pytest
from tools.ports import free_port

from moorage.config.settings import Settings
from moorage.errors import AddressRefused, Unreachable
from moorage.outgoing import Guard
from moorage.outgoing.addresses import allowed
from moorage.roles.jobs import kinds
from moorage.roles.opening import opened
from moorage.telemetry.metrics import Metrics
from moorage.webhooks.delivery import Delivery

pytestmark = pytest.mark.anyio

LOOPBACK = (ip_network("127.0.0.0/8"),)
Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def serving(handler: Handler) -> AsyncIterator[int]:
    """A server on the loopback; yields its port."""
    server = await asyncio.start_server(handler, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


def answering(answer: bytes) -> Handler:
    """Reads a request's headers, answers so, closes."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()
        writer.close()

    return handle


def named(monkeypatch: pytest.MonkeyPatch, *answers: str) -> list[str]:
    """Make the name `somewhere.test` resolve to each of `answers` in turn; returns the look-ups."""
    asked: list[str] = []
    real = socket.getaddrinfo

    def look_up(host: Any, port: Any, *rest: Any, **more: Any) -> Any:
        if host != "somewhere.test":
            return real(host, port, *rest, **more)
        asked.append(host)
        address = answers[min(len(asked), len(answers)) - 1]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    return asked


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "127.8.9.1",
        "0.0.0.0",
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "100.100.100.200",
        "192.0.0.192",
        "198.18.0.1",
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "fe80::1",
        "fc00::1",
        "fd00:ec2::254",
        "fec0::1",
        "ff02::1",
        "::ffff:127.0.0.1",
        "::ffff:169.254.169.254",
        "64:ff9b::7f00:1",
        "64:ff9b::a9fe:a9fe",
        "64:ff9b:1::1",
        "2002:7f00:1::",
        "2002:a9fe:a9fe::1",
        "2001:db8::1",
        "::127.0.0.1",
        "::169.254.169.254",
        "::ffff:0:127.0.0.1",
        "168.63.129.16",
        "::ffff:168.63.129.16",
    ],
)
def test_an_address_that_is_not_public_is_refused(address: str) -> None:
    """Also where an IPv6 address carries one of IPv4."""
    assert not allowed(ip_address(address), ())


@pytest.mark.parametrize(
    "address",
    [
        "1.1.1.1",
        "93.184.216.34",
        "2606:4700::1111",
        "64:ff9b::101:101",
        "::ffff:1.1.1.1",
        "168.63.129.17",
    ],
)
def test_a_public_address_is_taken(address: str) -> None:
    """Without any setting."""
    assert allowed(ip_address(address), ())


def test_the_operator_opens_networks_one_by_one() -> None:
    """What he lists is open, what is beside it stays shut."""
    networks = (ip_network("10.0.0.0/8"), ip_network("fd00::/8"))
    assert allowed(ip_address("10.9.9.9"), networks)
    assert allowed(ip_address("::ffff:10.9.9.9"), networks)
    assert allowed(ip_address("fd12::1"), networks)
    assert not allowed(ip_address("192.168.0.1"), networks)
    assert not allowed(ip_address("169.254.169.254"), networks)


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "2130706433", "0x7f.1", "127.1", "::1", "::ffff:127.0.0.1"]
)
async def test_no_spelling_of_the_own_machine_is_reached(host: str) -> None:
    """Nor does anything arrive there.

    CVE-2026-85471.
    """
    connected = asyncio.Event()

    async def handle(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connected.set()
        writer.close()

    async with serving(handle) as port:
        bracketed = f"[{host}]" if ":" in host else host
        async with Guard().client() as client:
            with pytest.raises((AddressRefused, Unreachable)):
                await client.get(f"http://{bracketed}:{port}/")
        with pytest.raises((AddressRefused, Unreachable)):
            await Guard().connect(host, port)
    assert not connected.is_set()


async def test_a_name_is_looked_up_once_and_that_address_is_used(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A name server that answers something else the second time gains nothing."""
    asked = named(monkeypatch, "127.0.0.1", "169.254.169.254")
    hi = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi"
    async with serving(answering(hi)) as port, Guard(LOOPBACK).client() as client:
        answer = await client.get(f"http://somewhere.test:{port}/")
    assert answer.text == "hi"
    assert asked == ["somewhere.test"]


async def test_a_redirect_is_an_answer_and_not_followed() -> None:
    """Where it leads to is the caller's to judge."""
    moved = b"HTTP/1.1 302 Found\r\nlocation: http://169.254.169.254/\r\ncontent-length: 0\r\n\r\n"
    async with serving(answering(moved)) as port, Guard(LOOPBACK).client() as client:
        assert (await client.get(f"http://127.0.0.1:{port}/")).status_code == 302


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\ncontent-length: 5000\r\n\r\n" + b"x" * 5000,
        b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 5000,
        b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 2\r\n\r\nxx",
        b"what is this\r\n\r\n",
        b"",
    ],
)
async def test_an_answer_that_is_too_much_or_none_is_an_error(answer: bytes) -> None:
    """Too long, without end, compressed, no HTTP, or nothing at all."""
    async with serving(answering(answer)) as port, Guard(LOOPBACK).client(limit=4096) as client:
        with pytest.raises(Unreachable):
            await client.get(f"http://127.0.0.1:{port}/")


async def test_a_server_that_trickles_is_left() -> None:
    """Each byte comes in time, the whole does not."""

    async def trickle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n")
        try:
            while True:
                writer.write(b"x")
                await writer.drain()
                await asyncio.sleep(0.02)
        except ConnectionError:
            pass
        finally:
            writer.close()

    async with serving(trickle) as port, Guard(LOOPBACK).client(seconds=2) as client:
        with pytest.raises(Unreachable, match="in time"):
            await client.get(f"http://127.0.0.1:{port}/")


@pytest.mark.parametrize(
    ("method", "length", "connections"),
    [("HEAD", 5_000_000, 1), ("PUT", 0, 1), ("GET", 3000, 1), ("GET", 200_000, 3)],
)
async def test_a_connection_serves_the_next_request(
    method: str, length: int, connections: int
) -> None:
    """Also when nobody read the answer, unless it is long."""
    made = 0

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal made
        made += 1
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % length)
                writer.write(b"x" * (0 if method == "HEAD" else length))
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async with serving(handle) as port, Guard(LOOPBACK).streaming() as client:
        for _ in range(3):
            request = client.build_request(method, f"http://127.0.0.1:{port}/")
            answer = await client.send(request, stream=True)
            await answer.aclose()
    assert made == connections


async def test_a_server_that_is_not_there_is_unreachable() -> None:
    """A refused connection, an unknown name, an unknown scheme."""
    port = free_port()
    guard = Guard(LOOPBACK)
    with pytest.raises(Unreachable):
        await guard.connect("127.0.0.1", port)
    async with guard.client() as client:
        for url in (f"http://127.0.0.1:{port}/", "http://no.such.invalid/", "ftp://127.0.0.1/"):
            with pytest.raises(Unreachable):
                await client.get(url)


async def test_a_silent_name_server_holds_up_no_other_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whatever waits for it: one name has one thread, however often it is asked for."""
    silent, asked = threading.Event(), collections.Counter[str]()
    real = socket.getaddrinfo

    def look_up(host: Any, port: Any, *rest: Any, **more: Any) -> Any:
        if str(host).endswith(".silent.test"):
            asked[host] += 1
            silent.wait(600)
        return real("127.0.0.1", port, *rest, **more)

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    monkeypatch.setattr("moorage.outgoing.guard.RESOLVE_SECONDS", 0.2)
    guard = Guard(LOOPBACK)
    try:
        for _ in range(2):
            waiting = [guard.addresses(f"{n % 60}.silent.test", 80) for n in range(120)]
            for outcome in await asyncio.gather(*waiting, return_exceptions=True):
                assert isinstance(outcome, Unreachable), outcome
                assert "no answer in time" in str(outcome)
            with monkeypatch.context() as patch:
                patch.setattr("moorage.outgoing.guard.RESOLVE_SECONDS", 120)
                assert await guard.addresses("good.test", 80)
        assert len(asked) == 60 == asked.total()
        more = [guard.addresses(f"{n}.more.silent.test", 80) for n in range(5)]
        refused = [str(e) for e in await asyncio.gather(*more, return_exceptions=True)]
        assert sum("other names wait" in text for text in refused) == 1
        assert await asyncio.to_thread(lambda: True)
    finally:
        silent.set()


async def test_names_of_projects_hold_up_no_sign_in(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Webhooks of one project to many slow names leave the look-ups of the operator alone."""
    silent, real = threading.Event(), socket.getaddrinfo

    def look_up(host: Any, port: Any, *rest: Any, **more: Any) -> Any:
        if str(host).endswith(".silent.test"):
            silent.wait(600)
        return real("127.0.0.1", port, *rest, **more)

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    monkeypatch.setattr("moorage.outgoing.guard.RESOLVE_SECONDS", 0.2)
    settings = Settings.model_validate({"data_dir": tmp_path, "outgoing": {"allow": LOOPBACK}})
    async with opened(settings, Metrics("1")) as resources:
        tellers = [each.run for each in kinds(resources) if isinstance(each.run, Delivery)]
        assert {id(teller._guard) for teller in tellers} == {id(resources.guard_of_projects)}
        assert resources.exchange._issuers._guard is resources.guard_of_projects
        try:
            names = [f"{n}.silent.test" for n in range(80)]
            waiting = [resources.guard_of_projects.addresses(name, 80) for name in names]
            outcomes = await asyncio.gather(*waiting, return_exceptions=True)
            assert sum("other names wait" in str(each) for each in outcomes) == 16
            monkeypatch.setattr("moorage.outgoing.guard.RESOLVE_SECONDS", 120)
            for mine in (resources.registries._guard, resources.ldap._guard, resources.oidc._guard):
                assert await mine.addresses("good.test", 80)
        finally:
            silent.set()


async def test_a_name_is_asked_for_again_after_it_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A failure is nobody's later."""
    failing = True
    real = socket.getaddrinfo

    def look_up(host: Any, port: Any, *rest: Any, **more: Any) -> Any:
        if failing:
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        return real("127.0.0.1", port, *rest, **more)

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    guard = Guard(LOOPBACK)
    with pytest.raises(Unreachable, match="name server"):
        await guard.addresses("now.test", 80)
    failing = False
    assert await guard.addresses("now.test", 80)


async def test_the_environment_cannot_send_it_through_a_proxy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A proxy would look up the name anew."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    empty = b"HTTP/1.1 204 No Content\r\n\r\n"
    async with serving(answering(empty)) as port, Guard(LOOPBACK).client() as client:
        assert (await client.get(f"http://127.0.0.1:{port}/")).status_code == 204
