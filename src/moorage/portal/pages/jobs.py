"""The job dashboard: what waits, what runs and where, what comes again; with live logs."""

import asyncio
from collections.abc import Sequence

from starlette.responses import RedirectResponse, Response

from moorage.portal import parts
from moorage.portal.client import Problem
from moorage.portal.parts import Column, Crumb, Document, Item, Row, Stat, Tab, Table
from moorage.portal.shapes.jobs import Paused, Pool, Queue, Scheduled, Worker
from moorage.portal.visits import Visit

BASE = "/harbor/job-service-dashboard"


async def first(visit: Visit) -> Response:
    """The queues come first."""
    return RedirectResponse(f"{BASE}/pending-jobs", 303)


async def _page(
    visit: Visit, current: str, actions: list[Item], stats: list[Stat], sections: list[object]
) -> Response:
    _ = visit.gettext
    tabs = [
        Tab(_("Queues"), f"{BASE}/pending-jobs", current == "pending-jobs"),
        Tab(_("Workers"), f"{BASE}/workers", current == "workers"),
        Tab(_("Schedules"), f"{BASE}/schedules", current == "schedules"),
    ]
    return await visit.render(
        "page.html",
        title=_("Jobs"),
        glyph="activity",
        crumbs=[Crumb(_("Jobs"))],
        tabs=tabs,
        actions=actions,
        stats=stats,
        live=visit.view("job").url(live="1"),
        sections=sections,
    )


async def queues(visit: Visit) -> Response:
    """What waits, by type."""
    _ = visit.gettext
    found = (await visit.all(Queue, "/jobservice/queues")).items
    rows = []
    for each in found:
        kind = {"type": each.job_type}
        pause = Item(_("Go on"), op="resume", values=kind)
        if not each.paused:
            pause = Item(_("Hold"), op="pause", values=kind)
        empty = Item(_("End all that wait"), op="stop", danger=True, values=kind)
        state = (_("held"), "amber") if each.paused else (_("open"), "signed")
        wait = visit.ngettext("%(count)s second", "%(count)s seconds", each.latency)
        cells = [
            parts.text(each.job_type),
            parts.number(each.count),
            parts.text(wait if each.count else ""),
            parts.chips(state),
        ]
        rows.append(Row(cells, each.job_type, each.job_type, [pause, empty]))
    columns = [
        Column(_("Type")),
        Column(_("Waiting"), right=True),
        Column(_("The oldest for")),
        Column(_("State")),
    ]
    view = parts.View(visit.path, size=100)
    table = Table(_("Queues"), columns, rows, len(rows), view, _("Nothing waits"), icon="activity")
    stats = [Stat(_("Waiting"), str(sum(each.count for each in found)))]
    return await _page(visit, "pending-jobs", [], stats, [table])


async def workers(visit: Visit) -> Response:
    """Who works, and on what."""
    _ = visit.gettext
    pools, running = await asyncio.gather(
        visit.all(Pool, "/jobservice/pools"), visit.all(Worker, "/jobservice/pools/all/workers")
    )
    sections: list[object] = [_doing(visit, running.items), _processes(visit, pools.items)]
    job = visit.query.get("job", "")
    if job.isdigit():
        text = await visit.text(f"/jobservice/jobs/{job}/log")
        empty = _("Nothing was logged yet.")
        sections.insert(0, Document(_("Log of job %(id)s", id=job), text, empty=empty))
    busy, slots = len(running.items), sum(each.concurrency for each in pools.items)
    part = busy / slots if slots else 0.0
    stats = [Stat(_("Busy"), f"{busy} / {slots}", _("jobs of what can run at a time"), part)]
    return await _page(visit, "workers", [], stats, sections)


def _doing(visit: Visit, running: Sequence[Worker]) -> Table:
    """What each worker is at."""
    _ = visit.gettext
    return Table(
        _("Running now"),
        [
            Column(_("Job")),
            Column(_("Type")),
            Column(_("Worker")),
            Column(_("Begun")),
            Column(_("Says")),
        ],
        [
            Row(
                [
                    parts.link(f"#{each.job_id}", f"{visit.path}?job={each.job_id}"),
                    parts.text(each.job_name),
                    parts.text(each.pool_id),
                    parts.time(each.start_at),
                    parts.text(each.check_in),
                ],
                each.job_id,
                each.job_id,
                [Item(_("Stop"), op="job", danger=True, values={"job": each.job_id})],
            )
            for each in running
        ],
        len(running),
        parts.View(visit.path, size=100),
        _("Nothing runs"),
        icon="activity",
    )


def _processes(visit: Visit, pools: Sequence[Pool]) -> Table:
    """Where the workers are."""
    _ = visit.gettext
    return Table(
        _("Processes"),
        [
            Column(_("Id")),
            Column(_("Host")),
            Column(_("Process"), right=True),
            Column(_("Jobs at a time"), right=True),
            Column(_("Begun")),
            Column(_("Last seen")),
        ],
        [
            Row(
                [
                    parts.text(each.worker_pool_id),
                    parts.text(each.host),
                    parts.text(each.pid),
                    parts.number(each.concurrency),
                    parts.time(each.start_at),
                    parts.time(each.heartbeat_at),
                ]
            )
            for each in pools
        ],
        len(pools),
        parts.View(visit.path, size=100),
        _("No process does jobs"),
        icon="server",
    )


async def schedules(visit: Visit) -> Response:
    """What comes again."""
    _ = visit.gettext
    view = visit.view()
    found, paused = await asyncio.gather(
        visit.page(Scheduled, "/schedules", view), visit.get(Paused, "/schedules/all/paused")
    )
    rows = [
        Row(
            [
                parts.text(each.vendor_type),
                parts.text(each.vendor_id or ""),
                parts.code(each.cron),
                parts.time(each.update_time),
            ]
        )
        for each in found.items
    ]
    columns = [
        Column(_("Type")),
        Column(_("Of")),
        Column(_("When")),
        Column(_("Changed")),
    ]
    nothing = _("Nothing is scheduled")
    table = Table(_("Schedules"), columns, rows, found.total, view, nothing, icon="clock")
    values = {"type": "scheduler"}
    action = Item(_("Hold all schedules"), op="pause", values=values)
    if paused.paused:
        action = Item(_("Let schedules go on"), op="resume", values=values)
    stats = [Stat(_("Schedules"), _("held") if paused.paused else _("running"))]
    return await _page(visit, "schedules", [action], stats, [table])


async def change(visit: Visit) -> Response:
    """Hold, let go on, or end."""
    op, _ = visit.field("op"), visit.gettext
    if op in ("pause", "resume", "stop"):
        kind = visit.field("type")
        if not kind.replace("_", "").isalnum():
            raise Problem(400, "BAD_REQUEST", _("That is not known here."))
        await visit.send("PUT", f"/jobservice/queues/{kind}", {"action": op})
    elif op == "job":
        await visit.send("PUT", f"/jobservice/jobs/{visit.integer('job')}")
    else:
        raise Problem(400, "BAD_REQUEST", _("That is not known here."))
    return visit.done(visit.path, _("Done."))


ROUTES = (
    (BASE, first, None),
    (BASE + "/pending-jobs", queues, change),
    (BASE + "/workers", workers, change),
    (BASE + "/schedules", schedules, change),
)
