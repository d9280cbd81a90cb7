"""Copying artifacts from one repository to another; no bytes move.

    plan        what belongs to the artifact: children, accessories, and theirs; one read
    place       for each manifest, children first: one transaction (C1 below)
    tags        with the artifact itself, last: until then nobody finds it by name

C1 locks the blobs in the order of their digests, links them to the target under a lease, as a
mount does, and stores the manifest as a push does. A copy that breaks off leaves untagged
manifests, which the next try finds. What is deleted from the source meanwhile is either still
there to be linked, or the copy ends with NotFound.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from graphlib import TopologicalSorter

from sqlalchemy import or_, select

from moorage import failpoints
from moorage.access.principals import Principal
from moorage.artifacts import absences, blobs, contents, references, repositories, storing
from moorage.artifacts.rules import Rules
from moorage.artifacts.storing import Push
from moorage.db.engine import Database
from moorage.db.tables import manifest_children, manifests, tags
from moorage.db.transactions import Tx
from moorage.errors import ManifestUnknown, QuotaExceeded, TooLarge
from moorage.oci import names
from moorage.oci.manifest import parse
from moorage.settings import Current, Fixed

MAX_MANIFESTS = 2000
"""Manifests of one copy: an index, its children and everything that is attached to them."""
MAX_REFERENCES = 10_000
"""Children that the indexes of one level may name, those named twice counted twice."""
MAX_LEVELS = 16
"""Levels of children and accessories."""
SIGNATURES = (".sig", ".att", ".sbom")
"""Ends of the tags by which cosign ties what it makes to a digest, where it names no subject."""


@dataclass(slots=True)
class Plan:
    """What belongs to an artifact."""

    root: int
    repository_id: int
    digests: dict[int, str] = field(default_factory=dict)  # by the manifest's id
    children: dict[int, set[int]] = field(default_factory=dict)
    tags: dict[int, list[str]] = field(default_factory=dict)

    def order(self) -> Sequence[int]:
        """Children before their indexes, and the root at the end."""
        graph = {found: self.children.get(found, set()) for found in self.digests}
        ordered = [found for found in TopologicalSorter(graph).static_order() if found in graph]
        # Somebody may name the root as its child; then it is stored before, without its tags.
        needed = any(self.root in below for below in self.children.values())
        return [*(each for each in ordered if needed or each != self.root), self.root]


class Copies:
    """Copies artifacts."""

    def __init__(self, db: Database, rules: Rules, settings: Current | None = None) -> None:
        self._db = db
        self._rules = rules
        self._settings = settings or Fixed()

    async def copy(self, principal: Principal, source: str, reference: str, target: str) -> str:
        """Copy an artifact with all that belongs to it, and with its tags; its digest.

        The caller may read `source` and push to `target`. Raises RepositoryUnknown,
        ManifestUnknown, ManifestBlobUnknown, NameInvalid, ProjectUnknown, QuotaExceeded,
        PreconditionFailed, TooLarge.
        """
        names.check_repository(target)
        async with self._db.read() as tx:
            plan = await _plan(tx, source, reference)
        order = plan.order()
        rules = await self._rules.now(self._settings)
        for at, manifest_id in enumerate(order):
            last = at == len(order) - 1
            push = await self._push(principal, plan, manifest_id, target)
            if manifest_id == plan.root and not last:
                push = replace(push, tags=())
            try:
                await self._db.run(_place, plan.repository_id, push, rules)
            except QuotaExceeded as error:
                await self._db.run(storing.tell_refused, push, error.message)
                raise
            await failpoints.reach("manifest.committed")
        return plan.digests[plan.root]

    async def _push(self, principal: Principal, plan: Plan, manifest_id: int, target: str) -> Push:
        """One manifest of the plan; raises ManifestUnknown when it is gone by now."""
        async with self._db.read() as tx:
            query = contents.rows().where(manifests.c.id == manifest_id)
            row = (await tx.execute(query)).one_or_none()
        if row is None:
            raise ManifestUnknown(f"{plan.digests[manifest_id]} was deleted at this moment")
        return Push(
            operator=principal.name,
            repository=target,
            digest=row.digest,
            payload=row.payload,
            parsed=parse(row.payload, row.media_type),
            tags=tuple(plan.tags.get(manifest_id, ())),
        )


async def _place(tx: Tx, source_id: int, push: Push, rules: Rules) -> None:
    """C1."""
    place = await repositories.ensure(tx, push.repository)
    if not push.tags and (known := await _known(tx, place.id, push.digest)) is not None:
        await storing.renew(tx, known)
        return
    own = replace(push.parsed, children=())
    linked = await references.check(tx, source_id, own, sparse=rules.sparse)
    for blob in sorted(linked.blobs, key=lambda blob: blob.digest):
        await blobs.lease(tx, place.id, blob.digest, rules)
        if rules.sparse:
            await absences.adopt(tx, place, blob.digest)
    held = await references.check(tx, place.id, push.parsed, sparse=rules.sparse)
    await failpoints.reach("manifest.checked")
    await storing.insert(tx, place, push, held, rules)
    await failpoints.reach("manifest.inserting")


async def _known(tx: Tx, repository_id: int, digest: str) -> int | None:
    """The row of a manifest that is there already, held until the commit."""
    query = select(manifests.c.id).where(
        manifests.c.repository_id == repository_id, manifests.c.digest == digest
    )
    locked = tx.dialect.for_key_share(query)
    return (await tx.execute(locked)).scalar_one_or_none()


# --- the plan


async def _plan(tx: Tx, source: str, reference: str) -> Plan:
    """Everything that belongs to the artifact; raises RepositoryUnknown, ManifestUnknown."""
    row = await contents.find(tx, source, reference)
    plan = Plan(row.id, row.repository_id, {row.id: row.digest})
    level: Mapping[int, str] = dict(plan.digests)
    for _ in range(MAX_LEVELS):
        below = {**await _children(tx, plan, level), **await _accessories(tx, plan, level)}
        level = {found: digest for found, digest in below.items() if found not in plan.digests}
        if not level:
            break
        plan.digests.update(level)
        if len(plan.digests) > MAX_MANIFESTS:
            raise TooLarge(f"more than {MAX_MANIFESTS} manifests belong to {row.digest}")
    else:
        raise TooLarge(f"what belongs to {row.digest} nests deeper than {MAX_LEVELS} levels")
    named = select(tags.c.manifest_id, tags.c.name).where(tags.c.manifest_id.in_(plan.digests))
    for tag in await tx.execute(named.order_by(tags.c.name)):
        plan.tags.setdefault(tag.manifest_id, []).append(tag.name)
    return plan


async def _children(tx: Tx, plan: Plan, level: Mapping[int, str]) -> dict[int, str]:
    query = (
        select(manifest_children.c.parent_id, manifests.c.id, manifests.c.digest)
        .join(manifests, manifests.c.id == manifest_children.c.child_id)
        .where(manifest_children.c.parent_id.in_(level))
        .order_by(manifests.c.id)
        .limit(MAX_REFERENCES + 1)
    )
    rows = (await tx.execute(query)).all()
    if len(rows) > MAX_REFERENCES:
        raise TooLarge(f"the indexes of one copy name at most {MAX_REFERENCES} manifests")
    found = {}
    for row in rows:
        plan.children.setdefault(row.parent_id, set()).add(row.id)
        found[row.id] = row.digest
    return found


async def _accessories(tx: Tx, plan: Plan, level: Mapping[int, str]) -> dict[int, str]:
    """What names one of them as its subject, or is tied to it by a tag of cosign."""
    digests = list(level.values())
    ties = [digest.replace(":", "-") + end for digest in digests for end in SIGNATURES]
    tied = select(tags.c.manifest_id).where(
        tags.c.repository_id == plan.repository_id, tags.c.name.in_(ties)
    )
    query = (
        select(manifests.c.id, manifests.c.digest)
        .where(
            manifests.c.repository_id == plan.repository_id,
            or_(manifests.c.subject_digest.in_(digests), manifests.c.id.in_(tied)),
        )
        .order_by(manifests.c.id)
        .limit(MAX_MANIFESTS + 1)
    )
    return {row.id: row.digest for row in await tx.execute(query)}
