"""Jobs over processes: asked for at a core, done by a jobservice, read anywhere and afterwards."""

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tests.support.databases import PostgresServer
from tests.support.redis_server import RedisServer
from tests.support.replicas import Calls
from tests.support.serving import Registry

Make = Callable[..., Registry]
FINAL = ("Success", "Error", "Stopped")


class _Armed(Registry):
    failpoints = ""

    def environment(self) -> dict[str, str]:
        return super().environment() | {"MOORAGE_FAILPOINTS": self.failpoints}


@pytest.fixture
def make(tmp_path: Path, postgres_server: PostgresServer, own_redis: RedisServer) -> Iterator[Make]:
    """Makes processes that share database, key, blobs and Redis."""
    made: list[Registry] = []
    shared = {
        "database.url": postgres_server.url(postgres_server.fresh()),
        "redis.url": own_redis.url,
        "auth.secret_key": "the same secret key on every replica",
        "storage.driver": "filesystem",
        "storage.filesystem.rootdirectory": tmp_path / "blobs",
        "jobs.lease_seconds": 6,  # one that is held up for a moment is not dead
        "gc.lease_seconds": 0,
        "gc.enabled": False,
    }

    def build(role: str, failpoints: str = "", poll: float = 20) -> Registry:
        folder = tmp_path / f"{role}-{len(made)}"
        settings = {**shared, "jobs.poll_seconds": poll}
        registry = _Armed(folder, role=role, settings=settings, password="Pa55word")
        registry.failpoints = failpoints
        made.append(registry)
        return registry

    yield build
    for registry in made:
        registry.kill()


def collect(core: Calls) -> int:
    """Ask for a collection; its number."""
    body = json.dumps({"schedule": {"type": "Manual"}}).encode()
    answer = core.ask(
        "POST", "/api/v2.0/system/gc/schedule", body, {"Content-Type": "application/json"}
    )
    assert answer.status == 201, answer
    return int(answer.headers["location"].rpartition("/")[2])


def state(core: Calls, number: int) -> dict[str, Any]:
    """What its history says."""
    return dict(core.json(f"/api/v2.0/system/gc/{number}"))


def until(found: Callable[[], Any], wanted: Callable[[Any], bool], seconds: float = 60) -> Any:
    """Wait for a value."""
    ends = time.monotonic() + seconds
    while not wanted(value := found()):
        assert time.monotonic() < ends, value
        time.sleep(0.05)
    return value


def log(core: Calls, number: int) -> str:
    """What it said so far."""
    return core.ask("GET", f"/api/v2.0/system/gc/{number}/log").body.decode()


def ended(value: dict[str, Any]) -> bool:
    return value["job_status"] in FINAL


def test_a_jobservice_does_what_a_core_was_asked_for(make: Make) -> None:
    """At once, by Redis; without it at the next poll; its log outlives whoever wrote it."""
    core = Calls(make("core").start())
    worker = make("jobservice", poll=60).start()  # who is quick has heard the bell
    (pool,) = until(partial(core.json, "/api/v2.0/jobservice/pools"), bool)
    assert pool["pid"] == worker.pid
    number = collect(core)
    assert until(partial(state, core, number), ended, 45)["job_status"] == "Success"
    worker.kill()
    assert "workers: 1" in log(core, number)


@pytest.mark.slow
def test_another_takes_over_from_one_that_was_killed(make: Make) -> None:
    """What the first one did stays done, and its log is there with that of the second."""
    core = Calls(make("core").start())
    first = make("jobservice", failpoints="gc.locked=sleep(600)").start()
    registry = Calls(make("registry").start())
    upload = registry.open("library/app")
    registry.ask("DELETE", upload)
    registry.push_blob("library/app", b"nobody needs it")
    number = collect(core)
    until(partial(log, core, number), lambda text: "1 blobs and 0 manifests eligible" in text)
    assert state(core, number)["job_status"] == "Running"
    make("jobservice").start()
    first.kill()
    done = until(partial(state, core, number), ended, 60)
    assert done["job_status"] == "Success"
    assert json.loads(done["job_parameters"])["purged_blobs"] == 1
    assert log(core, number).count("workers: 1") == 2


@pytest.mark.slow
def test_a_worker_that_is_told_to_end_hands_its_task_over(make: Make) -> None:
    core = Calls(make("core").start())
    first = make("jobservice", failpoints="gc.locked=sleep(600)").start()
    registry = Calls(make("registry").start())
    registry.push_blob("library/app", b"nobody needs it")
    number = collect(core)
    until(partial(log, core, number), lambda text: "eligible" in text)
    os.kill(first.pid, signal.SIGTERM)
    first.ended()
    until(partial(state, core, number), lambda value: value["job_status"] != "Success")
    make("jobservice").start()
    assert until(partial(state, core, number), ended, 60)["job_status"] == "Success"


@pytest.mark.slow
def test_a_stop_reaches_the_worker_before_its_next_poll(make: Make) -> None:
    core = Calls(make("core").start())
    make("jobservice", failpoints="gc.locked=sleep(600)", poll=60).start()
    registry = Calls(make("registry").start())
    registry.push_blob("library/app", b"nobody needs it")
    number = collect(core)
    until(partial(log, core, number), lambda text: "eligible" in text)
    assert core.ask("PUT", f"/api/v2.0/system/gc/{number}").status == 200
    # It sleeps in a transaction, and is cut off ten seconds after it was told.
    assert until(partial(state, core, number), ended, 45)["job_status"] == "Stopped"
