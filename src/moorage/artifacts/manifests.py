"""Pushing, tagging, labelling, deleting and restoring manifests: one transaction each.

put         M1 check and lock references ─► M2 manifest, tags, quota, facts ─► commit
delete      D1 manifest, tags, untagged referrers ─► trash, candidates, quota, facts ─► commit
restore     back from the trash, with blobs whose bytes are still there
"""

from collections.abc import Sequence

from sqlalchemy import select

from moorage import failpoints
from moorage.access.principals import Principal
from moorage.artifacts import labels, removal, storing, tagging, trash
from moorage.artifacts.records import Pushed, Referrer
from moorage.artifacts.room import fitting
from moorage.artifacts.rules import Rules
from moorage.artifacts.storing import Push
from moorage.db.engine import Database
from moorage.db.tables import manifests
from moorage.db.tables import repositories as repository_table
from moorage.errors import DigestInvalid, QuotaExceeded
from moorage.oci import digest as digests
from moorage.oci import names
from moorage.oci.manifest import parse
from moorage.settings import Current, Fixed


class Manifests:
    """The write side of `/v2/<name>/manifests`, and its referrers."""

    def __init__(self, db: Database, rules: Rules, settings: Current | None = None) -> None:
        self._db = db
        self._rules = rules
        self._settings = settings or Fixed()

    async def put(
        self,
        principal: Principal,
        repository: str,
        reference: str,
        payload: bytes,
        media_type: str,
        *,
        tags: Sequence[str] = (),
    ) -> Pushed:
        """Store a manifest under a tag or its digest, and point further `tags` at it.

        Raises ManifestInvalid, ManifestBlobUnknown, SizeInvalid, DigestInvalid, TagInvalid,
        NameInvalid, ProjectUnknown, QuotaExceeded, TooLarge, TagImmutable.
        """
        if digests.is_digest(reference):
            algorithm, _ = digests.parse(reference)
            wanted = tuple(tags)
        else:
            algorithm, wanted = "sha256", (reference, *tags)
        for tag in wanted:
            names.check_tag(tag)
        digest = digests.of(payload, algorithm)
        if digests.is_digest(reference) and digest != reference:
            raise DigestInvalid(f"the manifest has the digest {digest}, not {reference}")
        parsed = parse(payload, media_type)
        ordered = tuple(dict.fromkeys(wanted))
        push = Push(principal.name, repository, digest, payload, parsed, ordered)
        rules = await self._rules.now(self._settings)
        try:
            await self._db.run(storing.put, push, rules)
        except QuotaExceeded as error:
            await self._db.run(storing.tell_refused, push, error.message)
            raise
        await failpoints.reach("manifest.committed")
        return Pushed(digest, ordered, parsed.subject.digest if parsed.subject else None)

    async def delete(self, principal: Principal, repository: str, digest: str) -> None:
        """Delete a manifest with its tags.

        Raises ManifestUnknown; PreconditionFailed while an index names it; TagImmutable.
        """
        digests.parse(digest)
        await self._db.run(removal.delete, repository, digest, principal.name, self._rules)
        await failpoints.reach("delete.committed")

    async def delete_tag(self, principal: Principal, repository: str, tag: str) -> None:
        """Remove a tag, its manifest stays; raises TagUnknown, TagImmutable."""
        await self._db.run(removal.delete_tag, repository, tag, principal.name)
        await failpoints.reach("delete.committed")

    async def add_tag(self, principal: Principal, repository: str, digest: str, tag: str) -> None:
        """Give a stored manifest a new tag; raises ManifestUnknown, TagInvalid, Conflict."""
        names.check_tag(tag)
        await self._db.run(tagging.add, repository, digest, tag, principal.name)

    async def add_label(
        self, principal: Principal, repository: str, digest: str, label_id: int
    ) -> None:
        """Put a label on a stored manifest.

        Raises ManifestUnknown, NotFound (no such label here), Conflict, PreconditionFailed.
        """
        await self._db.run(labels.add, repository, digest, label_id, principal.name)

    async def remove_label(
        self, principal: Principal, repository: str, digest: str, label_id: int
    ) -> None:
        """Take a label off a manifest; raises RepositoryUnknown, NotFound."""
        await self._db.run(labels.remove, repository, digest, label_id, principal.name)

    async def delete_repository(self, principal: Principal, repository: str) -> None:
        """Delete everything in a repository; raises RepositoryUnknown, TagImmutable."""
        await self._db.run(removal.delete_repository, repository, principal.name, self._rules)
        await failpoints.reach("delete.committed")

    async def restore(self, principal: Principal, repository: str, digest: str) -> Pushed:
        """Bring a deleted manifest back from the trash with those of its tags that are free.

        Raises ManifestUnknown when it is not there (any more), ManifestBlobUnknown when some of
        its content was collected.
        """
        rules = await self._rules.now(self._settings)
        restored = await self._db.run(trash.restore, repository, digest, principal.name, rules)
        await failpoints.reach("restore.committed")
        return restored

    async def referrers(
        self,
        repository: str,
        digest: str,
        *,
        artifact_type: str | None,
        after: str | None,
        limit: int,
        room: int,
    ) -> tuple[list[Referrer], str | None]:
        """Manifests whose subject is `digest`, by digest, from behind `after`; where more follow.

        At least one, and no more than have `room` bytes together: anybody who may push may have
        hung hundreds of the largest manifests onto a public image.
        """
        digests.parse(digest)
        query = (
            select(manifests.c.digest, manifests.c.payload_size)
            .join(repository_table, repository_table.c.id == manifests.c.repository_id)
            .where(repository_table.c.name == repository, manifests.c.subject_digest == digest)
            .order_by(manifests.c.digest)
        )
        if artifact_type is not None:
            query = query.where(manifests.c.artifact_type == artifact_type)
        if after is not None:
            query = query.where(manifests.c.digest > after)
        whole = query.with_only_columns(
            manifests.c.digest,
            manifests.c.media_type,
            manifests.c.payload_size,
            manifests.c.artifact_type,
            manifests.c.annotations,
        )
        async with self._db.read() as tx:
            rows = (await tx.execute(query.limit(limit + 1))).all()
            count = fitting((row.payload_size for row in rows[:limit]), room)
            found = [
                Referrer(
                    digest=row.digest,
                    media_type=row.media_type,
                    size=row.payload_size,
                    artifact_type=row.artifact_type,
                    annotations=row.annotations,
                )
                for row in await tx.execute(whole.limit(count))
            ]
        return found, rows[count - 1].digest if count < len(rows) else None
