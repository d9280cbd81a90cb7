"""A worker in a process of its own, with kinds that leave traces; and those processes.

    python -m tests.support.jobworker '{"folder": …, "url": …, "redis": …, "jobs": {…}}'

QUICK   one effect                                   LONG      five, with a checkpoint after each
TWICE   fails twice, then one                        FAN       three tasks more, which are QUICK
CPU     burns a thread, then one                     LIMITED   two at once, and watches that
POISON  ends its process                             SLEEPER   waits, and tells how it ended

An effect is a row, written in the transaction that saves that it was; nothing keeps a second one
from being written but the fence. With "marks", schedules of vendor MARK fire tasks of kind MARK, by
a clock that stands until somebody moves it.
"""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from pydantic import SecretStr
from sqlalchemy import literal_column, text

from moorage.clock import SystemClock
from moorage.config.database import DatabaseSettings
from moorage.config.jobs import JobSettings
from moorage.config.redis import RedisSettings
from moorage.db import Database, connect
from moorage.db.transactions import Tx
from moorage.db.types import Timestamp
from moorage.errors import Conflict, DatabaseUnavailable
from moorage.jobs import Context, Kind, Lost, NewTask, extend
from moorage.jobs.bell import open_bell
from moorage.jobs.schedules import Ticker, single
from moorage.jobs.worker import Worker

ROOT = Path(__file__).parents[2]
LIMIT = 2
EFFECTS = {"QUICK": 1, "LONG": 5, "TWICE": 1, "FAN": 1, "CPU": 1, "LIMITED": 1}
"""How many rows a task of each kind leaves."""


# --- what it does


async def prepare(db: Database) -> None:
    """Make the table of effects."""
    async with db.write() as tx:
        columns = "task_id BIGINT, part INTEGER, fence INTEGER"
        await tx.execute(text(f"CREATE TABLE effects ({columns})"))


async def _effect(tx: Tx, context: Context, part: int) -> None:
    values = {"task": context.claim.id, "part": part, "fence": context.claim.fence}
    await tx.execute(text("INSERT INTO effects VALUES (:task, :part, :fence)"), values)
    await context.save(part + 1, tx)


async def _quick(context: Context) -> None:
    if context.claim.checkpoint is None:
        await context.run(_effect, context, 0)


async def _long(context: Context) -> None:
    for part in range(context.claim.checkpoint or 0, EFFECTS["LONG"]):
        await asyncio.sleep(0.2)
        context.log(f"part {part}")
        await context.run(_effect, context, part)
        context.tell(f"{part + 1} of {EFFECTS['LONG']}")


async def _twice(context: Context) -> None:
    if context.claim.failures < 2:
        raise Conflict("not yet")
    await _quick(context)


async def _fan(context: Context) -> None:
    async def spread(tx: Tx) -> None:
        await _effect(tx, context, 0)
        await extend(tx, context.claim.execution_id, [NewTask("QUICK")] * 3)

    if context.claim.checkpoint is None:
        await context.run(spread)


def _burn(seconds: float) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        sum(range(1000))


async def _cpu(context: Context) -> None:
    await asyncio.to_thread(_burn, 0.1)
    await _quick(context)


async def _poison(context: Context) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class _Traces:
    """Kinds that tell by files."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._astray: list[asyncio.Task[None]] = []

    async def limited(self, context: Context) -> None:
        inside = self._folder / "inside"
        inside.mkdir(exist_ok=True)
        mine = inside / f"{os.getpid()}-{context.claim.id}"
        mine.touch()
        # Files of the dead stay; a process whose parent has not waited for it yet is a zombie.
        if sum(alive(int(name.partition("-")[0])) for name in os.listdir(inside)) > LIMIT:
            (self._folder / "too-many").touch()
        await asyncio.sleep(0.1)
        mine.unlink()
        await _quick(context)

    async def sleeper(self, context: Context) -> None:
        """The first run sleeps; whatever becomes of it, something of it acts when it is told to."""
        fence = context.claim.fence
        (self._folder / f"began-{context.claim.id}-{fence}").touch()
        if fence == 1:
            self._astray.append(asyncio.create_task(self._act(context)))
            try:
                await asyncio.sleep(600)
            except asyncio.CancelledError:
                (self._folder / f"cancelled-{context.claim.id}").touch()
                raise
        await context.run(_effect, context, 1)

    async def _act(self, context: Context) -> None:
        """Try to leave an effect; no cancel of the run reaches this, as it reaches no thread."""
        while not (self._folder / "act").exists():  # noqa: ASYNC110 - told by a process
            await asyncio.sleep(0.05)
        try:
            await context.run(_effect, context, 0)
        except Lost:
            (self._folder / f"refused-{context.claim.id}").touch()
        except DatabaseUnavailable:  # the server ended a connection that was frozen in its midst
            await self._act(context)


def _state(pid: int) -> str:
    """The letter that the kernel has for it; a dead one that nobody waited for is a Z."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return "Z"


def alive(pid: int) -> bool:
    """Whether a process runs, or could."""
    return _state(pid) != "Z"


def frozen(pid: int) -> bool:
    """Whether a process has heard of its SIGSTOP."""
    return _state(pid) == "T"


def kinds(folder: Path) -> Sequence[Kind]:
    """All of them."""
    traces = _Traces(folder)
    return (
        Kind("QUICK", _quick, backoff=0.2),
        Kind("LONG", _long, backoff=0.2),
        Kind("TWICE", _twice, tries=3, backoff=0.1),
        Kind("FAN", _fan, backoff=0.2),
        Kind("CPU", _cpu, share=2, backoff=0.2),
        Kind("LIMITED", traces.limited, limit=LIMIT, backoff=0.2),
        Kind("POISON", _poison),
        Kind("SLEEPER", traces.sleeper),
        Kind("MARK", _quick),
    )


# --- the process


class _Clock(SystemClock):
    """A machine's clock that is wrong."""

    def __init__(self, late: float) -> None:
        self._late = timedelta(seconds=late)

    def now(self) -> datetime:
        return super().now() + self._late


def stepped() -> Any:
    """A clock that stands until a test moves it: the one row of a table."""
    return literal_column("(SELECT moment FROM clock)", Timestamp)


def opened(options: Mapping[str, Any]) -> Database:
    """The database of a process."""
    url = SecretStr(options["url"]) if options.get("url") else None
    clock = _Clock(options.get("late", 0))
    return connect(DatabaseSettings(url=url), data_dir=Path(options["folder"]), clock=clock)


async def main(options: Mapping[str, Any]) -> None:
    folder = Path(options["folder"])
    db = opened(options)
    redis = options.get("redis")
    bell = open_bell(RedisSettings(url=SecretStr(redis)) if redis else None)
    ticker = None
    if options.get("marks"):
        ticker = Ticker(db, {"MARK": single("MARK")}, stepped())
    worker = Worker(
        *(db, kinds(folder), bell, _Clock(options.get("late", 0))),
        JobSettings(**options["jobs"]),
        ticker=ticker,
        alone=options.get("alone", False),
    )
    living = asyncio.create_task(worker.live())
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, living.cancel)
    await asyncio.gather(living, return_exceptions=True)
    await bell.close()
    await db.close()


# --- processes


class Fleet:
    """Processes of workers, for a test to hurt."""

    def __init__(self, folder: Path, count: int, **options: Any) -> None:
        self.folder = folder
        self.options = {"folder": str(folder), **options}
        self.processes: list[subprocess.Popen[bytes]] = []
        for _ in range(count):
            self.processes.append(self._start())

    def _start(self, *before: str, **more: Any) -> subprocess.Popen[bytes]:
        with (self.folder / "workers.log").open("ab") as output:
            return subprocess.Popen(
                [
                    *before,
                    *(sys.executable, "-m", "tests.support.jobworker"),
                    json.dumps(self.options | more),
                ],
                cwd=ROOT,
                stdout=output,
                stderr=output,
            )

    def add(self, *before: str, **more: Any) -> None:
        """One more, with other options; `before` is a program that runs it."""
        self.processes.append(self._start(*before, **more))

    def kill(self, number: int) -> int:
        """End one as `kill -9` does; its process id."""
        self.processes[number].kill()
        self.processes[number].wait()
        return self.processes[number].pid

    def again(self, number: int) -> None:
        """Another in its place."""
        self.processes[number] = self._start()

    def signal(self, number: int, what: signal.Signals) -> None:
        self.processes[number].send_signal(what)

    def number(self, owner: str) -> int:
        """Which one a worker of this name is."""
        return [each.pid for each in self.processes].index(int(owner.split("-")[-2]))

    def end(self) -> None:
        """Of all of them."""
        for each in self.processes:
            each.kill()
            each.wait()


if __name__ == "__main__":
    asyncio.run(main(json.loads(sys.argv[1])))
