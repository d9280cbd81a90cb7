"""Keeps a project's quota equal to what its repositories hold, in the transaction of the change.

A digest counts while a manifest of the project is it or refers to it, or while it is pending: just
pushed, its lease running, no manifest yet.

Two deletes at once would each see the other's reference and both leave the digest counted; a
push beside a delete could find it counted and a moment later it is not. So every change of the
ledger locks the project's quota row first and looks in a second statement: one transaction of a
project after the other, from here to its commit, which is why this comes last.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Select, bindparam, delete, exists, select

from moorage.db.prepared import Prepared
from moorage.db.tables import (
    blobs,
    manifest_blobs,
    manifests,
    project_content,
    quotas,
    repositories,
    repository_blobs,
)
from moorage.db.transactions import Tx
from moorage.projects import quota

_BATCH = 500


async def charge(tx: Tx, project_id: int, contents: Mapping[str, int], *, limited: bool) -> None:
    """Count `contents` (digest to bytes); raises QuotaExceeded where that is `limited`."""
    await lock(tx, project_id)
    await quota.charge(tx, project_id, contents, limited=limited)


async def settle(tx: Tx, project_id: int, digests: Iterable[str]) -> None:
    """Stop counting those of `digests` that nothing in the project holds any more."""
    await lock(tx, project_id)
    suspects = sorted(set(digests))
    for start in range(0, len(suspects), _BATCH):
        unheld = _unheld(project_id, suspects[start : start + _BATCH])
        await quota.release(tx, project_id, (await tx.execute(unheld)).scalars().all())


async def settle_each(tx: Tx, digests: Mapping[int, Collection[str]]) -> None:
    """The same in several projects at once: (project → digests), in a few statements."""
    if not digests:
        return
    await tx.fetch(_LOCK_EACH, projects=tx.dialect.many(sorted(digests)))
    suspects = sorted(set().union(*digests.values()))
    for start in range(0, len(suspects), _BATCH):
        some = tx.dialect.many(suspects[start : start + _BATCH])
        rows = await tx.fetch(_UNCOUNT, projects=tx.dialect.many(sorted(digests)), digests=some)
        await quota.give_back(tx, rows)


async def lock(tx: Tx, project_id: int) -> None:
    """From here to its commit a transaction is alone with the project's ledger."""
    await tx.fetch(_LOCK, project=project_id)


_LOCK = Prepared(
    lambda dialect: dialect.for_update(
        select(quotas.c.id).where(quotas.c.project_id == bindparam("project"))
    )
)


_LOCK_EACH = Prepared(
    lambda dialect: dialect.for_update(
        select(quotas.c.id)
        .where(dialect.among(quotas.c.project_id, "projects"))
        .order_by(quotas.c.project_id)
    )
)


async def recount(tx: Tx, project_id: int) -> tuple[int, int]:
    """Count anew what the project holds; the bytes that its quota said before, and says now.

    Raises NotFound. Pushes into the project wait meanwhile.
    """
    await lock(tx, project_id)
    query = select(quotas.c.used).where(quotas.c.project_id == project_id)
    before = (await tx.execute(query)).scalar_one_or_none()
    gone = _unheld(project_id).subquery()
    await tx.execute(
        delete(project_content).where(
            project_content.c.project_id == project_id,
            project_content.c.digest.in_(select(gone.c.digest)),
        )
    )
    for held in _held(project_id):
        await tx.execute(
            tx.dialect.insert(project_content)
            .from_select(["project_id", "digest", "size"], held)
            .on_conflict_do_nothing()
        )
    await quota.recount(tx, project_id)
    return int(before or 0), int((await tx.execute(query)).scalar_one())


def _held(project_id: int) -> Sequence[Select[Any]]:
    """(project, digest, bytes) of manifests, of what they refer to, and of what is pending."""
    here = repositories.c.project_id == project_id
    project = repositories.c.project_id
    of_repository = repositories.c.id == manifests.c.repository_id
    return (
        select(project, manifests.c.digest, manifests.c.payload_size)
        .join(repositories, of_repository)
        .where(here),
        select(project, manifest_blobs.c.digest, manifest_blobs.c.size)
        .join(manifests, manifests.c.id == manifest_blobs.c.manifest_id)
        .join(repositories, of_repository)
        .where(here),
        select(project, blobs.c.digest, blobs.c.size)
        .join(repository_blobs, repository_blobs.c.digest == blobs.c.digest)
        .join(repositories, repositories.c.id == repository_blobs.c.repository_id)
        .where(here, repository_blobs.c.pending),
    )


def _unheld(project_id: int, digests: Sequence[str] | None = None) -> Select[tuple[str]]:
    """What is counted and nothing holds, among `digests`, or among all."""
    counted = project_content.c.digest
    among = [] if digests is None else [counted.in_(digests)]
    return select(counted).where(
        project_content.c.project_id == project_id, *among, *_nothing_holds(project_id)
    )


def _nothing_holds(project: ColumnElement[int] | int) -> Sequence[ColumnElement[bool]]:
    """Of a row of project_content: no manifest is it or refers to it, and it is not pending."""
    counted = project_content.c.digest
    here = repositories.c.project_id == project
    as_manifest = exists().where(
        manifests.c.digest == counted, manifests.c.repository_id == repositories.c.id, here
    )
    as_reference = exists().where(
        manifest_blobs.c.digest == counted,
        manifest_blobs.c.manifest_id == manifests.c.id,
        manifests.c.repository_id == repositories.c.id,
        here,
    )
    as_pending = exists().where(
        repository_blobs.c.digest == counted,
        repository_blobs.c.pending,
        repository_blobs.c.repository_id == repositories.c.id,
        here,
    )
    return ~as_manifest, ~as_reference, ~as_pending


_UNCOUNT = Prepared(
    lambda dialect: (
        delete(project_content)
        .where(
            dialect.among(project_content.c.project_id, "projects"),
            dialect.among(project_content.c.digest, "digests"),
            *_nothing_holds(project_content.c.project_id),
        )
        .returning(project_content.c.project_id, project_content.c.size)
    )
)
