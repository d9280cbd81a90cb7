"""This registry, as an end of a replication."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

from sqlalchemy import bindparam, select

from moorage.access.principals import Principal
from moorage.artifacts.manifests import Manifests
from moorage.artifacts.pulls import Pulls
from moorage.artifacts.uploads import Uploads
from moorage.db.engine import Database
from moorage.db.prepared import Prepared
from moorage.db.tables import labels, manifest_labels, manifests, projects, repositories, tags
from moorage.db.transactions import Tx
from moorage.errors import ClientGone, Conflict, Unreachable, UploadUnknown
from moorage.oci import digest as digests
from moorage.oci.names import check_repository, project_of
from moorage.projects.projects import Projects
from moorage.remotes import Fetched
from moorage.replication import filters
from moorage.replication.records import Artifact, Filter
from moorage.replication.sides import CHUNK, Read, Sending, Turns, ties

OPERATOR = Principal("server", name="the replication")
"""Who pushes and deletes here, in the audit log."""
SEGMENT = 256 << 20
"""Bytes of a blob that are made durable together, so that a crash costs no more."""
WHOLE = 4 << 20
"""Bytes of a blob up to which nothing is remembered for another run."""


class Here:
    """This registry."""

    def __init__(
        self,
        db: Database,
        pulls: Pulls,
        uploads: Uploads,
        manifests: Manifests,
        projects: Projects,
    ) -> None:
        self._db = db
        self._pulls = pulls
        self._uploads = uploads
        self._manifests = manifests
        self._projects = projects
        self._turns = Turns()

    async def manifest(self, repository: str, reference: str) -> Fetched:
        """Raises NotFound."""
        found = await self._pulls.manifest(repository, reference)
        return Fetched(found.resolved.digest, found.resolved.media_type, found.payload)

    async def digest_of(self, repository: str, reference: str) -> str:
        """From the database."""
        found = await self._pulls.find(repository, reference)
        return found.digest if found is not None else ""

    async def referrers(self, repository: str, digest: str) -> Sequence[str]:
        """All of them."""
        async with self._db.read() as tx:
            rows = await tx.fetch(_REFERRERS, repository=repository, subject=digest)
        return [referrer for (referrer,) in rows]

    def read(self, repository: str, digest: str, size: int) -> Read:
        """From the store."""

        async def parts(start: int, end: int) -> AsyncIterator[bytes]:
            blob = await self._pulls.blob(repository, digest)
            async for part in self._pulls.content(blob, start, end):
                yield part

        return parts

    async def ensure(self, repository: str) -> None:
        """The project belongs to the first administrator, and is private."""
        project = project_of(check_repository(repository))
        async with self._db.read() as tx:
            known = await tx.fetch(_PROJECT, project=project)
        if not known:
            with suppress(Conflict):
                await self._projects.create(OPERATOR, project, values={"public": "false"})

    def turn(self, repository: str, digest: str, rate: float) -> asyncio.Lock:
        """Of a blob in a project: what one repository has, the others are given by a mount."""
        return self._turns.of(f"{project_of(repository)} {digest}", rate)

    async def has_blob(self, repository: str, digest: str, size: int) -> bool:
        """In the repository, or in another one of its project."""
        return (await self._uploads.offer(repository, digest)) is not None

    async def write(
        self, repository: str, digest: str, size: int, read: Read, how: Sending
    ) -> None:
        """Under a session that another run can go on with, unless it is small."""

        async def body(start: int, end: int) -> AsyncIterator[bytes]:
            async for part in read(start, end):
                await how.throttle.pass_(len(part))
                yield part

        if size <= WHOLE:
            pieces = body(0, size)
            await self._uploads.push(OPERATOR, repository, digest, pieces, length=size)
            return
        upload, offset = how.sessions.get(digest, ""), 0
        if upload:
            try:
                offset = (await self._uploads.status(OPERATOR, repository, upload)).offset
            except UploadUnknown:
                upload = ""
        if not upload:
            algorithm, _ = digests.parse(digest)
            begun = await self._uploads.start(OPERATOR, repository, algorithm=algorithm)
            upload, offset = begun.id, 0
            await how.remember(digest, upload)
        segment = CHUNK * 3 if how.chunked else SEGMENT
        while offset < size:
            end = min(size, offset + segment)
            pieces = _breaking(body(offset, end))
            try:
                done = await self._uploads.append(
                    OPERATOR, repository, upload, pieces, start=offset, length=end - offset
                )
            except ClientGone as gone:
                raise gone.__cause__ or gone from None
            offset = done.offset
        await self._uploads.finish(OPERATOR, repository, upload, digest, None)

    async def put(self, repository: str, found: Fetched, tags: Sequence[str]) -> None:
        """In one transaction."""
        await self._manifests.put(
            OPERATOR, repository, found.digest, found.payload, found.media_type, tags=tags
        )

    async def unlisted(self, repository: str, subject: str, wanted: Sequence[str]) -> Sequence[str]:
        """None: the list is what the database holds."""
        return ()

    async def enlist(self, repository: str, subject: str, referrers: Sequence[Fetched]) -> None:
        """They are."""

    async def delete(self, repository: str, reference: str) -> None:
        """Of this registry."""
        if digests.is_digest(reference):
            await self._manifests.delete(OPERATOR, repository, reference)
        else:
            await self._manifests.delete_tag(OPERATOR, repository, reference)

    async def close(self) -> None:
        """Nothing is held."""

    # --- planning

    async def repositories(self, conditions: Sequence[Filter]) -> Sequence[str]:
        """Those that a policy is about."""
        query = select(repositories.c.name).where(repositories.c.pushed_at.is_not(None))
        names = filters.literal(conditions)
        beginning = filters.beginning(conditions)
        if names is not None:
            query = query.where(repositories.c.name.in_(names))
        elif beginning:
            query = query.where(repositories.c.name.startswith(beginning, autoescape=True))
        async with self._db.read() as tx:
            found = list((await tx.execute(query.order_by(repositories.c.name))).scalars())
        return [each for each in found if filters.about_repository(conditions, each)]

    async def artifacts(
        self, repository: str, conditions: Sequence[Filter], digest: str = ""
    ) -> AsyncIterator[Artifact]:
        """What a list of artifacts shows; of one digest, also what it does not."""
        async with self._db.read() as tx:
            found = await _read(tx, repository, digest)
        for each in found:
            yield each


_PROJECT = Prepared(
    lambda dialect: select(projects.c.id).where(projects.c.name == bindparam("project"))
)
_REFERRERS = Prepared(
    lambda dialect: (
        select(manifests.c.digest)
        .join(repositories, repositories.c.id == manifests.c.repository_id)
        .where(
            repositories.c.name == bindparam("repository"),
            manifests.c.subject_digest == bindparam("subject"),
        )
        .order_by(manifests.c.digest)
    )
)


async def _breaking(body: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """A body whose failure keeps what arrived, as that of a client does."""
    try:
        async for part in body:
            yield part
    except Unreachable as error:
        raise ClientGone(error.message) from error


async def _read(tx: Tx, repository: str, digest: str) -> list[Artifact]:
    where: list[Any] = [repositories.c.name == repository]
    where.append(manifests.c.digest == digest if digest else manifests.c.listed)
    query = (
        select(
            manifests.c.id,
            manifests.c.digest,
            manifests.c.media_type,
            manifests.c.type,
            manifests.c.total_size,
            tags.c.name.label("tag"),
        )
        .join(repositories, repositories.c.id == manifests.c.repository_id)
        .outerjoin(tags, tags.c.manifest_id == manifests.c.id)
        .where(*where)
        .order_by(manifests.c.id, tags.c.name)
    )
    rows = (await tx.execute(query)).all()
    carried = (
        select(manifest_labels.c.manifest_id, labels.c.name)
        .join(labels, labels.c.id == manifest_labels.c.label_id)
        .join(manifests, manifests.c.id == manifest_labels.c.manifest_id)
        .join(repositories, repositories.c.id == manifests.c.repository_id)
        .where(*where)
    )
    held: dict[int, list[str]] = {}
    for row in await tx.execute(carried):
        held.setdefault(row.manifest_id, []).append(row.name)
    every = select(tags.c.name).join(repositories, repositories.c.id == tags.c.repository_id)
    every = every.where(repositories.c.name == repository, tags.c.name.startswith("sha256-"))
    tied = ties(list((await tx.execute(every)).scalars()))
    found: dict[int, Artifact] = {}
    for row in rows:
        known = found.get(row.id) or Artifact(
            repository,
            row.digest,
            media_type=row.media_type,
            type=row.type or "",
            labels=tuple(held.get(row.id, ())),
            size=row.total_size,
            attached=tied.get(row.digest, ()),
        )
        found[row.id] = replace(known, tags=(*known.tags, row.tag)) if row.tag else known
    return list(found.values())
