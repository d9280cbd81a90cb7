"""Images pushed with each client are pulled by every other, byte for byte."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.support.clients import FAITHFUL, REPACKING, Client, Home
from tests.support.images import Layout, image, index
from tests.support.serving import Fetcher

EVERYONE = (*FAITHFUL, *REPACKING)


@dataclass(frozen=True)
class Pushed:
    """What one client pushed, and what the registry then holds, read by plain HTTP."""

    client: Client
    source: Layout
    reference: str
    digest: str
    contents: frozenset[str]


_PUSHED: dict[tuple[str, str, str], Pushed] = {}


def pushed(home: Home, fetch: Fetcher, folder: Path, client: Client, kind: str) -> Pushed:
    """Push once for all who pull it; read it back with neither client involved."""
    key = (home.registry, client.name, kind)
    if key not in _PUSHED:
        make = image if kind == "image" else index
        source = make(folder / f"{client.name}-{kind}", seed=f"{client.name} {kind}")
        repository = f"library/matrix-{client.name}-{kind}"
        reference = f"{home.registry}/{repository}:v1"
        client.push(home, source, reference)
        digest, contents = fetch.tree(repository, "v1")
        _PUSHED[key] = Pushed(client, source, reference, digest, frozenset(contents))
    return _PUSHED[key]


def config_of(layout: Layout) -> dict[str, Any]:
    """The descriptor of an image's config: it names every unpacked layer by digest."""
    document: dict[str, Any] = json.loads(layout.blob(layout.digest).read_bytes())
    descriptor: dict[str, Any] = document["config"]
    return descriptor


@pytest.mark.parametrize("kind", ["image", "index"])
@pytest.mark.parametrize("client", FAITHFUL, ids=lambda each: each.name)
def test_a_faithful_client_stores_exactly_what_it_was_given(
    client: Client, kind: str, home: Home, fetch: Fetcher, shared_folder: Path
) -> None:
    """The registry holds the same digests as the layout, no more and no fewer."""
    held = pushed(home, fetch, shared_folder, client, kind)
    assert held.digest == held.source.digest
    assert held.contents == held.source.digests()


@pytest.mark.parametrize("kind", ["image", "index"])
@pytest.mark.parametrize("receiver", FAITHFUL, ids=lambda each: each.name)
@pytest.mark.parametrize("sender", EVERYONE, ids=lambda each: each.name)
def test_what_one_client_pushes_another_pulls(
    sender: Client,
    receiver: Client,
    kind: str,
    home: Home,
    fetch: Fetcher,
    shared_folder: Path,
    tmp_path: Path,
) -> None:
    """Manifests, configs and layers arrive with every byte as the registry holds it."""
    if kind == "index" and sender in REPACKING:
        kind = "image"  # these push one platform: the image stands for it
    held = pushed(home, fetch, shared_folder, sender, kind)
    got = receiver.pull(home, held.reference, tmp_path / "got")
    assert got.digest == held.digest
    assert got.digests() == held.contents


@pytest.mark.parametrize("receiver", REPACKING, ids=lambda each: each.name)
@pytest.mark.parametrize("sender", EVERYONE, ids=lambda each: each.name)
def test_what_one_client_pushes_a_container_engine_pulls(
    sender: Client,
    receiver: Client,
    home: Home,
    fetch: Fetcher,
    shared_folder: Path,
    tmp_path: Path,
) -> None:
    """The engine unpacks every layer; the config, which names their contents, is the same."""
    held = pushed(home, fetch, shared_folder, sender, "image")
    got = receiver.pull(home, held.reference, tmp_path / "got")
    assert config_of(got)["digest"] in held.contents
