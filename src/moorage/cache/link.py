"""Keeps one wire to the Redis that may be written to, and makes it anew when it breaks.

    down ── resolve (Sentinels) ── connect ── greet ──► up
      ▲        │ anything fails: wait 0.05 … 1 s         │ breaks, hangs, READONLY, LOADING, MOVED
      └────────┴─────────────────────────────────────────┘

A server is known by its run and by its replication history: a restarted, promoted or restored one
is another server, whatever its address, because its content may have gone back in time.
"""

import asyncio
import contextlib
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

from moorage.cache import scripts
from moorage.cache.wire import ErrorReply, Wire, WireBroken
from moorage.config.redis import RedisAddress, RedisSettings

CONNECT = 1.0  # seconds for one attempt to connect and greet
SHORTEST, LONGEST = 0.05, 1.0  # seconds between attempts
STEADY = 10.0  # a wire that lasted this long was a good one: the next attempt comes at once


class NotUsable(Exception):
    """The server answers but cannot serve as the cache now."""


class Link:
    """The present wire, or none; `run` is a task that keeps it."""

    def __init__(self, settings: RedisSettings, changed: Callable[[], None]) -> None:
        """`changed` is called each time the link comes up or goes down."""
        self._settings = settings
        self._configured = settings.address()
        self._moved: tuple[str, int] | None = None
        self._turn = 0  # which of several nodes is asked next
        self._budget = settings.timeout_ms / 1000
        self.patience = CONNECT * (1 + len(self._configured.hosts) / 2)
        self._changed = changed
        self._broke = asyncio.Event()
        self.wire: Wire | None = None
        self.server = ""  # of the present wire
        self.error = "not connected yet"
        self.connections = 0
        self.down_since: float | None = asyncio.get_running_loop().time()

    # --- the loop

    async def run(self) -> None:
        """Connect, and again whenever the wire breaks, until cancelled."""
        pause = 0.0
        loop = asyncio.get_running_loop()
        try:
            while True:
                await asyncio.sleep(pause)
                self._broke.clear()
                try:
                    async with asyncio.timeout(self.patience):
                        wire, server = await self.open()
                except (OSError, TimeoutError, ErrorReply, NotUsable, ValueError) as error:
                    self.error = str(error) or "no answer in time"
                    pause = min(max(pause * 2, SHORTEST), LONGEST)
                    continue
                began = loop.time()
                self.wire, self.server, self.error = wire, server, ""
                self.connections += 1
                self.down_since = None
                if wire.broken:  # between the greeting and here
                    self._lost(wire)
                self._changed()
                await self._broke.wait()
                steady = loop.time() - began > STEADY
                pause = 0.0 if steady else min(max(pause * 2, SHORTEST), LONGEST)
        finally:
            self.drop("closed")

    def drop(self, reason: str) -> None:
        """Break the wire, if there is one; `run` looks for a better one."""
        if self.wire is not None:
            self.wire.fail(reason)

    def _lost(self, wire: Wire) -> None:
        if wire is self.wire:
            self.wire = None
            self.server = ""
            self.error = wire.error
            self.down_since = asyncio.get_running_loop().time()
            self._broke.set()
            self._changed()

    def refused(self, error: ErrorReply) -> None:
        """Act on an error reply: those that mean `ask elsewhere` break the wire."""
        if error.code == "MOVED":
            self._follow(error)
        if error.code in scripts.ELSEWHERE:
            self.drop(str(error))

    def _follow(self, error: ErrorReply) -> None:
        host, _, port = str(error).split()[-1].rpartition(":")
        if host and port.isdecimal():
            self._moved = (host, int(port))

    # --- one attempt

    async def open(self) -> tuple[Wire, str]:
        """A wire to the server that may be written to, and who that server is."""
        address = self._configured
        if address.service:
            address = await self._ask_sentinels(address)
        elif self._moved:
            # One attempt at the node that a cluster named; the next begins at the setting again.
            address, self._moved = replace(address, hosts=(self._moved,)), None
        elif len(address.hosts) > 1:
            # Nodes of a cluster: any of them names the one that holds our keys.
            node = address.hosts[self._turn % len(address.hosts)]
            self._turn += 1
            address = replace(address, hosts=(node,))
        wire = await self._connect(address, self._lost)
        try:
            return wire, await self._greet(wire, address)
        except BaseException:
            wire.fail("greeting failed")
            raise

    async def _connect(self, address: RedisAddress, lost: Callable[[Wire], None]) -> Wire:
        loop = asyncio.get_running_loop()

        def make() -> Wire:
            return Wire(self._budget, lost)

        context = self._tls() if address.tls else None
        if address.path:
            return (await loop.create_unix_connection(make, address.path))[1]
        host, port = address.hosts[0]
        return (await loop.create_connection(make, host, port, ssl=context))[1]

    def _tls(self) -> ssl.SSLContext:
        settings = self._settings
        context = ssl.create_default_context(cafile=settings.ca_file)
        if settings.cert_file:
            context.load_cert_chain(settings.cert_file, settings.key_file)
        if not settings.verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context

    async def _greet(self, wire: Wire, address: RedisAddress) -> str:
        await _authenticate(wire, address.username, address.password)
        if address.db:
            await wire.call("SELECT", address.db)
        with contextlib.suppress(ErrorReply):  # a courtesy to who lists the clients
            await wire.call("CLIENT", "SETNAME", "moorage")
        for script in scripts.ALL:
            await wire.call("SCRIPT", "LOAD", script.source)
        try:
            await wire.call("EXISTS", scripts.SLOT)
        except ErrorReply as error:
            self._follow(error)
            raise
        return await identify(wire.call)

    async def _ask_sentinels(self, address: RedisAddress) -> RedisAddress:
        settings = self._settings
        secret = settings.sentinel_password
        why = "no Sentinel answers"
        for host in address.hosts:
            try:
                async with asyncio.timeout(CONNECT / 2):
                    wire = await self._connect(replace(address, hosts=(host,)), lambda _: None)
                    try:
                        await _authenticate(
                            wire,
                            settings.sentinel_username,
                            secret.get_secret_value() if secret else None,
                        )
                        found = await wire.call(
                            "SENTINEL", "GET-MASTER-ADDR-BY-NAME", address.service or ""
                        )
                    finally:
                        wire.fail("asked")
            except (OSError, TimeoutError, ErrorReply) as error:
                why = f"Sentinel {host[0]}:{host[1]}: {error or 'no answer in time'}"
                continue
            if found:
                primary = (found[0].decode(), int(found[1]))
                return replace(address, hosts=(primary,))
            why = f"Sentinel {host[0]}:{host[1]} does not know {address.service}"
        raise NotUsable(why)


class Line:
    """A link of its own, for what can do without Redis: each call may fail at once."""

    def __init__(self, settings: RedisSettings, name: str) -> None:
        self._link = Link(settings, lambda: None)
        self._keeper = asyncio.create_task(self._link.run(), name=name)

    @property
    def connected(self) -> bool:
        """Whether Redis can be asked."""
        return self._link.wire is not None

    async def call(self, *words: Any) -> Any:
        """What Redis answers; raises OSError, ErrorReply."""
        if self._link.wire is None:
            raise WireBroken
        try:
            return await self._link.wire.call(*words)
        except ErrorReply as error:
            self._link.refused(error)
            raise

    async def close(self) -> None:
        """Let go of the connection."""
        self._keeper.cancel()
        await asyncio.gather(self._keeper, return_exceptions=True)


async def examine(settings: RedisSettings) -> dict[str, str]:
    """What the Redis that would be used now says of its memory, by the names of `INFO`.

    Raises what one attempt to connect raises: OSError, TimeoutError, ErrorReply, NotUsable.
    """
    link = Link(settings, lambda: None)
    async with asyncio.timeout(link.patience):
        wire, _ = await link.open()
        try:
            text = (await wire.call("INFO", "memory")).decode(errors="replace")
        finally:
            wire.fail("asked")
    lines = (line.partition(":") for line in text.splitlines())
    return {name: value for name, _, value in lines if value}


async def _authenticate(wire: Wire, username: str | None, password: str | None) -> None:
    if password is not None:
        names = (username,) if username else ()
        await wire.call("AUTH", *names, password)


async def identify(call: Callable[..., Awaitable[bytes]]) -> str:
    """Who this server is now. Raises NotUsable for a replica, ErrorReply, WireBroken."""
    facts = {}
    for section in ("server", "replication"):
        for line in (await call("INFO", section)).decode(errors="replace").splitlines():
            name, _, value = line.partition(":")
            facts[name] = value
    if facts.get("role", "master") != "master":
        raise NotUsable("the server is a replica")
    run, history = facts.get("run_id", ""), facts.get("master_replid", "")
    if not run + history:
        raise NotUsable("the server does not say which run it is")
    return f"{run[:16]}.{history[:16]}"


__all__ = ["Link", "NotUsable", "WireBroken", "examine", "identify"]
