"""Policies of tag retention, and applying them."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from sqlalchemy import select, update
from tests.support.content import ALICE, Content
from tests.support.jobs import ended, tasks_of, worker, working

from moorage.clock import SystemClock
from moorage.db import tables
from moorage.db.types import from_now
from moorage.jobs import Context, Kind, LocalBell, presence, queue
from moorage.jobs.history import History
from moorage.jobs.records import Claim
from moorage.projects.selectors import Selector
from moorage.retention import Policies, Rule, TagSelector
from moorage.retention.executions import KIND
from moorage.retention.job import RetentionJob

DAY = 86400.0
OWNER = "tester"


def on_tags(
    pattern: str = "**",
    untagged: bool | None = None,
    decoration: str = "matches",
    kind: str = "doublestar",
) -> TagSelector:
    """A selector of tags."""
    return TagSelector(Selector(kind, decoration, pattern), untagged)


def rule(
    template: str = "always",
    count: int = 0,
    *tags: TagSelector,
    places: str = "**",
    decoration: str = "repoMatches",
    **more: Any,
) -> Rule:
    """A rule, of all tags unless it is said of which."""
    of = (Selector("doublestar", decoration, places),)
    return Rule(template, count, of, tags or (on_tags(),), **more)


async def policy(content: Content, *rules: Rule, project: int = 1, cron: str = "") -> int:
    """Make the policy of a project; its id."""
    return await Policies(content.db, LocalBell()).create(ALICE, project, rules, cron)


async def start(content: Content, policy_id: int, *, dry_run: bool = False) -> int:
    """Queue an execution; its id."""
    return await Policies(content.db, LocalBell()).start(ALICE, policy_id, dry_run=dry_run)


def kind(content: Content) -> Kind:
    """What does the tasks."""
    return Kind(KIND, RetentionJob(content.db, content.rules))


async def apply(content: Content, policy_id: int, *, dry_run: bool = False) -> Sequence[Any]:
    """Apply a policy; its tasks, when all have ended well."""
    made = await start(content, policy_id, dry_run=dry_run)
    async with working(worker(content.db, kind(content))):
        assert (await ended(content.db, made)).status == "Success"
    return await tasks_of(content.db, made)


async def table_of(content: Content, task_id: int) -> dict[str, str]:
    """What the log of a task says of each digest."""
    log = await History(content.db).log(task_id)
    rows = [line.partition("| ")[2].split(" | ") for line in log.splitlines() if "| sha256" in line]
    return {row[0].strip(): row[-1].strip(" |") for row in rows}


async def log_of(content: Content, task_id: int) -> str:
    """All that a task said."""
    return await History(content.db).log(task_id)


async def left(content: Content, place: str) -> set[str]:
    """The digests of a repository."""
    query = (
        select(tables.manifests.c.digest)
        .join(tables.repositories)
        .where(tables.repositories.c.name == place)
    )
    async with content.db.read() as tx:
        return set((await tx.execute(query)).scalars())


async def tags_of(content: Content, place: str) -> set[str]:
    """The tags of a repository."""
    return set(await content.listing.tags(place, last=None, limit=None))


async def age(
    content: Content, digest: str, pushed: float | None = None, pulled: float | None = None
) -> None:
    """Let a manifest with its tags have been pushed, or pulled, so many days ago."""
    values: dict[str, Any] = {}
    if pushed is not None:
        values["pushed_at"] = from_now(-pushed * DAY)
    if pulled is not None:
        values["pulled_at"] = from_now(-pulled * DAY)
    ids = select(tables.manifests.c.id).where(tables.manifests.c.digest == digest)
    async with content.db.write() as tx:
        await tx.execute(
            update(tables.manifests).where(tables.manifests.c.digest == digest).values(**values)
        )
        await tx.execute(
            update(tables.tags).where(tables.tags.c.manifest_id.in_(ids)).values(**values)
        )


Before = Callable[[Context, int], Awaitable[None]]


class Meddled(Context):
    """One run of a task, in which something else happens before a transaction of its own."""

    def __init__(self, content: Content, claim: Claim, before: Before) -> None:
        super().__init__(content.db, SystemClock(), OWNER, claim)
        self._before = before
        self._count = 0

    async def run(self, step: Any, *args: Any, **kwargs: Any) -> Any:
        self._count += 1
        await self._before(self, self._count)
        return await super().run(step, *args, **kwargs)


async def claimed(content: Content) -> Claim:
    """Take the task that waits, as a worker does."""
    await content.db.run(presence.ensure_queues, [KIND])
    (claim,) = await content.db.run(queue.claim, KIND, 1, OWNER, 60.0)
    return claim


async def run(content: Content, claim: Claim, before: Before) -> Context:
    """Do a task; `before` is called with the number of each of its transactions."""
    context = Meddled(content, claim, before)
    try:
        await RetentionJob(content.db, content.rules)(context)
    finally:
        await context.flush()
    return context
