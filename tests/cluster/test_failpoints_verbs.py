"""Crash an operator's verb at each of its steps, run it again, and look at what is there.

Backups, their pruning, a restore and an import, on SQLite with files and on PostgreSQL with S3.
`test_moving.py` does the same with a move from either to the other.
"""

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.support.content import sha256
from tests.support.databases import PostgresServer
from tests.support.filling import push, tags_of
from tests.support.peers import DockerRegistry
from tests.support.pushing import Pusher
from tests.support.requirements import require
from tests.support.serving import Fetcher, Registry
from tests.support.stores import Bucket
from tests.support.verbs import crash

from moorage.failpoints import NAMES

pytestmark = pytest.mark.slow

KEY = "a-secret-key-of-the-tests-0123456789"
# What nobody needs goes when it is asked for, and not before.
CALM = {"gc.enabled": False, "gc.lease_seconds": 0, "gc.drain_seconds": 0, "gc.trash_seconds": 0}
BACKUP = (
    "backup.dumped=crash",
    "copy.written=crash",
    "copy.written=2*crash",
    "backup.copied=crash",
)
PRUNE = ("prune.dropped=crash", "prune.swept=crash")
RESTORE = ("copy.written=crash", "refill.objects=crash", "refill.rows=crash")
IMPORT = ("import.batch=crash", "import.committed=crash")


@dataclass(frozen=True)
class Stack:
    """Where rows and objects go: `settings` of an installation by its name, and what is beside."""

    settings: Callable[[str], Mapping[str, object]]
    place: str  # of backups
    bucket: Bucket | None = None

    def registry(self, folder: Path, name: str, **more: object) -> Registry:
        """A new installation, not started."""
        settings = {"auth.secret_key": KEY, **self.settings(name), **more}
        return Registry(folder / name, settings=settings)


@pytest.fixture(params=["files", "servers"])
def stack(request: pytest.FixtureRequest, tmp_path: Path) -> Stack:
    """SQLite and a folder; PostgreSQL and S3."""
    if request.param == "files":
        return Stack(lambda name: {}, str(tmp_path / "backups"))
    server: PostgresServer = request.getfixturevalue("postgres_server")
    bucket: Bucket = request.getfixturevalue("seaweed")

    def settings(name: str) -> Mapping[str, object]:
        database = f"{name}_{os.urandom(4).hex()}"
        server.sql(f"CREATE DATABASE {database}")
        section = bucket.section(rootdirectory=name)
        return {
            "database.url": server.url(database),
            "storage.driver": "s3",
            "storage.s3": section,
        }

    return Stack(settings, f"s3://{bucket.bucket}/backups", bucket)


def pulled(registry: Registry, tags: Mapping[tuple[str, str], bytes]) -> None:
    """Nothing is damaged or too much, and every tag pulls byte for byte."""
    found = json.loads(registry.run("verify", "--deep", "--json"))
    assert (found["damaged"], found["orphans"]) == (0, 0)
    with registry.running():
        fetcher = Fetcher(registry)
        for (repository, tag), payload in tags.items():
            assert fetcher.get(f"/v2/{repository}/manifests/{tag}")[0] == payload
            fetcher.tree(repository, tag)


def pushed(registry: Registry, *names: str) -> dict[tuple[str, str], bytes]:
    """Images by repository and tag."""
    with registry.running():
        pusher, where = Pusher(registry), "library/app"
        return {(where, name): pusher.image(where, name, name.encode() * 999) for name in names}


def test_no_step_is_left_out() -> None:
    """A new one has its place in this file, too."""
    crashed = {step.partition("=")[0] for step in (*BACKUP, *PRUNE, *RESTORE, *IMPORT)}
    verbs = ("backup.", "copy.", "prune.", "refill.", "import.")
    assert crashed == {name for name in NAMES if name.startswith(verbs)}


def test_backups_and_a_restore(stack: Stack, tmp_path: Path) -> None:
    """What was cut off is no backup, spoils none, and holds none up."""
    before = stack.registry(tmp_path, "before", **CALM)
    create = "backup", "create", stack.place, "--json"
    known = pushed(before, "one", "two", "three")
    crash(create, before.folder, *BACKUP, environment=before.environment())
    assert json.loads(before.run("backup", "list", stack.place, "--json")) == []
    (unneeded,) = pushed(before, "unneeded").values()
    before.run(*create)
    known |= pushed(before, "four")
    with before.running():
        Pusher(before).delete("library/app", sha256(unneeded))
        assert json.loads(before.run("gc", "--empty-trash", "--json"))["blobs"] > 0
    crash(create, before.folder, BACKUP[0], environment=before.environment())
    made = json.loads(before.run(*create))

    prune = "backup", "prune", stack.place, "--keep-last", "1", "--json"
    crash(prune, before.folder, *PRUNE, environment=before.environment())
    before.run(*prune)
    left = json.loads(before.run("backup", "list", stack.place, "--json"))
    assert [each["id"] for each in left] == [made["id"]]
    checked = json.loads(before.run("backup", "verify", stack.place, "--deep", "--json"))
    assert checked["wrong"] == []

    after = stack.registry(tmp_path, "after", **{"auth.admin_password": before.password})
    after.password = before.password
    restore = "restore", stack.place, "--json"
    crash(restore, after.folder, *RESTORE, environment=after.environment())
    done = json.loads(after.run(*restore))
    assert (done["objects"], done["missing"]) == (made["objects"], 0)
    pulled(after, known)


def test_an_import_of_a_distribution(stack: Stack, tmp_path: Path) -> None:
    """Each batch is there or it is not, and the next run goes on behind it."""
    require("docker-registry")
    peer = DockerRegistry(tmp_path / "peer", stack.bucket)
    try:
        push([peer.start().port], 20, 10)
    finally:
        peer.stop()
    where: dict[str, object] = {"storage.filesystem.rootdirectory": tmp_path / "peer" / "registry"}
    if stack.bucket is not None:
        where = {"storage.s3": stack.bucket.section()}
    registry = stack.registry(tmp_path, "ours", **where)
    registry.run("migrate")
    take_over = "import", "storage", "--json"
    crash(take_over, registry.folder, *IMPORT, environment=registry.environment())
    done = json.loads(registry.run(*take_over))
    assert done["manifests"] + done["there"] == 200
    assert (done["verified"], done["problems"]) == (200, [])
    pulled(registry, tags_of(20, 10))
