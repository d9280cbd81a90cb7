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
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.faults.disks import Disk
from tests.faults.taps import HEALTHY, Fault, Tap
from tests.faults.topology import DATABASE, Process, Topology
from tests.support.requirements import find
from tests.support.storeproxy import Fault as StoreFault
from tests.support.storeproxy import Reply, Status, Swallow, Truncate

from moorage import failpoints

Strike = Callable[[Topology, random.Random], AbstractContextManager[None]]

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
    victim = _one(topology, rng)
    victim.kill()
    yield
    victim.launch()


def kill_a(role: str) -> Nemesis:
    """One process of a role is killed."""

    @contextmanager
    def strike(topology: Topology, rng: random.Random) -> Iterator[None]:
        victim = rng.choice(topology.of(role))
        victim.kill()
        yield
        victim.launch()

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
    victim.stop(60)
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
        each.stop(60)
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
    victim = rng.choice(topology.of(role))
    step = rng.choice([name for name in failpoints.NAMES if name.startswith(_STEPS[role])])
    victim.extra = {"MOORAGE_FAILPOINTS": f"{step}={rng.randrange(6)}*crash"}
    victim.stop(60)
    victim.launch()
    try:
        yield
    finally:
        victim.extra = {}
        victim.kill()
        victim.launch()


# --- PostgreSQL


@contextmanager
def crash_postgres(topology: Topology, rng: random.Random) -> Iterator[None]:
    topology.postgres.kill()
    yield
    topology.postgres.restart()


@contextmanager
def promote(topology: Topology, rng: random.Random) -> Iterator[None]:
    """The primary's machine is gone; the standby takes over, and gets a standby of its own."""
    topology.postgres.kill()
    topology.postgres.promote()
    topology.lead_to_primary()
    yield
    topology.postgres.rejoin()


@contextmanager
def few_connections(topology: Topology, rng: random.Random) -> Iterator[None]:
    server = topology.postgres.primary
    server.sql("ALTER ROLE moorage CONNECTION LIMIT 12")
    server.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'moorage'")
    yield
    topology.postgres.primary.sql("ALTER ROLE moorage CONNECTION LIMIT -1")


@contextmanager
def silent_postgres(topology: Topology, rng: random.Random) -> Iterator[None]:
    with _tapped([each.database for each in topology.processes], Fault(hole=True)):
        yield


@contextmanager
def slow_postgres(topology: Topology, rng: random.Random) -> Iterator[None]:
    with _tapped([each.database for each in topology.processes], Fault(delay=0.02)):
        yield


@contextmanager
def locks(topology: Topology, rng: random.Random) -> Iterator[None]:
    """Somebody holds what every push needs, for two seconds of three."""
    server = topology.postgres.primary
    names = "tags, repository_blobs, manifests, project_content"
    lock = f"BEGIN; LOCK TABLE {names} IN ACCESS EXCLUSIVE MODE; SELECT pg_sleep(2); COMMIT"
    psql = f"'{server.binaries / 'psql'}' -q '{server.url(DATABASE)}' -c '{lock}'"
    again = f"for n in 1 2 3; do {psql} >/dev/null; sleep 1; done"
    storm = subprocess.Popen(["sh", "-c", again], stderr=subprocess.DEVNULL)
    yield
    storm.wait(60)


@contextmanager
def _tapped(taps: Sequence[Tap], fault: Fault) -> Iterator[None]:
    for tap in taps:
        tap.fault = fault
    try:
        yield
    finally:
        for tap in taps:
            tap.fault = HEALTHY


# --- Redis


@contextmanager
def kill_redis(topology: Topology, rng: random.Random) -> Iterator[None]:
    topology.redis.kill()
    yield
    topology.redis.start()


@contextmanager
def hang_redis(topology: Topology, rng: random.Random) -> Iterator[None]:
    topology.redis.hang()
    try:
        yield
    finally:
        topology.redis.resume()


@contextmanager
def flush_redis(topology: Topology, rng: random.Random) -> Iterator[None]:
    for _ in range(5):
        topology.redis.flush()
        time.sleep(0.2)
    yield


@contextmanager
def demote_redis(topology: Topology, rng: random.Random) -> Iterator[None]:
    """It becomes the replica of a server that is not there, and refuses writes."""
    topology.redis.demote(1)
    yield
    topology.redis.demote(0)


# --- the object store


@contextmanager
def _ruled(
    topology: Topology, method: str, path: str, fault: StoreFault, percent: int
) -> Iterator[None]:
    for each in topology.processes:
        each.store.rule(method, path, fault, percent=percent)
    try:
        yield
    finally:
        for each in topology.processes:
            each.store.heal()


def failing_store(topology: Topology, rng: random.Random) -> AbstractContextManager[None]:
    return _ruled(topology, "[A-Z]+", "", Status(500), 30)


def slowing_store(topology: Topology, rng: random.Random) -> AbstractContextManager[None]:
    return _ruled(topology, "[A-Z]+", "", Status(503), 60)


def deaf_store(topology: Topology, rng: random.Random) -> AbstractContextManager[None]:
    """What is written is written, and nobody is told."""
    return _ruled(topology, "PUT|POST|DELETE", "", Swallow(), 50)


def lying_store(topology: Topology, rng: random.Random) -> AbstractContextManager[None]:
    """200, and an error in the body, as S3 says of a join that failed."""
    error = Reply(b"<Error><Code>InternalError</Code><Message>injected</Message></Error>")
    return _ruled(topology, "POST", "uploadId=", error, 60)


def short_store(topology: Topology, rng: random.Random) -> AbstractContextManager[None]:
    """Answers end before their announced length."""
    return _ruled(topology, "GET", "", Truncate(3_000), 40)


@contextmanager
def kill_store(topology: Topology, rng: random.Random) -> Iterator[None]:
    topology.seaweed.kill()
    yield
    topology.seaweed.start()


@contextmanager
def no_store(topology: Topology, rng: random.Random) -> Iterator[None]:
    """Nobody listens where it was."""
    with _tapped([each.store for each in topology.processes], Fault(refuse=True)):
        for each in topology.processes:
            each.store.cut()
        yield


def silent_store(topology: Topology, rng: random.Random) -> AbstractContextManager[None]:
    """What is sent to it is lost on the way."""
    return _tapped([each.store for each in topology.processes], Fault(hole=True))


@contextmanager
def thin_store(topology: Topology, rng: random.Random) -> Iterator[None]:
    with _tapped([each.store for each in topology.processes], Fault(bandwidth=2_000_000)):
        yield


# --- disks


@contextmanager
def full_store(topology: Topology, rng: random.Random) -> Iterator[None]:
    with topology.store_disk.full():
        yield


@contextmanager
def full_database(topology: Topology, rng: random.Random) -> Iterator[None]:
    """No room for the log: the server ends itself, and starts again when there is room."""
    with Disk(topology.postgres.primary.folder).full():
        yield
    postgres = topology.postgres
    with contextlib.suppress(subprocess.CalledProcessError):
        postgres.primary.stop("immediate")
    postgres.restart()


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
    victim.stop(60)
    victim.launch().wait(300)
    clock.write_text("-50s\n")
    try:
        yield
    finally:
        victim.extra = {}
        victim.stop(60)
        victim.launch()


# --- the network of one process


@contextmanager
def _rules(*rules: str) -> Iterator[None]:
    table = f"inet moorage_faults_{os.getpid()}"
    chain = "\n".join(["type filter hook output priority 0;", *rules])
    text = f"table {table} {{\nchain faults {{\n{chain}\n}}\n}}\n"
    subprocess.run([find("nft") or "nft", "-f", "-"], input=text, text=True, check=True)
    try:
        yield
    finally:
        subprocess.run([find("nft") or "nft", "delete", "table", *table.split()], check=True)


@contextmanager
def no_database_for_one(topology: Topology, rng: random.Random) -> Iterator[None]:
    port = _one(topology, rng).database.port
    with _rules(f"tcp dport {port} drop", f"tcp sport {port} drop"):
        yield


@contextmanager
def no_store_for_one(topology: Topology, rng: random.Random) -> Iterator[None]:
    port = _one(topology, rng).store.port
    with _rules(f"tcp dport {port} drop", f"tcp sport {port} drop"):
        yield


@contextmanager
def one_way(topology: Topology, rng: random.Random) -> Iterator[None]:
    """What one process asks arrives; what it is answered does not."""
    victim = _one(topology, rng)
    port = rng.choice([victim.database, victim.store, victim.cache]).port
    with _rules(f"tcp sport {port} drop"):
        yield


@contextmanager
def loss(topology: Topology, rng: random.Random) -> Iterator[None]:
    """Three packets of a hundred between the processes and all that is below them."""
    taps = [tap for each in topology.processes for tap in (each.database, each.store, each.cache)]
    ports = ", ".join(str(tap.port) for tap in taps)
    lost = "numgen random mod 100 < 3 drop"
    with _rules(f"tcp dport {{ {ports} }} {lost}", f"tcp sport {{ {ports} }} {lost}"):
        yield


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
            wire.sendall(text.encode() + rng.randbytes(rng.randrange(300_000)))
            time.sleep(0.05)
    yield


@contextmanager
def reload(topology: Topology, rng: random.Random) -> Iterator[None]:
    os.kill(topology.nginx.pid, signal.SIGHUP)
    yield


BY_ID: dict[str, Nemesis] = {}
NEMESES = (
    Nemesis("F-K1", "a process is killed", kill),
    Nemesis("F-K2", "a process is frozen", freeze, (3, 30)),
    Nemesis("F-K3", "a process is asked to leave", drain, harmless=True),
    Nemesis("F-K4", "a process has no memory left", starve),
    Nemesis("F-K5", "all processes are restarted in turn", roll, (0, 1), harmless=True, slow=True),
    Nemesis("F-X1", "a process crashes at one of its steps", crash_at, (6, 12)),
    Nemesis("F-P1", "PostgreSQL crashes", crash_postgres, (0, 5)),
    Nemesis("F-P2", "the standby is promoted", promote, (3, 8), slow=True),
    Nemesis("F-P3", "PostgreSQL gives 12 connections", few_connections),
    Nemesis("F-P4", "PostgreSQL is silent", silent_postgres, (3, 20)),
    Nemesis("F-P5", "tables are locked", locks, (6, 8)),
    Nemesis("F-P6", "PostgreSQL is slow", slow_postgres),
    Nemesis("F-R1", "Redis is killed", kill_redis, harmless=True),
    Nemesis("F-R2", "Redis hangs", hang_redis, harmless=True),
    Nemesis("F-R3", "Redis is flushed", flush_redis, (1, 2), harmless=True),
    Nemesis("F-R4", "Redis is demoted", demote_redis, harmless=True),
    Nemesis("F-S1", "the store fails", failing_store),
    Nemesis("F-S2", "the store says SlowDown", slowing_store),
    Nemesis("F-S3", "the store's answers are lost", deaf_store),
    Nemesis("F-S4", "the store's answers are cut short", short_store),
    Nemesis("F-S5", "the store is killed", kill_store, (1, 5)),
    Nemesis("F-S6", "the store is away", no_store, (5, 60), slow=True),
    Nemesis("F-S9", "the store is silent", silent_store, (5, 40), slow=True),
    Nemesis("F-S7", "the store says 200 and means an error", lying_store),
    Nemesis("F-S8", "the store is slow", thin_store),
    Nemesis("F-D1", "the store's disk is full", full_store, root=True),
    Nemesis("F-D2", "the database's disk is full", full_database, root=True, slow=True),
    Nemesis("F-C1", "a clock is wrong and jumps", skew, (3, 10), tool=str(FAKETIME), slow=True),
    Nemesis("F-N1", "one process is cut off from PostgreSQL", no_database_for_one,
            (3, 15), root=True, tool="nft"),
    Nemesis("F-N2", "one process is cut off from the store", no_store_for_one,
            (3, 15), root=True, tool="nft"),
    Nemesis("F-N3", "one process hears no answers", one_way, (3, 15), root=True, tool="nft"),
    Nemesis("F-N4", "packets are lost", loss, (3, 10), root=True, tool="nft"),
    Nemesis("F-H1", "clients are slow", slow_clients, harmless=True),
    Nemesis("F-H2", "clients leave in the middle", leaving_clients, (0, 1), harmless=True),
    Nemesis("F-H3", "nginx reloads", reload, (1, 3), harmless=True),
)  # fmt: skip
BY_ID |= {nemesis.id: nemesis for nemesis in NEMESES}
