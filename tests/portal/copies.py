"""A large registry from a small one: repositories and history copied by the database.

    fill (over the API)  ─►  one repository in full  ─►  copies of it, row by row and blob by blob

A copy is as good as a push: its layers and configurations are other bytes with other digests, its
manifests name them, indexes name their manifests, signatures their subjects; every byte is in the
store, quotas are counted, the audit log knows who pushed. The lowest layers stay the same: they are
what many images share. Works on both databases, with the blobs in a directory.
"""

import hashlib
import itertools
import random
import re
import struct
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import Table, func, insert, select
from tests.portal.data import SERVICES

from moorage.artifacts import ledger
from moorage.db import Database
from moorage.db.tables import (
    audit_log,
    blobs,
    labels,
    manifest_blobs,
    manifest_children,
    manifest_labels,
    manifests,
    project_registries,
    projects,
    repositories,
    repository_blobs,
    tags,
)

GZIP = b"\x1f\x8b"
_DIGEST = re.compile(rb"sha256:[0-9a-f]{64}")
SHARED = 40_000
"""Bytes from which on a layer is one that copies share."""
_ROWS = 5000
_YEAR = timedelta(days=365)
_TABLES = (
    *(blobs, repository_blobs, manifests, manifest_blobs),
    *(manifest_children, tags, manifest_labels, audit_log),
)
"""In the order of their references."""

Row = dict[str, Any]


@dataclass(frozen=True)
class Original:
    """A repository as its rows say it, and the bytes of its blobs."""

    name: str
    blobs: Mapping[str, Row]
    held: Sequence[Row]
    manifests: Sequence[Row]
    """In the order of their pushes: what one names comes before it."""
    tags: Sequence[Row]
    blobs_of: Sequence[Row]
    children: Sequence[Row]
    labels: Sequence[Row]
    content: Mapping[str, bytes]


@dataclass
class Place:
    """A repository that copies go into."""

    number: int
    name: str
    project: int
    labels: Mapping[int, int]
    """Labels of the original's project to those of this one, by their names."""
    held: set[str] = field(default_factory=set)


class Copies:
    """Writes copies into a database and a directory of blobs; the registry may be running."""

    def __init__(self, db: Database, store: Path, seed: int = 5) -> None:
        self._db = db
        self._store = store
        self._dice = random.Random(seed)
        self._rows: dict[str, list[Row]] = {}
        self._ids: dict[str, Iterator[int]] = {}
        self._marks = itertools.count(1)
        self._pushed: dict[int, datetime] = {}
        self._now = datetime.now(UTC)

    async def make(self, original: str, *, total: int, large: int = 0) -> int:
        """Copies of a repository, by turns in each project, until there are `total` repositories.

        `large` further ones go into the first copy, under versions of their own. Returns how many
        manifests that are.
        """
        source = await self._read(original)
        for table in (manifests, tags):
            self._ids[table.name] = itertools.count(await self._last(table) + 1)
        places = await self._places(source, total)
        for place, target in enumerate(places):
            for shift in range(large + 1 if place == 0 else 1):
                self._copy(source, target, shift)
            await self._write()
        for table in (manifests, tags):
            await self._go_on(table)
        for project in sorted({target.project for target in places}):
            async with self._db.write() as tx:
                await ledger.recount(tx, project)
        return len(source.manifests) * (len(places) + large)

    # --- what is there

    async def _read(self, name: str) -> Original:
        async with self._db.read() as tx:

            async def rows(table: Table, *where: Any) -> list[Row]:
                found = await tx.execute(select(table).where(*where).order_by(*table.primary_key))
                return [row._asdict() for row in found]

            (repository,) = await rows(repositories, repositories.c.name == name)
            here = repository["id"]
            own = await rows(manifests, manifests.c.repository_id == here)
            numbers = [each["id"] for each in own]
            held = await rows(repository_blobs, repository_blobs.c.repository_id == here)
            stored = await rows(blobs, blobs.c.digest.in_([each["digest"] for each in held]))
            return Original(
                name,
                {each["digest"]: each for each in stored},
                held,
                own,
                await rows(tags, tags.c.repository_id == here),
                await rows(manifest_blobs, manifest_blobs.c.manifest_id.in_(numbers)),
                await rows(manifest_children, manifest_children.c.parent_id.in_(numbers)),
                await rows(manifest_labels, manifest_labels.c.manifest_id.in_(numbers)),
                {
                    each["digest"]: (self._store / each["storage_key"]).read_bytes()
                    for each in stored
                },
            )

    async def _last(self, table: Table) -> int:
        async with self._db.read() as tx:
            return int((await tx.execute(select(func.max(table.c.id)))).scalar_one() or 0)

    async def _go_on(self, table: Table) -> None:
        """Let the database count on from the ids that were written."""
        if self._db.engine.dialect.name == "postgresql":
            sequence = func.pg_get_serial_sequence(table.name, "id")
            async with self._db.write() as tx:
                await tx.execute(select(func.setval(sequence, next(self._ids[table.name]))))

    async def _places(self, source: Original, total: int) -> Sequence[Place]:
        """Make what is missing, by turns in each project that is no cache."""
        async with self._db.write() as tx:
            caches = select(project_registries.c.project_id)
            owners = select(projects.c.id, projects.c.name).where(projects.c.id.not_in(caches))
            found = (await tx.execute(owners.order_by(projects.c.id))).all()
            known = set((await tx.execute(select(repositories.c.name))).scalars())
            named = select(labels.c.project_id, labels.c.name, labels.c.id)
            own: dict[int, dict[str, int]] = {}
            for row in await tx.execute(named.where(labels.c.project_id.is_not(None))):
                own.setdefault(row.project_id, {})[row.name] = row.id
            wanted = {row["label_id"] for row in source.labels}
            mine = next(
                {number: name for name, number in each.items() if number in wanted}
                for each in own.values()
                if wanted <= set(each.values())
            )
            places: list[Place] = []
            for step in itertools.count():
                suffix = f"-{step // len(SERVICES)}" if step >= len(SERVICES) else ""
                service = f"{SERVICES[step % len(SERVICES)]}{suffix}"
                for row in found:
                    name = f"{row.name}/{service}"
                    if len(known) + len(places) >= total:
                        return places
                    mapped = own.get(row.id, {})
                    if name in known or not set(mine.values()) <= set(mapped):
                        continue
                    values = {
                        "project_id": row.id,
                        "name": name,
                        "pushed_at": self._now,
                        "pull_count": int(self._dice.paretovariate(1.1) * 300),
                    }
                    made = insert(repositories).values(values).returning(repositories.c.id)
                    number = int((await tx.execute(made)).scalar_one())
                    onto = {label: mapped[text] for label, text in mine.items()}
                    places.append(Place(number, name, row.id, onto))
        raise AssertionError("unreachable")

    # --- a copy

    def _copy(self, source: Original, target: Place, shift: int) -> None:
        digests = self._blobs(source, target)
        ids = self._manifests(source, target, digests)
        for row in source.blobs_of:
            own = {"manifest_id": ids[row["manifest_id"]], "digest": digests[row["digest"]]}
            self._add(manifest_blobs, {**row, **own})
        for row in source.children:
            own = {"parent_id": ids[row["parent_id"]], "child_id": ids[row["child_id"]]}
            self._add(manifest_children, {**row, **own})
        for row in source.labels:
            own = {"manifest_id": ids[row["manifest_id"]]}
            self._add(manifest_labels, {**row, **own, "label_id": target.labels[row["label_id"]]})
        for row in source.tags:
            self._tag(row, target, ids[row["manifest_id"]], shift)

    def _blobs(self, source: Original, target: Place) -> dict[str, str]:
        """Other bytes of the same length for what is not shared; old digests to new."""
        digests: dict[str, str] = {}
        mark = next(self._marks)
        layers_first = sorted(source.blobs, key=lambda each: source.content[each][:2] != GZIP)
        for digest in layers_first:
            old = source.content[digest]
            if old[:2] != GZIP:
                new = _renamed(old, digests)
            elif len(old) < SHARED:
                new = old[:4] + struct.pack("<I", mark) + old[8:]  # gzip's time of making
            else:
                new = old
            digests[digest] = digest if new == old else _digest(new)
            if new != old:
                row = {**source.blobs[digest], "digest": digests[digest]}
                self._add(blobs, {**row, "storage_key": self._keep(new)})
        for row in source.held:
            digest = digests[row["digest"]]
            if digest not in target.held:
                target.held.add(digest)
                own = {"repository_id": target.number, "digest": digest}
                self._add(repository_blobs, {**row, **own})
        return digests

    def _keep(self, content: bytes) -> str:
        name = uuid.UUID(int=self._dice.getrandbits(128)).hex
        key = f"blobs/{name[:2]}/{name[2:]}"
        path = self._store / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return key

    def _manifests(
        self, source: Original, target: Place, digests: dict[str, str]
    ) -> Mapping[int, int]:
        """Those of the original with other digests in them; old ids to new."""
        ids: dict[int, int] = {}
        for place, row in enumerate(source.manifests):
            payload = _renamed(row["payload"], digests)
            digests[row["digest"]] = _digest(payload)
            ids[row["id"]] = next(self._ids["manifests"])
            pushed = self._moment(place / len(source.manifests))
            self._pushed[ids[row["id"]]] = pushed
            attributes = row["extra_attrs"]
            self._add(
                manifests,
                {
                    **row,
                    "id": ids[row["id"]],
                    "repository_id": target.number,
                    "digest": digests[row["digest"]],
                    "payload": payload,
                    "subject_digest": digests.get(row["subject_digest"]),
                    "extra_attrs": attributes and _renamed(attributes.encode(), digests).decode(),
                    "pushed_at": pushed,
                    "pulled_at": self._moment(self._dice.uniform(0.9, 1)),
                    "pull_count": int(self._dice.paretovariate(1.1) * 10),
                },
            )
            self._said(target, "create", f"{target.name}:{digests[row['digest']]}", pushed)
        return ids

    def _tag(self, row: Row, target: Place, manifest: int, shift: int) -> None:
        name = row["name"]
        if shift:
            major, _, rest = name.partition(".")
            if not rest:
                return  # latest is the first copy's
            name = f"{int(major) + 10 * shift}.{rest}"
        own = {"id": next(self._ids["tags"]), "repository_id": target.number, "name": name}
        times = {
            "pushed_at": self._pushed[manifest],
            "pulled_at": self._moment(self._dice.uniform(0.9, 1)),
        }
        self._add(tags, {**row, **own, **times, "manifest_id": manifest})

    def _said(self, target: Place, operation: str, resource: str, moment: datetime) -> None:
        row = {
            "occurred_at": moment,
            "project_id": target.project,
            "username": self._dice.choice(("robot$ci", "mara", "jonas", "amina")),
            "operation": operation,
            "resource_type": "artifact",
            "resource": resource,
            "description": f"{operation} artifact {resource}",
            "successful": True,
        }
        self._add(audit_log, row)

    def _moment(self, part: float) -> datetime:
        """A moment of the year that ends now; `part` of it is over."""
        jitter = timedelta(minutes=self._dice.randrange(60 * 20))
        return min(self._now, self._now - _YEAR * (1 - part) + jitter)

    def _add(self, table: Table, row: Row) -> None:
        self._rows.setdefault(table.name, []).append(row)

    async def _write(self) -> None:
        for table in _TABLES:
            rows = self._rows.pop(table.name, [])
            for start in range(0, len(rows), _ROWS):
                async with self._db.write() as tx:
                    await tx.execute(insert(table), rows[start : start + _ROWS])


def _digest(content: bytes) -> str:
    return "sha256:" + hashlib.sha256(content).hexdigest()


def _renamed(content: bytes, digests: Mapping[str, str]) -> bytes:
    """A document with other digests in it, as long as before."""

    def other(found: re.Match[bytes]) -> bytes:
        name = found[0].decode()
        return digests.get(name, name).encode()

    return _DIGEST.sub(other, content)
