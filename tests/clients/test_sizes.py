"""Images of unusual size, and many at once."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.support.clients import Crane, Home, Skopeo
from tests.support.images import image, image_of, large
from tests.support.serving import Fetcher

GIB = 1 << 30


def test_an_image_of_100_layers(home: Home, fetch: Fetcher, tmp_path: Path) -> None:
    """skopeo pushes and crane pulls 100 layers."""
    source = image(tmp_path / "image", seed="tall", layers=100, size=512)
    reference = f"{home.registry}/library/tall:v1"
    Skopeo().push(home, source, reference)
    got = Crane().pull(home, reference, tmp_path / "got")
    assert got.digests() == source.digests() == fetch.tree("library/tall", "v1")[1]
    assert len(got.digests()) == 102


def test_32_pushes_at_once_that_share_layers(home: Home, fetch: Fetcher, tmp_path: Path) -> None:
    """Clients that race to upload the same layers into several repositories all succeed."""
    shared = [f"shared {number}" for number in range(4)]
    sources = [
        image_of(tmp_path / f"image-{number}", [*shared, f"own {number}"], size=64 << 10)
        for number in range(32)
    ]

    def push(number: int) -> None:
        reference = f"{home.registry}/library/parallel-{number % 4}:v{number}"
        Crane().push(home, sources[number], reference)

    with ThreadPoolExecutor(32) as pool:
        list(pool.map(push, range(32)))
    for number, source in enumerate(sources):
        held = fetch.tree(f"library/parallel-{number % 4}", f"v{number}")
        assert held == (source.digest, source.digests())


@pytest.mark.slow
def test_a_layer_of_one_gibibyte(home: Home, tmp_path: Path) -> None:
    """skopeo pushes it in one stream, crane pulls the same bytes."""
    source = large(tmp_path / "image", GIB)
    reference = f"{home.registry}/library/large:v1"
    Skopeo().push(home, source, reference)
    got = Crane().pull(home, reference, tmp_path / "got")
    assert got.digests() == source.digests()
