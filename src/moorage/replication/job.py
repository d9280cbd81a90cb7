"""The handlers: one finds out what there is to move, the other moves one artifact."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import bindparam, select

from moorage.db.engine import Database
from moorage.db.prepared import Prepared
from moorage.db.tables import executions, projects
from moorage.db.transactions import Tx
from moorage.errors import MoorageError, NotFound
from moorage.events import ReplicationFinished, emit
from moorage.jobs import ERROR, STOPPED, SUCCESS, Context, Lost, Stopping, extend
from moorage.oci.names import project_of
from moorage.remotes import Registries, Registry
from moorage.remotes.throttle import KILOBITS, Throttle
from moorage.replication import filters, launching
from moorage.replication.here import OPERATOR, Here
from moorage.replication.planning import Planner
from moorage.replication.records import DELETE, EVENT, Move, Settings
from moorage.replication.sides import Sending
from moorage.replication.there import Known, There
from moorage.replication.transfer import Transfer

BATCH = 100
"""Tasks that a plan adds at once."""
BELIEVED = 2.0
"""Seconds for which a task takes a registry for what an earlier one read of it."""
REGISTRIES = 20
"""Registries of which this process remembers what blobs they had."""
AGAIN = 3
"""Times that a task copies again what came back while it deleted it."""
EXECUTIONS = 100
"""Executions of which this process remembers what they do."""


@dataclass(frozen=True)
class Ends:
    """Both sides of a policy, and what is known of the other registry."""

    source: Here | There
    target: Here | There
    remote: There
    registry: Registry


@dataclass
class _Shared:
    """A registry as several tasks reach it: connections, tokens, what it was found to do."""

    there: There
    users: int = 0


class Replicating:
    """What both handlers share."""

    def __init__(self, db: Database, registries: Registries, here: Here) -> None:
        self._db = db
        self._registries = registries
        self._here = here
        self._open: dict[tuple[int, datetime], _Shared] = {}
        self._recent: dict[int, tuple[Registry, float]] = {}
        self._known: dict[tuple[int, datetime], Known] = {}
        self._begun: dict[int, tuple[Settings, Any, str]] = {}

    @property
    def open(self) -> int:
        """Registries that some task is connected to."""
        return len(self._open)

    @asynccontextmanager
    async def ends(self, said: Settings) -> AsyncIterator[Ends]:
        """Both sides. Tasks that run together share connections, the last one closes them."""
        registry_id = said.source_id if said.source_id is not None else said.target_id
        registry = await self._registry(registry_id or 0)
        key = registry.id, registry.updated_at
        shared = self._open.get(key)
        if shared is None:
            shared = self._open[key] = _Shared(self._there(registry, key))
        there = shared.there
        shared.users += 1
        try:
            if said.source_id is None:
                yield Ends(self._here, there, there, registry)
            else:
                yield Ends(there, self._here, there, registry)
        finally:
            shared.users -= 1
            if not shared.users:
                del self._open[key]
                await there.close()

    def _there(self, registry: Registry, key: tuple[int, datetime]) -> There:
        while key not in self._known and len(self._known) >= REGISTRIES:
            del self._known[next(iter(self._known))]
        known = self._known.setdefault(key, Known())
        return There(self._registries.remote(registry), known)

    async def _registry(self, registry_id: int) -> Registry:
        """As it was some seconds ago at most."""
        known = self._recent.get(registry_id)
        if known is None or known[1] < time.monotonic():
            found = await self._registries.get(registry_id)
            known = self._recent[registry_id] = found, time.monotonic() + BELIEVED
        return known[0]

    async def begun(self, execution_id: int) -> tuple[Settings, Any, str]:
        """The policy as it was when the execution began, all that was kept, and the trigger."""
        if execution_id not in self._begun:  # it stays as it was
            while len(self._begun) >= EXECUTIONS:
                del self._begun[next(iter(self._begun))]
            self._begun[execution_id] = await self._read(execution_id)
        return self._begun[execution_id]

    async def _read(self, execution_id: int) -> tuple[Settings, Any, str]:
        query = select(executions.c.extra, executions.c.trigger)
        query = query.where(executions.c.id == execution_id)
        async with self._db.read() as tx:
            row = (await tx.execute(query)).one()
        kept = row.extra["policy"]
        said = {name: kept[name] for name in Settings.__slots__ if name != "filters"}
        return Settings(**said, filters=filters.load(kept["filters"])), kept, row.trigger


class PlanJob:
    """Adds a task for each artifact."""

    def __init__(self, both: Replicating) -> None:
        self._both = both

    async def __call__(self, context: Context) -> None:
        said, _, _ = await self._both.begun(context.claim.execution_id)
        checkpoint = context.claim.checkpoint or {}
        after = str(checkpoint.get("after", ""))
        # A version before this one kept every name, which grew with each batch.
        done = frozenset(checkpoint.get("done", ()))
        async with self._both.ends(said) as ends:
            planner = Planner(said, ends.source)
            batch: list[Move] = []
            count = 0
            async for repository, moves in planner.moves(context.claim.arguments, after):
                context.check()
                if repository in done:
                    continue
                after = repository
                batch += moves
                count += len(moves)
                context.tell(f"{count} artifacts")
                if len(batch) >= BATCH:
                    await context.run(self._add, context, batch, after)
                    batch = []
            await context.run(self._add, context, batch, after)
        context.log(f"{count} artifacts to look at")

    async def _add(self, tx: Tx, context: Context, batch: list[Move], after: str) -> None:
        if batch:
            new = [launching.task(each) for each in batch]
            await extend(tx, context.claim.execution_id, new)
        await context.save({"after": after}, tx)


class MoveJob:
    """Moves one artifact, or deletes it at the target."""

    def __init__(self, both: Replicating) -> None:
        self._both = both

    async def __call__(self, context: Context) -> None:
        said, kept, trigger = await self._both.begun(context.claim.execution_id)
        move = Move.load(context.claim.arguments)
        context.log(f"{move.operation} {move.source}{move.reference} to {move.target}")
        told = _Told(context, said, kept, trigger, move)
        try:
            async with self._both.ends(said) as ends:
                told.registry = ends.registry
                if move.operation == DELETE:
                    await self._delete(context, ends, said, move)
                else:
                    await self._copy(context, ends, said, move)
        except Stopping:
            await told.of(STOPPED)
            raise
        except (Lost, asyncio.CancelledError):
            raise
        except MoorageError as error:
            context.log(error.message, "ERROR")
            await told.of(ERROR)
            raise
        context.last = told.success

    async def _copy(self, context: Context, ends: Ends, said: Settings, move: Move) -> None:
        transfer = self._transfer(context, ends, said, move)
        try:
            await transfer.run()
        finally:
            done = transfer.progress
            context.log(str(done))
            context.extra = {
                **launching.task(move).extra,
                "moved_bytes": done.moved,
                "spared_bytes": done.spared,
                "moved_blobs": done.blobs,
                "moved_manifests": done.manifests,
            }
        await self._restore(context, ends, said, move, transfer.taken)

    def _transfer(self, context: Context, ends: Ends, said: Settings, move: Move) -> Transfer:
        sessions: dict[str, str] = dict((context.claim.checkpoint or {}).get("sessions", {}))

        async def remember(digest: str, where: str) -> None:
            sessions[digest] = where
            await context.save({"sessions": sessions})

        throttle = Throttle(max(said.speed, 0) * KILOBITS)
        how = Sending(throttle, said.chunked, sessions, remember)
        return Transfer(
            ends.source,
            ends.target,
            move,
            how,
            override=said.override,
            deletes=said.deletion and said.trigger == EVENT and said.source_id is None,
            untagged=not any(each.type == "tag" and each.value for each in said.filters),
            again=context.claim.fence > 1,
            log=context.log,
            check=context.check,
            tell=context.tell,
        )

    async def _delete(self, context: Context, ends: Ends, said: Settings, move: Move) -> None:
        """What is back at the source by now stays: its copy may be done already.

        What came back while this deleted it, or an earlier run that was cut off, is copied again.
        """
        source, target = ends.source, ends.target
        whole = move.whole or not move.tags
        gone = not await source.digest_of(move.source, move.digest)
        for reference in move.tags or (move.digest,):
            there = await target.digest_of(move.target, reference)
            if not gone and await source.digest_of(move.source, reference) == move.digest:
                context.log(f"{move.target}:{reference} stays: it is back in {move.source}")
            elif not there:
                context.log(f"{move.target}:{reference} is not there")
            elif there != move.digest:
                context.log(f"{move.target}:{reference} stays: it is {there} by now")
            else:
                try:
                    await target.delete(move.target, move.digest if whole and gone else reference)
                except NotFound:
                    context.log(f"{move.target}:{reference} is gone")
                else:
                    context.log(f"{move.target}:{reference} was deleted")
                if whole and gone:
                    break
        deleted = (*move.tags, move.digest) if whole else move.tags
        await self._restore(context, ends, said, move, deleted)

    async def _restore(
        self, context: Context, ends: Ends, said: Settings, move: Move, deleted: Sequence[str]
    ) -> None:
        """Copy again what came back to the source while it was deleted at the target.

        Its own copy may have found it there before. With a whole artifact went all tags that it
        had at the target, those of later pushes too.
        """
        for _ in range(AGAIN):
            looks = [await ends.source.digest_of(move.source, each) for each in deleted]
            deleted = []
            for digest in sorted({each for each in looks if each}):
                context.log(f"{move.source}@{digest} is back")
                about = {"repository": move.source, "digest": digest}
                async for _, moves in Planner(said, ends.source).moves(about):
                    for back in moves:
                        transfer = self._transfer(context, ends, said, back)
                        await transfer.run()
                        deleted += transfer.taken


class _Told:
    """Tells what became of a task, as a fact of the project here."""

    def __init__(
        self, context: Context, said: Settings, kept: Any, trigger: str, move: Move
    ) -> None:
        self._context = context
        self._said = said
        self._kept = kept
        self._trigger = trigger
        self._move = move
        self.registry: Registry | None = None

    async def of(self, status: str) -> None:
        """Once for each run that fails or is stopped."""
        await self._context.run(self._tell, status)

    async def success(self, tx: Tx) -> None:
        """Step of the transaction that ends the task."""
        await self._tell(tx, SUCCESS)

    async def _tell(self, tx: Tx, status: str) -> None:
        move, pushed = self._move, self._said.source_id is None
        here = move.source if pushed else move.target
        rows = await tx.fetch(_PROJECT, project=project_of(here))
        if not rows:
            return
        project_id = int(rows[0][0])
        ours = {"registry_type": "harbor", "registry_name": "Local", "endpoint": ""}
        theirs = {
            "registry_type": self.registry.kind if self.registry else "",
            "registry_name": self.registry.name if self.registry else "",
            "endpoint": self.registry.url if self.registry else "",
        }
        one, two = (ours, theirs) if pushed else (theirs, ours)
        await emit(
            tx,
            ReplicationFinished(
                operator=OPERATOR.name,
                project_id=project_id,
                repository=here,
                policy=self._kept["id"],
                policy_name=self._said.name,
                execution=self._context.claim.execution_id,
                task=self._context.claim.id,
                status=status,
                operation=move.operation,
                trigger=self._trigger,
                artifact=move.reference[:512],
                artifact_type=filters.resource(move.type),
                source={**one, "namespace": project_of(move.source)},
                target={**two, "namespace": project_of(move.target)},
                pushed=pushed,
                override=self._said.override,
                creator=self._kept.get("creator", ""),
            ),
        )


_PROJECT = Prepared(
    lambda dialect: select(projects.c.id).where(projects.c.name == bindparam("project"))
)
