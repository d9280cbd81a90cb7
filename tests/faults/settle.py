"""After the last fault: everything is read on every replica, jobs end, rows and objects are equal.

read_everything   reads that become part of the history, so the checker judges them (I1, I2)
after_all         I5 and I6 of rows and objects, I7 of jobs and facts, I12 of what was written
"""

import json
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import TypeVar

from tests.faults import world as places
from tests.faults.clients import Lost
from tests.faults.history import OK, History
from tests.faults.topology import PASSWORD, SECRET_KEY, Topology
from tests.faults.workload import Client
from tests.support.invariants import violations
from tests.support.quiet import everything_collected, offline
from tests.support.stores import SECRET_KEY as STORE_SECRET

T = TypeVar("T")

CANARIES = (PASSWORD, SECRET_KEY, STORE_SECRET, places.OUTSIDERS_PASSWORD)


def read_everything(client: Client, history: History, topology: Topology) -> list[str]:
    """Every tag and every image that may be there, on every replica; what is damaged (I1)."""
    wrong: list[str] = []
    tags, images = _known(history)
    for door in client.wire.doors[1:]:
        blobs: set[tuple[str, str]] = set()
        for repository, tag in sorted(tags):
            _patiently(partial(client.head, repository, tag, door))
        for repository, digest in sorted(images):
            payload = _patiently(partial(client.manifest, repository, digest, door))
            if payload is None:
                continue
            document = json.loads(payload)
            entries = [*document.get("layers", []), *filter(None, [document.get("config")])]
            for entry in entries:
                key = repository, entry["digest"]
                if key in blobs:
                    continue
                blobs.add(key)
                status = _patiently(partial(client.fetch, *key, entry["size"], door))
                if status != 200:
                    wrong.append(f"{key} of {digest} on {door.name}: {status}")
    return wrong


def _patiently(read: Callable[[], T]) -> T:
    """An error is no loss yet: servers that recover, and are busy, have a minute for it."""
    until = time.monotonic() + 60
    while True:
        try:
            return read()
        except Lost as error:
            if time.monotonic() > until:
                raise AssertionError(f"a read fails with nothing broken: {error}") from error
            time.sleep(0.5)


def _known(history: History) -> tuple[set[tuple[str, str]], set[tuple[str, str]]]:
    """Tags that were ever pushed, and images that were not surely deleted."""
    tags: set[tuple[str, str]] = set()
    images: set[tuple[str, str]] = set()
    for record in history.records:
        repo = record.args.get("repo", "")
        if record.op in ("put", "copy") and record.status not in (400, 403, 404, 409, 412):
            images.add((repo, record.args["digest"]))
            if record.args.get("tag"):
                tags.add((repo, record.args["tag"]))
        if record.op == "delete" and record.outcome == OK:
            images.discard((repo, record.args["digest"]))
    return tags, images


def after_all(topology: Topology) -> Iterator[tuple[str, str]]:
    """Invariant and what is wrong with it; ends the processes of the topology."""
    yield from _jobs(topology)
    yield from _secrets(topology)
    topology.stop_processes()
    url = topology.url
    for each in offline(url, topology.bucket, topology.folder, violations):
        yield ("I6" if "quota" in each or "counted" in each else "I5"), each
    for each in offline(url, topology.bucket, topology.folder, everything_collected):
        yield "I5", f"after a last collection: {each}"


_OPEN = {
    "executions that have not ended": (
        "SELECT id, vendor_type, status FROM executions "
        "WHERE status NOT IN ('Success', 'Error', 'Stopped')"
    ),
    "tasks that run under no lease": (
        "SELECT id, kind, status, lease_until FROM tasks "
        "WHERE status = 'Running' AND lease_until < now()"
    ),
    "facts that were told to nobody": "SELECT id FROM outbox",
}


def _jobs(topology: Topology) -> Iterator[tuple[str, str]]:
    """I7: within a minute of quiet everything that was asked for has come to an end."""
    until = time.monotonic() + 60
    while True:
        left = {what: rows for what, query in _OPEN.items() if (rows := topology.rows(query))}
        if not left or time.monotonic() > until:
            break
        time.sleep(0.5)
    for what, rows in left.items():
        yield "I7", f"{what}: {rows[:10]}"


def _secrets(topology: Topology) -> Iterator[tuple[str, str]]:
    """I12: no secret is in a log, in the audit log, or in what jobs wrote."""
    written = {"the logs": topology.logs()}
    for table in ("audit_log", "task_logs"):
        rows = topology.rows(f"SELECT t::text FROM {table} t")
        written[table] = "\n".join(rows)
    for where, text in written.items():
        for canary in CANARIES:
            if canary in text:
                yield "I12", f"a secret ({canary[:12]}…) is in {where}"
