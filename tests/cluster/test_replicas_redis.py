"""Tags move while Redis is lost in every way: no replica ever shows an old one again."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from http.client import HTTPConnection
from pathlib import Path

import pytest
from tests.support.databases import PostgresServer
from tests.support.images import MANIFEST, digest_of
from tests.support.redis_server import RedisServer
from tests.support.replicas import Calls, Replicas, manifest
from tests.support.stores import Bucket

REPOSITORY = "library/moving"
PATH = f"/v2/{REPOSITORY}/manifests/latest"


@pytest.fixture
def replicas(
    tmp_path: Path, postgres_server: PostgresServer, seaweed: Bucket, own_redis: RedisServer
) -> Iterator[Replicas]:
    """Two running replicas and a Redis of their own."""
    made = Replicas(tmp_path, postgres_server, seaweed, redis=own_redis.url)
    try:
        yield made.start()
    finally:
        own_redis.resume()
        made.kill()


@dataclass
class Race:
    """One writer that takes turns between replicas, and readers that look at all of them.

    Two things are checked of every read: it sees each move that was acknowledged before it began,
    and no less than any read that ended before it began.
    """

    calls: list[Calls]
    config: str
    floor: int = 0  # a read that begins now sees at least this
    moved: int = 0
    reads: int = 0
    slowest: float = 0.0  # seconds of one move
    wrong: list[str] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self._versions: dict[str, int] = {}
        self._threads = [threading.Thread(target=self._read, args=(at % 2,)) for at in range(4)]
        self.move()
        for thread in self._threads:
            thread.start()

    def move(self) -> None:
        """Move the tag once more."""
        version = self.moved + 1
        document = manifest(self.config, 2, version)
        self._versions[digest_of(document)] = version
        began = time.monotonic()
        answer = self.calls[version % 2].push_manifest(REPOSITORY, "latest", document)
        self.slowest = max(self.slowest, time.monotonic() - began)
        assert answer.status == 201, answer
        with self._lock:
            self.moved = version
            self.floor = max(self.floor, version)

    def go_on(self, seconds: float) -> None:
        """Move the tag for a while."""
        until = time.monotonic() + seconds
        while time.monotonic() < until and not self.wrong:
            self.move()
            time.sleep(0.01)

    def end(self) -> None:
        """Stop reading, and say what was wrong."""
        self.over.set()
        for thread in self._threads:
            thread.join()
        assert not self.wrong, self.wrong[0]
        assert self.reads > self.moved

    def _read(self, at: int) -> None:
        headers = {"Authorization": self.calls[at].authorization, "Accept": MANIFEST}
        with closing(HTTPConnection("127.0.0.1", self.calls[at].port, timeout=60)) as wire:
            while not self.over.is_set() and not self.wrong:
                floor = self.floor
                wire.request("HEAD", PATH, headers=headers)
                answer = wire.getresponse()
                answer.read()
                seen = self._versions.get(answer.getheader("Docker-Content-Digest") or "", -1)
                with self._lock:
                    self.reads += 1
                    self.floor = max(self.floor, seen)
                if seen < floor or answer.status != 200:
                    self.wrong.append(f"replica {at}: {answer.status}, {seen} after {floor}")


@pytest.fixture
def race(replicas: Replicas) -> Iterator[Race]:
    """A race that is on."""
    made = Race(replicas.calls, replicas.calls[0].push_blob(REPOSITORY, b"{}"))
    yield made
    made.over.set()


def flush(server: RedisServer, race: Race) -> None:
    """Everything in it is lost, several times."""
    for _ in range(5):
        server.flush()
        race.go_on(0.4)


def kill(server: RedisServer, race: Race) -> None:
    """It is gone, and comes back empty."""
    server.kill()
    race.go_on(4)
    server.start()


def hang(server: RedisServer, race: Race) -> None:
    """It answers nothing and closes nothing; later it goes on with what it had."""
    server.hang()
    race.go_on(4)
    server.resume()


Fault = Callable[[RedisServer, Race], None]


@pytest.mark.parametrize("fault", [flush, kill, hang])
def test_no_replica_shows_an_old_tag(
    fault: Fault, replicas: Replicas, race: Race, own_redis: RedisServer
) -> None:
    """With Redis, without it, and at every moment between: reads are right and go on."""
    race.go_on(1.5)
    fault(own_redis, race)
    race.go_on(1.5)
    until(lambda: healthy(replicas), 60)
    race.go_on(1)
    race.end()
    assert race.slowest < 45  # it takes some six, and a Redis that hangs never answers


def test_a_lost_redis_is_said_and_forgiven(replicas: Replicas, own_redis: RedisServer) -> None:
    """Readiness says `degraded`, never `unready`, and is well again by itself."""
    until(lambda: healthy(replicas), 60)
    own_redis.kill()
    until(lambda: states(replicas) == ["degraded"] * 2, 30)
    assert [registry.ready() for registry in replicas.registries] == [200, 200]
    own_redis.start()
    until(lambda: healthy(replicas), 60)


def test_replicas_start_without_redis(replicas: Replicas, own_redis: RedisServer) -> None:
    """A cache that is away holds up no start."""
    own_redis.kill()
    replicas.kill()
    replicas.start()
    assert replicas.calls[0].ask("GET", "/v2/").status == 200
    own_redis.start()
    until(lambda: healthy(replicas), 60)


def states(replicas: Replicas) -> list[str]:
    """What each replica says of itself."""
    return [str(calls.json("/readyz")["status"]) for calls in replicas.calls]


def healthy(replicas: Replicas) -> bool:
    """Whether all parts of all replicas are well."""
    return states(replicas) == ["ready"] * len(replicas.calls)


def until(found: Callable[[], bool], seconds: float) -> None:
    """Wait until something is so."""
    end = time.monotonic() + seconds
    while not found():
        assert time.monotonic() < end, "not in time"
        time.sleep(0.1)
