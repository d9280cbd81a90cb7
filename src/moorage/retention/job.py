"""A task: applies a policy to one repository.

decide what stays ─► a line of the log for each that stays ─► each that goes: delete, and a line

What goes is deleted one by one, each in a transaction in which the task must still be ours and the
artifact what was decided about. The number of those that went is kept with each of them, so that
whoever goes on after a crash ends with the figures of the whole task. What stays still stays then:
no delete makes another artifact less new.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select

from moorage.artifacts import removal, repositories
from moorage.artifacts.repositories import Place
from moorage.artifacts.rules import Rules as ContentRules
from moorage.db.engine import Database
from moorage.db.moments import moment
from moorage.db.tables import executions, manifests, tags
from moorage.db.transactions import Tx
from moorage.errors import ManifestUnknown, PreconditionFailed, RepositoryUnknown
from moorage.events import TagRetentionFinished, emit
from moorage.jobs import ERROR, STOPPED, SUCCESS, Context, Lost, Stopping
from moorage.projects import immutability
from moorage.retention import candidates, evaluation, table
from moorage.retention import rules as checking
from moorage.retention.evaluation import Covering
from moorage.retention.records import Candidate, Decision

OPERATOR = "moorage-retention"
"""Who deletes, in the audit log."""

_TURN = 500  # lines of the log between two turns of others


class Changed(PreconditionFailed):
    """The artifact is not any more what was decided about."""


@dataclass(slots=True)
class _Figures:
    """Of the whole task, also of what an earlier run of it did."""

    repository: str
    dry_run: bool
    total: int = 0
    deleted: int = 0
    spared: int = 0  # of a dry run: what a run would delete

    def dump(self) -> dict[str, Any]:
        retained = self.total - self.deleted - self.spared
        return {
            "repository": self.repository,
            "dry_run": self.dry_run,
            "total": self.total,
            "retained": retained,
        }


class RetentionJob:
    """The handler."""

    def __init__(self, db: Database, rules: ContentRules) -> None:
        self._db = db
        self._rules = rules

    async def __call__(self, context: Context) -> None:
        begun = await self._begun(context.claim.execution_id)
        figures = _Figures(context.claim.arguments["repository"], begun["dry_run"])
        figures.deleted = (context.claim.checkpoint or {}).get("deleted", 0)
        rules = evaluation.covering(
            checking.load(begun["rules"]), figures.repository.partition("/")[2]
        )
        try:
            await self._apply(context, rules, figures)
        except Stopping:
            await self._end(context, figures, STOPPED)
            raise
        except (Lost, asyncio.CancelledError):
            raise
        except Exception:
            await self._end(context, figures, ERROR)
            raise
        await self._end(context, figures, SUCCESS)

    async def _begun(self, execution_id: int) -> Any:
        query = select(executions.c.extra).where(executions.c.id == execution_id)
        async with self._db.read() as tx:
            return (await tx.execute(query)).scalar_one()

    async def _apply(self, context: Context, rules: Covering, figures: _Figures) -> None:
        context.log(f"repository {figures.repository}, {len(rules)} rules apply")
        decisions = await self._decisions(figures.repository, rules)
        figures.total = len(decisions) + figures.deleted
        context.log(table.HEADER)
        for number, each in enumerate(decisions):
            if each.retained:
                context.log(table.line(each.candidate, retained=True))
            if number % _TURN == 0:
                await asyncio.sleep(0)
        doomed = [each.candidate for each in decisions if not each.retained]
        doomed.sort(key=lambda each: (-each.depth, each.id))
        expected = figures.deleted + len(doomed)
        for number, candidate in enumerate(doomed):
            context.check()
            if figures.dry_run:
                figures.spared += 1
                context.log(table.line(candidate, retained=False))
                if number % _TURN == 0:
                    await asyncio.sleep(0)
                continue
            await self._delete(context, candidate, figures)
            context.tell(f"{figures.deleted} of {expected} deleted")

    async def _decisions(self, repository: str, rules: Covering) -> Sequence[Decision]:
        """About the artifacts of the repository that count; none when it is gone."""
        async with self._db.read() as tx:
            place = await repositories.find(tx, repository)
            if place is None:
                return []
            found = (await candidates.read(tx, [place.id]))[place.id]
            kept = await _immutable(tx, place, found)
            at = await moment(tx)
        own = [each for each in found if not each.tied]
        return await asyncio.to_thread(evaluation.decide, rules, own, kept, at)

    async def _delete(self, context: Context, candidate: Candidate, figures: _Figures) -> None:
        saved = {"deleted": figures.deleted + 1}
        try:
            await context.run(self._remove, figures.repository, candidate, context, saved)
        except PreconditionFailed as error:
            context.log(table.line(candidate, retained=True))
            context.log(f"{candidate.digest} was to go, and stays: {error.message}", "WARNING")
            return
        except (ManifestUnknown, RepositoryUnknown):
            context.log(f"{candidate.digest} was deleted by somebody else")
        else:
            context.log(table.line(candidate, retained=False))
        figures.deleted += 1

    async def _remove(
        self, tx: Tx, repository: str, candidate: Candidate, context: Context, saved: Any
    ) -> None:
        await _demand_same(tx, candidate)
        await removal.delete(tx, repository, candidate.digest, OPERATOR, self._rules)
        await context.save(saved, tx)

    async def _end(self, context: Context, figures: _Figures, status: str) -> None:
        """Say what became of it, in the log and, unless it was a dry run, as a fact."""
        context.extra = figures.dump()
        retained = context.extra["retained"]
        context.log(f"{retained} of {figures.total} artifacts retained")
        if figures.dry_run:
            context.log("a dry run: nothing was changed")
        elif figures.total and not (context.claim.checkpoint or {}).get("told"):
            await context.run(self._tell, context, figures, status)

    async def _tell(self, tx: Tx, context: Context, figures: _Figures, status: str) -> None:
        place = await repositories.find(tx, figures.repository)
        if place is None:
            return
        fact = TagRetentionFinished(
            operator=OPERATOR,
            project_id=place.project_id,
            repository=figures.repository,
            policy=context.claim.vendor_id,
            execution=context.claim.execution_id,
            task=context.claim.id,
            status=status,
            total=figures.total,
            retained=figures.total - figures.deleted,
        )
        await emit(tx, fact)
        await context.save({"deleted": figures.deleted, "told": True}, tx)


async def _immutable(tx: Tx, place: Place, found: Sequence[Candidate]) -> frozenset[str]:
    """The tags among those of the candidates that do not go."""
    covering = (await immutability.in_force(tx, [place.project_id]))[place.project_id]
    return await covering.covered(place.name, (tag for each in found for tag in each.tags))


async def _demand_same(tx: Tx, candidate: Candidate) -> None:
    """Lock an artifact with its tags; raises Changed when somebody tagged or pushed it since."""
    mine = tags.c.manifest_id == candidate.id
    await tx.execute(tx.dialect.for_update(select(tags.c.id).where(mine).order_by(tags.c.name)))
    itself = select(manifests.c.id).where(manifests.c.id == candidate.id)
    if (await tx.execute(tx.dialect.for_update(itself))).scalar_one_or_none() is None:
        raise ManifestUnknown(detail={"digest": candidate.digest})
    # A statement of its own: somebody for whom the lock waited may have tagged it.
    query = select(tags.c.id, tags.c.revision).where(mine)
    held = [(row.id, row.revision) for row in await tx.execute(query)]
    if candidates.mark(held) != candidate.mark:
        raise Changed("it was tagged or pushed meanwhile")
