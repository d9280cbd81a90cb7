"""Retention of a project: its rules, a preview of what they keep, and their runs.

…/tag-strategy/tag-retention
"""

import asyncio
from collections.abc import Sequence
from typing import Any

from starlette.responses import Response

from moorage.portal import parts
from moorage.portal.client import Problem
from moorage.portal.i18n import N_
from moorage.portal.pages.rules import (
    TEMPLATES,
    head_of,
    patterns,
    places_of,
    rule_fields,
    rule_of,
)
from moorage.portal.parts import Choice, Column, Field, Form, Item, Row, Table
from moorage.portal.scope import PROJECTS, Scope, scope
from moorage.portal.shapes.jobs import Execution, Task
from moorage.portal.shapes.rules import Previewed, Retention
from moorage.portal.visits import Visit

SCHEDULES = {
    "": N_("never by itself"),
    "0 0 * * * *": N_("every hour"),
    "0 0 0 * * *": N_("every day"),
    "0 0 0 * * 0": N_("every week"),
}


async def _policy(visit: Visit, here: Scope) -> Retention:
    number = here.project.metadata.get("retention_id", "")
    return await visit.get(Retention, f"/retentions/{number}") if number.isdigit() else Retention()


async def retention(visit: Visit) -> Response:
    """What is kept, what would go, and what went."""
    here = await scope(visit)
    policy = await _policy(visit, here)
    _ = visit.gettext
    view = visit.view("execution")
    above, below = [], []
    if visit.query.get("do") == "preview" and policy.rules:
        above.append(_preview(visit, here, policy))
        view = parts.View(visit.path, kept=view.kept)  # the other pages are the preview's
    execution = view.kept.get("execution", "")
    if policy.id and execution.isdigit():
        below.append(_tasks(visit, policy, execution))
    if policy.id:
        below.append(_runs(visit, policy, view))
    found = await asyncio.gather(*above, *below)
    sections = [*found[: len(above)], _rules(visit, policy, view), *found[len(above) :]]
    actions = []
    if here.may("tag-retention", "operate") and policy.rules:
        actions += [
            Item(_("Preview"), f"{visit.path}?do=preview", icon="search"),
            Item(_("Try without deleting"), op="dry", icon="circle-dashed"),
            Item(_("Apply now"), f"{visit.path}?do=run", icon="trash-2"),
        ]
    if here.may("tag-retention", "update"):
        actions += [
            Item(_("Schedule"), f"{visit.path}?do=schedule", icon="clock"),
            Item(_("New rule"), f"{visit.path}?do=new", icon="plus"),
        ]
    return await visit.render(
        "page.html",
        **head_of(visit, here, "tag-retention"),
        actions=actions,
        form=_retention_form(visit, policy),
        live=view.url(live="1") if policy.id and visit.query.get("do") != "preview" else "",
        sections=sections,
    )


def _rules(visit: Visit, policy: Retention, view: parts.View) -> Table:
    _ = visit.gettext
    rows = []
    for each in policy.rules:
        count = each.params.get(each.template, "")
        values = {"rule": str(each.id)}
        menu = [
            Item(_("Enable") if each.disabled else _("Disable"), op="switch", values=values),
            Item(_("Delete"), op="delete", icon="trash-2", danger=True, values=values),
        ]
        state = (_("Disabled"), "amber") if each.disabled else (_("Enabled"), "signed")
        cells = [
            parts.text(places_of(each)),
            parts.text(patterns(each.tag_selectors, "excludes")),
            parts.text(_(TEMPLATES.get(each.template, each.template)), count),
            parts.chips(state),
        ]
        rows.append(Row(cells, str(each.id), places_of(each), menu))
    return Table(
        _("Rules"),
        [Column(_("Repositories")), Column(_("Tags")), Column(_("Keep")), Column(_("State"))],
        rows,
        len(rows),
        parts.View(view.path, size=max(1, len(rows))),
        _("No rules: everything is kept"),
        _("What no rule keeps goes to the trash when the rules are applied."),
        "clock",
    )


def _retention_form(visit: Visit, policy: Retention) -> Form | None:
    _ = visit.gettext
    do = visit.query.get("do")
    if do == "new":
        fields = rule_fields(visit, retention=True)
        return Form("create", _("New rule"), fields, _("Create"), cancel=visit.path)
    if do == "run" and policy.rules:
        title, note = _("Apply the rules now?"), _("What no rule keeps goes to the trash.")
        return Form("run", title, (), _("Apply"), note, True, visit.path)
    if do == "schedule":
        cron = str(policy.trigger.settings.get("cron", ""))
        known = [Choice(each, _(text)) for each, text in SCHEDULES.items()]
        known.append(Choice("custom", _("at other times")))
        fields = [
            Field(
                "when",
                _("Apply the rules"),
                "select",
                cron if cron in SCHEDULES else "custom",
                choices=known,
            ),
            Field(
                "cron",
                _("Other times"),
                value=cron,
                help=_("Six fields, seconds first, in UTC: 0 30 2 * * *"),
            ),
        ]
        return Form("schedule", _("Schedule"), fields, _("Save"), cancel=visit.path)
    return None


def _body(here: Scope, policy: Retention, rules: Sequence[Any], cron: str) -> dict[str, Any]:
    return {
        "id": policy.id,
        "algorithm": "or",
        "rules": list(rules),
        "trigger": {"kind": "Schedule", "settings": {"cron": cron}},
        "scope": {"level": "project", "ref": here.project.project_id},
    }


async def change_retention(visit: Visit) -> Response:
    """Change the rules, apply them, or stop that."""
    here = await scope(visit)
    policy = await _policy(visit, here)
    op = visit.field("op")
    rules: list[Any] = [each.model_dump() for each in policy.rules]
    cron = str(policy.trigger.settings.get("cron", ""))
    _ = visit.gettext
    if op in ("dry", "run"):
        api = f"/retentions/{policy.id}/executions"
        answer = await visit.send("POST", api, {"dry_run": op == "dry"})
        execution = answer.headers.get("location", "").rpartition("/")[2]
        return visit.done(f"{visit.path}?execution={execution}", _("It runs."))
    if op == "stop":
        path = f"/retentions/{policy.id}/executions/{visit.integer('id')}"
        await visit.send("PATCH", path, {"action": "stop"})
        return visit.done(visit.path, _("It stops."))
    if op == "create":
        rules.append(rule_of(visit, retention=True))
    elif op in ("switch", "delete"):
        number = visit.integer("rule", -1)
        if not 0 <= number < len(rules):
            raise Problem(404, "NOT_FOUND", _("That rule is gone."))
        if op == "delete":
            del rules[number]
        else:
            rules[number]["disabled"] = not rules[number]["disabled"]
    elif op == "schedule":
        cron = visit.field("cron") if visit.field("when") == "custom" else visit.raw("when")
    else:
        raise Problem(400, "BAD_REQUEST", _("That is not known here."))
    method, path = ("PUT", f"/retentions/{policy.id}") if policy.id else ("POST", "/retentions")
    await visit.send(method, path, _body(here, policy, rules, cron))
    return visit.done(visit.path, _("Saved."))


async def _preview(visit: Visit, here: Scope, policy: Retention) -> Table:
    """What the rules would keep now; asking changes nothing, so it is no form."""
    _ = visit.gettext
    view = visit.view()
    view = parts.View(visit.path, view.page, view.size, "", {"do": "preview"})
    body = _body(here, policy, [each.model_dump() for each in policy.rules], "")
    shell = await visit.shell()
    found = await visit.preview(Previewed, "/retentions/preview", body, view, shell.csrf)
    reasons = {
        "rule": _("a rule keeps it"),
        "immutable": _("an immutable tag"),
        "index": _("part of an index"),
        "accessory": _("attached to another"),
    }
    rows = [
        Row(
            [
                parts.text(each.repository),
                parts.code(each.digest),
                parts.chips(*((tag, "tagchip") for tag in each.tags[:6])),
                parts.time(each.push_time),
                parts.time(each.pull_time),
                parts.chips((_("stays"), "signed") if each.retained else (_("goes"), "red")),
                parts.text(reasons.get(each.reason, each.reason)),
            ]
        )
        for each in found.items
    ]
    return Table(
        _("Preview"),
        [
            Column(_("Repository")),
            Column(_("Digest")),
            Column(_("Tags")),
            Column(_("Pushed")),
            Column(_("Last pull")),
            Column(_("Outcome")),
            Column(_("Because")),
        ],
        rows,
        found.total,
        view,
        _("There is nothing to keep or to delete"),
        icon="search",
    )


async def _runs(visit: Visit, policy: Retention, view: parts.View) -> Table:
    _ = visit.gettext
    found = await visit.page(Execution, f"/retentions/{policy.id}/executions", view, sort="")
    rows = []
    for each in found.items:
        menu = []
        if each.status in ("Running", "Pending"):
            menu = [Item(_("Stop"), op="stop", values={"id": str(each.id)})]
        cells = [
            parts.link(f"#{each.id}", f"{visit.path}?execution={each.id}"),
            parts.state(each.status),
            parts.text(_("trial") if each.dry_run else _("for real")),
            parts.text(each.trigger.lower()),
            parts.time(each.start_time),
        ]
        rows.append(Row(cells, str(each.id), str(each.id), menu))
    return Table(
        _("Runs"),
        [
            Column(_("Id")),
            Column(_("State")),
            Column(_("Kind")),
            Column(_("Trigger")),
            Column(_("Begun")),
        ],
        rows,
        found.total,
        view,
        _("The rules were never applied"),
        icon="clock",
    )


async def _tasks(visit: Visit, policy: Retention, execution: str) -> Table:
    _ = visit.gettext
    api = f"/retentions/{policy.id}/executions/{execution}/tasks"
    found = await visit.all(Task, api, page_size=100)
    rows = [
        Row(
            [
                parts.text(each.repository),
                parts.state(each.status),
                parts.text(f"{each.retained} / {each.total}"),
                parts.time(each.end_time),
            ]
        )
        for each in found.items
    ]
    return Table(
        _("Run %(id)s", id=execution),
        [Column(_("Repository")), Column(_("State")), Column(_("Kept")), Column(_("Ended"))],
        rows,
        len(rows),
        parts.View(visit.path, size=100),
        _("No repositories"),
    )


ROUTES = ((PROJECTS + "/{project}/tag-strategy/tag-retention", retention, change_retention),)
