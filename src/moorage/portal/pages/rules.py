"""Rules of a project: which artifacts retention keeps, which tags nobody may move or delete.

…/tag-strategy/tag-retention     rules, a preview of what they keep, runs
…/tag-strategy/immutable-tag     rules
"""

import json
from collections.abc import Sequence
from typing import Any

from starlette.responses import RedirectResponse, Response

from moorage.portal import parts
from moorage.portal.client import Problem
from moorage.portal.i18n import N_
from moorage.portal.parts import Choice, Column, Field, Form, Item, Row, Tab, Table
from moorage.portal.scope import PROJECTS, Scope, scope
from moorage.portal.shapes import Execution, Previewed, Retention, Rule, Selector, Task
from moorage.portal.visits import Visit

TEMPLATES = {
    "latestPushedK": N_("the most recently pushed, so many"),
    "latestPulledN": N_("the most recently pulled, so many"),
    "nDaysSinceLastPush": N_("pushed within so many days"),
    "nDaysSinceLastPull": N_("pulled within so many days"),
    "always": N_("all that match"),
}
"""What a rule keeps, by its name in the API."""
SCHEDULES = {
    "": N_("never by itself"),
    "0 0 * * * *": N_("every hour"),
    "0 0 0 * * *": N_("every day"),
    "0 0 0 * * 0": N_("every week"),
}


async def first(visit: Visit) -> Response:
    """Retention comes first."""
    return RedirectResponse(f"{visit.path}/tag-retention", 303)


def _head(visit: Visit, here: Scope, current: str) -> dict[str, Any]:
    _ = visit.gettext
    base = f"{here.path}/tag-strategy"
    tabs = list(here.tabs("tag-strategy"))
    place = next((n for n, tab in enumerate(tabs) if tab.current), len(tabs))
    own = [Tab(_("Retention"), f"{base}/tag-retention", current == "tag-retention")]
    if here.may("immutable-tag", "list"):
        own.append(Tab(_("Immutable tags"), f"{base}/immutable-tag", current == "immutable-tag"))
    return here.head("tag-strategy") | {"tabs": [*tabs[:place], *own, *tabs[place + 1 :]]}


def _patterns(selectors: Sequence[Selector], negative: str) -> str:
    said = [
        f"≠ {each.pattern}" if each.decoration == negative else each.pattern for each in selectors
    ]
    return ", ".join(said) or "**"


def _places(rule: Rule) -> str:
    return _patterns(rule.scope_selectors.get("repository", ()), "repoExcludes")


def _rule_fields(visit: Visit, *, retention: bool) -> list[Field]:
    _ = visit.gettext
    either = [Choice("matches", _("matching")), Choice("excludes", _("not matching"))]
    fields = [
        Field("repo_how", _("Repositories"), "select", "matches", choices=either),
        Field(
            "repositories",
            _("Pattern of repositories"),
            value="**",
            required=True,
            help=_("* within a name, ** across slashes, {a,b} for one of several."),
        ),
        Field("tag_how", _("Tags"), "select", "matches", choices=either),
        Field("tags", _("Pattern of tags"), value="**", required=True),
    ]
    if retention:
        choices = [Choice(name, _(text)) for name, text in TEMPLATES.items()]
        fields += [
            Field("template", _("Keep"), "select", "latestPushedK", choices=choices),
            Field("count", _("How many, or days"), "number", "10"),
            Field("untagged", _("Untagged artifacts too"), "checkbox", True),
        ]
    return fields


def _rule(visit: Visit, *, retention: bool) -> dict[str, Any]:
    where = {"matches": "repoMatches", "excludes": "repoExcludes"}
    repository = {
        "kind": "doublestar",
        "decoration": where.get(visit.field("repo_how"), "repoMatches"),
        "pattern": visit.field("repositories"),
    }
    how = visit.field("tag_how")
    tag: dict[str, Any] = {
        "kind": "doublestar",
        "decoration": how if how in where else "matches",
        "pattern": visit.field("tags"),
    }
    if not retention:
        return {
            "action": "immutable",
            "template": "immutable_template",
            "tag_selectors": [tag],
            "scope_selectors": {"repository": [repository]},
        }
    template = visit.field("template")
    tag["extras"] = json.dumps({"untagged": visit.checked("untagged")})
    return {
        "action": "retain",
        "template": template,
        "params": {template: visit.integer("count")} if template != "always" else {},
        "tag_selectors": [tag],
        "scope_selectors": {"repository": [repository]},
    }


# --- immutable tags


async def immutable(visit: Visit) -> Response:
    """Tags that stay as they are."""
    here = await scope(visit)
    _ = visit.gettext
    view = visit.view()
    found = await visit.page(Rule, f"{here.api}/immutabletagrules", view)
    rows = []
    for each in found.items:
        values = {"id": str(each.id), "disabled": str(not each.disabled).lower()}
        switch = Item(_("Enable") if each.disabled else _("Disable"), op="switch", values=values)
        gone = Item(_("Delete"), op="delete", icon="trash-2", danger=True, values=values)
        state = (_("Disabled"), "amber") if each.disabled else (_("Enabled"), "signed")
        cells = [
            parts.text(_places(each)),
            parts.text(_patterns(each.tag_selectors, "excludes")),
            parts.chips(state),
        ]
        rows.append(Row(cells, str(each.id), _places(each), [switch, gone]))
    form = None
    if visit.query.get("do") == "new":
        fields = _rule_fields(visit, retention=False)
        title = _("New rule: tags that stay as they are")
        form = Form("create", title, fields, _("Create"), cancel=visit.path)
    table = Table(
        _("Immutable tags"),
        [Column(_("Repositories")), Column(_("Tags")), Column(_("State"))],
        rows,
        found.total,
        view,
        _("No rules"),
        _("A tag under a rule can neither be pushed again nor deleted."),
        "lock",
    )
    new = Item(_("New rule"), f"{visit.path}?do=new", icon="plus")
    head = _head(visit, here, "immutable-tag")
    return await visit.render("page.html", **head, actions=[new], form=form, sections=[table])


async def change_immutable(visit: Visit) -> Response:
    """Make, switch or delete a rule."""
    here = await scope(visit)
    api, op, number = f"{here.api}/immutabletagrules", visit.field("op"), visit.integer("id")
    if op == "create":
        await visit.send("POST", api, _rule(visit, retention=False))
    elif op == "switch":
        disabled = visit.field("disabled") == "true"
        await visit.send("PUT", f"{api}/{number}", {"id": number, "disabled": disabled})
    elif op == "delete":
        await visit.send("DELETE", f"{api}/{number}")
    else:
        raise Problem(400, "BAD_REQUEST", visit.gettext("That is not known here."))
    return visit.done(visit.path, visit.gettext("Saved."))


# --- retention


async def _policy(visit: Visit, here: Scope) -> Retention:
    number = here.project.metadata.get("retention_id", "")
    return await visit.get(Retention, f"/retentions/{number}") if number.isdigit() else Retention()


async def retention(visit: Visit) -> Response:
    """What is kept, what would go, and what went."""
    here = await scope(visit)
    policy = await _policy(visit, here)
    _ = visit.gettext
    view = visit.view("execution")
    sections: list[object] = [_rules(visit, policy, view)]
    if visit.query.get("do") == "preview" and policy.rules:
        sections.insert(0, await _preview(visit, here, policy))
    execution = view.kept.get("execution", "")
    if policy.id and execution.isdigit():
        sections.append(await _tasks(visit, policy, execution))
    if policy.id:
        sections.append(await _runs(visit, policy, view))
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
        **_head(visit, here, "tag-retention"),
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
            parts.text(_places(each)),
            parts.text(_patterns(each.tag_selectors, "excludes")),
            parts.text(_(TEMPLATES.get(each.template, each.template)), count),
            parts.chips(state),
        ]
        rows.append(Row(cells, str(each.id), _places(each), menu))
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
        fields = _rule_fields(visit, retention=True)
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
        rules.append(_rule(visit, retention=True))
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


ROUTES = (
    (PROJECTS + "/{project}/tag-strategy", first, None),
    (PROJECTS + "/{project}/tag-strategy/tag-retention", retention, change_retention),
    (PROJECTS + "/{project}/tag-strategy/immutable-tag", immutable, change_immutable),
)
