"""The audit log on its way to a syslog server, over real sockets."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert, select
from tests.support.accounts import SECRET_KEY
from tests.support.certificates import Authority
from tools.ports import free_port

from moorage.access.principals import Principal
from moorage.access.secretbox import SecretBox
from moorage.audit import Forwarder, Recorder, Syslog
from moorage.audit.syslog import message
from moorage.cache.local import NoCache
from moorage.config.configuration import Configuration
from moorage.config.syslog import parse_target
from moorage.db import tables
from moorage.db.engine import Database
from moorage.errors import Invalid, Unavailable
from moorage.events import Outbox, UserCreated, emit
from moorage.outgoing import Guard
from moorage.settings import Configurations

pytestmark = pytest.mark.anyio

ADMIN = Principal("user", 1, "admin", sysadmin=True)
LOOPBACK = (ip_network("127.0.0.0/8"),)


class Collector:
    """A syslog server: what it got, and how it treats whoever connects."""

    def __init__(self) -> None:
        self.messages: list[bytes] = []
        self.hang_up_after: int | None = None  # messages, then the connection is reset

    async def stream(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Messages behind their lengths (RFC 6587)."""
        got = 0
        try:
            while length := await reader.readuntil(b" "):
                self.messages.append(await reader.readexactly(int(length)))
                got += 1
                if self.hang_up_after is not None and got >= self.hang_up_after:
                    writer.transport.abort()
                    return
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def until(self, count: int) -> list[bytes]:
        """What it got, when that is so much."""
        async with asyncio.timeout(60):
            while len(self.messages) < count:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        return self.messages

    @asynccontextmanager
    async def listening(self, tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
        """Its port on the loopback."""
        server = await asyncio.start_server(self.stream, "127.0.0.1", 0, ssl=tls)
        async with server:
            yield server.sockets[0].getsockname()[1]


class Datagrams(asyncio.DatagramProtocol):
    """Keeps what arrives."""

    def __init__(self) -> None:
        self.messages: asyncio.Queue[bytes] = asyncio.Queue()

    def datagram_received(self, data: bytes, _: Any) -> None:
        """One message (RFC 5426)."""
        self.messages.put_nowait(data)


@pytest.fixture
def settings(database: Database) -> Configurations:
    """Without a look at new servers: the tests name some that are not there yet."""
    return Configurations(database, NoCache(), SecretBox(SECRET_KEY))


async def happen(db: Database, settings: Configurations, *names: str) -> None:
    """Users of these names are made, and the log hears of it."""
    async with db.write() as tx:
        await emit(tx, *(UserCreated(operator="admin", username=name) for name in names))
    outbox = Outbox(db, {UserCreated: [Recorder(settings).hear]})
    while await outbox.dispatch():
        pass


def told(messages: list[bytes]) -> list[str]:
    """The resource of each message."""
    return [content(each)["resource"] for each in messages]


def content(line: bytes) -> Any:
    """The JSON behind the header of a message."""
    return json.loads(line[line.index(b"{") :])


async def count(db: Database, table: Any) -> int:
    async with db.read() as tx:
        return len((await tx.execute(select(table))).all())


def test_a_message_is_one_line_whatever_a_name_holds() -> None:
    """RFC 5424: priority, version, time, host, application; the rest is JSON in ASCII."""
    entry = {
        "occurred_at": "2026-01-02T03:04:05+00:00",
        "operation": "create",
        "resource_type": "artifact",
        "resource": "team/app:v1\n<0>1 forged",
        "username": "ünï\x1b[31m",
        "successful": False,
    }
    line = message(7, entry, "host")
    assert line.startswith(b"<108>1 2026-01-02T03:04:05+00:00 host moorage - create_artifact - {")
    assert line.isascii()
    assert b"\n" not in line
    assert b"\x1b" not in line
    assert content(line)["message_id"] == 7


async def test_what_happens_arrives_in_order_over_tcp(
    database: Database, settings: Configurations
) -> None:
    """In the log as well; nothing waits any more."""
    collector = Collector()
    async with collector.listening() as port:
        await settings.change(ADMIN, {"audit_log_forward_endpoint": f"127.0.0.1:{port}"})
        names = [f"user{n}" for n in range(25)]
        await happen(database, settings, *names)
        forwarder = Forwarder(database, settings, Syslog(Guard(LOOPBACK)), batch=10)
        while await forwarder.run_once():
            pass
        await collector.until(25)
    assert told(collector.messages) == names
    assert await count(database, tables.audit_log) == 25
    assert await count(database, tables.audit_forwards) == 0


async def test_what_happens_arrives_over_udp(database: Database, settings: Configurations) -> None:
    """A datagram each."""
    loop = asyncio.get_running_loop()
    transport, datagrams = await loop.create_datagram_endpoint(
        Datagrams, local_addr=("127.0.0.1", 0)
    )
    port = transport.get_extra_info("sockname")[1]
    await settings.change(ADMIN, {"audit_log_forward_endpoint": f"udp://127.0.0.1:{port}"})
    await happen(database, settings, "one", "two")
    await Forwarder(database, settings, Syslog(Guard(LOOPBACK))).run_once()
    async with asyncio.timeout(60):
        arrived = [await datagrams.messages.get(), await datagrams.messages.get()]
    transport.close()
    assert told(arrived) == ["one", "two"]


async def test_what_happens_arrives_over_tls_at_a_server_that_is_trusted(
    database: Database, settings: Configurations, tmp_path: Path
) -> None:
    """One that the operator's authorities do not vouch for gets nothing."""
    authority = Authority(tmp_path)
    context = authority.server_context("127.0.0.1")
    collector = Collector()
    async with collector.listening(context) as port:
        await settings.change(ADMIN, {"audit_log_forward_endpoint": f"tls://127.0.0.1:{port}"})
        await happen(database, settings, "one")
        with pytest.raises(Unavailable, match="not trusted"):
            await Forwarder(database, settings, Syslog(Guard(LOOPBACK))).run_once()
        assert collector.messages == []
        # Another process takes over when the first one is gone.
        async with database.write() as tx:
            await tx.execute(tables.properties.delete())
        guard = Guard(LOOPBACK, ca_file=authority.path)
        await Forwarder(database, settings, Syslog(guard)).run_once()
        await collector.until(1)
    assert told(collector.messages) == ["one"]
    assert await count(database, tables.audit_forwards) == 0


async def test_a_server_that_is_away_loses_nothing(
    database: Database, settings: Configurations
) -> None:
    """What waits is sent when it is back, the oldest first; requests never waited for it."""
    collector, port = Collector(), free_port()
    await settings.change(ADMIN, {"audit_log_forward_endpoint": f"127.0.0.1:{port}"})
    await happen(database, settings, "one", "two")
    forwarder = Forwarder(database, settings, Syslog(Guard(LOOPBACK)))
    with pytest.raises(Unavailable):
        await forwarder.run_once()
    assert await count(database, tables.audit_forwards) == 2
    await happen(database, settings, "three")
    server = await asyncio.start_server(collector.stream, "127.0.0.1", port)
    async with server:
        await forwarder.run_once()
        await collector.until(3)
    assert told(collector.messages) == ["one", "two", "three"]


async def test_a_server_that_dies_in_the_middle_gets_the_rest_again(
    database: Database, settings: Configurations
) -> None:
    """Twice is better than never: the id of a message tells."""
    collector = Collector()
    collector.hang_up_after = 1
    async with collector.listening() as port:
        await settings.change(ADMIN, {"audit_log_forward_endpoint": f"127.0.0.1:{port}"})
        # Enough of them that the reset is met while there is still something to send.
        names = [f"user{n}-{'x' * 200}" for n in range(2000)]
        await happen(database, settings, *names)
        forwarder = Forwarder(database, settings, Syslog(Guard(LOOPBACK)), batch=2000)
        with pytest.raises(Unavailable):
            await forwarder.run_once()
        assert await count(database, tables.audit_forwards) == 2000
        collector.hang_up_after = None
        await forwarder.run_once()
    assert set(told(collector.messages)) == set(names)
    assert await count(database, tables.audit_forwards) == 0


async def test_one_process_sends_at_a_time(database: Database, settings: Configurations) -> None:
    """The second one leaves the rows alone while the first one holds them."""
    collector = Collector()
    async with collector.listening() as port:
        await settings.change(ADMIN, {"audit_log_forward_endpoint": f"127.0.0.1:{port}"})
        syslog = Syslog(Guard(LOOPBACK))
        first = Forwarder(database, settings, syslog)
        second = Forwarder(database, settings, syslog)
        await happen(database, settings, "one")
        await first.run_once()
        await happen(database, settings, "two")
        assert await second.run_once() is False
        assert told(collector.messages) == ["one"]
        await first.run_once()
        await collector.until(2)
    assert told(collector.messages) == ["one", "two"]


async def test_the_database_may_be_left_out_and_gets_what_nobody_fetched(
    database: Database, settings: Configurations
) -> None:
    """Only while somebody else keeps the log; when he is gone, the database has it."""
    with pytest.raises(Invalid):
        await settings.change(ADMIN, {"skip_audit_log_database": True})
    values = {"audit_log_forward_endpoint": "127.0.0.1:9", "skip_audit_log_database": True}
    await settings.change(ADMIN, values)
    await happen(database, settings, "one")
    assert await count(database, tables.audit_log) == 0
    await settings.change(
        ADMIN, {"audit_log_forward_endpoint": "", "skip_audit_log_database": False}
    )
    await Forwarder(database, settings, Syslog(Guard(LOOPBACK))).run_once()
    async with database.read() as tx:
        rows = (await tx.execute(select(tables.audit_log.c.resource))).scalars().all()
    assert rows == ["one"]
    assert await count(database, tables.audit_forwards) == 0


async def test_events_that_are_switched_off_are_never_written(
    database: Database, settings: Configurations
) -> None:
    """Neither here nor for the syslog server."""
    values = {
        "disabled_audit_log_event_types": "create_user, delete_robot",
        "audit_log_forward_endpoint": "127.0.0.1:9",
    }
    await settings.change(ADMIN, values)
    await happen(database, settings, "one")
    assert await count(database, tables.audit_log) == 0
    assert await count(database, tables.audit_forwards) == 0
    with pytest.raises(Invalid, match="no_such"):
        await settings.change(ADMIN, {"disabled_audit_log_event_types": "no_such"})


async def test_a_new_server_has_to_answer(database: Database) -> None:
    """And to be where this server may connect to.

    CVE-2026-2377.
    """
    collector = Collector()

    def configurations(guard: Guard) -> Configurations:
        reach = Syslog(guard).reach
        return Configurations(database, NoCache(), SecretBox(SECRET_KEY), reach=reach)

    async with collector.listening() as port:
        endpoint = {"audit_log_forward_endpoint": f"127.0.0.1:{port}"}
        with pytest.raises(Invalid, match=r"outgoing\.allow"):
            await configurations(Guard()).change(ADMIN, endpoint)
        open_guard = configurations(Guard(LOOPBACK))
        assert await open_guard.change(ADMIN, endpoint) == ["audit_log_forward_endpoint"]
    with pytest.raises(Invalid, match="refuses connections"):
        await open_guard.change(ADMIN, {"audit_log_forward_endpoint": f"tcp://127.0.0.1:{port}"})
    for wrong in ("host", "http://host:1", "tcp://host:0", "tcp://u:p@host:1", "tcp://h:1/x"):
        with pytest.raises(Invalid):
            await open_guard.change(ADMIN, {"audit_log_forward_endpoint": wrong})


def test_a_server_is_named_by_transport_host_and_port() -> None:
    """Without a transport it is TCP."""
    assert str(parse_target("logs.example.com:514")) == "tcp://logs.example.com:514"
    assert str(parse_target("udp://[::1]:514")) == "udp://[::1]:514"
    assert Configuration(audit_log_forward_endpoint="tls://logs:6514")


async def test_a_row_of_a_newer_replica_does_not_stop_the_log(
    database: Database, settings: Configurations
) -> None:
    """It stays for those who know its type."""
    async with database.write() as tx:
        await tx.execute(insert(tables.outbox).values(type="FromTheFuture", payload={}))
    await happen(database, settings, "one")
    assert await count(database, tables.audit_log) == 1
    assert await count(database, tables.outbox) == 1
