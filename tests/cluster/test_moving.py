"""`moorage move` from SQLite and files to PostgreSQL and S3, killed on the way; and back again."""

import json
import os
from collections.abc import Mapping
from pathlib import Path

import pytest
from tests.support.content import sha256
from tests.support.databases import PostgresServer
from tests.support.pushing import Pusher
from tests.support.serving import Fetcher, Registry
from tests.support.stores import Bucket
from tests.support.verbs import crash, ran

pytestmark = pytest.mark.slow

KEY = "a-secret-key-of-the-tests-0123456789"
STEPS = ("copy.written=4*crash", "move.batch=2*crash", "move.rows=crash")
LARGE = 12 << 20  # bytes that the S3 driver sends in parts


def toml(settings: Mapping[str, object]) -> str:
    """A settings file of settings by path."""
    return "".join(f"{path} = {_value(setting)}\n" for path, setting in settings.items())


def _value(setting: object) -> str:
    if isinstance(setting, dict):
        return "{" + ", ".join(f"{key} = {_value(each)}" for key, each in setting.items()) + "}"
    return json.dumps(setting)


def pushed(registry: Registry) -> dict[str, bytes]:
    """Images of small layers and of a large one; their manifests by tag."""
    pusher = Pusher(registry)
    layers = {f"v{n}": b"layer %d " % n * 2000 for n in range(5)}
    layers["large"] = os.urandom(LARGE)
    return {tag: pusher.image("library/app", tag, layer) for tag, layer in layers.items()}


def check(registry: Registry, known: Mapping[str, bytes]) -> None:
    """Every tag pulls byte for byte, and a push goes on."""
    fetcher = Fetcher(registry)
    for tag, payload in known.items():
        assert fetcher.get(f"/v2/library/app/manifests/{tag}")[0] == payload
        assert fetcher.tree("library/app", tag)[0] == sha256(payload)
    Pusher(registry).image("library/app", "after", b"a new layer")


def test_a_killed_move_to_a_bucket_goes_on(
    tmp_path: Path, postgres_server: PostgresServer, seaweed: Bucket
) -> None:
    """Killed among objects and rows: nothing starts on the half, and no object moves twice."""
    name = f"moved_{os.urandom(4).hex()}"
    postgres_server.sql(f"CREATE DATABASE {name}")
    settings = {"auth.secret_key": KEY}
    bucket: dict[str, object] = {
        "storage.driver": "s3",
        "storage.s3": seaweed.section(),
        "database.url": postgres_server.url(name),
    }
    before = Registry(tmp_path / "before", settings=settings)
    after = Registry(tmp_path / "after", settings={**settings, **bucket}, password=before.password)
    with before.running():
        known = pushed(before)
        before.stop()
    old = {**settings, "data_dir": str(before.folder / "data")}
    new = {**settings, **bucket, "data_dir": str(after.folder / "data")}
    (tmp_path / "old.toml").write_text(toml(old))
    (tmp_path / "new.toml").write_text(toml(new))
    move = ["move", "--config", "old.toml", "--to", "new.toml", "--json"]

    for failpoint in STEPS:
        crash(move, tmp_path, failpoint)
        refused = ran(["verify", "--config", "new.toml"], tmp_path)
        assert refused.returncode == 1
        assert "run `moorage move` again" in refused.stderr
    done = ran(move, tmp_path)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    # The runs before have moved all objects and rows; this one compared, and let it start.
    assert (told["objects"], told["objects_now"], told["rows_now"]) == (len(known) + 1, 0, 0)
    assert told["missing"] == {}

    verified = ran(["verify", "--config", "new.toml", "--deep", "--json"], tmp_path)
    assert verified.returncode == 0, verified.stdout + verified.stderr
    found = json.loads(verified.stdout)
    assert (found["damaged"], found["orphans"]) == (0, 0)
    with after.running():
        check(after, known)
        after.stop()
    with before.running():  # it was only read: there is something to go back to
        check(before, known)


def test_a_move_from_a_bucket_back_to_files(
    tmp_path: Path, postgres_server: PostgresServer, seaweed: Bucket
) -> None:
    """What is in PostgreSQL and S3 becomes one folder, after a kill too."""
    settings = {"auth.secret_key": KEY}
    bucket: dict[str, object] = {
        "storage.driver": "s3",
        "storage.s3": seaweed.section(rootdirectory="live"),
        "database.url": postgres_server.url(postgres_server.fresh()),
    }
    before = Registry(tmp_path / "before", settings={**settings, **bucket})
    after = Registry(tmp_path / "after", settings=settings, password=before.password)
    with before.running():
        known = pushed(before)
        before.stop()
    old = {**settings, **bucket, "data_dir": str(before.folder / "data")}
    (tmp_path / "old.toml").write_text(toml(old))
    (tmp_path / "new.toml").write_text(toml({**settings, "data_dir": str(after.folder / "data")}))
    move = ["move", "--config", "old.toml", "--to", "new.toml", "--json"]
    crash(move, tmp_path, *STEPS)
    done = ran(move, tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["objects"] == len(known) + 1
    with after.running():
        check(after, known)
