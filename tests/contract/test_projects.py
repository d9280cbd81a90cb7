"""Projects, members, grants and quotas, on both databases."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import insert, select, update
from tests.support.content import Content

from moorage.access import roles
from moorage.access.principals import ANONYMOUS, Principal
from moorage.accounts.standing import robot_grants_key
from moorage.artifacts.rules import Rules
from moorage.blobstore.memory import MemoryStore
from moorage.cache.local import LocalCache
from moorage.clock import SystemClock
from moorage.db import tables
from moorage.db.engine import Database
from moorage.db.queries import Query
from moorage.errors import Conflict, Invalid, NameInvalid, NotFound, ProjectUnknown, QuotaExceeded
from moorage.projects import quota
from moorage.projects.grants import Grants
from moorage.projects.kinds import ROBOT
from moorage.projects.labels import Labels
from moorage.projects.members import Members
from moorage.projects.metadata import Metadata
from moorage.projects.projects import Projects

pytestmark = pytest.mark.anyio

ADMIN = Principal("user", 1, "admin", sysadmin=True)
BOB = Principal("user", 2, "bob")


class Stage:
    """The domain of projects over one database and one cache."""

    def __init__(self, db: Database, cache: LocalCache) -> None:
        db.notifier = cache
        self.db = db
        self.cache = cache
        self.projects = Projects(db)
        self.members = Members(db)
        self.metadata = Metadata(db)
        self.grants = Grants(db, cache)
        self.content = Content(db, MemoryStore(), Rules(), cache)

    async def used(self, project_id: int) -> int:
        """What the quota says."""
        return (await quota.Quotas(self.db).of_project(project_id)).used

    async def robot(self, project_id: int | None, rows: list[tuple[str, int | None, str]]) -> int:
        """A robot account with permission rows (kind, project id, action on repositories)."""
        async with self.db.write() as tx:
            made = await tx.execute(
                insert(tables.robots)
                .values(
                    project_id=project_id, name="r", secret_hash="", duration=-1, creator="admin"
                )
                .returning(tables.robots.c.id)
            )
            robot_id = int(made.scalar_one())
            for kind, scope, action in rows:
                await tx.execute(
                    insert(tables.robot_permissions).values(
                        robot_id=robot_id,
                        kind=kind,
                        project_id=scope,
                        resource="repository",
                        action=action,
                    )
                )
        return robot_id


@pytest.fixture
async def stage(database: Database) -> AsyncIterator[Stage]:
    cache = LocalCache(SystemClock(), entries=1000, size=1 << 20, expire_seconds=3600)
    made = Stage(database, cache)
    async with database.write() as tx:
        await tx.execute(insert(tables.users).values(username="admin", sysadmin=True))
        await tx.execute(insert(tables.users).values(username="bob"))
    yield made
    await cache.close()


async def test_the_library_is_there_from_the_start(stage: Stage) -> None:
    """Public, made once, whoever asks for it at the same time."""
    await asyncio.gather(*(stage.projects.ensure_library() for _ in range(3)))
    await stage.projects.ensure_library()
    found = await stage.projects.list(ANONYMOUS, Query())
    assert [project.name for project in found.items] == ["library"]


async def test_a_name_is_taken_once(stage: Stage) -> None:
    """Of several makers at once one succeeds, and no half project stays."""
    results = await asyncio.gather(
        *(stage.projects.create(ADMIN, "team") for _ in range(4)), return_exceptions=True
    )
    assert sum(isinstance(result, int) for result in results) == 1
    assert sum(isinstance(result, Conflict) for result in results) == 3
    for name in ("", "A", "a/b", "-a", "x" * 256):
        with pytest.raises(NameInvalid):
            await stage.projects.create(ADMIN, name)


async def test_a_digest_counts_once_in_a_project(stage: Stage) -> None:
    """However often it is pushed; a second project counts it for itself."""
    one = await stage.projects.create(ADMIN, "one")
    two = await stage.projects.create(ADMIN, "two")
    await stage.db.run(quota.charge, one, {"sha256:a": 5, "sha256:b": 7})
    await stage.db.run(quota.charge, one, {"sha256:b": 7, "sha256:c": 1})
    await stage.db.run(quota.charge, two, {"sha256:a": 5})
    assert (await stage.used(one), await stage.used(two)) == (13, 5)
    assert await stage.db.run(quota.release, one, ["sha256:a", "sha256:z", "sha256:a"]) == 5
    assert await stage.db.run(quota.release, one, ["sha256:a"]) == 0
    assert (await stage.used(one), await stage.used(two)) == (8, 5)


async def test_parallel_pushes_never_pass_the_limit(stage: Stage) -> None:
    """Of ten pushes of 30 bytes into 100, three fit; a refused one leaves nothing behind."""
    project = await stage.projects.create(ADMIN, "team", limit=100)
    results = await asyncio.gather(
        *(stage.db.run(quota.charge, project, {f"sha256:{n}": 30}) for n in range(10)),
        return_exceptions=True,
    )
    assert sum(result is None for result in results) == 3
    assert sum(isinstance(result, QuotaExceeded) for result in results) == 7
    assert await stage.used(project) == 90
    assert await stage.db.run(quota.recount, project) == 0


async def test_parallel_pushes_of_shared_layers_count_them_once(stage: Stage) -> None:
    """In whatever order they name them, and without a deadlock."""
    project = await stage.projects.create(ADMIN, "team")
    digests = [f"sha256:{n}" for n in range(20)]
    await asyncio.gather(
        *(
            stage.db.run(quota.charge, project, dict.fromkeys(digests[n:] + digests[:n], 10))
            for n in range(8)
        )
    )
    assert await stage.used(project) == 200


async def test_a_refusal_says_how_much_of_what(stage: Stage) -> None:
    """In the words that Harbor's users know."""
    project = await stage.projects.create(ADMIN, "team", limit=3 << 20)
    await stage.db.run(quota.charge, project, {"sha256:a": 2 << 20})
    with pytest.raises(QuotaExceeded) as caught:
        await stage.db.run(quota.charge, project, {"sha256:b": 3 << 19})
    assert caught.value.message == (
        "adding 1.5 MiB of storage resource, which when updated to current usage of 2.0 MiB "
        "will exceed the configured upper limit of 3.0 MiB."
    )


async def test_what_is_there_already_fits_a_full_project(stage: Stage) -> None:
    """Also below what is used: a limit that was lowered stops new bytes only."""
    project = await stage.projects.create(ADMIN, "team", limit=10)
    await stage.db.run(quota.charge, project, {"sha256:a": 10})
    quotas = quota.Quotas(stage.db)
    await quotas.set_hard(ADMIN, (await quotas.of_project(project)).id, 1)
    await stage.db.run(quota.charge, project, {"sha256:a": 10})
    with pytest.raises(QuotaExceeded):
        await stage.db.run(quota.charge, project, {"sha256:b": 1})
    with pytest.raises(Invalid):
        await quotas.set_hard(ADMIN, 1, 0)
    with pytest.raises(NotFound):
        await quotas.set_hard(ADMIN, 4711, 1)


async def test_a_recount_heals_a_drifted_quota(stage: Stage) -> None:
    """And tells by how much it was wrong."""
    project = await stage.projects.create(ADMIN, "team")
    await stage.db.run(quota.charge, project, {"sha256:a": 10})
    async with stage.db.write() as tx:
        await tx.execute(update(tables.quotas).values(used=25))
    assert await stage.db.run(quota.recount, project) == -15
    assert await stage.used(project) == 10


async def test_roles_hold_the_pairs_of_the_matrix(stage: Stage) -> None:
    """In their project; on a public one everybody holds the public pairs as well."""
    project = await stage.projects.create(ADMIN, "team")
    assert await stage.grants.actions(ADMIN, "team") == roles.EVERYTHING
    assert await stage.grants.actions(BOB, "team") == frozenset()
    member = await stage.members.add(ADMIN, project, roles.GUEST, username="bob")
    for role in roles.ROLE_NAMES:
        await stage.members.change(ADMIN, project, member, role)
        assert await stage.grants.actions(BOB, "team") == roles.ROLE_PAIRS[role]
    await stage.projects.change(ADMIN, project, {"public": "true"})
    everything = roles.ROLE_PAIRS[max(roles.ROLE_NAMES)] | roles.PUBLIC
    assert await stage.grants.actions(BOB, "team") == everything
    assert await stage.grants.actions(ANONYMOUS, "team") == roles.PUBLIC
    await stage.metadata.remove(ADMIN, project, "public")
    assert await stage.grants.actions(ANONYMOUS, "team") == frozenset()
    await stage.members.remove(ADMIN, project, member)
    assert await stage.grants.actions(BOB, "team") == frozenset()
    with pytest.raises(ProjectUnknown):
        await stage.grants.actions(ADMIN, "none")


async def test_a_new_project_of_an_old_name_starts_without_old_rights(stage: Stage) -> None:
    """Whatever was cached of the deleted one, and whatever id the new one got."""
    project = await stage.projects.create(ADMIN, "team", values={"public": "true"})
    await stage.members.add(ADMIN, project, roles.DEVELOPER, username="bob")
    assert ("repository", "push") in await stage.grants.actions(BOB, "team")
    await stage.projects.delete(ADMIN, project)
    with pytest.raises(ProjectUnknown):
        await stage.grants.actions(BOB, "team")
    await stage.projects.create(ADMIN, "team")
    assert await stage.grants.actions(BOB, "team") == frozenset()


async def test_nothing_is_added_to_a_project_that_is_gone(stage: Stage) -> None:
    """Who was let in a moment before its end gets a 404, not a broken constraint."""
    project = await stage.projects.create(ADMIN, "team")
    await stage.projects.delete(ADMIN, project)
    with pytest.raises(ProjectUnknown):
        await stage.members.add(ADMIN, project, roles.DEVELOPER, username="bob")
    with pytest.raises(ProjectUnknown):
        await Metadata(stage.db).add(ADMIN, project, {"severity": "high"})
    with pytest.raises(ProjectUnknown):
        await Labels(stage.db).create(ADMIN, project, "late")


async def test_a_deleted_project_takes_its_unfinished_uploads_along(stage: Stage) -> None:
    """Their bytes go to the collectors, and nothing stays behind."""
    content = stage.content
    await stage.projects.create(ADMIN, "team")
    await content.push_blob("team/app", b"pending")
    upload = await content.uploads.start(BOB, "team/app")
    await content.push_image("team/app", "v1")
    await content.manifests.delete_repository(ADMIN, "team/app")
    project = (await stage.projects.by_name("team")).id
    await stage.projects.delete(ADMIN, project)
    assert upload.offset == 0
    async with stage.db.read() as tx:
        for table in (tables.repositories, tables.uploads, tables.project_content):
            assert (await tx.execute(select(table))).all() == []
        candidates = await tx.execute(select(tables.gc_candidates.c.digest))
        assert len(candidates.all()) >= 1


async def test_a_robot_holds_its_rows_alone(stage: Stage) -> None:
    """A project robot nothing outside its project; disabled or expired, nothing at all."""
    one = await stage.projects.create(ADMIN, "one")
    two = await stage.projects.create(ADMIN, "two")
    rows: list[tuple[str, int | None, str]] = [("project", None, "pull"), ("system", None, "read")]
    robot = Principal("robot", await stage.robot(one, rows), "r")
    pull = frozenset({("repository", "pull")})
    assert await stage.grants.actions(robot, "one") == pull
    assert await stage.grants.actions(robot, "two") == frozenset()
    assert await stage.grants.system(robot) == frozenset()
    listed = await stage.projects.list(robot, Query())
    assert [project.name for project in listed.items] == ["one"]
    assert two
    past = datetime.now(UTC) - timedelta(seconds=1)
    for values in ({"disabled": True}, {"disabled": False, "expires_at": past}):
        async with stage.db.write() as tx:
            await tx.execute(update(tables.robots).values(**values))
            tx.touch(robot_grants_key(robot.id))
        assert await stage.grants.actions(robot, "one") == frozenset()


async def test_a_system_robot_reaches_the_projects_of_its_rows(stage: Stage) -> None:
    """One project, or all of them."""
    one = await stage.projects.create(ADMIN, "one")
    await stage.projects.create(ADMIN, "two")
    rows: list[tuple[str, int | None, str]] = [
        ("project", None, "pull"),
        ("project", one, "push"),
        ("system", None, "read"),
    ]
    robot = Principal("robot", await stage.robot(None, rows), "r")
    pull, push = ("repository", "pull"), ("repository", "push")
    assert await stage.grants.actions(robot, "one") == {pull, push}
    assert await stage.grants.actions(robot, "two") == {pull}
    assert await stage.grants.system(robot) == {("repository", "read")}


async def test_an_id_never_comes_again(stage: Stage) -> None:
    """Caches, tokens and uploads name users, projects and robot accounts by it."""
    first = await stage.projects.create(ADMIN, "first")
    await stage.projects.delete(ADMIN, first)
    assert await stage.projects.create(ADMIN, "second") > first


def test_the_accounts_touch_the_key_of_the_grants() -> None:
    """They cannot import it: their floor is below."""
    assert ROBOT.key(7) == robot_grants_key(7)
