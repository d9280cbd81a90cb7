"""A worker: claims tasks, does them side by side, keeps their leases, and leaves in order.

    claim loop   bell or poll ─► which kinds have something ─► a few of each, in turn
    beat loop    every 2 s: still ours? shall it stop?   after a quarter of it: renew the leases
    tick loop    every second: schedules that are due

A kind never has more than its share of the slots, and one that has none running may always have
one: so no kind waits for another, however long its queue or its tasks are.
"""

import asyncio
import contextlib
import json
import logging
import os
import secrets
import socket
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from moorage import failpoints
from moorage.clock import Clock
from moorage.config.jobs import JobSettings
from moorage.db.engine import Database
from moorage.db.transactions import Tx
from moorage.errors import DatabaseUnavailable, MoorageError, Unavailable
from moorage.jobs import presence, queue
from moorage.jobs.bell import Bell
from moorage.jobs.context import Context, Lost, plain
from moorage.jobs.kinds import Kind
from moorage.jobs.records import ERROR, PENDING, STOPPED, SUCCESS, Claim, Stopping
from moorage.jobs.schedules import Ticker
from moorage.telemetry.metrics import Metrics

log = logging.getLogger(__name__)

LOOK = 2.0
"""Seconds between two looks for tasks that shall stop; under a short lease a quarter of it."""
TICK = 1.0
"""Seconds between two looks at the schedules."""
PATIENCE = 10.0
"""Seconds that a task may take to stop by itself; then it is cancelled."""
LIGHT = 50
"""Light tasks of a kind that one worker does at once, beside those in its slots."""
FORGOTTEN = 600.0
"""Seconds after which a worker that is not seen leaves the list."""


_Loop = asyncio.Task[None]


@dataclass
class _Run:
    """A task that this worker is doing."""

    context: Context
    task: asyncio.Task[None]
    lost: bool = False
    asked_at: float | None = None  # when it was told to stop, on the monotonic clock
    settling: bool = False  # its outcome is being written: nothing may cut that short


class Worker:
    """Does tasks of these kinds until it is closed."""

    def __init__(
        self,
        db: Database,
        kinds: Sequence[Kind],
        bell: Bell,
        clock: Clock,
        settings: JobSettings,
        *,
        metrics: Metrics | None = None,
        ticker: Ticker | None = None,
        alone: bool = False,
    ) -> None:
        """`alone`: no other worker can live, so what others hold is free at once."""
        self._db = db
        self._kinds = {kind.name: kind for kind in kinds}
        self._bell = bell
        self._clock = clock
        self._settings = settings
        self._metrics = metrics
        self._ticker = ticker
        self._alone = alone
        self._runs: dict[int, _Run] = {}
        self._turn = 0
        self._closing = False
        self.id = f"{socket.gethostname()[:40]}-{os.getpid()}-{secrets.token_hex(4)}"

    # --- life

    async def live(self) -> None:
        """Work until cancelled; then hand back what is unfinished."""
        await self._patiently(self._appear)
        taking = [asyncio.create_task(self._claim_loop())]
        if self._ticker is not None:
            taking.append(asyncio.create_task(self._tick_loop(self._ticker)))
        beating = asyncio.create_task(self._beat_loop())  # also of what takes a while to let go
        try:
            # Not `gather`: cancelled, it would cancel the beat.
            (failed, *_), _ = await asyncio.wait([*taking, beating], return_when="FIRST_COMPLETED")
            await failed
        finally:
            await asyncio.shield(self._leave(taking, beating))

    async def _appear(self) -> None:
        await self._db.run(presence.ensure_queues, list(self._kinds))
        if self._alone:
            await self._db.run(presence.orphan, self.id)
        await self._show()

    async def _show(self) -> None:
        slots, host = self._settings.slots, socket.gethostname()
        await self._db.run(presence.appear, self.id, host[:255], os.getpid(), slots)

    async def _leave(self, taking: Sequence[_Loop], beating: _Loop) -> None:
        """Cancel what runs; what does not end in time is taken over when its lease ends."""
        self._closing = True
        await _end(taking)
        runs = list(self._runs.values())
        for run in runs:
            if not run.settling:
                run.task.cancel()
        if runs:
            await asyncio.wait([run.task for run in runs], timeout=self._settings.drain_seconds)
        await _end([beating])
        with contextlib.suppress(MoorageError):
            await self._db.run(queue.release, self.id, list(self._runs))
            await self._db.run(presence.vanish, self.id, FORGOTTEN)
        await self._bell.ring()

    # --- claiming

    async def _claim_loop(self) -> None:
        while True:
            try:
                claimed = await self.claim_some()
            except Exception as error:
                self._complain("claiming", error)
                claimed = 0
            if not claimed:
                await self._bell.wait(self._settings.poll_seconds)

    async def claim_some(self) -> int:
        """Claim what there is room for, and begin it; returns how many tasks."""
        rooms = {name: self._room(kind) for name, kind in self._kinds.items()}
        names = [name for name, room in rooms.items() if room > 0]
        async with self._db.read() as tx:
            due = await queue.due(tx, names)
        # Another kind comes first each time, else the first would get every free slot.
        self._turn += 1
        at = self._turn % len(due) if due else 0
        claimed = 0
        for name in due[at:] + due[:at]:
            kind = self._kinds[name]
            count = min(self._room(kind), max(1, rooms[name] // len(due)))
            if count > 0:
                claimed += await self._claim(kind, count)
        return claimed

    def _room(self, kind: Kind) -> int:
        runs = [self._kinds[run.context.claim.kind] for run in self._runs.values()]
        mine = runs.count(kind)
        slots = self._settings.slots
        share = min(kind.share or max(1, slots // 2), kind.limit or LIGHT)
        if kind.light:
            return share - mine
        taken = sum(not each.light for each in runs)
        free = max(slots - taken, 0 if mine else 1)
        return min(share - mine, free)

    async def _claim(self, kind: Kind, count: int) -> int:
        lease = self._settings.lease_seconds
        claims = await self._db.run(queue.claim, kind.name, count, self.id, lease, kind.limit)
        await failpoints.reach("job.claimed")
        for claim in claims:
            self._begin(kind, claim)
        return len(claims)

    # --- doing

    def _begin(self, kind: Kind, claim: Claim) -> None:
        if earlier := self._runs.get(claim.id):  # this process slept, and is its own heir
            self._lose([earlier])
        context = Context(self._db, self._clock, self.id, claim)
        task = asyncio.create_task(self._do(kind, context), name=f"{kind.name} {claim.id}")
        run = self._runs[claim.id] = _Run(context, task)
        task.add_done_callback(lambda _: self._ended(claim.id, run))

    def _ended(self, task_id: int, run: _Run) -> None:
        if self._runs.get(task_id) is run:
            del self._runs[task_id]
        self._bell.nudge()  # a slot is free

    def _run_of(self, context: Context) -> _Run | None:
        """The run of this context, unless this process has begun the same task anew since."""
        run = self._runs.get(context.claim.id)
        return run if run is not None and run.context is context else None

    async def _do(self, kind: Kind, context: Context) -> None:
        began = self._clock.monotonic()
        writing = asyncio.create_task(context.keep_flushing())
        try:
            status, message = await self._handle(kind, context)
            if not status:
                return
            status, message = _storable(context, status, message)
            if run := self._run_of(context):
                run.settling = True
            await self._patiently(lambda: self._settle(kind, context, status, message))
        except Exception as error:  # the lease ends, and another run tries
            self._complain(f"ending {kind.name} {context.claim.id}", error)
        finally:
            writing.cancel()  # at the end: cut short, a piece of the log would be written twice
        if self._metrics is not None:
            self._metrics.observe_task(kind.name, status, self._clock.monotonic() - began)

    async def _handle(self, kind: Kind, context: Context) -> tuple[str, str]:
        """Run the handler; how it ended, or nothing when the task is not ours any more.

        Pending: the database went away under it, and it shall go on.
        """
        claim = context.claim
        if claim.stop_requested:
            return STOPPED, ""
        if claim.crashes >= queue.MAX_CRASHES:
            return ERROR, f"{claim.crashes} workers died of it"
        try:
            await kind.run(context)
        except Stopping:
            context.log("stopped")
            return STOPPED, ""
        except Lost:
            return "", ""
        except asyncio.CancelledError:
            return await self._cancelled(context)
        except DatabaseUnavailable as error:
            context.log(error.message, "WARNING")
            return PENDING, plain(error.message)
        except MoorageError as error:
            context.log(error.message, "ERROR")
            return ERROR, plain(error.message)
        except Exception as error:
            log.exception("%s %d failed", kind.name, claim.id)
            message = plain(f"{type(error).__name__}: the server's log says more")
            context.log(message, "ERROR")
            return ERROR, message
        return SUCCESS, ""

    async def _cancelled(self, context: Context) -> tuple[str, str]:
        """Somebody else has it; or it did not stop by itself; or the worker leaves."""
        run = self._run_of(context)
        if run is None or run.lost:
            return "", ""
        if self._closing:
            with contextlib.suppress(MoorageError):
                await context.flush()
                await self._db.run(queue.give_back, self.id, context.claim)
            return "", ""
        if run.asked_at is None:
            context.log("it was cancelled, and nobody asked for that", "ERROR")
            return ERROR, "it was cancelled, and nobody asked for that"
        context.log("stopped, before it was done with what it was at", "WARNING")
        return STOPPED, ""

    async def _settle(self, kind: Kind, context: Context, status: str, message: str) -> None:
        """End the task, or let it wait for another try."""
        claim = context.claim
        crashed = status == PENDING  # counted apart, as workers that die
        failures, crashes = claim.failures + (status == ERROR), context.crashes + crashed
        again = crashed or (status == ERROR and failures < kind.tries)
        if again and crashes < queue.MAX_CRASHES:
            await self._flush(context)
            pause = kind.pause(crashes if crashed else failures)
            await self._db.run(queue.retry, self.id, claim, pause, message, crashed=crashed)
            return
        status = ERROR if crashed else status
        results = context.extra, context.summary
        mine = True

        async def end(tx: Tx) -> None:
            nonlocal mine
            mine = await queue.finish(tx, self.id, claim, status, message, *results)
            if mine and status == SUCCESS and context.last is not None:
                await context.last(tx)

        await self._flush(context, end)
        if not mine:
            log.warning("%s %d ended here, but is another worker's now", kind.name, claim.id)
        await failpoints.reach("job.finished")

    async def _flush(
        self, context: Context, end: Callable[[Tx], Awaitable[None]] | None = None
    ) -> None:
        """Write what is left of the log, with the `end` of the task in the same transaction.

        A piece of a log that cannot be written is not worth the task: that ends without it.
        """
        try:
            await context.flush(end)
        except Unavailable:
            raise
        except Exception as error:
            self._complain(f"the log of task {context.claim.id}", error)
            if end is not None:
                await self._db.run(end)

    # --- keeping

    async def _beat_loop(self) -> None:
        lease = self._settings.lease_seconds
        beaten = self._clock.monotonic()
        while True:
            pause = min(LOOK, lease / 4)
            await asyncio.sleep(pause)
            began = self._clock.monotonic()
            renew = began - beaten >= lease / 4
            looking = asyncio.create_task(self._look(renew=renew))
            try:
                # A process that slept asks before it gives up; a database may also never answer.
                await asyncio.wait([looking], timeout=max(beaten + lease - began, pause))
                if not looking.done():
                    self._lose(list(self._runs.values()))
                await looking
            except Exception as error:
                self._complain("keeping leases", error)
                if self._clock.monotonic() - beaten >= lease:
                    self._lose(list(self._runs.values()))
                continue
            finally:
                looking.cancel()
            if renew:
                beaten = began

    async def _look(self, *, renew: bool) -> None:
        """See which tasks are still ours; a worker that slept too long learns it here."""
        runs = dict(self._runs)
        if renew:
            await self._show()
            lease = self._settings.lease_seconds
            kept = await self._db.run(queue.beat, self.id, list(runs), lease)
        elif runs:
            async with self._db.read() as tx:
                kept = await queue.stops(tx, self.id, list(runs))
        else:
            return
        for task_id, run in runs.items():
            fence, stop = kept.get(task_id, (None, False))
            if fence != run.context.claim.fence:
                if self._runs.get(task_id) is run and not run.task.done():
                    self._lose([run])
            elif stop:
                self._ask_to_stop(run)

    def _lose(self, runs: Sequence[_Run]) -> None:
        """Cancel handlers; one that is at its end may try, and is refused if it is too late."""
        for run in runs:
            run.lost = True
            if not run.settling:
                run.task.cancel()

    def _ask_to_stop(self, run: _Run) -> None:
        moment = self._clock.monotonic()
        if run.asked_at is None:
            run.asked_at = moment
            run.context.ask_to_stop()
        elif moment - run.asked_at > PATIENCE and not run.settling:
            run.task.cancel()

    # --- ticking

    async def _tick_loop(self, ticker: Ticker) -> None:
        while True:
            await asyncio.sleep(TICK)
            try:
                if await ticker.tick():
                    await self._bell.ring()
            except Exception as error:
                self._complain("schedules", error)

    # --- failures

    async def _patiently(self, work: Callable[[], Awaitable[None]]) -> None:
        """Until it succeeds: a database that is away comes back. Nothing else is waited for."""
        pause = 0.2
        while True:
            try:
                return await work()
            except Unavailable as error:
                self._complain("jobs", error)
            await asyncio.sleep(pause)
            pause = min(pause * 2, 5.0)

    def _complain(self, what: str, error: Exception) -> None:
        if isinstance(error, MoorageError):
            log.warning("%s: %s", what, error.message)
        else:
            log.error("%s failed", what, exc_info=error)


async def _end(running: Sequence[_Loop]) -> None:
    """Cancel tasks, and wait for their end."""
    for each in running:
        each.cancel()
    await asyncio.gather(*running, return_exceptions=True)


def _storable(context: Context, status: str, message: str) -> tuple[str, str]:
    """The outcome; a handler whose results no database can store has failed."""
    try:
        json.dumps(context.extra, allow_nan=False)
    except (TypeError, ValueError):
        context.extra = None
        context.log("its results are not JSON", "ERROR")
        return ERROR, "its results are not JSON"
    return status, message
