"""The collector's way through many candidates: each page costs what is on it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

import pytest
from sqlalchemy import insert, literal, select, text
from tests.support.content import Content

from moorage.artifacts.rules import Rules
from moorage.blobstore.memory import MemoryStore
from moorage.db import Database
from moorage.db import tables as t
from moorage.db.transactions import Tx
from moorage.db.types import from_now
from moorage.gc.collector import Collector

pytestmark = pytest.mark.anyio

MANY = 20_000
PAGE = 100
LEASED = 7  # every so many-th is held by a lease


def _digest(number: int) -> str:
    return f"sha256:{number:064x}"


async def _fill(tx: Tx, repository: int) -> None:
    digests = [_digest(number) for number in range(MANY)]
    blobs = [{"digest": each, "size": 1, "storage_key": f"blobs/{each}"} for each in digests]
    await tx.execute(insert(t.blobs), blobs)
    links = ["repository_id", "digest", "lease_until", "pending"]
    ended = select(literal(repository), t.blobs.c.digest, from_now(-60), text("FALSE"))
    await tx.execute(insert(t.repository_blobs).from_select(links, ended))
    due = ["digest", "review_after", "reason"]
    every = select(t.blobs.c.digest, from_now(-60), text("'test'"))
    await tx.execute(insert(t.gc_candidates).from_select(due, every))


async def _lease(tx: Tx) -> None:
    held = [_digest(number) for number in range(0, MANY, LEASED)]
    await tx.execute(
        t.repository_blobs.update()
        .where(t.repository_blobs.c.digest.in_(held))
        .values(lease_until=from_now(3600))
    )


async def _filled(database: Database) -> None:
    content = Content(database, MemoryStore())
    project = await content.project("team")
    row = {"project_id": project, "name": "team/app"}

    async def repository(tx: Tx) -> int:
        made = insert(t.repositories).values(row).returning(t.repositories.c.id)
        return int((await tx.execute(made)).scalar_one())

    await database.run(_fill, await database.run(repository))
    await database.run(_lease)


class _OneTransaction:
    """A database whose reads all share a transaction, so that what they read can be counted."""

    def __init__(self, tx: Tx) -> None:
        self.tx = tx

    @asynccontextmanager
    async def read(self) -> AsyncIterator[Tx]:
        """The same, again."""
        yield self.tx

    async def links(self) -> int:
        """Rows of links that PostgreSQL read in it."""
        query = "SELECT pg_stat_get_xact_tuples_returned(oid) FROM pg_class WHERE relname = :name"
        found = 0
        for name in ("repository_blobs", "ix_repository_blobs_digest", "pk_repository_blobs"):
            found += int((await self.tx.execute(text(query), {"name": name})).scalar_one())
        return found


@pytest.mark.parametrize("analysed", [True, False])
async def test_pages_cost_what_is_on_them(database: Database, analysed: bool) -> None:
    """What no lease holds comes once, in order; only links that were asked for are read."""
    await _filled(database)
    if analysed:
        await database.run(_analyse)
    async with database.read() as tx:
        one = _OneTransaction(tx)
        collector = Collector(cast(Database, one), Rules())
        found = [each async for page in collector.candidates(PAGE) for each in page]
        read = await one.links() if tx.dialect.name == "postgresql" else 0
    assert found == [_digest(number) for number in range(MANY) if number % LEASED]
    # Index and table, and a few whole reads before PostgreSQL knows; beginning at the front of
    # the links for each page would take a hundred rows for every one.
    assert read <= 10 * MANY


async def _analyse(tx: Tx) -> None:
    await tx.execute(text("ANALYZE"))
