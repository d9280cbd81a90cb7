"""Crash an operator's verb at each of its steps, run it again, and look at what is there.

Backups, their pruning, a restore and an import, on SQLite with files and on PostgreSQL with S3.
`test_moving.py` does the same with a move from either to the other.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
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

from moorage.failpoints import NAMES

pytestmark = pytest.mark.slow

KEY = "a-secret-key-of-the-tests-0123456789"
# What nobody needs goes when it is asked for, and not before.
CALM = {"gc.enabled": False, "gc.lease_seconds": 0, "gc.drain_seconds": 0, "gc.trash_seconds": 0}
BACKUP = ("backup.dumped", "copy.written", "2*copy.written", "backup.copied")
PRUNE = ("prune.dropped", "prune.swept")
RESTORE = ("copy.written", "refill.objects", "refill.rows")
IMPORT = ("import.batch", "import.committed")


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


def crash(registry: Registry, steps: Sequence[str], *verb: str) -> None:
    """Run a verb once for each step, and end it there as a lost machine would."""
    for step in steps:
        times, _, name = step.rpartition("*")
        armed = f"{name}={times}*crash" if times else f"{name}=crash"
        died = subprocess.run(
            [sys.executable, "-m", "moorage", *verb],
            cwd=registry.folder,
            env={**registry.environment(), "MOORAGE_FAILPOINTS": armed},
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
        assert died.returncode == 137, (step, died.stdout, died.stderr)


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
    crashed = {step.rpartition("*")[2] for step in (*BACKUP, *PRUNE, *RESTORE, *IMPORT)}
    verbs = ("backup.", "copy.", "prune.", "refill.", "import.")
    assert crashed == {name for name in NAMES if name.startswith(verbs)}


def test_backups_and_a_restore(stack: Stack, tmp_path: Path) -> None:
    """What was cut off is no backup, spoils none, and holds none up."""
    before = stack.registry(tmp_path, "before", **CALM)
    create = "backup", "create", stack.place, "--json"
    known = pushed(before, "one", "two", "three")
    crash(before, BACKUP, *create)
    assert json.loads(before.run("backup", "list", stack.place, "--json")) == []
    (unneeded,) = pushed(before, "unneeded").values()
    before.run(*create)
    known |= pushed(before, "four")
    with before.running():
        Pusher(before).delete("library/app", sha256(unneeded))
        assert json.loads(before.run("gc", "--empty-trash", "--json"))["blobs"] > 0
    crash(before, BACKUP[:1], *create)
    made = json.loads(before.run(*create))

    prune = "backup", "prune", stack.place, "--keep-last", "1", "--json"
    crash(before, PRUNE, *prune)
    before.run(*prune)
    left = json.loads(before.run("backup", "list", stack.place, "--json"))
    assert [each["id"] for each in left] == [made["id"]]
    checked = json.loads(before.run("backup", "verify", stack.place, "--deep", "--json"))
    assert checked["wrong"] == []

    after = stack.registry(tmp_path, "after", **{"auth.admin_password": before.password})
    after.password = before.password
    crash(after, RESTORE, "restore", stack.place, "--json")
    done = json.loads(after.run("restore", stack.place, "--json"))
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
    crash(registry, IMPORT, "import", "storage", "--json")
    done = json.loads(registry.run("import", "storage", "--json"))
    assert done["manifests"] + done["there"] == 200
    assert (done["verified"], done["problems"]) == (200, [])
    pulled(registry, tags_of(20, 10))
