"""Three replicas under load while everything below them fails: no promise is broken.

Each round, workers push, pull, move, mount and delete while replicas are killed and frozen, Redis
is killed, hung and flushed, and PostgreSQL crashes. Then all replicas are killed, which ends what
was still under way; the rows and objects are counted, all is started again, and every worker
compares what it was told with what is there, on every replica.

    TESTS_SEED=4711 pytest tests/cluster/test_chaos.py     choices as in the run that printed it
    TESTS_ROUNDS=50 pytest tests/cluster/test_chaos.py     twenty minutes of it
"""

import contextlib
import json
import os
import random
import secrets
import signal
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from tests.support.chaos import AGE, LEASE, LIMITED, REPOSITORIES, Worker
from tests.support.databases import PostgresServer, running_postgres
from tests.support.invariants import violations
from tests.support.quiet import everything_collected, offline
from tests.support.redis_server import RedisServer
from tests.support.replicas import Replicas
from tests.support.serving import Registry
from tests.support.stores import Bucket
from tests.support.wires import Notes, Wire

pytestmark = pytest.mark.slow

ROUNDS = int(os.environ.get("TESTS_ROUNDS", "2"))
SECONDS = 12.0
WORKERS = 9
LIMIT = 3_000_000  # bytes of the small project

SETTINGS = {
    "gc.lease_seconds": LEASE,
    "gc.drain_seconds": 1,
    "gc.trash_seconds": 1,
    "gc.interval_seconds": 0.4,
    "uploads.age_seconds": AGE,
}


@pytest.fixture
def postgres() -> Iterator[PostgresServer]:
    """A server that may crash."""
    with running_postgres() as server:
        yield server


@pytest.fixture
def replicas(
    tmp_path: Path, postgres: PostgresServer, seaweed: Bucket, own_redis: RedisServer
) -> Iterator[Replicas]:
    """Three running replicas, each with all roles, the collector included."""
    made = Replicas(
        *(tmp_path, postgres, seaweed),
        count=3,
        redis=own_redis.url,
        empty=True,
        role=None,
        more=SETTINGS,
    )
    try:
        yield made.start()
    finally:
        own_redis.resume()
        made.kill()


Trouble = Callable[[random.Random], None]


class Nemesis:
    """What fails, and comes back; `heal` returns when all of it is back."""

    def __init__(
        self, rng: random.Random, replicas: Replicas, postgres: PostgresServer, redis: RedisServer
    ) -> None:
        self._rng = rng
        self._replicas = replicas
        self._postgres = postgres
        self._redis = redis
        self.told: list[str] = []
        self.failed: list[BaseException] = []

    def torment(self, seconds: float) -> None:
        """Let processes and servers fail, independently of one another."""
        kinds: list[list[Trouble]] = [
            [self._kill, self._freeze],
            [self._restart, self._lose, self._hang, self._flush],
        ]
        rngs = [random.Random(self._rng.random()) for _ in kinds]
        threads = [
            threading.Thread(target=self._go_on, args=(kind, rng, seconds))
            for kind, rng in zip(kinds, rngs, strict=True)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not self.failed, self.failed

    def _go_on(self, kinds: list[Trouble], rng: random.Random, seconds: float) -> None:
        until = time.monotonic() + seconds
        try:
            while time.monotonic() < until:
                time.sleep(rng.uniform(0.3, 2.5))
                trouble = rng.choice(kinds)
                self.told.append(f"{time.monotonic():.1f} {trouble.__name__}")
                trouble(rng)
        except BaseException as error:  # told by the thread that waits for us
            self.failed.append(error)

    def _kill(self, rng: random.Random) -> None:
        victim = rng.choice(self._replicas.registries)
        victim.kill()
        time.sleep(rng.uniform(0, 1))
        victim.launch()

    def _freeze(self, rng: random.Random) -> None:
        victim = rng.choice(self._replicas.registries)
        victim.signal(signal.SIGSTOP)
        time.sleep(rng.uniform(0.3, 3))
        victim.signal(signal.SIGCONT)

    def _restart(self, rng: random.Random) -> None:
        self._postgres.stop("immediate")
        time.sleep(rng.uniform(0, 1))
        self._postgres.start()

    def _lose(self, rng: random.Random) -> None:
        self._redis.kill()
        time.sleep(rng.uniform(0, 1.5))
        self._redis.start()

    def _hang(self, rng: random.Random) -> None:
        self._redis.hang()
        time.sleep(rng.uniform(0.2, 2))
        self._redis.resume()

    def _flush(self, rng: random.Random) -> None:
        self._redis.flush()


def test_no_promise_is_broken(
    replicas: Replicas,
    postgres: PostgresServer,
    own_redis: RedisServer,
    seaweed: Bucket,
    tmp_path: Path,
) -> None:
    """Whatever fails, and whenever: what was acknowledged is so, and what is lost is said."""
    seed = os.environ.get("TESTS_SEED") or secrets.token_hex(4)
    print(f"TESTS_SEED={seed}")
    rng = random.Random(seed)
    notes = Notes()
    wire = Wire(replicas.registries, notes)
    document = {"project_name": LIMITED.partition("/")[0], "storage_limit": LIMIT}
    body, headers = json.dumps(document).encode(), {"Content-Type": "application/json"}
    assert wire.ask(0, "POST", "/api/v2.0/projects", body, headers).status == 201
    sizes = [200, 700, 5_000, 60_000, 300_000, 1_200_000]
    layers = [rng.randbytes(rng.choice(sizes)) for _ in range(14)] + [rng.randbytes(6 << 20)]
    workers = [Worker(f"w{n}", seed, wire, layers) for n in range(WORKERS)]
    nemesis = Nemesis(rng, replicas, postgres, own_redis)
    wire.log_in(REPOSITORIES)
    collected = rounds = 0
    # In a round of a busy machine little is done between one fault and the next.
    while rounds < ROUNDS or notes.counts.get("PUT 201", 0) <= 5 * ROUNDS:
        rounds += 1
        assert rounds <= 10 * ROUNDS, notes.counts
        workers = load(workers, nemesis)
        collected += sum(map(collections, replicas.registries))
        replicas.kill()
        notes.wrong += offline(replicas.database_url, seaweed, tmp_path, violations)
        replicas.start()
        for worker in workers:
            worker.settle()
        collected += sum(map(collections, replicas.registries))
        complain(notes, nemesis, seed)
    until = time.monotonic() + 120
    while not collected and time.monotonic() < until:  # each counts since its last start
        time.sleep(0.2)
        collected = sum(map(collections, replicas.registries))
    replicas.kill()
    notes.wrong += offline(replicas.database_url, seaweed, tmp_path, everything_collected)
    complain(notes, nemesis, seed)
    assert collected
    print(f"{len(nemesis.told)} troubles, {collected} blobs collected, {notes.counts}")


def load(workers: list[Worker], nemesis: Nemesis) -> list[Worker]:
    """One round of work and trouble."""
    workers = [worker.again() for worker in workers]
    until = time.monotonic() + SECONDS
    for worker in workers:
        worker.until = until
        worker.start()
    nemesis.torment(SECONDS - 2)
    for worker in workers:
        worker.join(180)
        assert not worker.is_alive(), worker.name
    return workers


def collections(registry: Registry) -> int:
    """How many blobs a replica has collected since its start."""
    with contextlib.suppress(OSError), urllib.request.urlopen(f"{registry.url}/metrics") as answer:
        for line in answer.read().decode().splitlines():
            if line.startswith("moorage_gc_collected_blobs_total "):
                return int(float(line.split()[1]))
    return 0


def complain(notes: Notes, nemesis: Nemesis, seed: str) -> None:
    """Fail with all that helps to find out why."""
    told: Mapping[str, object] = {"seed": seed, "counts": notes.counts, "troubles": nemesis.told}
    assert not notes.wrong, "\n".join([*notes.wrong[:20], str(told)])
