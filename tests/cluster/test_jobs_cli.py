"""Verbs beside a running server: the server does the work, the command shows it."""

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.images import digest_of
from tests.support.replicas import Calls
from tests.support.serving import Registry


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    """One process with everything, on SQLite, that leases nothing and collects only when asked."""
    settings = {
        "gc.lease_seconds": 0,
        "gc.drain_seconds": 0,
        "gc.trash_seconds": 0,
        "gc.enabled": False,
        "storage.redirect.seconds": 1,
        "jobs.poll_seconds": 0.2,
    }
    with Registry(tmp_path / "one", settings=settings).running() as running:
        yield running


def objects(registry: Registry) -> list[Path]:
    """Files of blobs."""
    return [path for path in (registry.folder / "data" / "blobs").rglob("*") if path.is_file()]


def test_gc_verify_and_logs(registry: Registry) -> None:
    calls = Calls(registry)
    content = b"nobody needs it"
    calls.push_blob("library/app", content)
    assert len(objects(registry)) == 1
    preview = json.loads(registry.run("gc", "--dry-run", "--json"))
    done = json.loads(registry.run("gc", "--empty-trash", "--json"))
    assert preview["blobs"] == done["blobs"] == 1
    assert preview["size"] == done["size"] == done["freed_bytes"] == len(content)
    assert objects(registry) == []
    # Others come by themselves, at any moment.
    listed = json.loads(registry.run("jobs", "list", "--kind", "GARBAGE_COLLECTION", "--json"))
    assert [(each["kind"], each["status"]) for each in listed] == [
        ("GARBAGE_COLLECTION", "Success")
    ] * 2
    said = registry.run("jobs", "logs", "--follow", str(listed[0]["id"]))
    assert f"delete blob from storage: {digest_of(content)}" in said
    assert calls.ask("HEAD", f"/v2/library/app/blobs/{digest_of(content)}").status == 404


def test_a_damaged_blob_is_found_and_healed_by_the_next_push(registry: Registry) -> None:
    calls = Calls(registry)
    content = b"somebody needs it"
    digest = calls.push_blob("library/app", content)
    (path,) = objects(registry)
    path.chmod(0o600)
    path.write_bytes(content[::-1])
    command = [sys.executable, "-m", "moorage", "verify", "--deep", "--json"]
    found = subprocess.run(
        command,
        cwd=registry.folder,
        env=registry.environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert found.returncode == 1, found.stderr
    assert json.loads(found.stdout)["damaged"] == 1
    assert calls.ask("GET", f"/v2/library/app/blobs/{digest}").status == 404
    calls.push_blob("library/app", content)
    assert calls.ask("GET", f"/v2/library/app/blobs/{digest}").body == content
    assert json.loads(registry.run("verify", "--deep", "--json"))["damaged"] == 0


@pytest.mark.slow
def test_a_job_is_followed_and_stopped_from_elsewhere(tmp_path: Path) -> None:
    """Its log comes while it runs; what waited for it says that it was stopped."""

    class Slow(Registry):
        def environment(self) -> dict[str, str]:
            return super().environment() | {"MOORAGE_FAILPOINTS": "gc.committed=sleep(600)"}

    settings = {"gc.lease_seconds": 0, "gc.enabled": False, "jobs.poll_seconds": 0.2}
    with Slow(tmp_path / "slow", settings=settings).running() as registry:
        Calls(registry).push_blob("library/app", b"nobody needs it")
        waiting = subprocess.Popen(
            [sys.executable, "-m", "moorage", "gc"],
            cwd=registry.folder,
            env=registry.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            task = _until_it_says(registry, "eligible for deletion")
            registry.run("jobs", "stop", task)
            assert waiting.wait(60) == 1
            assert waiting.stderr is not None
            assert "it was stopped" in waiting.stderr.read()
        finally:
            waiting.kill()
            waiting.wait()
            for stream in (waiting.stdout, waiting.stderr):
                if stream is not None:
                    stream.close()


def _until_it_says(registry: Registry, words: str) -> str:
    """Follow the log of the collection until it says this; its id."""
    task = ""
    for _ in range(600):
        # Schedules of the installation's own may come before it.
        listed = json.loads(registry.run("jobs", "list", "--kind", "GARBAGE_COLLECTION", "--json"))
        if listed:
            task = str(listed[0]["id"])
            break
        threading.Event().wait(0.1)
    following = subprocess.Popen(
        [sys.executable, "-m", "moorage", "jobs", "logs", "-f", task],
        cwd=registry.folder,
        env=registry.environment(),
        stdout=subprocess.PIPE,
        text=True,
    )
    assert following.stdout is not None
    try:
        assert any(words in line for line in following.stdout)
        return task
    finally:
        following.kill()
        following.wait()
        following.stdout.close()
