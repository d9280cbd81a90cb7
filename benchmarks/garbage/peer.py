"""The same images in Debian's docker-registry and in Moorage, both on one S3 server; then collect.

The peer's bucket is written as the peer lays it out; ours is filled by pushes. Then the manifests
of some images are deleted. Both collect what is left over: the peer offline, as it has to, Moorage
while it serves. What counts is the time from the order to its end, with every object gone.

The peer looks at all that is kept before it deletes, Moorage only at what was let go: so the share
that is deleted decides, and is a parameter. Where nearly all goes, the store's own deletes do.
"""

import asyncio
import json
import random
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import obstore
from obstore.store import S3Store
from tests.support.content import ALICE, Content, image, sha256
from tests.support.databases import running_postgres
from tests.support.images import MANIFEST
from tests.support.peers import DockerRegistry
from tests.support.replicas import Calls
from tests.support.requirements import path_of
from tests.support.serving import Registry
from tests.support.stores import Bucket, SeaweedServer

from benchmarks.garbage.rows import opened
from moorage.artifacts.rules import Rules
from moorage.blobstore import open as open_store

REPOSITORIES = 10
LAYERS = 10  # of an image, beside its config
BYTES = 4096  # of a layer
AT_ONCE = 6
WORKERS = 8
GC = "/api/v2.0/system/gc"


@dataclass(frozen=True)
class Image:
    """One to push."""

    repository: str
    blobs: Sequence[bytes]
    payload: bytes
    deleted: bool


@dataclass(frozen=True)
class Collection:
    """What one registry did."""

    blobs: int
    seconds: float

    @property
    def rate(self) -> float:
        """Blobs a second."""
        return self.blobs / self.seconds


def images(count: int, percent: int) -> list[Image]:
    """Images that share no blob, so many percent of them to be deleted; the same for everybody."""
    rng = random.Random(4711)
    found = []
    for number in range(count):
        config = json.dumps({"number": number}).encode()
        layers = [rng.randbytes(BYTES) for _ in range(LAYERS)]
        repository = f"team/r{number % REPOSITORIES}"
        deleted = number * percent // 100 < (number + 1) * percent // 100
        found.append(Image(repository, [config, *layers], image(config, layers), deleted))
    return found


# --- content


T = TypeVar("T")


async def _each(things: Iterable[T], work: Callable[[T], Awaitable[object]]) -> None:
    """Do it with each, a few at a time."""
    left = iter(things)

    async def some() -> None:
        for thing in left:
            await work(thing)

    await asyncio.gather(*(some() for _ in range(AT_ONCE)))


def layout(every: Sequence[Image]) -> Mapping[str, bytes]:
    """What the peer's bucket holds after all were pushed and some manifests deleted."""
    found: dict[str, bytes] = {}
    for each in every:
        repository = f"repositories/{each.repository}"
        for blob in (*each.blobs, each.payload):
            hex_ = sha256(blob).partition(":")[2]
            found[f"blobs/sha256/{hex_[:2]}/{hex_}/data"] = blob
        for blob in each.blobs:
            hex_ = sha256(blob).partition(":")[2]
            found[f"{repository}/_layers/sha256/{hex_}/link"] = sha256(blob).encode()
        if not each.deleted:
            hex_ = sha256(each.payload).partition(":")[2]
            link = f"{repository}/_manifests/revisions/sha256/{hex_}/link"
            found[link] = sha256(each.payload).encode()
    return found


async def fill_theirs(bucket: Bucket, every: Sequence[Image]) -> None:
    """Write the objects that the peer would have."""
    store = S3Store(
        bucket.bucket,
        endpoint=bucket.endpoint,
        region=bucket.region,
        access_key_id=bucket.access_key,
        secret_access_key=bucket.secret_key,
        client_options={"allow_http": True},
    )
    objects = layout(every)
    root = "docker/registry/v2/"

    async def put(item: tuple[str, bytes]) -> None:
        await obstore.put_async(store, root + item[0], item[1])

    await _each(objects.items(), put)


async def fill_ours(url: str, bucket: Bucket, folder: Path, every: Sequence[Image]) -> None:
    """Push all images, and delete those that are to go."""
    store = open_store(bucket.settings, data_dir=folder)
    async with opened(url, folder) as db:
        content = Content(db, store, Rules(lease=0, drain=0, trash=0))
        await content.project("team")

        async def push(each: Image) -> None:
            for blob in each.blobs:
                await content.push_blob(each.repository, blob)
            digest = sha256(each.payload)
            await content.manifests.put(ALICE, each.repository, digest, each.payload, MANIFEST)
            if each.deleted:
                await content.manifests.delete(ALICE, each.repository, digest)

        await _each(every, push)
    await store.close()


# --- collecting


def _theirs(peer: DockerRegistry) -> Collection:
    began = time.monotonic()
    gone = peer.collect()
    return Collection(gone, time.monotonic() - began)


def _ours(calls: Calls) -> Collection:
    body = {
        "schedule": {"type": "Manual"},
        "parameters": {"workers": WORKERS},
    }
    json_type = {"Content-Type": "application/json"}
    began = time.monotonic()
    made = calls.ask("POST", f"{GC}/schedule", json.dumps(body).encode(), json_type)
    assert made.status == 201, made
    where = made.headers["location"]
    while True:
        found = calls.json(where)
        if found["job_status"] in ("Success", "Error", "Stopped"):
            break
        time.sleep(0.05)
    lasted = time.monotonic() - began
    assert found["job_status"] == "Success", found
    done = json.loads(str(found["job_parameters"]))
    assert done["deleted_objects"] == done["purged_blobs"], done
    return Collection(done["purged_blobs"], lasted)


def compare(folder: Path, count: int, percent: int) -> tuple[Collection, Collection]:
    """Theirs and ours, of so many images of which so many percent were deleted."""
    every = images(count, percent)
    kept = [each for each in every if not each.deleted]
    gone = [each for each in every if each.deleted]
    with ExitStack() as stack:
        (folder / "seaweed").mkdir()
        store = SeaweedServer(folder / "seaweed", path_of("weed"))
        stack.callback(store.kill)
        store.start()
        their_bucket, our_bucket = store.bucket(), store.bucket()
        database = stack.enter_context(running_postgres(durable=True))
        database.sql("CREATE DATABASE moorage")
        url = database.url("moorage")
        asyncio.run(fill_theirs(their_bucket, every))
        peer = DockerRegistry(folder / "peer", their_bucket)
        peer.configure()
        settings = {
            "database.url": url,
            "storage.driver": "s3",
            "storage.s3": our_bucket.section(),
            "gc.enabled": False,  # only when told to
            "gc.lease_seconds": 0,
            "gc.drain_seconds": 0,
            "gc.trash_seconds": 0,
        }
        ours = Registry(folder / "moorage", settings=settings)
        stack.enter_context(ours.running())
        asyncio.run(fill_ours(url, our_bucket, folder, every))
        calls = Calls(ours)
        theirs, own = _theirs(peer), _ours(calls)
        for each in kept:
            for blob in each.blobs:
                path = f"/v2/{each.repository}/blobs/{sha256(blob)}"
                assert calls.ask("HEAD", path).status in (200, 307)
        stack.callback(peer.stop)
        peer.start()
        anonymous = Calls.__new__(Calls)
        anonymous.port, anonymous.authorization = peer.port, ""
        path = f"/v2/{kept[0].repository}/manifests/{sha256(kept[0].payload)}"
        assert anonymous.ask("GET", path).status == 200
    assert own.blobs == sum(len(each.blobs) for each in gone), own
    assert theirs.blobs == own.blobs + len(gone), theirs  # its manifests are objects too
    return theirs, own


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place:
        for each in compare(Path(place), int(sys.argv[1]), int(sys.argv[2])):
            print(each, f"{each.rate:,.0f} objects a second")
