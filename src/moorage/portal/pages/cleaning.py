"""Clean-up: garbage collection, and purges of the audit log; now, by schedule, with their logs."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from starlette.responses import RedirectResponse, Response

from moorage.portal import parts
from moorage.portal.client import Problem
from moorage.portal.i18n import N_
from moorage.portal.parts import (
    Cell,
    Choice,
    Column,
    Crumb,
    Document,
    Field,
    Form,
    Item,
    Row,
    Stat,
    Tab,
    Table,
)
from moorage.portal.rendering import filesize
from moorage.portal.shapes.jobs import History
from moorage.portal.shapes.shape import Shape
from moorage.portal.visits import Visit

BASE = "/harbor/clearing-job"
SCHEDULES = {
    "None": N_("never by itself"),
    "Hourly": N_("every hour"),
    "Daily": N_("every day"),
    "Weekly": N_("every week"),
    "Custom": N_("at other times"),
}
SAME = {"Schedule": "Custom"}
"""Other words of the API for a type of schedule."""
OUTCOMES = frozenset(
    {
        "purged_manifests",
        "purged_blobs",
        "freed_space",
        "deleted_objects",
        "deleted_space",
        "purged",
    }
)
"""What a run says of itself, beside what it was begun with."""
UNITS = {"days": (24, N_("days")), "hours": (1, N_("hours"))}
"""In which the age of entries is said: hours of each."""


class EventType(Shape):
    """A type of events in the audit log."""

    event_type: str = ""


@dataclass(frozen=True)
class Kind:
    """One sort of clean-up."""

    end: str
    api: str
    title: str
    run: str
    note: str


GC = Kind(
    "gc",
    "/system/gc",
    N_("Garbage collection"),
    N_("Collect now"),
    N_("Collections run by themselves all the time; this one also does what is ticked here."),
)
PURGE = Kind(
    "audit-log-purge",
    "/system/purgeaudit",
    N_("Purge of the audit log"),
    N_("Purge now"),
    N_("Entries that are older than this are deleted."),
)


async def first(visit: Visit) -> Response:
    """Garbage collection comes first."""
    return RedirectResponse(f"{BASE}/gc", 303)


async def gc(visit: Visit) -> Response:
    """Garbage collection."""
    return await _page(visit, GC)


async def purge(visit: Visit) -> Response:
    """Purges of the audit log."""
    return await _page(visit, PURGE)


async def _page(visit: Visit, kind: Kind) -> Response:
    _ = visit.gettext
    view = visit.view("run")
    found, schedule = await asyncio.gather(
        visit.page(History, kind.api, view, sort=""), visit.get(History, f"{kind.api}/schedule")
    )
    sections: list[object] = []
    run = view.kept.get("run", "")
    if run.isdigit():
        text = await visit.text(f"{kind.api}/{run}/log")
        title = _("Log of run %(id)s", id=run)
        sections.append(Document(title, text, empty=_("Nothing was logged yet.")))
    rows = []
    for each in found.items:
        menu = []
        if each.job_status in ("Running", "Pending"):
            menu = [Item(_("Stop"), op="stop", values={"id": str(each.id)})]
        cells = [
            parts.link(f"#{each.id}", f"{visit.path}?run={each.id}"),
            parts.state(each.job_status),
            parts.text(each.job_kind.lower()),
            parts.text(_details(each.job_parameters)),
            outcome(visit, each.job_parameters),
            parts.time(each.creation_time),
            parts.time(each.update_time),
        ]
        rows.append(Row(cells, str(each.id), str(each.id), menu))
    columns = [
        Column(_("Id")),
        Column(_("State")),
        Column(_("Trigger")),
        Column(_("With")),
        Column(_("Freed") if kind is GC else _("Deleted entries")),
        Column(_("Begun")),
        Column(_("Changed")),
    ]
    nothing = _("It never ran")
    sections.append(Table(_("Runs"), columns, rows, found.total, view, nothing, icon="trash-2"))
    when = schedule.schedule
    said = _(SCHEDULES.get(_type(schedule), when.type))
    return await visit.render(
        "page.html",
        title=_("Clean-up"),
        glyph="trash-2",
        crumbs=[Crumb(_("Clean-up"))],
        tabs=[Tab(_(each.title), f"{BASE}/{each.end}", each is kind) for each in (GC, PURGE)],
        actions=[
            Item(_("Schedule"), f"{visit.path}?do=schedule", icon="clock"),
            Item(_(kind.run), f"{visit.path}?do=run", icon="trash-2"),
        ],
        form=await _form(visit, kind, schedule),
        stats=[Stat(_("Runs"), said, when.cron)],
        live=view.url(live="1"),
        sections=sections,
    )


def _type(schedule: History) -> str:
    """How it recurs, as the form says it."""
    said = schedule.schedule.type or "None"
    return SAME.get(said, said)


def _read(parameters: str) -> Mapping[str, Any]:
    """What a run or a schedule was given."""
    try:
        found = json.loads(parameters or "{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _details(parameters: str) -> str:
    """With what a run was begun."""
    return ", ".join(
        name.replace("_", " ") if value is True else f"{name.replace('_', ' ')}: {value}"
        for name, value in sorted(_read(parameters).items())
        if isinstance(value, bool | int | str) and value not in (False, "", 0)
        if name not in OUTCOMES
    )[:300]


def outcome(visit: Visit, parameters: str) -> Cell:
    """What a run did, or a dry one would do; nothing of one that has not told it yet."""
    _, told = visit.gettext, _read(parameters)
    said = {
        name: value for name, value in told.items() if name in OUTCOMES and isinstance(value, int)
    }
    if "purged" in said:
        return parts.number(said["purged"])
    if "freed_space" not in said:
        return parts.text("")
    dry = told.get("dry_run") is True
    size = filesize(said["freed_space"] if dry else said.get("deleted_space", 0))
    if dry:
        return parts.text(size, _("would go"))
    blobs = said.get("purged_blobs", 0)
    note = visit.ngettext("%(count)s blob collected", "%(count)s blobs collected", blobs)
    return parts.text(size, note)


async def _form(visit: Visit, kind: Kind, schedule: History) -> Form | None:
    _ = visit.gettext
    do = visit.query.get("do")
    if do not in ("run", "schedule"):
        return None
    fields: list[Field] = []
    if do == "schedule":
        choices = [Choice(name, _(text)) for name, text in SCHEDULES.items()]
        fields += [
            Field("type", _("When"), "select", _type(schedule), choices=choices),
            Field(
                "cron",
                _("Other times"),
                value=schedule.schedule.cron,
                help=_("Six fields, seconds first, in UTC: 0 30 2 * * *"),
            ),
        ]
    stored = _read(schedule.job_parameters) if do == "schedule" else {}
    fields += await _options(visit, kind, stored)
    title = _("Schedule") if do == "schedule" else _(kind.run)
    submit = _("Save") if do == "schedule" else _(kind.run)
    return Form(do, title, fields, submit, _(kind.note), cancel=visit.path)


async def _options(visit: Visit, kind: Kind, stored: Mapping[str, Any]) -> Sequence[Field]:
    """What can be asked for, as it is asked for now."""
    _ = visit.gettext
    dry = Field("dry_run", _("Only count, delete nothing"), "checkbox", stored.get("dry_run"))
    if kind is GC:
        untagged = _("Delete untagged artifacts")
        return [
            Field("delete_untagged", untagged, "checkbox", stored.get("delete_untagged")),
            Field(
                "empty_trash",
                _("Empty the trash"),
                "checkbox",
                stored.get("empty_trash"),
                help=_("What is in it can then no longer be restored."),
            ),
            Field("workers", _("Workers"), "number", stored.get("workers", 1), required=True),
            dry,
        ]
    types = (await visit.all(EventType, "/auditlog-exts/events")).items
    names = [*(each.event_type for each in types), "other"]
    chosen = str(stored.get("include_event_types", ",".join(names))).split(",")
    hours = int(stored.get("audit_retention_hour", 90 * 24))
    unit = next(name for name, (length, _label) in UNITS.items() if hours % length == 0)
    units = [Choice(name, _(label)) for name, (_length, label) in UNITS.items()]
    stay, age = _("Entries stay for"), hours // UNITS[unit][0]
    return [
        Field("age", stay, "number", age, required=True),
        Field("unit", _("Unit"), "select", unit, choices=units, beside=True),
        Field("types", _("Types"), "checks", chosen, choices=[Choice(n, n) for n in names]),
        dry,
    ]


async def change_gc(visit: Visit) -> Response:
    """Collect now, set when, or stop."""
    names = ("delete_untagged", "empty_trash", "dry_run")
    parameters: dict[str, Any] = {name: visit.checked(name) for name in names}
    return await _change(visit, GC, parameters | {"workers": visit.integer("workers", 1)})


async def change_purge(visit: Visit) -> Response:
    """Purge now, set when, or stop."""
    length, _label = UNITS.get(visit.field("unit"), UNITS["days"])
    if visit.field("op") != "stop" and not visit.field("age"):
        raise Problem(400, "BAD_REQUEST", visit.gettext("Say how long entries stay."))
    parameters = {
        "audit_retention_hour": visit.integer("age") * length,
        "include_event_types": ",".join(visit.fields("types")),
        "dry_run": visit.checked("dry_run"),
    }
    return await _change(visit, PURGE, parameters)


async def _change(visit: Visit, kind: Kind, parameters: dict[str, Any]) -> Response:
    _ = visit.gettext
    op, api = visit.field("op"), f"{kind.api}/schedule"
    if op == "stop":
        await visit.send("PUT", f"{kind.api}/{visit.integer('id')}")
        return visit.done(visit.path, _("It stops."))
    if op == "run":
        body = {"schedule": {"type": "Manual"}, "parameters": parameters}
        answer = await visit.send("POST", api, body)
        run = answer.headers.get("location", "").rpartition("/")[2]
        return visit.done(f"{visit.path}?run={run}" if run.isdigit() else visit.path, _("It runs."))
    if op == "schedule":
        when = {"type": visit.field("type"), "cron": visit.field("cron")}
        if when["type"] != "Custom":
            when["cron"] = ""
        await visit.send("PUT", api, {"schedule": when, "parameters": parameters})
        return visit.done(visit.path, _("Saved."))
    raise Problem(400, "BAD_REQUEST", _("That is not known here."))


ROUTES = (
    (BASE, first, None),
    (BASE + "/gc", gc, change_gc),
    (BASE + "/audit-log-purge", purge, change_purge),
)
