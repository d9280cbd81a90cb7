"""What a handler is given: its task, and the ways to act, to tell and to stop.

await context.run(step, …)     a transaction that happens only while the task is still ours
context.log("…")               a line of the job's log; readable within a second
context.tell("17 of 40")       progress, shown where the job is listed
context.check()                raises Stopping when somebody asked for it
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from datetime import UTC, datetime
from typing import Any, Concatenate, ParamSpec, TypeVar

from moorage import failpoints
from moorage.clock import Clock
from moorage.db.engine import Database
from moorage.db.transactions import Tx
from moorage.jobs import queue, statements
from moorage.jobs.records import Claim, Stopping
from moorage.telemetry.logs import one_line

P = ParamSpec("P")
T = TypeVar("T")

MAX_LOG = 8 << 20
"""Characters of one run's log."""
MAX_LINE = 8192
"""Characters."""
MAX_TOLD = 1024
"""Characters of what is told of progress."""
FLUSH = 1.0
"""Seconds that a line waits for others at most."""


class Lost(Exception):
    """The task is somebody else's now; whatever this run did not commit, it must not do."""


class Context:
    """One run of a task."""

    def __init__(self, db: Database, clock: Clock, owner: str, claim: Claim) -> None:
        self._db = db
        self._clock = clock
        self._owner = owner
        self._lines: list[str] = []
        self._written = 0  # characters
        self._told: str | None = None
        self._stop = asyncio.Event()
        self._flushing = asyncio.Lock()
        self.claim = claim
        self.crashes = claim.crashes
        """Workers that were lost since the task last got on."""
        self.extra: dict[str, Any] | None = None
        """Results to show, kept when the task ends; None: what it was made with."""
        self.summary: dict[str, Any] | None = None
        """The same for the execution, when this is its only task."""
        self.last: Callable[[Tx], Awaitable[None]] | None = None
        """Step: done in the transaction that ends the task, if it succeeds."""

    # --- acting

    async def run(
        self,
        step: Callable[Concatenate[Tx, P], Awaitable[T]],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """Run a step in a transaction that a run which lost its task cannot commit; raises Lost."""

        async def guarded(tx: Tx) -> T:
            if not await queue.guard(tx, self._owner, self.claim):
                raise Lost
            return await step(tx, *args, **kwargs)

        return await self._db.run(guarded)

    async def save(self, checkpoint: Any, tx: Tx | None = None) -> None:
        """Where another run goes on; with `tx`, exactly when that commits. Raises Lost.

        A task that got on is none that kills its workers, whatever became of earlier ones.
        """
        values = {"checkpoint": checkpoint}
        if checkpoint != self.claim.checkpoint:
            values["crashes"] = self.crashes = 0

        async def step(tx: Tx) -> None:
            if not await queue.keep(tx, self._owner, self.claim, **values):
                raise Lost

        await (step(tx) if tx is not None else self._db.run(step))

    # --- stopping

    @property
    def stopping(self) -> bool:
        """Whether somebody asked for it."""
        return self._stop.is_set()

    def check(self) -> None:
        """Raise Stopping when somebody asked for it."""
        if self.stopping:
            raise Stopping

    def ask_to_stop(self) -> None:
        """For the worker."""
        self._stop.set()

    async def sleep(self, seconds: float) -> None:
        """Wait, unless the task shall stop; raises Stopping."""
        try:
            async with asyncio.timeout(seconds):
                await self._stop.wait()
        except TimeoutError:
            return
        raise Stopping

    # --- telling

    def log(self, message: str, level: str = "INFO") -> None:
        """Write a line; what would make two of it is escaped."""
        if self._written > MAX_LOG:
            return
        text = plain(message)
        if len(text) > MAX_LINE:
            text = text[:MAX_LINE] + " …"
        stamp = self._clock.now().astimezone(UTC)
        line = f"{_instant(stamp)} [{level}] {text}\n"
        self._written += len(line)
        if self._written > MAX_LOG:
            line = f"{_instant(stamp)} [WARNING] the log ends here: it has {MAX_LOG} characters\n"
        self._lines.append(line)

    def tell(self, progress: str) -> None:
        """Say how far it is."""
        self._told = plain(progress)[:MAX_TOLD]

    async def flush(self, and_then: Callable[[Tx], Awaitable[None]] | None = None) -> None:
        """Write what was logged and told; a failed write is tried again by the next call.

        `and_then` is a step of the same transaction.
        """
        async with self._flushing:
            lines, told = self._lines, self._told
            if not lines and told is None and and_then is None:
                return
            self._lines, self._told = [], None
            try:
                await self._db.run(self._write, "".join(lines), told, and_then)
            except BaseException:
                self._lines = lines + self._lines
                self._told = self._told if self._told is not None else told
                raise

    async def _write(
        self,
        tx: Tx,
        text: str,
        told: str | None,
        and_then: Callable[[Tx], Awaitable[None]] | None,
    ) -> None:
        if text:
            await tx.fetch(statements.LOG, task=self.claim.id, lines=text)
        if told is not None:
            await queue.tell(tx, self._owner, self.claim, told)
        await failpoints.reach("job.logging")
        if and_then is not None:
            await and_then(tx)

    async def keep_flushing(self) -> None:
        """Until cancelled; a database that is away is waited for."""
        while True:
            await asyncio.sleep(FLUSH)
            try:
                await self.flush()
            except Exception:  # noqa: S112 - the lines are kept, and tried again
                continue


def plain(text: str) -> str:
    """Text that is one line, and that every database stores."""
    return one_line(text).encode(errors="backslashreplace").decode()


def _instant(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%S}Z"


async def together(*works: Coroutine[Any, Any, None]) -> None:
    """Do parts of a task side by side; the first that fails ends the others, and is raised."""
    tasks = [asyncio.create_task(work) for work in works]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
