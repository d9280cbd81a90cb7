"""Pushes into one project share its quota row, for the end of their transactions and no longer."""

import asyncio
import re
from collections.abc import AsyncIterator

import pytest
from tests.support.content import ALICE, Content, image, sha256
from tests.support.statements import statements

from moorage.blobstore.memory import MemoryStore
from moorage.db.engine import Database
from moorage.oci.media_types import OCI_MANIFEST

pytestmark = pytest.mark.anyio

LOCK = re.compile(r"SELECT quotas\.id\s+FROM quotas")
SHORT = (
    "INSERT INTO project_content",
    "UPDATE quotas",
    "SELECT quotas.hard, quotas.used",
    "UPDATE manifests",
)
"""Statements that wait for nobody: whoever else wants their rows waits for the quota row."""


@pytest.fixture
async def content(database: Database) -> Content:
    """A project with a limit."""
    made = Content(database, MemoryStore())
    await made.project("team", hard=1 << 20)
    return made


async def test_nothing_waits_behind_the_quota_row(content: Content) -> None:
    """It is locked last: what comes after touches rows of the same project only."""
    for tag in ("v1", "v2"):
        layer = tag.encode()
        for data in (b"{}", layer):
            await content.push_blob("team/app", data)
        manifest = image(b"{}", [layer])
        with statements() as seen:
            await content.manifests.put(ALICE, "team/app", tag, manifest, OCI_MANIFEST)
        (at,) = (place for place, text in enumerate(seen) if LOCK.match(text))
        after = seen[at + 1 :]
        assert after
        assert [text for text in after if not text.startswith(SHORT)] == []


async def test_a_slow_push_keeps_nobody_waiting(content: Content) -> None:
    """While its bytes come in, and while its project is nearly full, others push."""
    sent, go = asyncio.Event(), asyncio.Event()

    async def slowly() -> AsyncIterator[bytes]:
        yield b"first"
        sent.set()
        await go.wait()
        yield b"second"

    slow = asyncio.create_task(
        content.uploads.push(ALICE, "team/slow", sha256(b"firstsecond"), slowly(), length=11)
    )
    await sent.wait()
    pushes = (content.push_image(f"team/r{n}", "v1", b'{"n": %d}' % n) for n in range(10))
    await asyncio.wait_for(asyncio.gather(*pushes), timeout=120)
    assert not slow.done()
    go.set()
    await slow
