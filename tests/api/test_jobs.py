"""Jobs over the API: collections, purges, their schedules, and what an operator sees and stops."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from sqlalchemy import insert, select, update
from tests.api.world import World
from tests.support.jobs import ended, worker, working

from moorage.audit import Recorder
from moorage.audit.purge import PurgeJob
from moorage.db import tables
from moorage.db.types import from_now
from moorage.events import (
    JobStarted,
    JobStopped,
    Outbox,
    QueueChanged,
    ScheduleDeleted,
    ScheduleUpdated,
)
from moorage.gc.job import GarbageJob
from moorage.jobs import Context, Kind
from moorage.jobs.dashboard import QUEUES
from moorage.jobs.schedules import Ticker, single

pytestmark = pytest.mark.anyio

GC, PURGE = "GARBAGE_COLLECTION", "PURGE_AUDIT_LOG"


def jobs(world: World) -> tuple[Kind, ...]:
    content = world.content
    collect = GarbageJob(content.db, content.store, content.rules, window=7200)
    return Kind(GC, collect, limit=1), Kind(PURGE, PurgeJob(content.db), limit=1)


@pytest.fixture
async def busy(world: World) -> AsyncIterator[World]:
    """A world with somebody who does the work."""
    async with working(worker(world.content.db, *jobs(world))):
        yield world


async def run(world: World, path: str, **parameters: Any) -> dict[str, Any]:
    """Ask for a job now; what the history says of it at its end."""
    body = {"schedule": {"type": "Manual"}, "parameters": parameters}
    answer = await world.call("sysadmin", "POST", f"{path}/schedule", json=body)
    assert answer.status_code == 201, answer.text
    made = answer.headers["location"]
    assert made.startswith(f"/api/v2.0{path}/")
    number = int(made.rpartition("/")[2])
    await ended(world.content.db, number)
    found: dict[str, Any] = (await world.call("sysadmin", "GET", f"{path}/{number}")).json()
    return found


async def test_a_collection_says_what_it_freed(busy: World) -> None:
    content = busy.content
    await content.push_image("team/app", "v1", layers=[b"gone"])
    await busy.call("sysadmin", "DELETE", "/projects/team/repositories/app/artifacts/v1")
    async with content.db.write() as tx:
        links = update(tables.repository_blobs)
        await tx.execute(links.values(lease_until=from_now(-1)))
    preview = await run(busy, "/system/gc", dry_run=True, workers=2)
    real = await run(busy, "/system/gc", workers=2)
    told = [json.loads(each["job_parameters"]) for each in (preview, real)]
    assert [each["freed_space"] for each in told] == [len(b"{}" + b"gone")] * 2
    assert [each["purged_blobs"] for each in told] == [2, 2]
    assert told[1] | {"dry_run": True} == told[0]
    assert (real["job_status"], real["job_kind"], real["job_name"]) == ("Success", "MANUAL", GC)
    assert real["schedule"] == {"type": "Manual", "next_scheduled_time": "0001-01-01T00:00:00.000Z"}
    path = f"/system/gc/{real['id']}/log"
    said = await busy.call("sysadmin", "GET", path)
    assert said.headers["content-type"] == "text/plain; charset=utf-8"
    assert "workers: 2" in said.text
    assert "2 blobs and 0 manifests eligible for deletion" in said.text
    assert said.text.count("delete blob from storage: sha256:") == 2


async def test_a_collection_ends_every_upload_that_was_abandoned(busy: World) -> None:
    """However many: a transaction has some of them, and the job goes on until none is left."""
    db = busy.content.db
    await busy.content.push_image("team/app", "v1")
    async with db.write() as tx:
        place = (await tx.execute(select(tables.repositories.c.id).limit(1))).scalar_one()
        row = {"repository_id": place, "principal": "user:alice", "algorithm": "sha256"}
        await tx.execute(insert(tables.uploads), [row | {"id": f"{n:036}"} for n in range(250)])
        await tx.execute(update(tables.uploads).values(updated_at=from_now(-86400 * 30)))
    found = await run(busy, "/system/gc")
    async with db.read() as tx:
        assert (await tx.execute(select(tables.uploads.c.id))).first() is None
    log = await busy.call("sysadmin", "GET", f"/system/gc/{found['id']}/log")
    assert "250 abandoned uploads" in log.text


async def test_untagged_artifacts_go_when_asked(busy: World) -> None:
    content = busy.content
    await content.push_image("team/app", "v1", layers=[b"one"])
    await content.push_image("team/app", "v1", layers=[b"two"])  # the first is untagged now
    async with content.db.write() as tx:
        await tx.execute(update(tables.manifests).values(pushed_at=from_now(-7300)))
        await tx.execute(update(tables.repository_blobs).values(lease_until=from_now(-1)))
    left = json.loads((await run(busy, "/system/gc"))["job_parameters"])
    assert (left["purged_manifests"], left["purged_blobs"]) == (0, 0)
    told = json.loads((await run(busy, "/system/gc", delete_untagged=True))["job_parameters"])
    assert (told["purged_manifests"], told["purged_blobs"]) == (1, 1)
    await content.pulls.manifest("team/app", "v1")


async def test_history_lists_the_newest_first(busy: World) -> None:
    made = [(await run(busy, "/system/gc", dry_run=True))["id"] for _ in range(3)]
    page = await busy.call("sysadmin", "GET", "/system/gc", params={"page_size": 2})
    assert [each["id"] for each in page.json()] == made[:0:-1]
    assert page.headers["x-total-count"] == "3"
    assert 'rel="next"' in page.headers["link"]
    await run(busy, "/system/purgeaudit", **purge(24))
    assert (await busy.call("sysadmin", "GET", "/system/gc")).headers["x-total-count"] == "3"


def purge(hours: int, types: str = "create_artifact,other", **more: Any) -> dict[str, Any]:
    return {"audit_retention_hour": hours, "include_event_types": types, **more}


async def test_a_purge_takes_the_old_rows_of_the_named_types(busy: World) -> None:
    rows = [
        {"occurred_at": "-50", "operation": "create", "resource_type": "artifact"},
        {"occurred_at": "-10", "operation": "create", "resource_type": "artifact"},
        {"occurred_at": "-50", "operation": "delete", "resource_type": "artifact"},
        {"occurred_at": "-50", "operation": "update", "resource_type": "robot"},
    ]
    async with busy.content.db.write() as tx:
        for number, each in enumerate(rows):
            at = from_now(float(each.pop("occurred_at")) * 3600)
            row = {"username": "u", "resource": str(number), **each}
            await tx.execute(insert(tables.audit_log).values(occurred_at=at, **row))
    for dry in (True, False):
        done = await run(busy, "/system/purgeaudit", **purge(24, dry_run=dry))
        assert done["job_status"] == "Success"
        log = await busy.call("sysadmin", "GET", f"/system/purgeaudit/{done['id']}/log")
        assert "2 rows are older than 24 hours" in log.text
        left = await busy.call("sysadmin", "GET", "/auditlog-exts")
        kept = {each["resource"] for each in left.json()}
        assert kept == ({"0", "1", "2", "3"} if dry else {"1", "2"})


@pytest.mark.parametrize(
    ("path", "parameters"),
    [
        ("/system/gc", {"workers": 0}),
        ("/system/gc", {"workers": 11}),
        ("/system/gc", {"workers": "many"}),
        ("/system/gc", {"dry_run": "yes"}),
        ("/system/purgeaudit", {}),
        ("/system/purgeaudit", {"audit_retention_hour": 24}),
        ("/system/purgeaudit", purge(-1)),
        ("/system/purgeaudit", purge(240001)),
        ("/system/purgeaudit", purge(24, "make_coffee")),
    ],
)
async def test_what_cannot_be_asked_for_is_refused(
    world: World, path: str, parameters: dict[str, Any]
) -> None:
    body = {"schedule": {"type": "Manual"}, "parameters": parameters}
    answer = await world.call("sysadmin", "POST", f"{path}/schedule", json=body)
    assert answer.status_code == 400, answer.text
    assert (await world.call("sysadmin", "GET", path)).json() == []


async def test_a_schedule_is_set_changed_and_removed(world: World) -> None:
    path = "/system/gc/schedule"
    assert (await world.call("sysadmin", "GET", path)).json().get("schedule") is None
    hourly = {"schedule": {"type": "Hourly"}, "parameters": {"workers": 3}}
    assert (await world.call("sysadmin", "POST", path, json=hourly)).status_code == 201
    found = (await world.call("sysadmin", "GET", path)).json()
    assert found["schedule"]["type"] == "Hourly"
    assert found["schedule"]["cron"] == "0 0 * * * *"
    assert found["schedule"]["next_scheduled_time"].endswith(":00:00.000Z")
    assert json.loads(found["job_parameters"])["workers"] == 3
    custom = {"schedule": {"type": "Custom", "cron": "0  30 2 * * ?"}}
    assert (await world.call("sysadmin", "PUT", path, json=custom)).status_code == 200
    assert (await world.call("sysadmin", "GET", path)).json()["schedule"]["cron"] == "0 30 2 * * ?"
    (listed,) = (await world.call("sysadmin", "GET", "/schedules")).json()
    assert (listed["vendor_type"], listed["cron"]) == (GC, "0 30 2 * * ?")
    for bad in ("* * * * * *", "0 0 2 * *", "0 0 25 * * *", "nonsense", ""):
        body = {"schedule": {"type": "Custom", "cron": bad}}
        assert (await world.call("sysadmin", "PUT", path, json=body)).status_code == 400, bad
    never = {"schedule": {"type": "None"}}
    assert (await world.call("sysadmin", "PUT", path, json=never)).status_code == 200
    assert (await world.call("sysadmin", "GET", "/schedules")).json() == []


async def test_a_schedule_that_is_due_makes_a_run_with_its_parameters(world: World) -> None:
    db = world.content.db
    body = {"schedule": {"type": "Daily"}, "parameters": {"dry_run": True}}
    await world.call("sysadmin", "POST", "/system/gc/schedule", json=body)
    async with db.write() as tx:
        await tx.execute(update(tables.schedules).values(next_at=from_now(-3 * 86400)))
    ticker = Ticker(db, {GC: single(GC)})
    assert [await ticker.tick(), await ticker.tick()] == [1, 0]  # missed ones come once
    async with working(worker(db, *jobs(world))):
        await ended(db, 1)
    (run_,) = (await world.call("sysadmin", "GET", "/system/gc")).json()
    assert (run_["job_kind"], run_["job_status"]) == ("SCHEDULE", "Success")
    assert json.loads(run_["job_parameters"])["dry_run"] is True


async def test_only_one_collection_at_a_time(world: World) -> None:
    body = {"schedule": {"type": "Manual"}}
    first = await world.call("sysadmin", "POST", "/system/gc/schedule", json=body)
    again = await world.call("sysadmin", "POST", "/system/gc/schedule", json=body)
    assert (first.status_code, again.status_code) == (201, 409)
    number = first.headers["location"].rpartition("/")[2]
    assert (await world.call("sysadmin", "PUT", f"/system/gc/{number}")).status_code == 200
    found = (await world.call("sysadmin", "GET", f"/system/gc/{number}")).json()
    assert found["job_status"] == "Stopped"
    again = await world.call("sysadmin", "PUT", f"/system/gc/{number}")
    assert again.status_code == 200  # it has ended, as was asked for
    third = await world.call("sysadmin", "POST", "/system/gc/schedule", json=body)
    assert third.status_code == 201


async def test_runs_of_one_kind_are_not_those_of_another(world: World) -> None:
    body = {"schedule": {"type": "Manual"}, "parameters": purge(1)}
    await world.call("sysadmin", "POST", "/system/purgeaudit/schedule", json=body)
    for method, path in (("GET", ""), ("PUT", ""), ("GET", "/log")):
        answer = await world.call("sysadmin", method, f"/system/gc/1{path}")
        assert answer.status_code == 404
    assert (await world.call("sysadmin", "GET", "/system/purgeaudit/1")).status_code == 200


async def _telling(world: World, path: str) -> dict[str, Any]:
    """The one job that runs, once what it said is written."""
    async with asyncio.timeout(60):
        while True:
            (doing,) = (await world.call("sysadmin", "GET", path)).json()
            if doing.get("check_in"):
                return dict(doing)
            await asyncio.sleep(0.05)


async def test_the_dashboard_shows_pools_workers_and_queues(world: World) -> None:
    began = asyncio.Event()

    async def long(context: Context) -> None:
        context.tell("half way")
        context.log("here I am")
        began.set()
        while True:
            await context.sleep(1)

    db = world.content.db
    one = worker(db, Kind(GC, long), slots=3)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("moorage.jobs.worker.LOOK", 0.1)
        async with working(one):
            body = {"schedule": {"type": "Manual"}}
            await world.call("sysadmin", "POST", "/system/gc/schedule", json=body)
            await asyncio.wait_for(began.wait(), 60)
            (pool,) = (await world.call("sysadmin", "GET", "/jobservice/pools")).json()
            assert (pool["worker_pool_id"], pool["concurrency"]) == (one.id, 3)
            for pool_id in (one.id, "all"):
                doing = await _telling(world, f"/jobservice/pools/{pool_id}/workers")
                assert (doing["job_name"], doing["check_in"]) == (GC, "half way")
            nobody = await world.call("sysadmin", "GET", "/jobservice/pools/x/workers")
            assert nobody.json() == []
            log = await world.call("sysadmin", "GET", f"/jobservice/jobs/{doing['job_id']}/log")
            assert "here I am" in log.text
            answer = await world.call("sysadmin", "PUT", f"/jobservice/jobs/{doing['job_id']}")
            assert answer.status_code == 200
            assert (await ended(db, 1)).status == "Stopped"


async def test_queues_are_those_that_clients_know(world: World) -> None:
    queues = (await world.call("sysadmin", "GET", "/jobservice/queues")).json()
    assert [each["job_type"] for each in queues] == list(QUEUES)
    assert len(queues) == 13
    assert all(each.keys() == {"job_type", "paused"} for each in queues)  # idle ones say no more


async def test_queues_are_paused_resumed_and_stopped(world: World) -> None:
    async def act(kind: str, action: str) -> None:
        body = {"action": action}
        answer = await world.call("sysadmin", "PUT", f"/jobservice/queues/{kind}", json=body)
        assert answer.status_code == 200

    async def paused() -> set[str]:
        queues = (await world.call("sysadmin", "GET", "/jobservice/queues")).json()
        return {each["job_type"] for each in queues if each["paused"]}

    await act(GC, "pause")
    assert await paused() == {GC}
    await world.call(
        "sysadmin", "POST", "/system/gc/schedule", json={"schedule": {"type": "Manual"}}
    )
    waiting = (await world.call("sysadmin", "GET", "/jobservice/queues")).json()
    assert next(each["count"] for each in waiting if each["job_type"] == GC) == 1
    await act("unknown", "stop")
    await act(GC, "stop")
    assert (await world.call("sysadmin", "GET", "/system/gc/1")).json()["job_status"] == "Stopped"
    await act("all", "pause")
    assert await paused() == set(QUEUES)
    status = await world.call("guest", "GET", "/schedules/all/paused")
    assert status.json() == {"paused": True}
    await act("scheduler", "resume")
    assert (await world.call("guest", "GET", "/schedules/all/paused")).json() == {"paused": False}
    await act("all", "resume")
    assert await paused() == set()
    body = {"action": "explode"}
    refused = await world.call("sysadmin", "PUT", "/jobservice/queues/all", json=body)
    assert refused.status_code == 422


async def test_a_paused_scheduler_fires_nothing(world: World) -> None:
    db = world.content.db
    await world.call("sysadmin", "PUT", "/jobservice/queues/SCHEDULER", json={"action": "pause"})
    body = {"schedule": {"type": "Daily"}}
    await world.call("sysadmin", "POST", "/system/gc/schedule", json=body)
    async with db.write() as tx:
        await tx.execute(update(tables.schedules).values(next_at=from_now(-60)))
    ticker = Ticker(db, {GC: single(GC)})
    assert await ticker.tick() == 0
    await world.call("sysadmin", "PUT", "/jobservice/queues/SCHEDULER", json={"action": "resume"})
    assert await ticker.tick() == 1


async def test_the_pause_of_one_type_cannot_be_asked_for(world: World) -> None:
    assert (await world.call("guest", "GET", f"/schedules/{GC}/paused")).status_code == 400


@pytest.mark.parametrize("job_id", ["x", "99999", "-1", "9" * 30])
async def test_unknown_jobs(world: World, job_id: str) -> None:
    """Stopping one does nothing, as in Harbor; its log is not found."""
    path = f"/jobservice/jobs/{job_id}"
    assert (await world.call("sysadmin", "PUT", path)).status_code == 200
    assert (await world.call("sysadmin", "GET", f"{path}/log")).status_code == 404


async def test_who_asked_for_what_is_in_the_audit_log(world: World) -> None:
    """Starts, stops, pauses and schedules; what did not happen is not told."""
    manual, never = {"schedule": {"type": "Manual"}}, {"schedule": {"type": "None"}}
    daily = {"schedule": {"type": "Daily"}}
    asked: list[tuple[str, str, Any]] = [
        ("POST", "/system/gc/schedule", manual),
        ("PUT", "/system/gc/1", None),
        ("PUT", "/system/gc/schedule", daily),
        ("PUT", "/system/gc/schedule", never),
        ("PUT", "/system/gc/schedule", never),
        ("PUT", f"/jobservice/queues/{GC}", {"action": "pause"}),
        ("PUT", "/jobservice/jobs/99999", None),
        ("PUT", "/jobservice/jobs/all", None),
    ]
    for method, path, body in asked:
        answer = await world.call("sysadmin", method, path, json=body)
        assert answer.is_success, path
    hear = Recorder(world.configurations).hear
    kinds = (JobStarted, JobStopped, QueueChanged, ScheduleUpdated, ScheduleDeleted)
    await Outbox(world.content.db, {kind: [hear] for kind in kinds}).dispatch()
    rows = (await world.call("sysadmin", "GET", "/auditlog-exts", params={"sort": "id"})).json()
    told = [(each["operation"], each["resource_type"], each["resource"]) for each in rows]
    assert told == [
        ("create", "job", f"{GC} 1"),
        ("stop", "job", f"{GC} 1"),
        ("update", "schedule", GC),
        ("delete", "schedule", GC),
        ("update", "job_queue", GC),
        ("stop", "job", "all"),
    ]
    assert {each["username"] for each in rows} == {"sysadmin"}
