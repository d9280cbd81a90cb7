"""Backup of a server at work, then everything is lost, then it is back: by the command line."""

import json
import shutil
import threading
import urllib.error
from pathlib import Path

import pytest
from tests.support.databases import PostgresServer
from tests.support.pushing import Pusher
from tests.support.serving import Fetcher, Registry
from tests.support.stores import Bucket

pytestmark = pytest.mark.slow

KEY = "a-secret-key-of-the-tests-0123456789"


class Workload:
    """Clients that push until they are told to stop."""

    def __init__(self, registry: Registry, clients: int = 3) -> None:
        self.acknowledged: dict[str, bytes] = {}
        self.enough = threading.Event()
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._push, args=(Pusher(registry), number), daemon=True)
            for number in range(clients)
        ]

    def _push(self, pusher: Pusher, client: int) -> None:
        number = 0
        while not self._stop.is_set():
            tag = f"c{client}-{number}"
            try:
                self.acknowledged[tag] = pusher.image("library/app", tag, tag.encode() * 5000)
            except (OSError, urllib.error.URLError):
                return  # the server is gone
            number += 1
            if len(self.acknowledged) >= 12:
                self.enough.set()

    def __enter__(self) -> "Workload":
        for thread in self._threads:
            thread.start()
        assert self.enough.wait(60)
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(60)


def wrecked_and_restored(before: Registry, after: Registry, place: str, more: list[str]) -> None:
    """Back up under load, lose everything, restore into `after`, and pull."""
    with before.running():
        with Workload(before) as work:
            known = dict(work.acknowledged)
            made = json.loads(before.run("backup", "create", place, *more, "--json"))
        assert made["damaged"] == 0
        before.kill()
    shutil.rmtree(before.folder / "data")
    assert json.loads(before.run("backup", "list", place, *more, "--json"))[0]["id"] == made["id"]
    checked = before.run("backup", "verify", place, *more, "--deep", "--json")
    assert json.loads(checked)["wrong"] == []
    done = json.loads(after.run("restore", place, *more, "--json"))
    assert (done["objects"], done["missing"]) == (made["objects"], 0)
    verified = json.loads(after.run("verify", "--deep", "--json"))
    assert (verified["damaged"], verified["orphans"]) == (0, 0)
    with after.running():
        fetcher = Fetcher(after)
        for tag, payload in known.items():
            assert fetcher.get(f"/v2/library/app/manifests/{tag}")[0] == payload
            fetcher.tree("library/app", tag)
        Pusher(after).image("library/app", "after", b"a new layer")


def test_a_folder_is_wrecked_and_comes_back(tmp_path: Path) -> None:
    """SQLite and files, backed up into a folder, restored with the same secret key."""
    settings = {"auth.secret_key": KEY}
    before = Registry(tmp_path / "before", settings=settings)
    after = Registry(tmp_path / "after", settings=settings, password=before.password)
    wrecked_and_restored(before, after, str(tmp_path / "backups"), [])


def test_a_restore_changes_database_and_store(
    tmp_path: Path, postgres_server: PostgresServer, seaweed: Bucket
) -> None:
    """From SQLite and files, through a bucket, to PostgreSQL and another part of the bucket."""
    name = f"restored_{tmp_path.name[-8:].replace('-', '_')}"
    postgres_server.sql(f'CREATE DATABASE "{name}"')
    settings = {"auth.secret_key": KEY}
    bucket = {
        "storage.driver": "s3",
        "storage.s3": seaweed.section(rootdirectory="live"),
        "database.url": postgres_server.url(name),
    }
    before = Registry(tmp_path / "before", settings=settings)
    after = Registry(tmp_path / "after", settings={**settings, **bucket}, password=before.password)
    config = tmp_path / "place.toml"
    section = seaweed.section()
    lines = [f"{key} = {json.dumps(value)}" for key, value in section.items()]
    config.write_text("[storage.s3]\n" + "\n".join(lines) + "\n")
    place = f"s3://{seaweed.bucket}/backups"
    wrecked_and_restored(before, after, place, ["--place-config", str(config)])
