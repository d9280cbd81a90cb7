"""Rules of a project: what every rule is made of, and which tags nobody may move or delete.

…/tag-strategy/immutable-tag     rules
…/tag-strategy/tag-retention     see `retention`
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
from moorage.portal.shapes.rules import Rule, Selector
from moorage.portal.visits import Visit

TEMPLATES = {
    "latestPushedK": N_("the most recently pushed, so many"),
    "latestPulledN": N_("the most recently pulled, so many"),
    "nDaysSinceLastPush": N_("pushed within so many days"),
    "nDaysSinceLastPull": N_("pulled within so many days"),
    "always": N_("all that match"),
}
"""What a rule keeps, by its name in the API."""


async def first(visit: Visit) -> Response:
    """Retention comes first."""
    return RedirectResponse(f"{visit.path}/tag-retention", 303)


def head_of(visit: Visit, here: Scope, current: str) -> dict[str, Any]:
    _ = visit.gettext
    base = f"{here.path}/tag-strategy"
    views = [Tab(_("Retention"), f"{base}/tag-retention", current == "tag-retention")]
    if here.may("immutable-tag", "list"):
        views.append(Tab(_("Immutable tags"), f"{base}/immutable-tag", current == "immutable-tag"))
    return here.head("tag-strategy") | {"views": views}


def patterns(selectors: Sequence[Selector], negative: str) -> str:
    said = [
        f"≠ {each.pattern}" if each.decoration == negative else each.pattern for each in selectors
    ]
    return ", ".join(said) or "**"


def places_of(rule: Rule) -> str:
    return patterns(rule.scope_selectors.get("repository", ()), "repoExcludes")


def rule_fields(visit: Visit, *, retention: bool) -> list[Field]:
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


def rule_of(visit: Visit, *, retention: bool) -> dict[str, Any]:
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
            parts.text(places_of(each)),
            parts.text(patterns(each.tag_selectors, "excludes")),
            parts.chips(state),
        ]
        rows.append(Row(cells, str(each.id), places_of(each), [switch, gone]))
    form = None
    if visit.query.get("do") == "new":
        fields = rule_fields(visit, retention=False)
        title = _("New rule: tags that stay as they are")
        form = Form("create", title, fields, _("Create"), cancel=visit.back)
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
    new = Item(_("New rule"), visit.doing("new"), icon="plus")
    head = head_of(visit, here, "immutable-tag")
    return await visit.render("page.html", **head, actions=[new], form=form, sections=[table])


async def change_immutable(visit: Visit) -> Response:
    """Make, switch or delete a rule."""
    here = await scope(visit)
    api, op, number = f"{here.api}/immutabletagrules", visit.field("op"), visit.integer("id")
    if op == "create":
        await visit.send("POST", api, rule_of(visit, retention=False))
    elif op == "switch":
        disabled = visit.field("disabled") == "true"
        await visit.send("PUT", f"{api}/{number}", {"id": number, "disabled": disabled})
    elif op == "delete":
        await visit.send("DELETE", f"{api}/{number}")
    else:
        raise Problem(400, "BAD_REQUEST", visit.gettext("That is not known here."))
    return visit.done(visit.back, visit.gettext("Saved."))


ROUTES = (
    (PROJECTS + "/{project}/tag-strategy", first, None),
    (PROJECTS + "/{project}/tag-strategy/immutable-tag", immutable, change_immutable),
)
