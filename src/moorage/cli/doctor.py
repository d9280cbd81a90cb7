"""`moorage doctor`: look at everything that has to work, and say what does not."""

import asyncio
import shutil
import socket
import ssl
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import typer

from moorage import __version__
from moorage.cli.options import Config, Data, Json, because, settings, table

if TYPE_CHECKING:
    from moorage.config.settings import Settings
    from moorage.db import Database
    from moorage.db.migrator import Status

Check = Callable[["Settings"], Awaitable[str]]

_LOW_DISK = 0.1
_LAST_DAYS = 14


def doctor(data: Data = None, config: Config = None, json: Json = False) -> None:
    """Check settings, database, blob store, Redis, clock, disk, external URL and proxies.

    Ends with status 1 when something is wrong.
    """
    found = settings(config, data)
    results = asyncio.run(_examine(found))
    table(
        [{"check": name, "state": state, "what": what} for name, state, what in results],
        as_json=json,
    )
    if any(state == "wrong" for _, state, _ in results):
        raise typer.Exit(1)


async def _examine(found: "Settings") -> list[tuple[str, str, str]]:
    results = []
    for name, check in CHECKS.items():
        try:
            async with asyncio.timeout(20):
                results.append((name, "fine", await check(found)))
        except TimeoutError:
            results.append((name, "wrong", "no answer in 20 s"))
        except _NotSet as error:
            results.append((name, "not set", str(error)))
        except Exception as error:
            results.append((name, "wrong", because(error)))
    return results


class _NotSet(Exception):
    """Nothing to check."""


@asynccontextmanager
async def _database(found: "Settings") -> "AsyncIterator[Database]":
    from moorage.clock import SystemClock
    from moorage.db import connect

    found.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    db = connect(found.database, data_dir=found.data_dir, clock=SystemClock())
    try:
        yield db
    finally:
        await db.close()


async def _schema(found: "Settings") -> str:
    from moorage.db.migrator import status

    async with _database(found) as db:
        state = await status(db)
    if not state.ready:
        return f"empty or old; the next start applies {', '.join(state.pending)}"
    kind = "PostgreSQL" if found.database.postgres else "SQLite"
    return f"{kind}, revision {state.current}"


async def _clock(found: "Settings") -> str:
    from moorage.db.moments import moment

    async with _database(found) as db, db.read() as tx:
        theirs = await moment(tx)
    skew = abs((datetime.now(UTC) - theirs).total_seconds())
    if skew > 5:
        raise RuntimeError(f"{skew:.0f} s away from the database's clock; run NTP on both")
    return f"{skew:.1f} s away from the database's"


async def _storage(found: "Settings") -> str:
    from moorage.blobstore import open as open_store

    store = open_store(found.storage, data_dir=found.data_dir)
    key = f"blobs/_doctor/{uuid.uuid4().hex}"
    probe = b"moorage doctor"
    try:
        began = time.perf_counter()
        writer = store.create(key)
        try:
            await writer.write(probe)
            await writer.commit()
        except BaseException:
            await writer.abort()
            raise
        read = b"".join([data async for data in store.read(key)])
        await store.delete([key])
        if read != probe:
            raise RuntimeError("an object was read back damaged")
        return f"{store.driver}, written, read and deleted in {time.perf_counter() - began:.3f} s"
    finally:
        await store.close()


async def _disk(found: "Settings") -> str:
    found.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    folders = [found.data_dir]
    if found.storage.driver == "filesystem" and found.storage.filesystem.rootdirectory:
        folders.append(found.storage.filesystem.rootdirectory)
    said, low = [], False
    for folder in folders:
        usage = shutil.disk_usage(folder)
        free = usage.free / usage.total
        said.append(f"{usage.free / 2**30:.1f} GiB free ({free:.0%}) at {folder}")
        low = low or free < _LOW_DISK
    text = ", ".join(said)
    if low:
        raise RuntimeError(f"{text}: grow it before pushes fail")
    return text


async def _redis(found: "Settings") -> str:
    if found.redis is None:
        raise _NotSet("a single process needs none")
    from moorage.cache.link import examine

    began = time.perf_counter()
    try:
        facts = await examine(found.redis)
    except TimeoutError:
        raise RuntimeError("no answer in time") from None
    text = f"answers in {(time.perf_counter() - began) * 1000:.1f} ms"
    policy = facts.get("maxmemory_policy", "noeviction")
    if facts.get("maxmemory", "0") != "0" and policy != "noeviction":
        raise RuntimeError(
            f"{text}, and drops keys when it is full: set maxmemory-policy noeviction (is {policy})"
        )
    return text


async def _external(found: "Settings") -> str:
    """As a client sees it: the challenge must name a realm under the external URL."""
    url = found.http.external_url
    if not url:
        raise _NotSet("http.external_url: clients are told what they asked for")
    challenge = await asyncio.to_thread(_challenge, url, _trust(found))
    if f'realm="{url}/service/token"' not in challenge:
        raise RuntimeError(f"{url}/v2/ does not ask for a token of {url}: check the proxy in front")
    return f"{url} asks for its own tokens"


def _trust(found: "Settings") -> ssl.SSLContext:
    """The authorities of this machine and those of the settings, as for other servers."""
    from moorage.outgoing import EVERYWHERE, Guard

    return Guard(EVERYWHERE, found.outgoing.ca_file).tls()


def _challenge(url: str, trust: ssl.SSLContext) -> str:
    import urllib.error
    import urllib.request

    request = urllib.request.Request(f"{url}/v2/")  # noqa: S310 - checked by the settings
    direct = urllib.request.ProxyHandler({})  # or one of the environment would be asked
    opener = urllib.request.build_opener(direct, urllib.request.HTTPSHandler(context=trust))
    try:
        opener.open(request, timeout=10).close()
    except urllib.error.HTTPError as answer:
        return str(answer.headers.get("WWW-Authenticate", ""))
    except urllib.error.URLError as error:
        raise RuntimeError(f"{url}: {error.reason}; is the server up?") from None
    return ""


async def _tls(found: "Settings") -> str:
    """The certificate under the external URL: trusted here, and not about to end."""
    url = urlsplit(found.http.external_url)
    if url.scheme != "https" or url.hostname is None:
        raise _NotSet("http.external_url is not https: passwords and tokens travel in the clear")
    address = (url.hostname, url.port or 443)

    def ask() -> str:
        context = _trust(found)
        with (
            socket.create_connection(address, timeout=10) as plain,
            context.wrap_socket(plain, server_hostname=url.hostname) as wrapped,
        ):
            return str((wrapped.getpeercert() or {})["notAfter"])

    ends = await asyncio.to_thread(ask)
    days = (ssl.cert_time_to_seconds(ends) - time.time()) / 86400
    if days < _LAST_DAYS:
        raise RuntimeError(f"the certificate ends in {days:.0f} days: renew it")
    return f"trusted, {days:.0f} days left"


async def _proxies(found: "Settings") -> str:
    """Those between this server and others: they answer, and take our account."""
    from moorage.outgoing import EVERYWHERE, Guard, HttpProxies

    outgoing = found.outgoing
    if outgoing.http_proxy is None and outgoing.https_proxy is None:
        raise _NotSet("outgoing.http_proxy, outgoing.https_proxy: connections go out directly")
    guard = Guard(EVERYWHERE, outgoing.ca_file, HttpProxies(outgoing))
    return f"{' and '.join(await guard.greet_proxies())} answer"


async def _backup(found: "Settings") -> str:
    """Bytes that a backup's rows name have to stay until the next one."""
    import json

    from sqlalchemy import select

    from moorage.db.tables import properties
    from moorage.moving.backup import LAST

    query = select(properties.c.value).where(properties.c.name == LAST)
    async with _database(found) as db:
        if not (await _status(db)).ready:
            raise _NotSet("the database has no schema yet")
        async with db.read() as tx:
            noted = (await tx.execute(query)).scalar_one_or_none()
    if noted is None:
        raise _NotSet("`moorage backup create` was never run; other tools do not tell")
    last = json.loads(noted)
    age = (datetime.now(UTC) - datetime.fromisoformat(last["at"])).total_seconds()
    text = f"the last one {age / 3600:.1f} h ago took {last['seconds']:.0f} s"
    kept = max(found.gc.trash_seconds, found.gc.drain_seconds)
    needed = max(last["seconds"], last["interval"] or 0)
    if needed > kept:
        raise RuntimeError(
            f"{text}, and deleted bytes stay only {kept / 3600:.1f} h: set gc.trash_seconds to at "
            f"least {needed:.0f}, the time between two backups"
        )
    return text


async def _status(db: "Database") -> "Status":
    from moorage.db.migrator import status

    return await status(db)


async def _identity(found: "Settings") -> str:
    return f"version {__version__}, no unknown key"


CHECKS: Mapping[str, Check] = {
    "settings": _identity,
    "database": _schema,
    "clock": _clock,
    "storage": _storage,
    "disk": _disk,
    "backup": _backup,
    "redis": _redis,
    "external url": _external,
    "tls": _tls,
    "proxy": _proxies,
}
