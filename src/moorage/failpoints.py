"""Named places where a test can make the process crash, fail or wait.

`MOORAGE_FAILPOINTS="blob.committed=crash;gc.swept=sleep(2)"` arms them; nothing else does.
A server that is armed refuses to listen on anything but a loopback address.

    action      effect at the named place
    crash       the process ends at once with status 137, as after `kill -9`
    error       `Injected` is raised
    sleep(S)    the step takes S seconds longer
    N*action    the first N passes do nothing, then the action applies
"""

import asyncio
import os
import re
from dataclasses import dataclass

# One name per step of a push, a delete and a collection, in the order in which they are passed.
NAMES = (
    "upload.recorded",  # B0: the row with the key is committed, no byte is written
    "segment.recorded",  # B0: the same for one segment
    "segment.streaming",  # B1: some bytes are written
    "segment.durable",  # B3: the segment is on disk, its length is not committed
    "segment.committed",  # B1: the offset is committed
    "blob.verified",  # B2: digest and length are right
    "blob.joined",  # B3: several segments are one object
    "blob.inserting",  # B4: inside the transaction, before the commit
    "blob.committed",  # B4: after the commit, before the answer
    "mount.inserting",
    "mount.committed",
    "lease.renewing",  # HEAD with push scope, inside the transaction
    "lease.renewed",
    "manifest.checked",  # M1: references are locked and present
    "manifest.inserting",  # M2: inside the transaction, before the commit
    "manifest.committed",  # M2: after the commit, before the answer
    "delete.deleting",  # D1: inside the transaction
    "delete.committed",  # D1
    "restore.restoring",  # undelete, inside the transaction
    "restore.committed",
    "upload.cancelled",  # the row is gone, the bytes are in the trash
    "gc.locked",  # G1: the blob row is locked
    "gc.unlinking",  # G1: inside the transaction, rows are gone
    "gc.committed",  # G1
    "sweep.claimed",  # G2: the trash row is claimed
    "sweep.deleted",  # G2: the object is deleted, the row is not
    "sweep.committed",  # G3
    "janitor.expiring",  # an abandoned upload, inside the transaction
    "janitor.committed",
    "outbox.dispatching",  # facts were handed over, the rows are still there
    "outbox.committed",
    "job.claimed",  # a worker has the lease, and has not begun
    "job.beating",  # inside the transaction that renews leases
    "job.logging",  # inside the transaction that writes a piece of a log
    "job.finishing",  # inside the transaction that ends a task
    "job.finished",
    "schedule.firing",  # the execution is inserted, inside the transaction
    "schedule.fired",
    "migrate.locked",  # the migration lock is held
    "migrate.stepped",  # one migration is applied, inside its transaction
    "migrate.committed",
    "backup.dumped",  # rows are written, no object is copied
    "copy.written",  # an object is written between two stores, not committed
    "backup.copied",  # objects are copied, the backup is not complete
    "prune.dropped",  # backups that go are no longer complete, their parts are there
    "prune.swept",  # some objects that nothing names are deleted
    "refill.objects",  # objects are there, no row is
    "refill.rows",  # inside the transaction that puts every row back
    "move.batch",  # a batch of rows is inserted, inside its transaction
    "move.rows",  # every row has arrived, ids are not set
    "import.batch",  # a batch of an imported registry, inside its transaction
    "import.committed",  # that batch is committed
)


class Injected(Exception):
    """Raised by a failpoint that is armed with `error`."""


@dataclass
class _Armed:
    skip: int
    action: str
    seconds: float


_ARMED: dict[str, _Armed] = {}
_FORM = re.compile(r"(?:(\d+)\*)?(crash|error|sleep)(?:\((\d+(?:\.\d+)?)\))?")


def arm(specification: str) -> None:
    """Arm failpoints from `name=action;name=action`; replaces what was armed.

    Raises ValueError for a name or an action that does not exist.
    """
    _ARMED.clear()
    for entry in filter(None, (part.strip() for part in specification.split(";"))):
        name, _, action = entry.partition("=")
        form = _FORM.fullmatch(action)
        if name not in NAMES or form is None:
            raise ValueError(f"unknown failpoint or action: {entry!r}")
        _ARMED[name] = _Armed(int(form[1] or 0), form[2], float(form[3] or 0))


def armed() -> bool:
    """Whether any failpoint is armed."""
    return bool(_ARMED)


async def reach(name: str) -> None:
    """Pass the failpoint `name`; costs one truth test when none is armed."""
    if not _ARMED:
        return
    point = _ARMED.get(name)
    if point is None:
        return
    if point.skip:
        point.skip -= 1
        return
    if point.action == "crash":
        os._exit(137)
    if point.action == "error":
        raise Injected(name)
    await asyncio.sleep(point.seconds)
