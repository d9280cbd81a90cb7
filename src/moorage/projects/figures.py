"""Figures of projects: the same few statements, however many projects there are."""

from sqlalchemy import func, select

from moorage.db.engine import Database
from moorage.db.tables import (
    manifests,
    project_content,
    project_members,
    projects,
    quotas,
    repositories,
)
from moorage.telemetry.figures import Values

_PROJECTS = select(projects.c.id, projects.c.name, projects.c.public, quotas.c.hard, quotas.c.used)
_LISTED = repositories.c.pushed_at.is_not(None)
_REPOSITORIES = (
    select(
        repositories.c.project_id,
        func.count().label("amount"),
        func.sum(repositories.c.pull_count).label("pulls"),
    )
    .where(_LISTED)
    .group_by(repositories.c.project_id)
)
_MEMBERS = select(project_members.c.project_id, func.count().label("members")).group_by(
    project_members.c.project_id
)
_TYPE = func.coalesce(manifests.c.type, "UNKNOWN")
_ARTIFACTS = (
    select(repositories.c.project_id, _TYPE.label("type"), func.count().label("amount"))
    .join(repositories, repositories.c.id == manifests.c.repository_id)
    .where(manifests.c.listed)
    .group_by(repositories.c.project_id, _TYPE)
)
_HELD = (
    select(project_content.c.project_id, func.sum(project_content.c.size).label("size"))
    .group_by(project_content.c.project_id)
    .subquery()
)
_DRIFT = (
    select(func.sum(func.abs(quotas.c.used - func.coalesce(_HELD.c.size, 0))))
    .select_from(quotas)
    .join(_HELD, _HELD.c.project_id == quotas.c.project_id, isouter=True)
)


async def figures(db: Database) -> Values:
    """What projects have and may have: three statements."""
    async with db.read() as tx:
        joined = _PROJECTS.join(quotas, quotas.c.project_id == projects.c.id)
        found = (await tx.execute(joined)).all()
        held = {row.project_id: row for row in await tx.execute(_REPOSITORIES)}
        members = {row.project_id: row.members for row in await tx.execute(_MEMBERS)}
    counts = {row.id: held[row.id].amount if row.id in held else 0 for row in found}
    pulls = {row.id: held[row.id].pulls if row.id in held else 0 for row in found}
    public = sum(row.public for row in found)
    shown = sum(counts[row.id] for row in found if row.public)
    every = sum(counts.values())
    none: tuple[str, ...] = ()
    return {
        "harbor_project_total": [((True,), public), ((False,), len(found) - public)],
        "harbor_project_repo_total": [((r.name, r.public), counts[r.id]) for r in found],
        "harbor_artifact_pulled": [((r.name,), float(pulls[r.id])) for r in found],
        "harbor_project_member_total": [((r.name,), members.get(r.id, 0)) for r in found],
        "harbor_project_quota_byte": [((r.name,), r.hard) for r in found],
        "harbor_project_quota_usage_byte": [((r.name,), r.used) for r in found],
        "harbor_statistics_total_project_amount": [(none, len(found))],
        "harbor_statistics_public_project_amount": [(none, public)],
        "harbor_statistics_private_project_amount": [(none, len(found) - public)],
        "harbor_statistics_total_repo_amount": [(none, every)],
        "harbor_statistics_public_repo_amount": [(none, shown)],
        "harbor_statistics_private_repo_amount": [(none, every - shown)],
    }


async def slow_figures(db: Database) -> Values:
    """What takes a look at every artifact: three statements."""
    async with db.read() as tx:
        kinds = await tx.execute(select(projects.c.id, projects.c.name, projects.c.public))
        named = {row.id: (row.name, row.public) for row in kinds}
        artifacts = (await tx.execute(_ARTIFACTS)).all()
        drift = (await tx.execute(_DRIFT)).scalar_one() or 0
    return {
        "harbor_project_artifact_total": [
            ((*named[row.project_id], row.type), row.amount)
            for row in artifacts
            if row.project_id in named
        ],
        "moorage_quota_drift_bytes": [((), float(drift))],
    }
