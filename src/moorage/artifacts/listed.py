"""Which manifests a list of artifacts shows, kept in their rows.

    tagged   a tag points at it
    listed   it is no accessory of a manifest that is there, and tagged or no child of an index

To find this out for each row would make a page of a large repository cost as much as the whole
repository. The steps that change it call `refresh` behind the lock of the ledger: one transaction
of a project comes after the other there, so the last one to look sees what all of them did.
"""

from collections.abc import Iterable

from sqlalchemy import ColumnElement, and_, bindparam, exists, or_, select, update

from moorage.db.prepared import Prepared
from moorage.db.tables import manifest_children, manifests, tags
from moorage.db.transactions import Tx


async def refresh(tx: Tx, ids: Iterable[int]) -> None:
    """Step: look at these manifests again; the project's ledger is locked."""
    await tx.fetch(_REFRESH, ids=tx.dialect.many(sorted(set(ids))))


async def hide_accessories(tx: Tx, repository_id: int, digest: str) -> None:
    """Step: what was pushed before its subject is an accessory now that the subject is there."""
    await tx.fetch(_HIDE, repository=repository_id, subject=digest)


async def accessories(tx: Tx, repository_id: int, digests: Iterable[str]) -> list[int]:
    """Ids of the manifests whose subject one of `digests` is."""
    query = select(manifests.c.id).where(
        manifests.c.repository_id == repository_id, manifests.c.subject_digest.in_(list(digests))
    )
    return list((await tx.execute(query)).scalars())


def _tagged() -> ColumnElement[bool]:
    return exists().where(tags.c.manifest_id == manifests.c.id)


def _listed() -> ColumnElement[bool]:
    subject = manifests.alias("subject")
    accessory = exists(
        select(subject.c.id).where(
            subject.c.repository_id == manifests.c.repository_id,
            subject.c.digest == manifests.c.subject_digest,
        )
    )
    child = exists().where(manifest_children.c.child_id == manifests.c.id)
    return and_(~accessory, or_(_tagged(), ~child))


_REFRESH = Prepared(
    lambda dialect: (
        update(manifests)
        .where(
            dialect.among(manifests.c.id, "ids"),
            or_(manifests.c.tagged != _tagged(), manifests.c.listed != _listed()),
        )
        .values(tagged=_tagged(), listed=_listed())
    )
)
_HIDE = Prepared(
    lambda dialect: (
        update(manifests)
        .where(
            manifests.c.repository_id == bindparam("repository"),
            manifests.c.subject_digest == bindparam("subject"),
            manifests.c.listed,
        )
        .values(listed=False)
    )
)
