"""Clients push, pull, move and delete while garbage is collected every two seconds: nobody notices.

Two replicas serve sixteen clients, a jobservice of its own collects: by itself, and again and again
because somebody asks for it, with several workers. Leases are short, so that what a client was just
promised is garbage a moment later. Nothing fails meanwhile but the clients' patience: every answer
that is wrong counts, and PostgreSQL tells how long anybody waited for a lock of the collector.
The same for one process that does everything on SQLite and files.

    TESTS_SOAK_SECONDS=600 pytest tests/cluster/test_gc_soak.py -s     ten minutes of it
"""

import json
import os
import random
import re
import secrets
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from tests.support.chaos import AGE, LEASE, LIMITED, REPOSITORIES, Worker
from tests.support.databases import PostgresServer, running_postgres
from tests.support.invariants import violations
from tests.support.quiet import everything_collected, offline
from tests.support.replicas import PASSWORD, Calls, Replicas
from tests.support.serving import Registry
from tests.support.stores import Bucket
from tests.support.wires import Notes, Wire

pytestmark = pytest.mark.slow

SECONDS = float(os.environ.get("TESTS_SOAK_SECONDS", "15"))
CLIENTS = 16
EVERY = 2.0
LIMIT = 3_000_000  # bytes of the small project
NOTED = 20
"""Milliseconds of waiting for a lock from which on PostgreSQL tells of it."""
LONGEST = 100 if SECONDS >= 600 else 2000
"""Milliseconds that a wait may have: more in the short run, whose machine does a lot else."""
COLLECTOR = "collector"

SETTINGS = {
    "gc.lease_seconds": LEASE,
    "gc.drain_seconds": 1,
    "gc.trash_seconds": 1,
    "gc.interval_seconds": EVERY,
    "uploads.age_seconds": AGE,
}


@pytest.fixture
def postgres() -> Iterator[PostgresServer]:
    """A server that tells who waited for whom; the collector is a user of its own."""
    with running_postgres() as server:
        server.sql(f"CREATE ROLE {COLLECTOR} SUPERUSER LOGIN")
        for name, text in (
            ("log_lock_waits", "on"),
            ("deadlock_timeout", f"{NOTED}ms"),
            ("log_connections", "on"),
            ("log_line_prefix", "[%p] "),
        ):
            server.sql(f"ALTER SYSTEM SET {name} = '{text}'")
        server.sql("SELECT pg_reload_conf()")
        yield server


class Waits:
    """What PostgreSQL's log says of locks: the milliseconds that each wait for a user took."""

    def __init__(self, log: str, user: str) -> None:
        theirs = set(re.findall(rf"\[(\d+)\] LOG:  connection authorized: user={user} ", log))
        waiting: set[str] = set()
        self.of_others: list[float] = []
        self.among_others: list[float] = []  # for one another: as long as this machine makes it
        last = ""
        for line in log.splitlines():
            if found := re.search(r"LOG:  process (\d+) still waiting for", line):
                last = found[1]
            elif found := re.search(r"DETAIL:  Process(?:es)? holding the lock: ([\d, ]+)\.", line):
                if last not in theirs and theirs & set(found[1].split(", ")):
                    waiting.add(last)
            elif found := re.search(r"process (\d+) acquired .* after ([\d.]+) ms", line):
                if found[1] in waiting:
                    waiting.remove(found[1])
                    self.of_others.append(float(found[2]))
                elif found[1] not in theirs:
                    self.among_others.append(float(found[2]))
        self.collectors = len(theirs)

    def __str__(self) -> str:
        longest = max(self.of_others, default=0)
        return f"{len(self.of_others)} waits of {NOTED} ms or more, the longest of {longest:.0f} ms"


class Collections(threading.Thread):
    """Asks for a collection every two seconds."""

    def __init__(self, calls: Calls) -> None:
        super().__init__(daemon=True)
        self._calls = calls
        self.over = threading.Event()
        self.asked = 0

    def run(self) -> None:
        body = {"schedule": {"type": "Manual"}, "parameters": {"workers": 4}}
        headers = {"Content-Type": "application/json"}
        path = "/api/v2.0/system/gc/schedule"
        while not self.over.wait(EVERY):
            answer = self._calls.ask("POST", path, json.dumps(body).encode(), headers)
            assert answer.status in (201, 409), answer  # 409: the one before still runs
            self.asked += answer.status == 201


def test_collecting_all_the_time_is_in_nobodys_way(
    tmp_path: Path, postgres: PostgresServer, seaweed: Bucket
) -> None:
    """No push and no pull fails, no promise is broken, and nobody waits long for a lock."""
    seed = os.environ.get("TESTS_SEED") or secrets.token_hex(4)
    print(f"TESTS_SEED={seed}")
    replicas = Replicas(tmp_path, postgres, seaweed, empty=True, more=SETTINGS)
    shared = {
        "auth.secret_key": "one secret key for every replica",
        "storage.driver": "s3",
        "storage.s3": seaweed.section(),
        **SETTINGS,
    }
    own = {"database.url": replicas.database_url.replace("postgres@", f"{COLLECTOR}@")}
    core, jobservice = (
        Registry(tmp_path / role, settings={**shared, **url}, role=role, password=PASSWORD)
        for role, url in (("core", {"database.url": replicas.database_url}), ("jobservice", own))
    )
    try:
        replicas.start()
        core.start()
        jobservice.start()
        notes = _load(seed, replicas.registries, core)
        complain(notes, seed)
        done = replicas.rows(_DONE)
        failed = replicas.rows(_FAILED)
    finally:
        replicas.kill()
        core.kill()
        jobservice.kill()
    waits = Waits((postgres.folder / "log").read_text(errors="replace"), COLLECTOR)
    print(f"collections | blobs: {done}; {notes.counts}; {waits}")
    assert not failed
    assert waits.collectors
    assert max(waits.of_others, default=0) < max(LONGEST, 2 * max(waits.among_others, default=0))
    notes.wrong += offline(replicas.database_url, seaweed, tmp_path, violations)
    notes.wrong += offline(replicas.database_url, seaweed, tmp_path, everything_collected)
    complain(notes, seed)


_DONE = """
SELECT count(*), sum((extra->>'purged_blobs')::int) FROM executions
WHERE vendor_type = 'GARBAGE_COLLECTION' AND status = 'Success'
"""


_FAILED = """
SELECT status_message FROM executions
WHERE vendor_type = 'GARBAGE_COLLECTION' AND status = 'Error'
"""


def test_collecting_all_the_time_is_in_nobodys_way_on_sqlite_either(tmp_path: Path) -> None:
    """One process that serves and collects, on a file and a folder: no push and no pull fails."""
    seed = os.environ.get("TESTS_SEED") or secrets.token_hex(4)
    print(f"TESTS_SEED={seed}")
    registry = Registry(tmp_path / "one", settings=SETTINGS, password=PASSWORD)
    try:
        registry.start()
        notes = _load(seed, [registry], registry)
        complain(notes, seed)
        history = Calls(registry).ask("GET", "/api/v2.0/system/gc?page_size=100")
    finally:
        registry.kill()
    told = json.loads(history.body)
    purged = sum(json.loads(each["job_parameters"]).get("purged_blobs", 0) for each in told)
    print(f"collections: {len(told)}, blobs: {purged}; {notes.counts}")
    assert told
    assert all(each["job_status"] != "Error" for each in told)
    data = registry.folder / "data"
    notes.wrong += offline(None, None, data, violations)
    notes.wrong += offline(None, None, data, everything_collected)
    complain(notes, seed)


def _load(seed: str, registries: Sequence[Registry], core: Registry) -> Notes:
    """All clients at work, and a collection every two seconds; then every client looks."""
    rng = random.Random(seed)
    notes = Notes()
    wire = Wire([core], notes)
    wire.patience = 110.0  # nobody is frozen: an answer comes, however busy the machine is
    document = {"project_name": LIMITED.partition("/")[0], "storage_limit": LIMIT}
    body, headers = json.dumps(document).encode(), {"Content-Type": "application/json"}
    assert wire.ask(0, "POST", "/api/v2.0/projects", body, headers).status == 201
    layers = [rng.randbytes(rng.choice([200, 5_000, 60_000, 300_000])) for _ in range(20)]
    workers = [Worker(f"w{n}", seed, wire, layers) for n in range(CLIENTS)]
    wire.log_in(REPOSITORIES)
    wire.registries = registries
    collections = Collections(Calls(core))
    collections.start()
    until = time.monotonic() + SECONDS
    for worker in workers:
        worker.until = until
        worker.start()
        # They stand for other machines: where one core serves all, servers go first.
        os.setpriority(os.PRIO_PROCESS, worker.native_id or 0, 10)
    for worker in workers:
        worker.join(SECONDS + 120)
        assert not worker.is_alive(), worker.name
    for worker in workers:
        worker.settle()
    collections.over.set()
    collections.join(60)
    assert collections.asked
    assert notes.counts["PUT 201"] > CLIENTS
    return notes


def complain(notes: Notes, seed: str) -> None:
    """Fail with what helps to find out why; nothing excuses an answer that did not come."""
    lost = notes.counts.get("lost", 0)
    assert not lost + len(notes.wrong), "\n".join([*notes.wrong[:20], f"{seed} {notes.counts}"])
