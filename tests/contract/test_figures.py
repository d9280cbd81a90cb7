"""Figures of the installation: right on both databases, and as cheap with many projects."""

import pytest
from tests.support.content import Content
from tests.support.statements import statements

from moorage.blobstore.memory import MemoryStore
from moorage.db.engine import Database
from moorage.gc import figures as of_storage
from moorage.jobs import figures as of_jobs
from moorage.jobs.dashboard import QUEUES
from moorage.projects import figures as of_projects
from moorage.telemetry.figures import FIGURES, Values

pytestmark = pytest.mark.anyio


async def everything(db: Database) -> Values:
    """All figures that rows tell of."""
    return {
        **await of_projects.figures(db),
        **await of_projects.slow_figures(db),
        **await of_jobs.figures(db, QUEUES),
        **await of_storage.figures(db),
        **await of_storage.slow_figures(db),
    }


def of(values: Values, name: str, *labels: object) -> float:
    """One figure."""
    return {tuple(key): value for key, value in values[name]}[labels]


async def test_figures_are_what_is_there(database: Database) -> None:
    """Projects, repositories, artifacts by type, bytes; nothing drifts, waits or is missing."""
    content = Content(database, MemoryStore())
    await content.project("team")
    image = await content.push_image("team/app", "v1", b"{}", [b"layer"])
    await content.push_image("team/other", "v1", b"{}", [b"layer"])
    found = await everything(database)
    assert of(found, "harbor_project_repo_total", "team", False) == 2
    assert of(found, "harbor_project_artifact_total", "team", False, "IMAGE") == 2
    assert of(found, "harbor_project_quota_byte", "team") == -1
    used = len(image) + len(b"{}") + len(b"layer")
    assert of(found, "harbor_project_quota_usage_byte", "team") == used
    assert of(found, "harbor_statistics_total_storage_consumption") == len(b"{}layer")
    assert of(found, "harbor_statistics_total_repo_amount") == 2
    for name in ("quota_drift_bytes", "uploads_open", "trash_bytes", "blobs_damaged"):
        assert of(found, f"moorage_{name}") == 0
    assert of(found, "harbor_task_queue_size", "GARBAGE_COLLECTION") == 0
    unknown = set(found) - set(FIGURES)
    assert not unknown
    for name, samples in found.items():
        assert {len(labels) for labels, _ in samples} <= {len(FIGURES[name].labels)}


async def test_a_scrape_costs_the_same_however_many_projects(database: Database) -> None:
    """The number of statements does not grow with projects, artifacts or queues."""
    content = Content(database, MemoryStore())
    await content.project("first")
    with statements() as few:
        await everything(database)
    for number in range(20):
        await content.project(f"p{number}")
        await content.push_image(f"p{number}/app", "v1", b"{}", [b"layer"])
    with statements() as many:
        await everything(database)
    assert len(few) == len(many) <= 25
