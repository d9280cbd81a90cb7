"""Verbs that back up, restore and take over, as an operator meets them."""

import json
import sqlite3
from pathlib import Path

import pytest
from tests.unit.test_cli import Cli, cli, made

from moorage import failpoints
from moorage.config.storage import StorageSettings
from moorage.errors import Invalid
from moorage.moving.places import place

__all__ = ["cli", "made"]  # fixtures


def test_a_backup_by_the_command_line(made: Cli, tmp_path: Path) -> None:
    """Made, listed, verified and restored; the doctor knows when."""
    where = str(tmp_path / "backups")
    (tmp_path / "backups").mkdir(mode=0o755)  # somebody else made it, for everybody
    made("robot", "list")
    first = made.json("backup", "create", where, "--with-secret-key")
    below = list((tmp_path / "backups").rglob("*"))
    assert [each for each in below if each.stat().st_mode & 0o077] == []
    assert "secret_key" in {each.name for each in below}
    assert (first["objects"], first["secret_key"]) == (0, True)
    assert [row["id"] for row in made.json("backup", "list", where)] == [first["id"]]
    assert made.json("backup", "verify", where, "--id", first["id"])["wrong"] == []
    found = {row["check"]: row for row in made.json("doctor")}
    assert found["backup"]["state"] == "fine"
    other = Cli(tmp_path / "other")
    done = other.json("restore", where)
    assert (done["backup"], done["missing"]) == (first["id"], 0)
    key = tmp_path / "other" / "secret_key"
    assert key.read_text() == (made.folder / "secret_key").read_text()
    assert key.stat().st_mode & 0o077 == 0
    refused = made("backup", "verify", where, "--id", "nothing")
    assert (refused.exit_code, "no complete backup nothing" in refused.output) == (1, True)
    assert "there is no folder" in made("backup", "list", str(tmp_path / "no")).output


def test_the_key_is_there_before_the_rows(made: Cli, tmp_path: Path) -> None:
    """A restore that ends between the two is begun again, and never leaves rows without it."""
    where = str(tmp_path / "backups")
    made.json("backup", "create", where, "--with-secret-key")
    other = Cli(tmp_path / "other")
    other.environment = {"MOORAGE_FAILPOINTS": "refill.rows=error"}
    try:
        with pytest.raises(AssertionError, match="Injected"):
            other("restore", where)
    finally:
        failpoints.arm("")
        other.environment = {}
    key = tmp_path / "other" / "secret_key"
    assert key.read_text() == (made.folder / "secret_key").read_text()
    assert other.json("restore", where)["missing"] == 0


def test_a_backup_without_its_key_says_so(made: Cli, tmp_path: Path) -> None:
    """Neither the wrong key nor none puts rows where nobody can read their secrets."""
    where = str(tmp_path / "backups")
    made.json("backup", "create", where)
    assert not list((tmp_path / "backups").rglob("secret_key"))
    other = Cli(tmp_path / "other")
    assert "the backup is without its secret key" in other("restore", where).output
    other.environment = {"MOORAGE_SECRET_KEY": "another-key-0123456789"}
    assert "is not the one of the backup" in other("restore", where).output


def test_the_doctor_compares_the_trash_with_the_time_between_backups(
    made: Cli, tmp_path: Path
) -> None:
    """Bytes of deleted artifacts have to stay until the next one."""
    made.json("backup", "create", str(tmp_path / "backups"))
    with sqlite3.connect(made.folder / "moorage.db") as db:
        db.create_function("moorage_now", 1, lambda _: "")
        (text,) = db.execute("SELECT value FROM properties WHERE name = 'last_backup'").fetchone()
        noted = json.dumps({**json.loads(text), "interval": 7 * 86400})
        db.execute("UPDATE properties SET value = ? WHERE name = 'last_backup'", (noted,))
    found = {row["check"]: row for row in json.loads(made("doctor", "--json").stdout)}
    assert found["backup"]["state"] == "wrong"
    assert "gc.trash_seconds to at least 604800" in found["backup"]["what"]


def test_a_lost_secret_key_is_replaced(made: Cli) -> None:
    """As the runbook says: the old fingerprint and the keys under it go."""
    assert made("robot", "list").exit_code == 0
    (made.folder / "secret_key").unlink()
    refused = made("robot", "list")
    assert (refused.exit_code, "secret_key is not the one" in refused.output) == (1, True)
    with sqlite3.connect(made.folder / "moorage.db") as db:
        db.execute("DELETE FROM properties WHERE name = 'secret_key_fingerprint'")
        db.execute("DELETE FROM signing_keys")
    assert made("robot", "list").exit_code == 0


def test_what_is_not_the_storage_is_not_taken_over(made: Cli, tmp_path: Path) -> None:
    """It says what to set, or to copy."""
    refused = made("import", "storage", str(tmp_path / "elsewhere"))
    assert refused.exit_code == 1
    assert "set [storage] to it" in refused.output
    empty = made("import", "storage", str(tmp_path / "elsewhere"), "--copy")
    assert "there is no registry at this place" in empty.output
    assert made.json("import", "adopt") == {"adopted": True}


def test_places() -> None:
    """Folders and buckets; what the bucket needs comes from the settings of the same driver."""
    base = StorageSettings.model_validate(
        {"s3": {"bucket": "live", "region": "eu-central-1", "rootdirectory": "x"}}
    )
    found = place("s3://backups/of/moorage", base).s3
    assert found is not None
    assert (found.bucket, found.region, found.rootdirectory) == (
        "backups",
        "eu-central-1",
        "of/moorage",
    )
    assert place("gs://b", base).driver == "gcs"
    assert place("some/folder", base).filesystem.rootdirectory == Path("some/folder").absolute()
    for wrong in ("ftp://x/y", "s3:///x", "azure://container/x"):
        with pytest.raises(Invalid):
            place(wrong, base)


def test_old_backups_are_pruned_by_the_command_line(made: Cli, tmp_path: Path) -> None:
    """A dry run first; without a word of what to keep nothing is done."""
    where = str(tmp_path / "backups")
    for _ in range(2):
        made.json("backup", "create", where)
    new, old = [row["id"] for row in made.json("backup", "list", where)]
    refused = made("backup", "prune", where)
    assert (refused.exit_code, "say what to keep" in refused.output) == (2, True)
    would = made.json("backup", "prune", where, "--keep-daily", "1", "--dry-run")
    assert (would["kept"], would["removed"], would["dry_run"]) == ([new], [old], True)
    assert len(made.json("backup", "list", where)) == 2
    told = made("backup", "prune", where, "--keep-last", "1").output
    assert old in told
    assert [row["id"] for row in made.json("backup", "list", where)] == [new]
    missing = made("backup", "prune", str(tmp_path / "no"), "--keep-last", "1")
    assert "there is no folder" in missing.output
    assert not (tmp_path / "no").exists()
