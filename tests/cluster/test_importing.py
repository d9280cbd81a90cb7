"""Debian's docker-registry, filled by real clients, then its folder and its bucket taken over."""

import contextlib
import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
from tests.support import clients, images
from tests.support.filling import fill, tags_of
from tests.support.legacy import many
from tests.support.peers import DockerRegistry
from tests.support.requirements import path_of
from tests.support.serving import Fetcher, Registry
from tests.support.stores import Bucket
from tests.support.verbs import crash

pytestmark = pytest.mark.slow

Pushed = tuple[str, str, images.Layout]
Made = dict[tuple[str, str], images.Layout]


def push(folder: Path, peer: DockerRegistry, client: clients.Client, *what: Pushed) -> Made:
    """Push layouts with a real client; what the tags mean."""
    home = clients.Home(folder / f"home {what[0][1]}", peer.host, "", "")
    try:
        for repository, tag, layout in what:
            client.push(home, layout, f"{peer.host}/{repository}:{tag}")
    finally:
        home.close()
    return {(repository, tag): layout for repository, tag, layout in what}


def filled(folder: Path, peer: DockerRegistry) -> Made:
    """Images, which share a layer, and an index."""
    one = images.image(folder / "one", seed="one")
    two = images.image_of(folder / "two", ["one 0", "two"])
    multi = images.index(folder / "multi")
    alone = images.image(folder / "alone", seed="alone")
    first = ("library/app", "v1", one), ("team/deep/multi", "latest", multi)
    second = ("library/app", "v2", two), ("alone", "v1", alone)
    made = push(folder, peer, clients.Skopeo(), *first)
    return made | push(folder, peer, clients.Crane(), *second)


def pulled(registry: Registry, made: Made) -> None:
    """Everything comes out as it went in."""
    fetcher = Fetcher(registry)
    for (repository, tag), layout in made.items():
        name = repository if "/" in repository else f"mirror/{repository}"
        digest, tree = fetcher.tree(name, tag)
        assert digest == layout.digest
        assert tree == layout.digests()


def test_a_folder_of_docker_registry(tmp_path: Path) -> None:
    """While it runs, then without it; and it finds its folder as it left it."""
    peer = DockerRegistry(tmp_path / "peer").start()
    try:
        made = filled(tmp_path, peer)
        storage = {"storage.filesystem.rootdirectory": tmp_path / "peer" / "registry"}
        registry = Registry(tmp_path / "ours", settings=storage)
        registry.run("migrate")
        prepared = json.loads(
            registry.run("import", "storage", "--phase", "prepare", "--project", "mirror", "--json")
        )
        assert (prepared["manifests"], prepared["problems"]) == (6, [])
        late = images.image(tmp_path / "late", seed="late")
        made |= push(tmp_path, peer, clients.Skopeo(), ("library/app", "late", late))
        done = json.loads(registry.run("import", "storage", "--project", "mirror", "--json"))
        assert (done["manifests"], done["tags"], done["verified"]) == (1, 5, 5)
    finally:
        peer.stop()
    with registry.running():
        pulled(registry, made)
    verified = json.loads(registry.run("verify", "--deep", "--json"))
    assert (verified["damaged"], verified["orphans"]) == (0, 0)
    peer.start()
    try:
        home = clients.Home(tmp_path / "home", peer.host, "", "")
        back = clients.Skopeo().pull(home, f"{peer.host}/library/app:late", tmp_path / "back")
        home.close()
        assert back.digest == late.digest
    finally:
        peer.stop()


def test_a_bucket_of_docker_registry(tmp_path: Path, seaweed: Bucket) -> None:
    """The same objects, in S3."""
    peer = DockerRegistry(tmp_path / "peer", bucket=seaweed).start()
    try:
        made = filled(tmp_path, peer)
    finally:
        peer.stop()
    storage = {"storage.driver": "s3", "storage.s3": seaweed.section()}
    registry = Registry(tmp_path / "ours", settings=storage)
    registry.run("migrate")
    done = json.loads(registry.run("import", "storage", "--project", "mirror", "--json"))
    assert (done["manifests"], done["verified"], done["problems"]) == (6, 4, [])
    with registry.running():
        pulled(registry, made)


def test_many_repositories_of_docker_registry(tmp_path: Path) -> None:
    """Written by several processes of it; the import is killed at random moments and goes on.

    TESTS_IMPORT_REPOSITORIES=10000 for as many as a registry of years has;
    `python -m benchmarks.importing` measures it.
    """
    path_of("docker-registry")
    count = int(os.environ.get("TESTS_IMPORT_REPOSITORIES", "15"))
    fill(tmp_path, count, 10)
    registry = Registry(
        tmp_path / "ours", settings={"storage.filesystem.rootdirectory": tmp_path / "registry"}
    )
    registry.run("migrate")
    for _ in range(3):
        running = subprocess.Popen(
            [sys.executable, "-m", "moorage", "import", "storage"],
            cwd=registry.folder,
            env=registry.environment(),
            stdout=subprocess.DEVNULL,
        )
        with contextlib.suppress(subprocess.TimeoutExpired):
            running.wait(random.uniform(0.5, 2 + count / 50))
        running.kill()
        running.wait()
    done = json.loads(registry.run("import", "storage", "--json"))
    assert done["manifests"] + done["there"] == count * 10
    assert (done["verified"], done["problems"]) == (count * 10, [])
    tags = tags_of(count, 10)
    assert len(tags) == count * 10
    with registry.running():
        fetcher = Fetcher(registry)
        for (repository, tag), payload in tags.items():
            assert fetcher.get(f"/v2/{repository}/manifests/{tag}")[0] == payload
        for repository, tag in list(tags)[::97]:
            fetcher.tree(repository, tag)


def test_an_import_killed_many_times(tmp_path: Path) -> None:
    """A large one, killed after more and more batches, ends with every tag byte for byte."""
    legacy = many(tmp_path / "old", 80, 10)
    registry = Registry(
        tmp_path / "ours", settings={"storage.filesystem.rootdirectory": tmp_path / "old"}
    )
    registry.run("migrate")
    steps = "import.batch=crash", "import.committed=crash", "import.committed=1*crash"
    crash(["import", "storage"], registry.folder, *steps, environment=registry.environment())
    done = json.loads(registry.run("import", "storage", "--json"))
    assert done["manifests"] + done["there"] == 800
    assert done["there"] >= 500
    assert (done["verified"], done["problems"]) == (800, [])
    with registry.running():
        fetcher = Fetcher(registry)
        for (repository, tag), payload in list(legacy.tags.items())[::37]:
            assert fetcher.get(f"/v2/{repository}/manifests/{tag}")[0] == payload
            fetcher.tree(repository, tag)
