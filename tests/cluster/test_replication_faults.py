"""Pushes are replicated to a second registry while parts of the first one fail.

clients ─► registry ─► outbox ─► executions ─► jobservices ─► the other registry
              PostgreSQL: promoted    Redis: flushed    jobservices: killed
"""

import itertools
import json
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from tests.faults import outages
from tests.faults.nemeses import Strike, kill_a
from tests.faults.run import new_seed
from tests.faults.topology import Plan, Topology
from tests.support.pushing import Pusher
from tests.support.replicas import Calls
from tests.support.requirements import require
from tests.support.serving import Registry

pytestmark = [
    pytest.mark.slow,
    # What a fault breaks in the middle of a request may be left to the garbage collector.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

ALLOWED = {"outgoing.allow": ["127.0.0.0/8"]}
PLAN = Plan(registries=1, cores=1, jobservices=2, settings=ALLOWED)
REPOSITORIES = ("alpha/app", "alpha/web", "alpha/db")
TAGS = 6  # of each, that move all the time
STRIKES: Mapping[str, Strike] = {
    "a jobservice is killed": kill_a("jobservice").strike,
    "Redis is flushed": outages.flush_redis,
    "the standby is promoted": outages.promote,
    "a jobservice is killed once more": kill_a("jobservice").strike,
}
PAUSE = 3.0  # seconds of each fault, and after it
SETTLED = 180.0  # seconds within which everything has ended


class Pushing(threading.Thread):
    """Pushes until told to stop; `named` is what each tag names, as it was acknowledged."""

    def __init__(self, registry: Registry, rng: random.Random) -> None:
        super().__init__(daemon=True)
        self.named: dict[tuple[str, str], bytes] = {}
        self.refused = 0
        self.over = threading.Event()
        self._pusher = Pusher(registry)
        self._rng = rng

    def run(self) -> None:
        """Each name in turn, in an order of chance, so that none is left out on a busy machine."""
        names = [(repository, f"t{n}") for repository in REPOSITORIES for n in range(TAGS)]
        self._rng.shuffle(names)
        turn = itertools.cycle(names)
        while len(self.named) < len(names) or not self.over.is_set():
            self.over.wait(0.1)
            where = next(turn)
            layer = self._rng.randbytes(self._rng.choice((1_000, 50_000, 400_000)))
            self.named[where] = self._insist(*where, layer)

    def _insist(self, repository: str, tag: str, layer: bytes) -> bytes:
        """As a client does that was told to come again; who stops in the middle knows nothing."""
        until = time.monotonic() + 120
        while True:
            try:
                return self._pusher.image(repository, tag, layer)
            except OSError:
                self.refused += 1
                if time.monotonic() > until:
                    raise
                time.sleep(0.2)


def post(calls: Calls, path: str, document: object) -> int:
    """Make something; its number."""
    body = json.dumps(document).encode()
    kind = {"Content-Type": "application/json"}
    answer = calls.ask("POST", f"/api/v2.0/{path}", body, kind)
    assert answer.status == 201, (path, answer)
    return int(answer.headers["location"].rpartition("/")[2])


def replicate(topology: Topology, other: Registry) -> None:
    """A project, another registry, and a policy that every push triggers."""
    calls = Calls(topology.of("core")[0])
    post(calls, "projects", {"project_name": "alpha", "metadata": {"public": "false"}})
    account = {"type": "basic", "access_key": other.username, "access_secret": other.password}
    said = {"name": "other", "type": "harbor", "url": other.url, "credential": account}
    number = post(calls, "registries", said)
    policy = {
        "name": "copies",
        "dest_registry": {"id": number},
        "filters": [{"type": "name", "value": "alpha/**"}],
        "trigger": {"type": "event_based"},
        "override": True,
        "enabled": True,
    }
    post(calls, "replication/policies", policy)


def left(topology: Topology) -> dict[str, Any]:
    """What has not come to its end."""
    queries = {
        "facts": "SELECT id FROM outbox",
        "executions": "SELECT id, status FROM executions WHERE vendor_type = 'REPLICATION' "
        "AND status NOT IN ('Success', 'Error', 'Stopped')",
    }
    return {what: rows for what, query in queries.items() if (rows := topology.rows(query))}


def wait_until(done: Callable[[], bool], seconds: float, what: Callable[[], object]) -> float:
    """How long it took; fails with what is still to come."""
    began = time.monotonic()
    while not done():
        assert time.monotonic() - began < seconds, what()
        time.sleep(0.5)
    return time.monotonic() - began


def digests(registry: Registry, tags: Mapping[tuple[str, str], bytes]) -> dict[str, str]:
    """What each tag names there; nothing for one that is not."""
    calls = Calls(registry)
    found = {}
    for repository, tag in sorted(tags):
        answer = calls.ask("HEAD", f"/v2/{repository}/manifests/{tag}")
        found[f"{repository}:{tag}"] = answer.headers.get("docker-content-digest", "")
    return found


def test_every_tag_arrives(tmp_path: Path) -> None:
    """A jobservice killed twice, Redis flushed, the primary killed: at the end both registries
    name the same images, without anybody asking for it again."""
    require("initdb", "pg_basebackup", "redis-server", "nginx", "weed")
    seed = new_seed()
    print(f"TESTS_SEED={seed}")
    rng = random.Random(seed)
    other = Registry(tmp_path / "other", settings=ALLOWED)
    # Not below pytest's own folder, which PostgreSQL's user may not enter.
    with (
        other.running(),
        TemporaryDirectory(prefix="moorage-replicated-") as folder,
        Topology(Path(folder), PLAN) as topology,
    ):
        replicate(topology, other)
        source = topology.of("registry")[0]
        pushing = Pushing(source, rng)
        pushing.start()
        for name, strike in STRIKES.items():
            time.sleep(PAUSE)
            with strike(topology, rng):
                time.sleep(PAUSE)
            print(f"{name}; ready after {topology.await_ready(120):.1f} s")
        time.sleep(PAUSE)
        pushing.over.set()
        pushing.join(150)
        assert not pushing.is_alive()
        assert len(pushing.named) == len(REPOSITORIES) * TAGS
        took = wait_until(lambda: not left(topology), SETTLED, lambda: left(topology))
        ours, theirs = digests(source, pushing.named), digests(other, pushing.named)
        ended = Counter(
            topology.rows("SELECT status FROM executions WHERE vendor_type = 'REPLICATION'")
        )
        print(f"{dict(ended)} within {took:.0f} s; {pushing.refused} refused pushes")
        assert ours == theirs
        assert all(ours.values())
