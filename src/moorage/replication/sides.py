"""The two ends of a replication, alike to whoever copies between them.

Here     this registry: its own domain, without a face in between
There    another one, over the wire
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Any, Protocol

from sqlalchemy import select

from moorage.access.principals import Principal
from moorage.artifacts import types
from moorage.artifacts.manifests import Manifests
from moorage.artifacts.pulls import Pulls
from moorage.artifacts.uploads import Uploads
from moorage.db.engine import Database
from moorage.db.tables import labels, manifest_labels, manifests, repositories, tags
from moorage.db.transactions import Tx
from moorage.errors import (
    ClientGone,
    Conflict,
    Denied,
    Invalid,
    MoorageError,
    NotFound,
    ProjectUnknown,
    Unreachable,
    UploadUnknown,
)
from moorage.oci import digest as digests
from moorage.oci.manifest import parse
from moorage.oci.names import check_repository, project_of
from moorage.projects.projects import Projects
from moorage.remotes import Fetched, Listed, Remote
from moorage.remotes.throttle import Throttle
from moorage.replication import filters
from moorage.replication.records import Artifact, Filter

OPERATOR = Principal("server", name="the replication")
"""Who pushes and deletes here, in the audit log."""
SEGMENT = 256 << 20
"""Bytes of a blob that are made durable together, so that a crash costs no more."""
CHUNK = 10 << 20
"""Bytes of one request, where a policy copies by chunks."""
LOOKS = 8
"""Tags that are looked up at once."""
WHOLE = 4 << 20
"""Bytes of a blob up to which nothing is remembered for another run."""

Read = Callable[[int, int], AsyncIterator[bytes]]
Sessions = dict[str, str]
"""Digest → where an interrupted upload of it had come to."""
Remember = Callable[[str, str], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Sending:
    """How a blob goes over."""

    throttle: Throttle
    chunked: bool
    sessions: Sessions
    remember: Remember


class Side(Protocol):
    """One end."""

    async def manifest(self, repository: str, reference: str) -> Fetched:
        """Raises NotFound."""

    async def digest_of(self, repository: str, reference: str) -> str:
        """What a tag or digest names; empty: nothing."""

    async def referrers(self, repository: str, digest: str) -> Sequence[str]:
        """Digests of the manifests whose subject it is."""

    def read(self, repository: str, digest: str, size: int) -> Read:
        """The bytes of a blob."""

    async def ensure(self, repository: str) -> None:
        """Make the project of a repository, if need be."""

    async def has_blob(self, repository: str, digest: str, size: int) -> bool:
        """Whether a blob is there, or can be without that bytes move."""

    async def write(
        self, repository: str, digest: str, size: int, read: Read, how: Sending
    ) -> None:
        """Store a blob."""

    async def put(self, repository: str, found: Fetched, tags: Sequence[str]) -> None:
        """Store a manifest, under these tags."""

    async def delete(self, repository: str, reference: str) -> None:
        """Delete a manifest or a tag; raises NotFound."""

    async def close(self) -> None:
        """Let go of connections."""


class There:
    """Another registry."""

    def __init__(self, remote: Remote) -> None:
        self.remote = remote
        self._ensured: set[str] = set()

    async def manifest(self, repository: str, reference: str) -> Fetched:
        """Raises NotFound."""
        return await self.remote.manifest(repository, reference)

    async def digest_of(self, repository: str, reference: str) -> str:
        """By a HEAD, which no registry counts as a pull."""
        try:
            listed = await self.remote.head(repository, reference)
        except Denied:  # as of a project that is not there yet
            known = self.remote.adapter.has_project
            if known is None or await known(self.remote, repository):
                raise
            return ""
        return listed.digest if listed else ""

    async def referrers(self, repository: str, digest: str) -> Sequence[str]:
        """By the API, or the tag in its place."""
        return [each.digest for each in await self.remote.referrers(repository, digest)]

    def read(self, repository: str, digest: str, size: int) -> Read:
        """Streamed, and resumed where it is cut."""

        async def parts(start: int, end: int) -> AsyncIterator[bytes]:
            left = end - start
            async with aclosing(self.remote.blob(repository, digest, size, start)) as found:  # type: ignore[type-var]
                async for part in found:
                    yield part[:left]
                    left -= len(part)
                    if left <= 0:
                        return

        return parts

    async def ensure(self, repository: str) -> None:
        """Where this kind of registry has projects."""
        project = project_of(repository)
        if self.remote.adapter.ensure is not None and project not in self._ensured:
            await self.remote.adapter.ensure(self.remote, repository)
            self._ensured.add(project)

    async def has_blob(self, repository: str, digest: str, size: int) -> bool:
        """By a HEAD."""
        found = await self.remote.has_blob(repository, digest)
        if found is not None and found not in (0, size):
            raise Invalid(
                f"{self.remote.endpoint.host} holds {digest} with {found} bytes in place of {size}"
            )
        return found is not None

    async def write(
        self, repository: str, digest: str, size: int, read: Read, how: Sending
    ) -> None:
        """Streamed or by chunks."""

        async def remember(location: str) -> None:
            await how.remember(digest, location)

        await self.remote.push_blob(
            repository,
            digest,
            size,
            read,
            chunk=CHUNK if how.chunked and size > CHUNK else 0,
            throttle=how.throttle,
            session=how.sessions.get(digest, ""),
            remember=remember,
        )

    async def put(self, repository: str, found: Fetched, tags: Sequence[str]) -> None:
        """A request for each tag, or one by the digest."""
        for reference in tags or (found.digest,):
            await self.remote.put_manifest(repository, reference, found.payload, found.media_type)

    async def delete(self, repository: str, reference: str) -> None:
        """A tag alone, where the registry knows how."""
        remove = self.remote.adapter.delete_tag
        if remove is not None and not digests.is_digest(reference):
            await remove(self.remote, repository, reference)
        else:
            await self.remote.delete(repository, reference)

    async def close(self) -> None:
        """Close connections."""
        await self.remote.close()

    # --- planning

    async def repositories(self, conditions: Sequence[Filter]) -> Sequence[str]:
        """Those that a policy is about, as far as the registry lists any."""
        names = filters.literal(conditions)
        if names is None:
            if self.remote.adapter.catalog is None:
                raise Invalid(
                    f"{self.remote.adapter.title} lists no repositories: "
                    "name them in the filter without wildcards, or with braces as in org/{a,b}"
                )
            beginning = filters.beginning(conditions)
            names = list(await self.remote.adapter.catalog(self.remote, beginning))
        return sorted({each for each in names if filters.about_repository(conditions, each)})

    async def artifacts(
        self, repository: str, conditions: Sequence[Filter]
    ) -> AsyncIterator[Artifact]:
        """Artifacts of a repository by their tags; what has none is not listed anywhere."""
        try:
            found = await self.remote.tags(repository)
        except NotFound:
            return
        ties = _ties(found)
        by_digest: dict[str, Artifact] = {}
        wanted = [tag for tag in found if not filters.of_cosign(tag) and _wants(conditions, tag)]
        async for tag, listed in self._heads(repository, wanted):
            if listed is None:  # deleted meanwhile
                continue
            known = by_digest.get(listed.digest) or Artifact(
                repository,
                listed.digest,
                media_type=listed.media_type,
                attached=ties.get(listed.digest, ()),
            )
            by_digest[listed.digest] = replace(known, tags=(*known.tags, tag))
        for each in by_digest.values():
            yield await self._described(each) if filters.needs_manifest(conditions) else each

    async def _heads(
        self, repository: str, tags: Sequence[str]
    ) -> AsyncIterator[tuple[str, Listed | None]]:
        """What each tag names, in their order; several are asked at once."""
        for start in range(0, len(tags), LOOKS):
            some = tags[start : start + LOOKS]
            asked = [asyncio.create_task(self.remote.head(repository, tag)) for tag in some]
            try:
                for tag, listed in zip(some, await asyncio.gather(*asked), strict=True):
                    yield tag, listed
            finally:
                for each in asked:
                    each.cancel()
                await asyncio.gather(*asked, return_exceptions=True)

    async def _described(self, artifact: Artifact) -> Artifact:
        found = await self.remote.manifest(artifact.repository, artifact.digest)
        return replace(artifact, media_type=found.media_type, type=kind_of(found))


def _wants(conditions: Sequence[Filter], tag: str) -> bool:
    only = [each for each in conditions if each.type == "tag"]
    return filters.choose(only, Artifact("", "", (tag,))) is not None


def _ties(found: Sequence[str]) -> Mapping[str, tuple[str, ...]]:
    ties: dict[str, tuple[str, ...]] = {}
    for tag in found:
        subject = filters.subject_of(tag)
        if subject and "." in tag:  # without an end it stands for a list of referrers
            ties[subject] = (*ties.get(subject, ()), tag)
    return ties


def kind_of(found: Fetched) -> str:
    """Harbor's word for what a manifest is."""
    try:
        parsed = parse(found.payload, found.media_type)
    except MoorageError:
        return ""
    config = types.config_type(parsed)
    return types.of(parsed.media_type, config, parsed.artifact_type or parsed.config_media_type)


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

    async def manifest(self, repository: str, reference: str) -> Fetched:
        """Raises NotFound."""
        found = await self._pulls.manifest(repository, reference)
        return Fetched(found.resolved.digest, found.resolved.media_type, found.payload)

    async def digest_of(self, repository: str, reference: str) -> str:
        """From the database."""
        try:
            return (await self._pulls.resolve(repository, reference)).digest
        except NotFound:
            return ""

    async def referrers(self, repository: str, digest: str) -> Sequence[str]:
        """All of them."""
        query = (
            select(manifests.c.digest)
            .join(repositories, repositories.c.id == manifests.c.repository_id)
            .where(repositories.c.name == repository, manifests.c.subject_digest == digest)
            .order_by(manifests.c.digest)
        )
        async with self._db.read() as tx:
            return list((await tx.execute(query)).scalars())

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
        try:
            await self._projects.by_name(project)
        except ProjectUnknown:
            try:
                await self._projects.create(OPERATOR, project, values={"public": "false"})
            except Conflict:
                return

    async def has_blob(self, repository: str, digest: str, size: int) -> bool:
        """In the repository, or in another one of its project."""
        if (await self._uploads.renew(repository, digest)) is not None:
            return True
        project = project_of(repository)

        async def mine(name: str) -> bool:
            return project_of(name) == project

        mounted = await self._uploads.mount(OPERATOR, repository, digest, mine, None)
        return mounted is not None

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
    ties = _ties(list((await tx.execute(every)).scalars()))
    found: dict[int, Artifact] = {}
    for row in rows:
        known = found.get(row.id) or Artifact(
            repository,
            row.digest,
            media_type=row.media_type,
            type=row.type or "",
            labels=tuple(held.get(row.id, ())),
            size=row.total_size,
            attached=ties.get(row.digest, ()),
        )
        found[row.id] = replace(known, tags=(*known.tags, row.tag)) if row.tag else known
    return list(found.values())
