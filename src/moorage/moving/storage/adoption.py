"""Takes over a registry's storage in three phases, each of which may be run again.

    prepare   the old registry goes on: every manifest whose bytes are whole gets its rows
    tags      the old registry takes no pushes: what came since, then every tag
    verify    every tag of the old registry leads to its bytes here

What is broken there is reported and never fatal: an empty link, a manifest whose bytes are missing
or wrong, a layer or a child that is not there. Rows are written many at a time; a run that was
killed is begun again and finds what was done.
"""

import asyncio
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import select

from moorage import failpoints
from moorage.access.principals import Principal
from moorage.blobstore.base import BlobStore
from moorage.db.engine import Database
from moorage.db.tables import manifests, repositories, tags
from moorage.db.transactions import Tx
from moorage.errors import BlobUnknown, Conflict, Invalid, MoorageError, StorageUnavailable
from moorage.moving.objects import Copier, Wanted
from moorage.moving.storage import filing, layout
from moorage.moving.storage.filing import Filed, Item, Pointer
from moorage.moving.storage.inventory import Inventory, Revision, TagLink
from moorage.moving.storage.report import Report
from moorage.oci import digest as digests
from moorage.oci import names
from moorage.oci.manifest import MAX_BYTES, MAX_INDEX_DEPTH, parse
from moorage.projects.projects import Projects

Tell = Callable[[str, int, int | None], None]

PHASES = ("prepare", "tags", "verify")
_BATCH = 500
_READS = 32  # at once

Name = tuple[str, str]
"""A repository and a digest."""


@dataclass(frozen=True, slots=True)
class Options:
    """How names become ours, and where the bytes are."""

    project: str = ""  # for repositories that name no project
    public: bool = False  # whether projects that are made are so
    copy: bool = False  # the bytes come into our store; else they are in it


class Adoption:
    """One run over one source."""

    def __init__(
        self,
        db: Database,
        source: BlobStore,
        store: BlobStore,
        inventory: Inventory,
        projects: Projects,
        operator: Principal,
        options: Options,
        tell: Tell,
    ) -> None:
        self.report = Report()
        self._db = db
        self._source = source
        self._inventory = inventory
        self._projects = projects
        self._operator = operator
        self._options = options
        self._tell = tell
        self._copier = Copier(source, store) if options.copy else None
        self._made: set[str] = set()
        self._gate = asyncio.Semaphore(_READS)

    async def run(self, phases: Iterable[str]) -> Report:
        """Do these phases; raises StorageUnavailable, DatabaseUnavailable."""
        await self._inventory.fill(self._source, lambda seen: self._tell("listing", seen, None))
        self.report.found = self._inventory.counts()
        if not self.report.found["revisions"] and not self.report.found["blobs"]:
            raise Invalid(f"there is no registry at this place: {layout.ROOT} is missing")
        chosen = set(phases)
        if chosen & {"prepare", "tags"}:
            await self._manifests()
        if "tags" in chosen:
            await self._tags()
        if "verify" in chosen:
            await self._verify()
        return self.report

    # --- manifests

    async def _manifests(self) -> None:
        total = self.report.found["revisions"]
        seen = 0
        later: list[Revision] = []
        for batch in self._inventory.revisions(_BATCH):
            later += await self._file(batch, wait=True)
            seen += len(batch)
            self._tell("manifests", seen, total)
        while later:  # indexes whose children came in a later batch
            left: list[Revision] = []
            for start in range(0, len(later), _BATCH):
                left += await self._file(later[start : start + _BATCH], wait=True)
            if len(left) == len(later):
                await self._file(left, wait=False)
                break
            later = left

    async def _file(self, batch: Sequence[Revision], *, wait: bool) -> list[Revision]:
        """File what is not here yet; those that have to wait for others."""
        fresh = await self._unknown(batch)
        read = await asyncio.gather(*(self._read(revision) for revision in fresh))
        later: list[Revision] = []
        groups: dict[str, list[Item]] = {}
        keys: dict[str, str] = {}
        for revision, found in zip(fresh, read, strict=True):
            if found is None:
                continue
            groups.setdefault(revision.repository, []).append(found)
        ready: list[tuple[str, list[Item]]] = []
        known = await self._children_here(groups)
        for repository, items in groups.items():
            ordered, waiting = self._ordered(repository, items, known, wait=wait)
            later += [each for each in fresh if each.repository == repository
                      and each.digest in waiting]  # fmt: skip
            checked = await self._with_blobs(repository, ordered, keys)
            target = await self._name(repository)
            if target and checked:
                ready.append((target, checked))
        if ready:
            await self._store(sorted(ready, key=lambda each: each[0]), keys)
        return later

    async def _store(self, ready: list[tuple[str, list[Item]]], keys: Mapping[str, str]) -> None:
        filed = await self._db.run(_file_all, ready, keys)
        await failpoints.reach("import.committed")
        for (repository, _), done in zip(ready, filed, strict=True):
            self.report.manifests += done.manifests
            self.report.blobs += done.blobs
            for digest in done.lost:
                self.report.problem(repository, digest, "the blob is being deleted: run it again")

    async def _unknown(self, batch: Sequence[Revision]) -> list[Revision]:
        named = {(self._target(each.repository), each.digest): each for each in batch}
        known = await self._here(named)
        self.report.there += len(known)
        return [each for name, each in named.items() if name not in known]

    async def _here(self, wanted: Collection[Name]) -> set[Name]:
        """Those manifests, by repository and digest, that have rows."""
        found: set[Name] = set()
        listed = sorted(wanted)
        for start in range(0, len(listed), _BATCH):
            some = listed[start : start + _BATCH]
            query = (
                select(repositories.c.name, manifests.c.digest)
                .join(repositories, repositories.c.id == manifests.c.repository_id)
                .where(
                    repositories.c.name.in_({name for name, _ in some}),
                    manifests.c.digest.in_({digest for _, digest in some}),
                )
            )
            async with self._db.read() as tx:
                found |= {(row.name, row.digest) for row in await tx.execute(query)}
        return found & set(wanted)

    async def _read(self, revision: Revision) -> Item | None:
        """The manifest, whole and understood; else a line in the report."""
        size = self._inventory.sizes([revision.digest]).get(revision.digest)
        where = revision.repository, revision.digest
        if size is None:
            self.report.problem(*where, "the bytes of this manifest are missing")
            return None
        if size > MAX_BYTES:
            self.report.problem(*where, f"this manifest has {size} bytes: too many")
            return None
        if revision.size == 0:
            self.report.repaired(*where, "its link was empty; its bytes are whole")
        payload = await self._bytes(layout.key_of(revision.digest))
        algorithm, _ = digests.parse(revision.digest)
        if payload is None or digests.of(payload, algorithm) != revision.digest:
            self.report.problem(*where, "the bytes of this manifest are damaged")
            return None
        try:
            parsed = parse(payload, "")
        except MoorageError as error:
            self.report.problem(*where, f"no manifest that is served here: {error.message}")
            return None
        modified = datetime.fromtimestamp(revision.modified, UTC)
        return Item(revision.digest, payload, parsed, modified, frozenset())

    async def _bytes(self, key: str) -> bytes | None:
        async with self._gate:
            try:
                return b"".join([piece async for piece in self._source.read(key)])
            except BlobUnknown:
                return None

    def _ordered(
        self, repository: str, items: list[Item], known: Collection[Name], *, wait: bool
    ) -> tuple[list[Item], set[str]]:
        """What an index names before the index; digests of those whose children come later."""
        waiting: set[str] = set()
        here = {item.digest: item for item in items}
        depth: dict[str, int] = {}

        def level(digest: str, path: tuple[str, ...]) -> int:
            if digest not in here or digest in path:
                return 0
            if digest not in depth:
                below = [level(c.digest, (*path, digest)) for c in here[digest].parsed.children]
                depth[digest] = max((one + 1 for one in below), default=0)
            return depth[digest]

        for item in items:
            level(item.digest, ())
        ordered = []
        for item in sorted(items, key=lambda each: depth[each.digest]):
            children = [child.digest for child in item.parsed.children]
            if depth[item.digest] > MAX_INDEX_DEPTH:
                self.report.problem(repository, item.digest, "indexes nest too deep")
                continue
            absent = [
                child
                for child in children
                if child not in here and (self._target(repository), child) not in known
            ]
            lost = [child for child in absent if not self._expected(repository, child)]
            if wait and (len(absent) > len(lost) or waiting.intersection(children)):
                waiting.add(item.digest)
                continue
            for child in lost:
                self.report.problem(repository, item.digest, f"its child {child} is missing")
            ordered.append(item)
        return ordered, waiting

    def _expected(self, repository: str, digest: str) -> bool:
        """Whether a manifest that is not here yet will be."""
        broken = (repository, digest) in self.report.broken
        return not broken and self._inventory.holds(repository, digest)

    async def _children_here(self, groups: Mapping[str, Sequence[Item]]) -> set[Name]:
        """Those children of indexes that earlier batches or runs brought."""
        wanted = {
            (self._target(repository), child.digest)
            for repository, items in groups.items()
            for item in items
            for child in item.parsed.children
        }
        return await self._here(wanted)

    async def _with_blobs(
        self, repository: str, items: Sequence[Item], keys: dict[str, str]
    ) -> list[Item]:
        """The same with the blobs whose bytes are there, whose keys are added to `keys`."""
        named = {blob.digest: blob for item in items for blob in item.parsed.blobs}
        sizes = self._inventory.sizes(sorted(named))
        held = set()
        for digest, blob in named.items():
            size = sizes.get(digest)
            if size == blob.size and await self._fetched(digest, size):
                keys[digest] = layout.key_of(digest)
                held.add(digest)
            elif not blob.foreign:
                said = "is missing" if size is None else f"has {size} bytes instead of {blob.size}"
                users = [i for i in items if any(b.digest == digest for b in i.parsed.blobs)]
                for item in users:
                    self.report.problem(repository, item.digest, f"its blob {digest} {said}")
        return [
            Item(
                item.digest,
                item.payload,
                item.parsed,
                item.modified,
                frozenset(blob.digest for blob in item.parsed.blobs if blob.digest in held),
            )
            for item in items
        ]

    async def _fetched(self, digest: str, size: int) -> bool:
        """Whether the bytes are in our store: they are where nothing has to be copied."""
        if self._copier is None:
            return True
        key = layout.key_of(digest)
        await self._copier.one(Wanted(key, digest, size))
        return key not in self._copier.done.failed

    # --- names

    def _target(self, repository: str) -> str:
        """The name here; may still be one that cannot be."""
        project = names.project_of(repository)
        try:
            names.check_project(project)
        except MoorageError:
            project = ""
        if "/" in repository and project:
            return repository
        return f"{self._options.project}/{repository}" if self._options.project else repository

    async def _name(self, repository: str) -> str | None:
        """The name here, whose project exists then; None where there cannot be one."""
        target = self._target(repository)
        try:
            names.check_repository(target)
            project = names.check_project(names.project_of(target))
        except MoorageError as error:
            if repository not in self._made:
                self._made.add(repository)
                hint = "" if self._options.project else "; give --project for such repositories"
                self.report.problem(repository, "", f"no name here: {error.message}{hint}")
            return None
        if project not in self._made:
            values = {"public": "true"} if self._options.public else {}
            try:
                await self._projects.create(self._operator, project, values=values, limit=-1)
                self.report.projects += 1
            except Conflict:
                pass
            self._made.add(project)
        return target

    # --- tags

    async def _tags(self) -> None:
        total = self.report.found["tags"]
        seen = 0
        for batch in self._inventory.tags(_BATCH):
            pointers = await self._pointers(batch)
            for repository in sorted(pointers):
                done = await self._db.run(filing.point, repository, pointers[repository])
                report = self.report
                report.tags += done.new + done.moved
                report.tags_there += done.same
                for tag in done.kept:
                    report.repaired(repository, tag, "was pushed here since: kept as it is")
                for pointer in done.missing:
                    report.problem(repository, pointer.tag, f"{pointer.digest} is not here")
            await failpoints.reach("import.committed")
            seen += len(batch)
            self._tell("tags", seen, total)

    async def _pointers(self, batch: Sequence[TagLink]) -> dict[str, list[Pointer]]:
        """By the names here."""
        found: dict[str, list[Pointer]] = {}
        for link, digest in zip(
            batch, await asyncio.gather(*(self._pointed(link) for link in batch)), strict=True
        ):
            target = await self._name(link.repository)
            if digest is None or target is None:
                continue
            try:
                names.check_tag(link.tag)
            except MoorageError as error:
                self.report.problem(link.repository, link.tag, error.message)
                continue
            modified = datetime.fromtimestamp(link.modified, UTC)
            found.setdefault(target, []).append(Pointer(link.tag, digest, modified))
        return found

    async def _pointed(self, link: TagLink) -> str | None:
        """The digest that a tag means; an empty link is made up for where there is no doubt."""
        where = link.repository, link.tag
        content = b""
        if 0 < link.size < 256:
            try:
                content = await self._bytes(layout.tag_key(*where)) or b""
            except (StorageUnavailable, ValueError) as error:
                self.report.problem(*where, f"the tag's link cannot be read: {error}")
                return None
        text = content.decode("ascii", "replace").strip()
        try:
            digests.parse(text)
        except MoorageError:
            former = self._inventory.former(*where)
            if len(former) == 1:
                self.report.repaired(*where, "its link was broken; it ever meant one manifest")
                return former[0]
            self.report.problem(*where, "the tag's link is broken")
            return None
        return text

    # --- verify

    async def _verify(self) -> None:
        """Each tag of the old registry means the same bytes here."""
        total = self.report.found["tags"]
        seen = 0
        for batch in self._inventory.tags(_BATCH):
            for repository, pointers in (await self._pointers(batch)).items():
                held = await self._held(repository, [pointer.tag for pointer in pointers])
                for pointer in pointers:
                    digest, right = held.get(pointer.tag, ("", False))
                    if digest == pointer.digest and right:
                        self.report.verified += 1
                    elif digest and right:
                        self.report.changed += 1
                    else:
                        self.report.unverified += 1
            seen += len(batch)
            self._tell("verify", seen, total)

    async def _held(self, repository: str, wanted: Sequence[str]) -> dict[str, tuple[str, bool]]:
        """By tag: the digest here, and whether the bytes are those of it."""
        query = (
            select(tags.c.name, manifests.c.digest, manifests.c.payload)
            .join(manifests, manifests.c.id == tags.c.manifest_id)
            .join(repositories, repositories.c.id == tags.c.repository_id)
            .where(repositories.c.name == repository, tags.c.name.in_(wanted))
        )
        async with self._db.read() as tx:
            rows = (await tx.execute(query)).all()
        found = {}
        for row in rows:
            algorithm, _ = digests.parse(row.digest)
            found[row.name] = row.digest, digests.of(row.payload, algorithm) == row.digest
        return found


async def _file_all(
    tx: Tx, ready: Sequence[tuple[str, list[Item]]], keys: Mapping[str, str]
) -> list[Filed]:
    """Step: file the manifests of several repositories."""
    done = [await filing.file(tx, repository, items, keys) for repository, items in ready]
    await failpoints.reach("import.batch")
    return done
