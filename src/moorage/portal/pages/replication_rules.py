"""Replication rules: what is copied to or from another registry, when, and what that would be.

/harbor/replications            the rules, and the latest runs of all
/harbor/replications?do=new     the editor, with a preview of what is typed
/harbor/replications/{id}       one rule: `?do=preview`, its runs
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from starlette.responses import Response

from moorage.portal import parts
from moorage.portal.client import Problem, quoted
from moorage.portal.pages.registries import TITLES
from moorage.portal.pages.replication_fields import (
    TRIGGERS,
    body,
    condition,
    fields,
    stored,
)
from moorage.portal.pages.replication_runs import BASE, runs
from moorage.portal.parts import (
    Column,
    Crumb,
    Fact,
    Facts,
    Filter,
    Form,
    Item,
    Row,
    Table,
    View,
)
from moorage.portal.shapes.registries import Registry
from moorage.portal.shapes.replication import Movable, Replication
from moorage.portal.visits import Visit

PREVIEWED = 100
"""Artifacts that the editor shows of what would move."""


async def rules(visit: Visit) -> Response:
    """The rules, the form over them, and what ran lately."""
    _ = visit.gettext
    view = visit.view()
    q = view.kept.get("q", "")
    asked = visit.page(Replication, "/replication/policies", view, q=_named(q))
    found, form = await asyncio.gather(asked, _form(visit))
    names = {each.id: each.name for each in found.items}
    sections: list[object] = []
    if visit.field("op") == "preview" and not visit.problem:
        sections.append(await _typed(visit))
    sections.append(_table(visit, view, [_row(visit, each) for each in found.items], found.total))
    if found.total:
        latest = View(BASE, size=10)
        sections.append(await runs(visit, latest, names, caption=_("Latest runs"), paged=False))
    return await visit.render(
        "page.html",
        title=_("Replication"),
        glyph="arrow-left-right",
        crumbs=[Crumb(_("Replication"))],
        actions=[Item(_("New rule"), visit.doing("new"), icon="plus")],
        form=form,
        live="" if form else view.url(live="1"),
        sections=sections,
    )


def _named(q: str) -> str:
    return f"name=~{quoted(q)}" if q else ""


def _table(visit: Visit, view: View, rows: Sequence[Row], total: int) -> Table:
    _ = visit.gettext
    return Table(
        _("Rules"),
        [
            Column(_("Name"), "name"),
            Column(_("State"), "enabled"),
            Column(_("From")),
            Column(_("To")),
            Column(_("Trigger")),
            Column(_("Created"), "creation_time"),
        ],
        rows,
        total,
        view,
        _("No rules"),
        _("A rule copies artifacts to another registry or from it; only what is missing moves."),
        "arrow-left-right",
        filters=[Filter("q", _("Filter by name"), view.kept.get("q", ""))],
    )


def _row(visit: Visit, each: Replication) -> Row:
    _ = visit.gettext
    state = (_("Enabled"), "signed") if each.enabled else (_("Disabled"), "amber")
    return Row(
        [
            parts.link(each.name, f"{BASE}/{each.id}", each.description),
            parts.chips(state),
            parts.text(_side(visit, each.src_registry), _kind(each.src_registry)),
            parts.text(_side(visit, each.dest_registry), _kind(each.dest_registry)),
            parts.text(_(TRIGGERS.get(each.trigger.type, each.trigger.type)), _cron(each)),
            parts.time(each.creation_time),
        ],
        str(each.id),
        each.name,
        _menu(visit, each),
    )


def _side(visit: Visit, registry: Registry) -> str:
    return registry.name if registry.id else visit.gettext("this registry")


def _kind(registry: Registry) -> str:
    return TITLES.get(registry.type, registry.type) if registry.id else ""


def _cron(rule: Replication) -> str:
    return rule.trigger.trigger_settings.cron


def _menu(visit: Visit, each: Replication) -> list[Item]:
    _ = visit.gettext
    values = {"id": str(each.id)}
    menu = []
    if each.enabled:
        menu.append(Item(_("Replicate now"), visit.back, "run", "rotate-cw", values=values))
    menu += [
        Item(_("Preview"), f"{BASE}/{each.id}?do=preview", icon="search"),
        Item(_("Edit"), visit.doing("edit", each.id)),
        Item(_("Disable") if each.enabled else _("Enable"), visit.back, "switch", values=values),
        Item(_("Delete"), visit.doing("delete", each.id), icon="trash-2", danger=True),
    ]
    return menu


async def _form(visit: Visit) -> Form | None:
    _ = visit.gettext
    do, chosen = visit.query.get("do"), visit.query.get("id", "")
    if do not in ("new", "edit", "delete") or (do != "new" and not chosen.isdigit()):
        return None
    rule: Replication | None = Replication(enabled=True, override=True)
    if do != "new":
        asked = visit.get(Replication, f"/replication/policies/{chosen}")
        rule = await visit.unless_gone(asked)
    if rule is None:
        return None
    kept = {"id": chosen} if rule.id else {}
    if do == "delete":
        title, note = _("Delete this rule?"), _("What it copied stays where it is.")
        return Form("delete", title, (), _("Delete"), note, True, visit.back, kept, [rule.name])
    others = await visit.every(Registry, "/registries")
    note = "" if others else _("Register the other registry first.")
    further = len(rule.filters) - len({each.type for each in rule.filters})
    if further:
        note = visit.ngettext(
            "A further filter of this rule stays as it is.",
            "%(count)s further filters of this rule stay as they are.",
            further,
        )
    new = do == "new"
    return Form(
        "create" if new else "edit",
        _("New rule") if new else _("Edit the rule"),
        fields(visit, rule, others),
        _("Create") if new else _("Save"),
        note,
        cancel=visit.back,
        values=kept,
        also=[Item(_("Preview"), op="preview", icon="search")],
    )


async def _typed(visit: Visit) -> Table:
    """What the rule in the form would move."""
    before = await _before(visit)
    view = View(BASE, size=PREVIEWED)
    csrf = visit.visitor.csrf
    table = await _movable(visit, body(visit, before), view, csrf, paged=False)
    visit.notice = visit.gettext("Nothing is copied yet: this is what would move.")
    return table


async def _before(visit: Visit) -> Replication:
    number = visit.integer("id")
    if not number:
        return Replication()
    return await visit.get(Replication, f"/replication/policies/{number}")


async def _movable(
    visit: Visit, said: Mapping[str, Any], view: View, csrf: str, *, paged: bool
) -> Table:
    _ = visit.gettext
    found = await visit.preview(Movable, "/replication/policies/preview", said, view, csrf)
    outcomes = {
        "new": (_("moves"), "signed"),
        "same": (_("is there already"), "plain"),
        "override": (_("overrides a tag"), "amber"),
        "kept": (_("stays: a tag names another one"), "violet"),
    }
    rows = [
        Row(
            [
                parts.text(each.src_resource),
                parts.text(each.dst_resource),
                parts.code(each.digest),
                parts.text(each.type.lower()),
                parts.size(each.size) if each.size else parts.text(""),
                parts.chips(outcomes.get(each.outcome, (each.outcome, "plain"))),
            ]
        )
        for each in found.items
    ]
    columns = [
        Column(_("From")),
        Column(_("To")),
        Column(_("Digest")),
        Column(_("Type")),
        Column(_("Size"), right=True),
        Column(_("Outcome")),
    ]
    caption = _("What would move")
    if found.total > len(rows) and not paged:
        caption = _(
            "What would move: the first %(count)s of %(total)s",
            count=len(rows),
            total=found.total,
        )
    total = found.total if paged else len(rows)
    return Table(
        caption, columns, rows, total, view, _("No artifact fits the filters"), icon="search"
    )


async def change(visit: Visit) -> Response:
    """Make, change, try, run, stop or delete a rule."""
    _ = visit.gettext
    op, number = visit.field("op"), visit.integer("id")
    api = f"/replication/policies/{number}"
    if op == "create":
        await visit.send("POST", "/replication/policies", body(visit, Replication()))
        return visit.done(visit.back, _("Saved."))
    if op == "edit":
        await visit.send("PUT", api, body(visit, await _before(visit)))
        return visit.done(visit.back, _("Saved."))
    if op == "switch":
        rule = await visit.get(Replication, api)
        await visit.send("PUT", api, stored(rule) | {"enabled": not rule.enabled})
        return visit.done(visit.back, _("Saved."))
    if op == "preview":
        return await rules(visit)
    if op == "run":
        answer = await visit.send("POST", "/replication/executions", {"policy_id": number})
        run = answer.headers.get("location", "").rpartition("/")[2]
        return visit.done(f"{BASE}/{run}/tasks", _("It runs."))
    if op == "stop":
        await visit.send("PUT", f"/replication/executions/{visit.integer('run')}")
        return visit.done(f"{BASE}/{visit.integer('run')}/tasks", _("It stops."))
    if op == "delete":
        await visit.send("DELETE", api)
        return visit.done(visit.back, _("Deleted."))
    raise Problem(400, "BAD_REQUEST", _("That is not known here."))


async def rule(visit: Visit) -> Response:
    """One rule: what it says, what it would do, and what it did."""
    _ = visit.gettext
    number = int(visit.params["policy"])
    preview = visit.query.get("do") == "preview"
    view = visit.view("status")
    asked = visit.get(Replication, f"/replication/policies/{number}")
    table = runs(visit, view, {}, policy=number, caption=_("Runs"))
    found, ran = await asyncio.gather(asked, table)
    sections: list[object] = [_facts(visit, found), ran]
    if preview:
        shown = View(visit.path, view.page, view.size, "", {"do": "preview"})
        csrf = (await visit.shell()).csrf
        sections[1] = await _movable(visit, stored(found), shown, csrf, paged=True)
    state = (_("Enabled"), "signed") if found.enabled else (_("Disabled"), "amber")
    actions = [
        Item(_("Preview"), f"{visit.path}?do=preview", icon="search"),
        Item(_("Edit"), f"{BASE}?do=edit&id={number}", icon="settings"),
    ]
    if found.enabled:
        values = {"id": str(number)}
        actions.insert(0, Item(_("Replicate now"), BASE, "run", "rotate-cw", values=values))
    return await visit.render(
        "page.html",
        title=found.name,
        subtitle=found.description,
        glyph="arrow-left-right",
        badges=[state],
        crumbs=[Crumb(_("Replication"), BASE), Crumb(found.name)],
        actions=actions,
        live="" if preview else view.url(live="1"),
        sections=sections,
    )


def _facts(visit: Visit, found: Replication) -> Facts:
    _ = visit.gettext
    yes = {True: _("yes"), False: _("no")}
    namespace = found.dest_namespace or _("as at the source")
    bandwidth = f"{found.speed} kbit/s" if found.speed > 0 else _("no limit")
    said = [
        (_("From"), _side(visit, found.src_registry)),
        (_("To"), _side(visit, found.dest_registry)),
        (_("Filters"), " · ".join(condition(visit, each) for each in found.filters) or _("none")),
        (_("Namespace at the target"), namespace),
        (_("Trigger"), f"{_(TRIGGERS.get(found.trigger.type, ''))} {_cron(found)}".strip()),
        (_("Bandwidth of each task"), bandwidth),
        (_("Override tags"), yes[found.override]),
        (_("Deletes too"), yes[found.replicate_deletion]),
        (_("Copy by chunk"), yes[found.copy_by_chunk]),
        (_("One run at a time"), yes[found.single_active_replication]),
    ]
    return Facts(_("Rule"), [Fact(label, parts.text(value)) for label, value in said])


ROUTES = (
    (BASE, rules, change),
    (BASE + "/{policy:int}", rule, None),
)
