"""How much memory a long stream costs: measured in a process of its own."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from tests.support.stores import Bucket

SCRIPT = """
import asyncio, hashlib, json, os, resource, sys
from pathlib import Path
import moorage.blobstore
from moorage.config.storage import StorageSettings

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

async def stream(store, key, mebibytes):
    hasher = hashlib.sha256()
    writer = store.create(key, hasher)
    for _ in range(mebibytes * 4):
        await writer.write(os.urandom(1 << 18))
        await asyncio.sleep(0)
    await writer.commit()
    found = hashlib.sha256()
    async for piece in store.read(key):
        found.update(piece)
    assert found.digest() == hasher.digest()

async def main():
    settings = StorageSettings.model_validate(json.loads(sys.argv[1]))
    store = moorage.blobstore.open(settings, data_dir=Path(sys.argv[2]))
    await stream(store, "blobs/first", 1)
    before = peak()
    await stream(store, "blobs/long", 128)
    await store.join(["blobs/first", "blobs/long"], "blobs/joined")
    print(peak() - before)
    await store.close()

asyncio.run(main())
"""


@pytest.mark.parametrize("driver", ["filesystem", "s3"])
def test_a_long_stream_costs_little_memory(
    driver: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """Writing, reading and joining 128 MiB adds less than 64 MiB to the process."""
    settings: dict[str, object] = {"driver": driver}
    if driver == "s3":
        bucket: Bucket = request.getfixturevalue("seaweed")
        settings["s3"] = bucket.section()
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, json.dumps(settings), str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) < 64, done.stdout
