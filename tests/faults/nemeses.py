"""What fails, by name. Each is a context: it fails on the way in, and is well on the way out.

    F-K   processes of ours: killed, frozen, drained, starved of memory, restarted one by one
    F-X   a step of ours: the process ends there
    F-P   PostgreSQL: crash, failover, no connections, silence, locks
    F-R   Redis: killed, hung, flushed, demoted
    F-S   the object store: errors, lost answers, short answers, killed, away
    F-D   disks: the store's, the database's
    F-C   the clock of one process
    F-N   the network of one process
    F-H   clients that are slow or leave, and nginx

A nemesis that this machine cannot do says why, by name.
"""

import contextlib
import os
import random
import resource
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.faults import outages
from tests.faults.topology import Process, Topology
from tests.support.requirements import find

from moorage import failpoints

Strike = Callable[[Topology, random.Random], AbstractContextManager[None]]

PATIENCE = 120.0  # seconds until a process comes to a step that every job passes
FAKETIME = Path("/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1")


@dataclass(frozen=True)
class Nemesis:
    """One way to fail."""

    id: str
    says: str
    strike: Strike
    seconds: tuple[float, float] = (2.0, 8.0)  # how long it lasts
    harmless: bool = False  # whether no request through nginx may fail meanwhile
    root: bool = False
    tool: str = ""
    slow: bool = False  # too long for a short run
    ends: bool = False  # whether processes of ours end by it

    def lacking(self) -> str:
        """Why it cannot be done here, or nothing."""
        if self.root and os.geteuid() != 0:
            return "needs root"
        if self.tool and not (Path(self.tool).exists() or find(self.tool)):
            return f"needs {Path(self.tool).name}"
        return ""


# --- processes


def _one(topology: Topology, rng: random.Random) -> Process:
    return rng.choice(topology.processes)


@contextmanager
def kill(topology: Topology, rng: random.Random) -> Iterator[None]:
    with _killed(_one(topology, rng)):
        yield


@contextmanager
def _killed(victim: Process) -> Iterator[None]:
    victim.kill()
    yield
    victim.launch()


def kill_a(role: str) -> Nemesis:
    """One process of a role is killed."""

    @contextmanager
    def strike(topology: Topology, rng: random.Random) -> Iterator[None]:
        with _killed(rng.choice(topology.of(role))):
            yield

    return Nemesis("F-K1", f"a {role} is killed", strike)


@contextmanager
def freeze(topology: Topology, rng: random.Random) -> Iterator[None]:
    victim = _one(topology, rng)
    victim.signal(signal.SIGSTOP)
    try:
        yield
    finally:
        victim.signal(signal.SIGCONT)


@contextmanager
def drain(topology: Topology, rng: random.Random) -> Iterator[None]:
    victim = _one(topology, rng)
    victim.stop(240)
    yield
    victim.launch()


@contextmanager
def starve(topology: Topology, rng: random.Random) -> Iterator[None]:
    """No more memory than it has now; then gone, as the kernel's killer does it."""
    victim = _one(topology, rng)
    size = int(Path(f"/proc/{victim.pid}/statm").read_text().split()[0])
    limit = size * os.sysconf("SC_PAGE_SIZE") + (4 << 20)
    resource.prlimit(victim.pid, resource.RLIMIT_AS, (limit, limit))
    yield
    victim.kill()
    victim.launch()


@contextmanager
def roll(topology: Topology, rng: random.Random) -> Iterator[None]:
    """Every process once, the next one when the last one is ready."""
    for each in topology.processes:
        each.stop(240)
        each.launch()
        each.wait(300)
    yield


# --- failpoints

_STEPS = {
    "registry": ("upload.", "segment.", "blob.", "mount.", "lease.", "manifest.", "delete."),
    "jobservice": ("gc.", "sweep.", "janitor.", "outbox.", "job.", "schedule."),
}


@contextmanager
def crash_at(topology: Topology, rng: random.Random) -> Iterator[None]:
    """A process ends at one of its steps, after a few passes."""
    role = rng.choice(sorted(_STEPS))
    step = rng.choice([name for name in failpoints.NAMES if name.startswith(_STEPS[role])])
    with _crashing(rng.choice(topology.of(role)), f"{step}={rng.randrange(6)}*crash"):
        yield


def crash_jobs(step: str, ask: Callable[[Topology], None]) -> Nemesis:
    """Every jobservice ends when it comes to a step; `ask` gives them something to do.

    All of them: one that is well would do what was asked for before the other comes to it.
    """

    @contextmanager
    def strike(topology: Topology, rng: random.Random) -> Iterator[None]:
        victims = topology.of("jobservice")
        with contextlib.ExitStack() as crashing:
            for each in victims:
                crashing.enter_context(_crashing(each, f"{step}=crash"))
            for each in victims:
                each.wait(300)
            until = time.monotonic() + PATIENCE
            while all(each.alive for each in victims) and time.monotonic() < until:
                ask(topology)
                time.sleep(1)
            if all(each.alive for each in victims):
                raise TimeoutError(f"no jobservice came to {step}")
            yield

    return Nemesis("F-X1", f"every jobservice crashes at {step}", strike, (1, 3))


@contextmanager
def _crashing(victim: Process, failpoint: str) -> Iterator[None]:
    victim.extra = {"MOORAGE_FAILPOINTS": failpoint}
    victim.stop(240)
    victim.launch()
    try:
        yield
    finally:
        victim.extra = {}
        victim.kill()
        victim.launch()


# --- clocks


@contextmanager
def skew(topology: Topology, rng: random.Random) -> Iterator[None]:
    """A process whose clock is off by 50 seconds, and jumps to the other side meanwhile."""
    victim = rng.choice(topology.of("registry") + topology.of("core"))
    clock = victim.folder / "clock"
    clock.write_text("+50s\n")
    victim.extra = {
        "LD_PRELOAD": str(FAKETIME),
        "FAKETIME_TIMESTAMP_FILE": str(clock),
        "FAKETIME_CACHE_DURATION": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }
    victim.stop(240)
    victim.launch().wait(300)
    clock.write_text("-50s\n")
    try:
        yield
    finally:
        victim.extra = {}
        victim.stop(240)
        victim.launch()


# --- clients and nginx


@contextmanager
def slow_clients(topology: Topology, rng: random.Random) -> Iterator[None]:
    """Connections that say next to nothing: half a head, half a body, nothing at all."""
    ports = [topology.nginx.port, *(each.port for each in topology.of("registry"))]
    starts = (
        b"",
        b"GET /v2/ HTTP/1.1\r\nHost: x\r\n",
        b"POST /v2/alpha/app/blobs/uploads/ HTTP/1.1",
    )
    with contextlib.ExitStack() as stack:
        for number in range(60):
            wire = stack.enter_context(
                socket.create_connection(("127.0.0.1", rng.choice(ports)), 5)
            )
            with contextlib.suppress(OSError):
                wire.sendall(starts[number % len(starts)])
        yield


@contextmanager
def leaving_clients(topology: Topology, rng: random.Random) -> Iterator[None]:
    """Uploads whose client is gone in the middle."""
    head = (
        "POST /v2/alpha/app/blobs/uploads/?digest=sha256:{digest} HTTP/1.1\r\nHost: x\r\n"
        "Authorization: {authorization}\r\nContent-Length: 1000000\r\n\r\n"
    )
    ports = [topology.nginx.port, *(each.port for each in topology.of("registry"))]
    for _ in range(20):
        with socket.create_connection(("127.0.0.1", rng.choice(ports)), 5) as wire:
            text = head.format(digest=rng.randbytes(32).hex(), authorization=topology.basic)
            with contextlib.suppress(OSError):  # it was refused before all of it was there
                wire.sendall(text.encode() + rng.randbytes(rng.randrange(300_000)))
            time.sleep(0.05)
    yield


@contextmanager
def reload(topology: Topology, rng: random.Random) -> Iterator[None]:
    os.kill(topology.nginx.pid, signal.SIGHUP)
    yield


BY_ID: dict[str, Nemesis] = {}
NEMESES = (
    Nemesis("F-K1", "a process is killed", kill, ends=True),
    Nemesis("F-K2", "a process is frozen", freeze, (3, 30)),
    Nemesis("F-K3", "a process is asked to leave", drain, harmless=True, ends=True),
    Nemesis("F-K4", "a process has no memory left", starve, ends=True),
    Nemesis("F-K5", "all processes are restarted in turn", roll, (0, 1), harmless=True, slow=True,
            ends=True),
    Nemesis("F-X1", "a process crashes at one of its steps", crash_at, (6, 12), ends=True),
    Nemesis("F-P1", "PostgreSQL crashes", outages.crash_postgres, (0, 5)),
    Nemesis("F-P2", "the standby is promoted", outages.promote, (3, 8), slow=True),
    Nemesis("F-P3", "PostgreSQL gives 12 connections", outages.few_connections),
    Nemesis("F-P4", "PostgreSQL is silent", outages.silent_postgres, (3, 20)),
    Nemesis("F-P5", "tables are locked", outages.locks, (6, 8)),
    Nemesis("F-P6", "PostgreSQL is slow", outages.slow_postgres),
    Nemesis("F-R1", "Redis is killed", outages.kill_redis, harmless=True),
    Nemesis("F-R2", "Redis hangs", outages.hang_redis, harmless=True),
    Nemesis("F-R3", "Redis is flushed", outages.flush_redis, (1, 2), harmless=True),
    Nemesis("F-R4", "Redis is demoted", outages.demote_redis, harmless=True),
    Nemesis("F-S1", "the store fails", outages.failing_store),
    Nemesis("F-S2", "the store says SlowDown", outages.slowing_store),
    Nemesis("F-S3", "the store's answers are lost", outages.deaf_store),
    Nemesis("F-S4", "the store's answers are cut short", outages.short_store),
    Nemesis("F-S5", "the store is killed", outages.kill_store, (1, 5)),
    Nemesis("F-S6", "the store is away", outages.no_store, (5, 60), slow=True),
    Nemesis("F-S9", "the store is silent", outages.silent_store, (5, 40), slow=True),
    Nemesis("F-S7", "the store says 200 and means an error", outages.lying_store),
    Nemesis("F-S8", "the store is slow", outages.thin_store),
    Nemesis("F-D1", "the store's disk is full", outages.full_store, root=True),
    Nemesis("F-D2", "the database's disk is full", outages.full_database, root=True, slow=True),
    Nemesis("F-C1", "a clock is wrong and jumps", skew, (3, 10), tool=str(FAKETIME), slow=True,
            ends=True),
    Nemesis("F-N1", "one process is cut off from PostgreSQL", outages.no_database_for_one,
            (3, 15), root=True, tool="nft"),
    Nemesis("F-N2", "one process is cut off from the store", outages.no_store_for_one,
            (3, 15), root=True, tool="nft"),
    Nemesis("F-N3", "one process hears no answers", outages.one_way,
            (3, 15), root=True, tool="nft"),
    Nemesis("F-N4", "packets are lost", outages.loss, (3, 10), root=True, tool="nft"),
    Nemesis("F-H1", "clients are slow", slow_clients, harmless=True),
    Nemesis("F-H2", "clients leave in the middle", leaving_clients, (0, 1), harmless=True),
    Nemesis("F-H3", "nginx reloads", reload, (1, 3), harmless=True),
)  # fmt: skip
BY_ID |= {nemesis.id: nemesis for nemesis in NEMESES}
