"""Faults of what processes need: PostgreSQL, Redis, the store, disks, the network to them."""

import os
import random
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager

from tests.faults.disks import Disk
from tests.faults.taps import HEALTHY, Fault, Tap
from tests.faults.topology import Topology
from tests.support.requirements import find
from tests.support.storeproxy import Fault as StoreFault
from tests.support.storeproxy import Reply, Status, Swallow, Truncate

# --- PostgreSQL


@contextmanager
def crash_postgres(topology: Topology, rng: random.Random) -> Iterator[None]:
    topology.postgres.primary.kill()
    yield
    topology.postgres.primary.start()


@contextmanager
def promote(topology: Topology, rng: random.Random) -> Iterator[None]:
    """The primary's machine is gone; the standby takes over, and gets a standby of its own."""
    topology.postgres.primary.kill()
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
    names = "tags, repository_blobs, manifests, project_content"
    lock = f"BEGIN; LOCK TABLE {names} IN ACCESS EXCLUSIVE MODE; SELECT pg_sleep(2); COMMIT"
    psql = f"psql -q '{topology.url}' -c '{lock}'"
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
    """Afterwards it is started again: it keeps volumes closed that it could not write to."""
    with topology.store_disk.full():
        yield
    topology.seaweed.kill()
    topology.seaweed.start()


@contextmanager
def full_database(topology: Topology, rng: random.Random) -> Iterator[None]:
    """No room for the log: the server ends itself, and starts again when there is room."""
    with Disk(topology.postgres.primary.folder).full():
        yield
    topology.postgres.primary.kill()
    topology.postgres.primary.start()


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
    port = rng.choice(topology.processes).database.port
    with _rules(f"tcp dport {port} drop", f"tcp sport {port} drop"):
        yield


@contextmanager
def no_store_for_one(topology: Topology, rng: random.Random) -> Iterator[None]:
    port = rng.choice(topology.processes).store.port
    with _rules(f"tcp dport {port} drop", f"tcp sport {port} drop"):
        yield


@contextmanager
def one_way(topology: Topology, rng: random.Random) -> Iterator[None]:
    """What one process asks arrives; what it is answered does not."""
    victim = rng.choice(topology.processes)
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
