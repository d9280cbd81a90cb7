"""Runs of replication rules, and their tasks with what they moved."""

import asyncio
import re
from collections.abc import Mapping, Sequence

from starlette.responses import Response

from moorage.portal import parts
from moorage.portal.client import Listing, Problem
from moorage.portal.i18n import N_
from moorage.portal.parts import (
    Cell,
    Choice,
    Column,
    Crumb,
    Document,
    Filter,
    Item,
    Row,
    Stat,
    Table,
    View,
)
from moorage.portal.rendering import filesize, moment, thousands
from moorage.portal.shapes.replication import Replication, ReplicationRun, ReplicationTask
from moorage.portal.visits import Visit

BASE = "/harbor/replications"
STATES = {"InProgress": "Running", "Succeed": "Success", "Failed": "Error"}
"""Harbor's words for states of replication, as those of all other jobs."""
TRIGGERS = {
    "manual": N_("by hand"),
    "scheduled": N_("by schedule"),
    "event_based": N_("by an event"),
}
FILTERED = (
    ("", N_("All")),
    ("InProgress", N_("Running")),
    ("Succeed", N_("Done")),
    ("Failed", N_("Failed")),
    ("Stopped", N_("Stopped")),
)
_PROGRESS = re.compile(r"(\d{1,18}) of (\d{1,18}) bytes")


def _by_state(visit: Visit, view: View) -> Filter:
    choices = [Choice(value, visit.gettext(text)) for value, text in FILTERED]
    return Filter("status", visit.gettext("State"), view.kept.get("status", ""), choices)


def _rate(run: ReplicationRun) -> str:
    return f"{100 * run.succeed // run.total} %" if run.total else ""


async def runs(
    visit: Visit,
    view: View,
    names: Mapping[int, str],
    *,
    policy: int | None = None,
    caption: str,
    paged: bool = True,
) -> Table:
    """Runs of one rule, or the latest of all."""
    _ = visit.gettext
    found = await visit.page(
        ReplicationRun,
        "/replication/executions",
        view,
        sort="",
        policy_id=policy,
        status=view.kept.get("status", ""),
    )
    columns = [Column(_("Id"))]
    if policy is None:
        columns.append(Column(_("Rule")))
    columns += [
        Column(_("State")),
        Column(_("Success"), right=True),
        Column(_("Tasks"), right=True),
        Column(_("Trigger")),
        Column(_("Begun")),
        Column(_("Ended")),
    ]
    rows = []
    for each in found.items:
        cells = [parts.link(f"#{each.id}", f"{BASE}/{each.id}/tasks")]
        if policy is None:
            name = names.get(each.policy_id, f"#{each.policy_id}")
            cells.append(parts.link(name, f"{BASE}/{each.policy_id}"))
        cells += [
            parts.state(STATES.get(each.status, each.status)),
            parts.text(_rate(each), each.status_text),
            parts.number(each.total),
            parts.text(_(TRIGGERS.get(each.trigger, each.trigger))),
            parts.time(each.start_time),
            parts.time(each.end_time) if each.end_time else parts.text(""),
        ]
        menu = []
        if each.status == "InProgress":
            menu = [Item(_("Stop"), BASE, op="stop", values={"run": str(each.id)})]
        rows.append(Row(cells, str(each.id), f"#{each.id}", menu))
    return Table(
        caption,
        columns,
        rows,
        found.total if paged else len(rows),
        view,
        _("It never ran"),
        icon="arrow-left-right",
        filters=[_by_state(visit, view)] if paged else (),
    )


async def tasks(visit: Visit) -> Response:
    """One run: every artifact of it, how far each is, and the log of one."""
    _ = visit.gettext
    number = int(visit.params["run"])
    api = f"/replication/executions/{number}"
    view = visit.view("status", "task")
    run, found = await asyncio.gather(
        visit.get(ReplicationRun, api),
        visit.page(
            ReplicationTask,
            f"{api}/tasks",
            view,
            status=view.kept.get("status", ""),
        ),
    )
    rule = await _rule(visit, run.policy_id)
    sections: list[object] = []
    task = view.kept.get("task", "")
    if task.isdigit():
        text = await visit.text(f"{api}/tasks/{task}/log")
        title = _("Log of task %(id)s", id=task)
        sections.append(Document(title, text, empty=_("Nothing was logged yet.")))
    sections.append(_table(visit, view, run, found))
    stop = Item(_("Stop"), op="stop", icon="circle-slash", danger=True)
    return await visit.render(
        "page.html",
        title=_("Run %(id)s", id=number),
        glyph="arrow-left-right",
        subtitle=run.status_text,
        crumbs=[
            Crumb(_("Replication"), BASE),
            Crumb(rule.name or f"#{run.policy_id}", f"{BASE}/{run.policy_id}"),
            Crumb(f"#{number}"),
        ],
        actions=[stop] if run.status == "InProgress" else [],
        stats=_stats(visit, run, found.items, whole=len(found.items) == run.total),
        live=view.url(live="1"),
        sections=sections,
    )


def _table(visit: Visit, view: View, run: ReplicationRun, found: Listing[ReplicationTask]) -> Table:
    _ = visit.gettext
    columns = [
        Column(_("Id")),
        Column(_("From")),
        Column(_("To")),
        Column(_("Did")),
        Column(_("State"), "status"),
        Column(_("Moved")),
        Column(_("Begun"), "start_time"),
        Column(_("Ended"), "end_time"),
    ]
    return Table(
        _("Tasks"),
        columns,
        [_row(visit, view, each) for each in found.items],
        found.total,
        View(view.path, view.page, view.size, view.sort, visit.chosen("status")),
        _("Nothing had to be copied") if run.end_time else _("It looks for what has to move"),
        icon="arrow-left-right",
        filters=[_by_state(visit, view)],
    )


async def _rule(visit: Visit, number: int) -> Replication:
    """The rule of a run; one that was deleted has no name."""
    try:
        return await visit.get(Replication, f"/replication/policies/{number}")
    except Problem as problem:
        if problem.status != 404:
            raise
        return Replication()


def _stats(
    visit: Visit, run: ReplicationRun, shown: Sequence[ReplicationTask], *, whole: bool
) -> list[Stat]:
    _ = visit.gettext
    states = {"InProgress": _("Running"), "Succeed": _("Done"), "Failed": _("Failed")}
    states["Stopped"] = _("Stopped")
    begun = _("begun %(time)s", time=moment(run.start_time))
    stats = [Stat(_("State"), states.get(run.status, run.status), begun)]
    done = _("%(count)s of %(total)s tasks", count=run.succeed, total=thousands(run.total))
    stats.append(Stat(_("Success"), _rate(run) or _("none"), done))
    failed = [(_("failed"), run.failed), (_("stopped"), run.stopped)]
    note = ", ".join(f"{count} {name}" for name, count in failed if count)
    stats.append(Stat(_("Still to do"), thousands(run.in_progress), note))
    if whole:
        stats.append(Stat(_("Moved"), filesize(sum(each.moved_bytes for each in shown))))
    return stats


def _row(visit: Visit, view: View, each: ReplicationTask) -> Row:
    _ = visit.gettext
    menu = [Item(_("Log"), view.url(task=each.id), icon="file-text")]
    if each.status in ("Failed", "Stopped"):
        values = {"task": str(each.id)}
        menu.append(Item(_("Try again"), op="retry", icon="rotate-cw", values=values))
    operation = {"copy": _("copied"), "delete": _("deleted")}
    return Row(
        [
            parts.link(f"#{each.id}", view.url(task=each.id)),
            parts.text(each.src_resource, each.resource_type),
            parts.text(each.dst_resource, each.message),
            parts.text(operation.get(each.operation, each.operation)),
            parts.state(STATES.get(each.status, each.status)),
            moved(each),
            parts.time(each.start_time),
            parts.time(each.end_time) if each.end_time else parts.text(""),
        ],
        str(each.id),
        f"#{each.id}",
        menu,
    )


def moved(each: ReplicationTask) -> Cell:
    """Bytes that went over the wire; while it runs, how many there are of those that will be."""
    told = _PROGRESS.match(each.progress)
    if each.status == "InProgress" and told is not None:
        return parts.progress(int(told[1]), int(told[2]))
    return parts.size(each.moved_bytes)


async def change(visit: Visit) -> Response:
    """Stop the run, or do a task of it again."""
    _ = visit.gettext
    op, api = visit.field("op"), f"/replication/executions/{visit.params['run']}"
    if op == "stop":
        await visit.send("PUT", api)
        return visit.done(visit.path, _("It stops."))
    if op == "retry":
        answer = await visit.send("POST", f"{api}/tasks/{visit.integer('task')}/retry")
        run = answer.headers.get("location", "").rpartition("/")[2]
        return visit.done(f"{BASE}/{run}/tasks", _("It runs."))
    raise Problem(400, "BAD_REQUEST", _("That is not known here."))


ROUTES = ((BASE + "/{run:int}/tasks", tasks, change),)
