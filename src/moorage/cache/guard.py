"""Whether this replica may use Redis now, and how a writer makes sure that all others know.

    away ── link up, fence read, its server is ours ──► marking ── not suspended ──► using
      ▲                                                    │                           │
      └── link down · fence not read for TRUST · another server · we suspended ────────┘

    away      reads go to the database at once; a writer suspends the fence before it commits
    marking   reads go to the database; a writer marks keys under the new generation
    using     reads go to Redis; a writer marks keys

Why a reader never sees less than what was acknowledged before it began:

1. A writer marks its keys in the one Redis that the fence names: every reader there meets the mark.
2. Or it suspends the fence at time s and commits at s + WAIT or later. A reader uses Redis only if
   it began within TRUST of the begin of its last look at the fence. A look after s shows the
   suspension; a reader after a look before s began before s + TRUST, which is less than s + WAIT,
   and so before the commit.
3. After a suspension everybody uses a new generation, which was empty when the suspension began.
   What is filled there is read after the suspension ended, and a writer that commits later than
   that has marked its keys, or suspends again.
4. After its commit a writer deletes its keys, under a generation that it looked up within TRUST
   (no younger one can have been filled meanwhile: it would be suspended still), or suspends.
   So it does not matter if Redis lost the mark.
5. A Redis that restarted, was promoted or restored is another server: the fence must be moved to
   it, which suspends everybody first.
"""

import asyncio
import contextlib
import logging
import secrets
from dataclasses import dataclass

from moorage.cache import scripts
from moorage.cache.fence import Fence, FenceState
from moorage.cache.link import Link, NotUsable, identify
from moorage.cache.scripts import Script
from moorage.cache.wire import ErrorReply, Wire, WireBroken, encode
from moorage.clock import Clock
from moorage.config.redis import RedisSettings

log = logging.getLogger(__name__)

SHORTEST = 0.05  # seconds between two looks at the fence, whatever happens


@dataclass(frozen=True)
class Pace:
    """The times of the protocol, in seconds."""

    poll: float = 0.8  # between looks at the fence
    trust: float = 2.0  # how long one look is believed
    wait: float = 2.5  # after it every replica has noticed a suspension; more than `trust`
    suspend: float = 6.0  # one suspension; more than `wait` + `settle` / 2
    adopt: float = 2.0  # looking for the fence's server before moving the fence to ours
    patience: float = 0.3  # a writer waits this long for a broken link to come back
    settle: float = 5.0  # a commit takes less; fills wait this long after a flush
    mark: float = 30.0  # a dead writer's marks vanish after this
    hold: float = 60.0  # a writer without Redis keeps the suspension up for this long after a write


@dataclass(frozen=True)
class _Look:
    """One look at the fence, in this process's own monotonic time."""

    state: FenceState
    asked: float  # the state is no older than this
    begun: float  # a suspension has been in force from this time or an earlier one until `ends`
    ends: float  # the suspension ends no earlier than this; before `asked`: there is none


class Guard:
    """Owns the link, the looks at the fence and the rules between them."""

    def __init__(self, settings: RedisSettings, fence: Fence, clock: Clock, pace: Pace) -> None:
        self._now = clock.monotonic
        self._fence = fence
        self.pace = pace
        self.link = Link(settings, self._linked)
        self.me = secrets.token_hex(6)
        self.prefix = b""  # of every key, under the present generation
        self.usable_until = 0.0  # monotonic: a reader that begins before this may use Redis
        self._mark_until = 0.0  # monotonic: the same for a writer
        self._look: _Look | None = None
        self._leaving = asyncio.Lock()
        self._seeing = asyncio.Lock()
        self._blind_until = 0.0  # monotonic: a writer's own look failed just now
        self._hold_until = 0.0  # monotonic: until then the watch lengthens a suspension of ours
        self._change = asyncio.Event()
        self._wake = asyncio.Event()
        self._strange_since: float | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self.error = ""

    def start(self) -> None:
        """Begin to connect and to look at the fence."""
        self._tasks = [asyncio.create_task(self.link.run()), asyncio.create_task(self._watch())]

    async def close(self) -> None:
        """Stop both; nothing may be used any more."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self.usable_until = self._mark_until = 0.0

    # --- what is allowed

    def _learn(self, state: FenceState, asked: float) -> None:
        look = self._look
        got = self._now()
        ends = asked + state.remaining
        # A suspension takes its time, and a younger look may not have seen it yet: it still counts.
        if look is not None and asked < look.asked and ends <= max(got, look.ends):
            return  # overtaken by a younger look
        if look is not None and got < look.ends and state.remaining <= 0:
            return  # read before the suspension that we know of was committed
        # Without a gap since an older look, the suspension that we see is the one that we saw.
        begun = look.begun if look is not None and got < look.ends else got
        self._look = _Look(state, asked, begun, ends)
        self._weigh()

    def _linked(self) -> None:
        self._weigh()
        self._wake.set()

    def _weigh(self) -> None:
        """Set what is allowed from the last look and the state of the link."""
        look, link = self._look, self.link
        self.usable_until = self._mark_until = 0.0
        if look is not None and link.wire is not None and look.state.server == link.server:
            self._mark_until = look.asked + self.pace.trust
            self.prefix = b"%b:%b:" % (scripts.SLOT.encode(), look.state.generation.encode())
            if look.state.remaining <= 0:
                self.usable_until = self._mark_until
        self._change.set()

    def reason(self) -> str:
        """Why Redis is not used now; empty while it is."""
        now = self._now()
        if now < self.usable_until:
            return ""
        if self.link.wire is None:
            return self.link.error
        if self._look is None or self._outdated():
            return self.error or "the fence has not been read yet"
        if self._look.state.server != self.link.server:
            return "replicas are moving to another server"
        return "suspended until every replica uses the same content"

    # --- writers

    async def tell(self, script: Script, keys: list[str], *arguments: str | int) -> bool:
        """Run `script` on the keys in Redis; whether everybody who uses Redis will notice.

        Waits a moment for a link that went down just now, unless a suspension is in force anyway.
        """
        if self.link.wire is not None and self._outdated():
            await self._see_again()
        down = self.link.down_since
        give_up = (self._now() if down is None else down) + self.pace.patience
        while True:
            until, wire = self._mark_until, self.link.wire
            if wire is not None and self._now() < until:
                reply = await self._send(wire, script, keys, *arguments)
                if reply is True and self._now() < until:
                    return True
                if reply is False:
                    return False
            left = give_up - self._now()
            if left <= 0 or self._suspended(self.pace.settle / 2):
                return False
            self._change.clear()
            try:
                async with asyncio.timeout(left):
                    await self._change.wait()
            except TimeoutError:
                return False

    async def _send(
        self, wire: Wire, script: Script, keys: list[str], *arguments: str | int
    ) -> bool | None:
        """True: done. False: refused for good. None: the wire broke."""
        names = [self.prefix + key.encode() for key in keys]
        command = encode("EVALSHA", script.sha, len(names), *names, *arguments)
        try:
            reply = await wire.send(command)
        except WireBroken:
            return None
        if not isinstance(reply, ErrorReply):
            return True
        self.link.refused(reply)
        self.error = str(reply)
        return None if wire.broken else False

    def _outdated(self) -> bool:
        """Whether the last look is too old to be believed."""
        return self._look is None or self._now() >= self._look.asked + self.pace.trust

    async def _see_again(self) -> None:
        """Look at the fence ourselves: a database that was away kept the watch from it as well.

        It is back, for a writer is here, and a look is quicker than a suspension of everybody. When
        it fails, those who wait for it do not try one after the other.
        """
        async with self._seeing:
            if self._outdated() and self._now() >= self._blind_until:
                try:
                    await self._see()
                except Exception as error:  # as in the watch: then the writer has to suspend
                    self.error = str(error) or type(error).__name__
                    self._blind_until = self._now() + self.pace.poll

    def _suspended(self, margin: float) -> bool:
        """Whether a suspension is in force for at least `margin` seconds more.

        It is never shortened, so an old look is as good as a young one.
        """
        return self._look is not None and self._now() < self._look.ends - margin

    async def leave(self) -> None:
        """Return when no replica uses Redis, and none will for the length of a commit.

        Raises DatabaseUnavailable when the fence cannot be told.
        """
        margin = self.pace.settle / 2
        self._hold_until = self._now() + self.pace.hold
        if not self._suspended(margin):
            async with self._leaving:
                if not self._suspended(margin):
                    asked = self._now()
                    self._learn(await self._fence.suspend(self.pace.suspend), asked)
                    log.warning("redis: suspended for all replicas: %s", self.link.error)
        await self.noticed()

    async def noticed(self) -> None:
        """Return when every replica has noticed the suspension that is in force, if one is."""
        look = self._look
        if look is not None and self._now() < look.ends:
            await asyncio.sleep(look.begun + self.pace.wait - self._now())

    # --- the watch

    async def _watch(self) -> None:
        while True:
            self._wake.clear()
            asked = self._now()
            try:
                await self._see()
                await self._hold()
                self.error = ""
            except Exception as error:  # whatever fails here: Redis is not used, and we try again
                self.error = str(error) or type(error).__name__
            await asyncio.sleep(SHORTEST)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(asked + self.pace.poll - self._now()):
                    await self._wake.wait()

    async def _see(self) -> None:
        """One look at the fence, and at the link's server."""
        asked = self._now()
        self._learn(await self._fence.read(), asked)
        await self._beat()

    async def _hold(self) -> None:
        """Keep up the suspension that a writer here needed, so that its next one need not wait."""
        asked = self._now()
        if asked < self._mark_until:
            self._hold_until = 0.0
        elif asked < self._hold_until and not self._suspended(self.pace.settle):
            self._learn(await self._fence.suspend(self.pace.suspend), asked)

    async def _beat(self) -> None:
        """See that the link's server is what it was, and the one that the fence names."""
        wire, look = self.link.wire, self._look
        if wire is None or look is None:
            return
        settle = self.pace.settle
        try:
            server = await identify(wire.call)
            if server != self.link.server:
                raise NotUsable("the server has become another one")
            if not look.state.server:
                # Nobody has used a Redis yet, so no mark can have been lost: fill at once.
                settle = 0
                asked = self._now()
                state = await self._fence.choose(server)
                self._learn(state, asked)
            else:
                state = look.state
            if state.server != server:
                await self._meet(server)
                return
            self._strange_since = None
            opening = scripts.opening(self.prefix)
            await wire.call("EVALSHA", scripts.BEAT.sha, 1, opening, int(settle * 1000))
        except (ErrorReply, NotUsable) as error:
            self.link.drop(str(error))

    async def _meet(self, server: str) -> None:
        """Our server is not the fence's: look for that one for a while, then move the fence."""
        asked = self._now()
        if self._strange_since is None:
            self._strange_since = asked
        if asked - self._strange_since < self.pace.adopt:
            self.link.drop("replicas use another server")
            return
        self._strange_since = None
        self._learn(await self._fence.suspend(self.pace.suspend, server), asked)
        log.warning("redis: every replica moves to another server")
