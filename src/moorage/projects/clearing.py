"""Steps that delete a project with what its hidden repositories still hold.

A repository without manifests is hidden, but uploads, leased blobs and the trash keep its row. The
project takes all that along: storage keys go to the sweeper, digests to the collector.
"""

from collections.abc import Sequence

from sqlalchemy import Select, delete, func, select

from moorage.accounts.groups import GROUP_ROLES
from moorage.accounts.standing import touch_robot
from moorage.db.tables import (
    artifact_trash,
    blob_trash,
    gc_candidates,
    manifests,
    project_content,
    project_members,
    projects,
    repositories,
    repository_blobs,
    robots,
    upload_segments,
    uploads,
)
from moorage.db.transactions import Tx
from moorage.db.types import from_now, now
from moorage.errors import PreconditionFailed, ProjectUnknown
from moorage.events import ProjectDeleted, emit
from moorage.projects.kinds import PROJECT, ROLE

DRAIN = 3600.0
"""Seconds that the bytes of an upload stay, in case somebody still writes them."""
_ROWS = 500


async def lock(tx: Tx, project_id: int) -> str:
    """Lock the project's row; returns its name. Raises ProjectUnknown."""
    statement = select(projects.c.name).where(projects.c.id == project_id)
    name = (await tx.execute(tx.dialect.for_update(statement))).scalar_one_or_none()
    if name is None:
        raise ProjectUnknown(f"project {project_id} not found")
    return str(name)


async def check_empty(tx: Tx, project_id: int) -> None:
    """Raises PreconditionFailed when something in the project is listed or stored."""
    listed = select(func.count()).where(
        repositories.c.project_id == project_id, repositories.c.pushed_at.is_not(None)
    )
    stored = (
        select(func.count())
        .select_from(manifests)
        .join(repositories, repositories.c.id == manifests.c.repository_id)
        .where(repositories.c.project_id == project_id)
    )
    for statement in (listed, stored):
        if (await tx.execute(statement)).scalar_one():
            raise PreconditionFailed("the project contains repositories, can not be deleted")


async def delete_project(tx: Tx, project_id: int, operator: str) -> None:
    """Delete the project; raises ProjectUnknown, PreconditionFailed."""
    name = await lock(tx, project_id)
    await check_empty(tx, project_id)
    tx.touch(PROJECT.key(name))
    members = select(project_members.c.user_id).where(
        project_members.c.project_id == project_id, project_members.c.user_id.is_not(None)
    )
    for user_id in (await tx.execute(members)).scalars().all():
        tx.touch(ROLE.key(project_id, user_id))
    tx.touch(GROUP_ROLES.key(project_id))
    accounts = select(robots.c.id).where(robots.c.project_id == project_id)
    for robot_id in (await tx.execute(accounts)).scalars().all():
        touch_robot(tx, robot_id)
    hidden = select(repositories.c.id).where(repositories.c.project_id == project_id)
    await _drop_uploads(tx, hidden)
    await _drop_blobs(tx, hidden)
    await tx.execute(delete(artifact_trash).where(artifact_trash.c.repository_id.in_(hidden)))
    await tx.execute(delete(repositories).where(repositories.c.project_id == project_id))
    await tx.execute(delete(project_content).where(project_content.c.project_id == project_id))
    await tx.execute(delete(projects).where(projects.c.id == project_id))
    await emit(tx, ProjectDeleted(operator=operator, project_id=project_id, project=name))


async def _drop_uploads(tx: Tx, hidden: Select[tuple[int]]) -> None:
    mine = select(uploads.c.id).where(uploads.c.repository_id.in_(hidden))
    keys = select(upload_segments.c.storage_key).where(upload_segments.c.upload_id.in_(mine))
    found: Sequence[str] = (await tx.execute(keys)).scalars().all()
    for start in range(0, len(found), _ROWS):
        rows = [
            {"storage_key": key, "not_before": from_now(DRAIN)}
            for key in found[start : start + _ROWS]
        ]
        await tx.execute(tx.dialect.insert(blob_trash).values(rows).on_conflict_do_nothing())
    await tx.execute(delete(upload_segments).where(upload_segments.c.upload_id.in_(mine)))
    await tx.execute(delete(uploads).where(uploads.c.repository_id.in_(hidden)))


async def _drop_blobs(tx: Tx, hidden: Select[tuple[int]]) -> None:
    held = (
        select(repository_blobs.c.digest)
        .where(repository_blobs.c.repository_id.in_(hidden))
        .distinct()
        .order_by(repository_blobs.c.digest)
    )
    found: Sequence[str] = (await tx.execute(held)).scalars().all()
    for start in range(0, len(found), _ROWS):
        insert = tx.dialect.insert(gc_candidates).values(
            [
                {"digest": digest, "review_after": now(), "reason": "project"}
                for digest in found[start : start + _ROWS]
            ]
        )
        await tx.execute(
            insert.on_conflict_do_update(
                index_elements=["digest"], set_={"review_after": insert.excluded.review_after}
            )
        )
    await tx.execute(delete(repository_blobs).where(repository_blobs.c.repository_id.in_(hidden)))
