"""Random pushes, deletes, collections and power cuts against a model of what was acknowledged.

SQLite holds the rows, and the bytes are on a file system that forgets what was not made durable.
Each operation may lose power at any failpoint that it passes; afterwards the registry starts again
on what the disk holds. Then

    what was acknowledged and not deleted is read back byte for byte
    a promise (201, or 200 to a HEAD before a push) holds for its lease
    the quota equals a recount
    once all leases are over, the collector leaves exactly the objects that are needed
"""

import asyncio
import os
import shutil
import tempfile
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from sqlalchemy import func, select
from tests.support.content import ALICE, Content, body, image, sha256
from tests.support.crashfs import CrashFiles
from tests.support.databases import open_sqlite, sqlite_template
from tests.support.invariants import lists

from moorage import failpoints
from moorage.artifacts.rules import Rules
from moorage.blobstore.filesystem import FilesystemStore
from moorage.db import tables
from moorage.errors import ManifestBlobUnknown, MoorageError
from moorage.oci import media_types

LEASE, DRAIN, TRASH, AGE = 100.0, 10.0, 50.0, 80.0
REPOSITORIES = ("library/a", "library/b")
TAGS = ("v1", "v2")
LAYERS = [b"", b"x", b"second layer", bytes(range(256)) * 20]
EXAMPLES = int(os.environ.get("TESTS_EXAMPLES", "150"))

datas = st.sampled_from(LAYERS)
places = st.sampled_from(REPOSITORIES)
crashes = st.none() | st.none() | st.integers(0, 9)


class PowerLoss(BaseException):
    """The process is gone at this point."""


class FakeClock:
    """Stands until somebody turns it."""

    def __init__(self) -> None:
        self.at = datetime(2026, 1, 1, tzinfo=UTC)

    def now(self) -> datetime:
        return self.at

    def monotonic(self) -> float:
        return self.at.timestamp()


class Registry(RuleBasedStateMachine):
    """Acknowledged truth beside the real thing."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.folder = Path(tempfile.mkdtemp(dir="/dev/shm" if Path("/dev/shm").is_dir() else None))
        self.clock = FakeClock()
        self.files = CrashFiles()
        self.manifests: dict[tuple[str, str], bytes] = {}
        self.tags: dict[tuple[str, str], str | None] = {}
        self.promises: dict[tuple[str, bytes], datetime] = {}
        self.deleted: list[tuple[str, str, bytes]] = []
        self.fuse: int | None = None

    # --- life and death

    @initialize()
    def start(self) -> None:
        shutil.copyfile(sqlite_template(), self.folder / "moorage.db")
        self.boot()
        self.project = self.runner.run(self.content.project("library"))

    def boot(self) -> None:
        db = self.runner.run(open_sqlite(self.folder / "moorage.db", self.clock))
        store = FilesystemStore(self.files.root, files=self.files)
        rules = Rules(lease=LEASE, drain=DRAIN, trash=TRASH, upload_age=AGE)
        self.content = Content(db, store, rules)

    def perform(self, operation: Callable[[], Awaitable[Any]], crash: int | None) -> bool:
        """Run an operation, perhaps until the power fails; whether it was acknowledged."""
        self.fuse = crash
        try:
            self.runner.run(self._perform(operation))
        except PowerLoss:
            self.runner.run(self.content.db.close())
            self.files.power_loss()
            self.boot()
            return False
        finally:
            self.fuse = None
        return True

    async def _perform(self, operation: Callable[[], Awaitable[Any]]) -> None:
        original = failpoints.reach

        async def reach(name: str) -> None:
            assert name in failpoints.NAMES
            if self.fuse is not None:
                if self.fuse <= 0:
                    raise PowerLoss(name)
                self.fuse -= 1

        failpoints.reach = reach
        try:
            await operation()
        finally:
            failpoints.reach = original

    def teardown(self) -> None:
        try:
            if hasattr(self, "content"):
                self.clock.at += timedelta(seconds=10 * LEASE)
                self.runner.run(self._settle())
        finally:
            if hasattr(self, "content"):
                self.runner.run(self.content.db.close())
            self.runner.close()
            shutil.rmtree(self.folder, ignore_errors=True)

    async def _settle(self) -> None:
        """Everything that rests is over: only what manifests need is left, and nothing else."""
        for _ in range(4):
            await self.content.collect()
            self.clock.at += timedelta(seconds=10 * LEASE)
        needed = {sha256(data) for data in LAYERS if self._needed(data)}
        async with self.content.db.read() as tx:
            rows = (await tx.execute(select(tables.blobs.c.digest))).scalars().all()
        assert set(rows) == needed
        assert await self.content.keys() == await self.content.live_keys()
        assert self.files.paths() == sorted(await self.content.live_keys())
        await self._check()

    def _needed(self, data: bytes) -> bool:
        return any(sha256(data).encode() in manifest for manifest in self.manifests.values())

    # --- what clients do

    @rule(place=places, data=datas, cut=st.integers(0, 3), crash=crashes)
    def push(self, place: str, data: bytes, cut: int, crash: int | None) -> None:
        """A blob in one request (cut 0), or in chunks."""

        async def operation() -> None:
            uploads = self.content.uploads
            if cut == 0:
                await uploads.push(ALICE, place, sha256(data), body(data), length=None)
                return
            upload = await uploads.start(ALICE, place)
            middle = len(data) * (cut - 1) // 2
            await uploads.append(
                ALICE, place, upload.id, body(data[:middle]), start=0, length=middle
            )
            rest = data[middle:]
            await uploads.finish(
                ALICE, place, upload.id, sha256(data), body(rest), start=middle, length=len(rest)
            )

        if self.perform(operation, crash):
            self._promise(place, data)

    @rule(place=places, data=datas)
    def begin_and_leave(self, place: str, data: bytes) -> None:
        """A client that never comes back."""

        async def operation() -> None:
            upload = await self.content.uploads.start(ALICE, place)
            await self.content.uploads.append(
                ALICE, place, upload.id, body(data), start=0, length=None
            )

        self.perform(operation, None)

    @rule(place=places, data=datas, crash=crashes)
    def ask(self, place: str, data: bytes, crash: int | None) -> None:
        """HEAD before a push."""
        answers: list[Any] = []

        async def operation() -> None:
            answers.append(await self.content.uploads.renew(place, sha256(data)))

        if self.perform(operation, crash):
            if answers[0] is not None:
                self._promise(place, data)
            else:
                assert not self._promised(place, data)

    @rule(place=places, source=places, data=datas, crash=crashes)
    def mount(self, place: str, source: str, data: bytes, crash: int | None) -> None:
        """Share a layer between repositories."""
        answers: list[Any] = []

        async def may(_: str) -> bool:
            return True

        async def operation() -> None:
            answers.append(
                await self.content.uploads.mount(ALICE, place, sha256(data), may, source)
            )

        if self.perform(operation, crash) and answers[0] is not None:
            self._promise(place, data)

    @rule(
        place=places,
        layers=st.lists(datas, min_size=1, max_size=3, unique=True),
        tag=st.sampled_from(TAGS),
        crash=crashes,
    )
    def put(self, place: str, layers: list[bytes], tag: str, crash: int | None) -> None:
        """A manifest of layers that may or may not be there."""
        manifest = image(layers[0], layers)
        digest = sha256(manifest)
        refused = []

        async def operation() -> None:
            try:
                await self.content.manifests.put(
                    ALICE, place, tag, manifest, media_types.OCI_MANIFEST
                )
            except ManifestBlobUnknown:
                refused.append(True)

        if self.perform(operation, crash):
            if refused:
                assert not all(self._promised(place, layer) for layer in layers)
                return
            self.manifests[place, digest] = manifest
            self.tags[place, tag] = digest
            return
        # Nobody was told: either all of it happened or nothing.
        now_at = self.runner.run(self._tag_of(place, tag))
        if now_at == digest:
            self.manifests[place, digest] = manifest
            self.tags[place, tag] = digest
        else:
            assert now_at == self.tags.get((place, tag))

    @precondition(lambda self: self.manifests)
    @rule(pick=st.integers(0, 99), crash=crashes)
    def delete(self, pick: int, crash: int | None) -> None:
        """An image with its tags."""
        place, digest = sorted(self.manifests)[pick % len(self.manifests)]
        done = self.perform(lambda: self.content.manifests.delete(ALICE, place, digest), crash)
        if done or not self.runner.run(self._exists(place, digest)):
            self.deleted.append((place, digest, self.manifests.pop((place, digest))))
            self.tags = {
                key: value
                for key, value in self.tags.items()
                if not (key[0] == place and value == digest)
            }

    @precondition(lambda self: self.deleted)
    @rule(pick=st.integers(0, 99), crash=crashes)
    def restore(self, pick: int, crash: int | None) -> None:
        """Something from the trash, if it is there still."""
        place, digest, manifest = self.deleted[pick % len(self.deleted)]
        restored: list[Any] = []

        async def operation() -> None:
            try:
                restored.append(await self.content.manifests.restore(ALICE, place, digest))
            except MoorageError:
                restored.append(None)

        self.perform(operation, crash)
        if self.runner.run(self._exists(place, digest)):
            self.manifests[place, digest] = manifest
            for tag in TAGS:
                at = self.runner.run(self._tag_of(place, tag))
                if at == digest:
                    self.tags[place, tag] = digest

    @rule(which=st.sampled_from(["collector", "sweeper", "janitor"]), crash=crashes)
    def collect(self, which: str, crash: int | None) -> None:
        """The background work, one run."""
        self.perform(lambda: getattr(self.content, which).run_once(), crash)

    @rule(seconds=st.sampled_from([1.0, 11.0, 51.0, 90.0, 101.0]))
    def wait(self, seconds: float) -> None:
        """Time passes."""
        self.clock.at += timedelta(seconds=seconds)

    # --- what must be true

    @invariant()
    def truth(self) -> None:
        if hasattr(self, "content"):
            self.runner.run(self._check())

    async def _check(self) -> None:
        for (place, digest), manifest in self.manifests.items():
            assert (await self.content.pulls.manifest(place, digest)).payload == manifest
            for data in LAYERS:
                if sha256(data).encode() in manifest:
                    assert await self.content.read_blob(place, sha256(data)) == data
        for (place, tag), expected in self.tags.items():
            assert await self._tag_of(place, tag) == expected
        assert await self.content.used(self.project) == await self._recount()
        async with self.content.db.read() as tx:
            assert await lists(tx) == []

    async def _recount(self) -> int:
        """Distinct content of manifests, and of pushes that no manifest has referenced yet."""
        held = {sha256(manifest): len(manifest) for manifest in self.manifests.values()}
        sizes = {sha256(data): len(data) for data in LAYERS}
        for manifest in self.manifests.values():
            held |= {d: size for d, size in sizes.items() if d.encode() in manifest}
        pending = select(tables.repository_blobs.c.digest).where(tables.repository_blobs.c.pending)
        async with self.content.db.read() as tx:
            for digest in (await tx.execute(pending)).scalars():
                held[digest] = sizes[digest]
        return sum(held.values())

    async def _exists(self, place: str, digest: str) -> bool:
        query = (
            select(func.count())
            .select_from(tables.manifests)
            .join(tables.repositories)
            .where(tables.repositories.c.name == place, tables.manifests.c.digest == digest)
        )
        return bool(await self.content.scalar(query))

    async def _tag_of(self, place: str, tag: str) -> str | None:
        try:
            return (await self.content.pulls.resolve(place, tag)).digest
        except MoorageError:
            return None

    def _promise(self, place: str, data: bytes) -> None:
        # A HEAD renews only when less than half of the lease is left.
        self.promises[place, data] = self.clock.at + timedelta(seconds=LEASE / 2)

    def _promised(self, place: str, data: bytes) -> bool:
        until = self.promises.get((place, data))
        return until is not None and until > self.clock.at


def test_no_acknowledged_push_is_lost() -> None:
    """Whatever the order, and wherever the power fails."""
    profile = settings(
        max_examples=EXAMPLES,
        stateful_step_count=25,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    from hypothesis.stateful import run_state_machine_as_test

    run_state_machine_as_test(Registry, settings=profile)
