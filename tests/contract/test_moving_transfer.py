"""From one installation into another one: killed anywhere, gone on with, compared at the end."""

import json
from pathlib import Path

import pytest
from sqlalchemy import insert, select
from tests.support.content import ALICE, Content, sha256
from tests.support.databases import count
from tests.support.invariants import violations
from tests.support.moving import EVERY, quiet
from tests.support.verbs import crash, ran

from moorage import failpoints
from moorage.db import migrator, tables
from moorage.errors import Conflict
from moorage.moving import rows
from moorage.moving.transfer import Transfer
from moorage.projects.storagedays import StorageDays

pytestmark = pytest.mark.anyio


async def some(inhabited: Content, images: int) -> dict[str, bytes]:
    """Push images and pull each, and note what is held; their manifests by tag."""
    pushed = {
        f"v{number}": await inhabited.push_image(
            "library/app", f"v{number}", b"%d" % number, [b"layer %d" % number]
        )
        for number in range(images)
    }
    for tag in pushed:
        found = await inhabited.pulls.manifest("library/app", tag)
        inhabited.pulls.count(found.resolved, tag, ALICE)
    await inhabited.counts.flush()
    await StorageDays(inhabited.db).note()
    return pushed


@pytest.mark.parametrize("kinds", EVERY, indirect=True)
async def test_everything_arrives(inhabited: Content, vacant: Content) -> None:
    """Rows, objects and the ids that come next; the source is as it was."""
    pushed = await some(inhabited, 3)
    async with inhabited.db.write() as tx:
        await tx.execute(insert(tables.users).values(username="gone"))
        await tx.execute(tables.users.delete().where(tables.users.c.username == "gone"))
    before = await inhabited.keys()
    done = await Transfer(inhabited.db, vacant.db).run(inhabited.store, vacant.store, quiet)
    assert (done["objects"], done["missing"]) == (6, {})
    assert await inhabited.keys() == before == await vacant.keys()
    assert await violations(inhabited) == await violations(vacant) == []
    for tag, payload in pushed.items():
        assert (await vacant.pulls.manifest("library/app", tag)).payload == payload
    await migrator.arrived(vacant.db)
    async with vacant.db.write() as tx:
        user = insert(tables.users).values(username="next").returning(tables.users.c.id)
        assert (await tx.execute(user)).scalar_one() == 3
    with pytest.raises(Conflict, match="in use"):
        await Transfer(inhabited.db, vacant.db).run(inhabited.store, vacant.store, quiet)


@pytest.mark.parametrize("step", ["copy.written", "4*copy.written", "9*move.batch", "move.rows"])
async def test_a_move_that_ended_early_goes_on(
    inhabited: Content, vacant: Content, step: str
) -> None:
    """Nothing starts on the half that is there; the next run does the rest."""
    pushed = await some(inhabited, 4)
    passes, _, name = step.rpartition("*")
    failpoints.arm(f"{name}={passes + '*' if passes else ''}error")
    try:
        with pytest.raises(BaseException):  # noqa: B017, PT011 - alone, or in a group
            await Transfer(inhabited.db, vacant.db).run(inhabited.store, vacant.store, quiet)
    finally:
        failpoints.arm("")
    with pytest.raises(migrator.StillArriving):
        await migrator.arrived(vacant.db)
    there = await count(vacant.db, "tags")
    done = await Transfer(inhabited.db, vacant.db).run(inhabited.store, vacant.store, quiet)
    assert done["objects"] == 8
    if name == "move.rows":
        assert (there, done["rows_now"]) == (4, 0)
    for tag, payload in pushed.items():
        assert (await vacant.pulls.manifest("library/app", tag)).payload == payload
        layer = b"layer " + tag[1:].encode()
        assert await vacant.read_blob("library/app", sha256(layer)) == layer
    assert await violations(vacant) == []


@pytest.mark.parametrize("kinds", EVERY[1:3], indirect=True)
async def test_rows_are_found_again_behind_a_noted_key(inhabited: Content) -> None:
    """Whatever the key is made of, and after the note was written and read."""
    await some(inhabited, 3)
    for form in rows.forms():
        found: list[rows.Row] = []
        last = None
        async with inhabited.db.snapshot() as tx:
            every = [row async for batch in rows.read(tx, form) for row in batch]
            while batch := await rows.read_behind(tx, form, last, 1):
                found += batch
                last = json.loads(json.dumps(rows.key_of(form, batch[-1])))
        assert found == every, form.name
        assert every or form.name not in ("repository_pulls", "project_storage", "tag_moves")


async def test_a_source_that_changed_meanwhile_is_noticed(
    inhabited: Content, vacant: Content
) -> None:
    """Both sides are compared before the target may be used."""
    await some(inhabited, 1)
    failpoints.arm("move.rows=error")
    try:
        with pytest.raises(failpoints.Injected):
            await Transfer(inhabited.db, vacant.db).run(inhabited.store, vacant.store, quiet)
    finally:
        failpoints.arm("")
    async with inhabited.db.write() as tx:
        await tx.execute(tables.projects.update().values(public=True))
    with pytest.raises(Conflict, match="the table projects differs: 1 rows here, 1 there"):
        await Transfer(inhabited.db, vacant.db).run(inhabited.store, vacant.store, quiet)
    with pytest.raises(migrator.StillArriving):
        await migrator.arrived(vacant.db)


async def test_rows_alone_move_where_the_objects_stay(inhabited: Content, vacant: Content) -> None:
    """Then the store is the same, and nothing in it is touched."""
    await some(inhabited, 2)
    done = await Transfer(inhabited.db, vacant.db).run(None, None, quiet)
    assert (done["objects"], await vacant.keys()) == (0, set())
    assert done["rows"] == sum([await count(inhabited.db, form.name) for form in rows.forms()])


async def test_the_verb_moves_and_is_killed(inhabited: Content, tmp_path: Path) -> None:
    """`moorage move` as a process that dies, then again; a server would not start in between."""
    await some(inhabited, 3)
    async with inhabited.db.read() as tx:
        known = (await tx.execute(select(tables.blobs.c.digest))).scalars().all()
    await inhabited.db.close()
    (tmp_path / "new.toml").write_text(f'data_dir = "{tmp_path / "new"}"\n')
    (tmp_path / "old.toml").write_text(f'data_dir = "{tmp_path}"\n')

    move = ["move", "--config", "old.toml", "--to", "new.toml", "--json"]
    crash(move, tmp_path, "move.batch=5*crash")
    refused = ran(["verify", "--config", "new.toml"], tmp_path)
    assert refused.returncode == 1
    assert "run `moorage move` again" in refused.stderr
    done = ran(move, tmp_path)
    assert done.returncode == 0, done.stderr
    verified = ran(["verify", "--config", "new.toml", "--deep", "--json"], tmp_path)
    assert verified.returncode == 0, verified.stderr
    assert f'"checked": {len(known)}' in verified.stdout
