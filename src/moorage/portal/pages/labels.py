"""Labels: those of a project, and those of everybody."""

from typing import Any

from starlette.responses import Response

from moorage.portal import parts
from moorage.portal.client import Problem
from moorage.portal.parts import Choice, Column, Crumb, Field, Filter, Form, Item, Row, Table
from moorage.portal.scope import PROJECTS, scope
from moorage.portal.shapes.artifacts import Label
from moorage.portal.visits import Visit

COLORS = (
    *("#000000", "#61717D", "#737373", "#80746D", "#FFFFFF", "#A9B6BE", "#DDDDDD", "#BBB3A9"),
    *("#0065AB", "#343DAC", "#781DA0", "#9B0D54", "#0095D3", "#9DA3DB", "#BE90D6", "#F1428A"),
    *("#1D5100", "#006668", "#006690", "#004A70", "#48960C", "#00AB9A", "#00B7D6", "#0081A7"),
    *("#C92100", "#CD3517", "#C25400", "#D28F00", "#F52F52", "#FF5501", "#F57600", "#FFDC0B"),
)
"""Harbor's; other clients offer no others."""


async def of_project(visit: Visit) -> Response:
    """The labels of one project."""
    here = await scope(visit)
    rights = {action for resource, action in here.rights if resource == "label"}
    where = {"scope": "p", "project_id": here.project.project_id}
    return await _page(visit, where, rights, here.head("labels"))


async def of_everybody(visit: Visit) -> Response:
    """The labels that every project may use."""
    _ = visit.gettext
    shell = await visit.shell()
    rights = {"create", "update", "delete"} if shell.admin else set()
    head = {"title": _("Labels"), "glyph": "tag", "crumbs": [Crumb(_("Labels"))]}
    return await _page(visit, {"scope": "g"}, rights, head)


async def _page(
    visit: Visit, where: dict[str, Any], rights: set[str], head: dict[str, Any]
) -> Response:
    _ = visit.gettext
    view = visit.view(sort="name")
    q = view.kept.get("q", "")
    found = await visit.page(Label, "/labels", view, name=q, **where)
    rows = []
    for each in found.items:
        menu = []
        if "update" in rights:
            menu.append(Item(_("Edit"), visit.doing("edit", each.id)))
        if "delete" in rights:
            where_to = visit.doing("delete", each.id)
            menu.append(Item(_("Delete"), where_to, icon="trash-2", danger=True))
        name = parts.chips((each.name, "violet" if where["scope"] == "g" else "teal"))
        cells = [
            name,
            parts.text(each.description),
            parts.text(each.color),
            parts.time(each.creation_time),
        ]
        rows.append(Row(cells, str(each.id), each.name, menu))
    table = Table(
        _("Labels"),
        [
            Column(_("Label"), "name"),
            Column(_("Description")),
            Column(_("Colour")),
            Column(_("Created"), "creation_time"),
        ],
        rows,
        found.total,
        view,
        _("No labels"),
        _("Labels mark artifacts, and rules and filters can go by them."),
        "tag",
        filters=[Filter("q", _("Filter by name"), q)],
    )
    new = Item(_("New label"), visit.doing("new"), icon="plus")
    return await visit.render(
        "page.html",
        **head,
        actions=[new] if "create" in rights else [],
        form=await _form(visit),
        sections=[table],
    )


async def _form(visit: Visit) -> Form | None:
    _ = visit.gettext
    do, chosen = visit.query.get("do"), visit.query.get("id", "")
    label = Label()
    if do in ("edit", "delete") and chosen.isdigit():
        label = await visit.unless_gone(visit.get(Label, f"/labels/{chosen}")) or label
    colors = [Choice(color, color) for color in COLORS]
    if label.color and label.color not in COLORS:
        colors.insert(0, Choice(label.color, label.color))
    fields = [
        Field("name", _("Name"), value=label.name, required=True),
        Field("description", _("Description"), value=label.description),
        Field("color", _("Colour"), "select", label.color or COLORS[8], choices=colors),
    ]
    if do == "new":
        return Form("create", _("New label"), fields, _("Create"), cancel=visit.back)
    kept = {"id": chosen}
    if do == "edit" and label.id:
        title = _("Edit the label")
        return Form("edit", title, fields, _("Save"), cancel=visit.back, values=kept)
    if do == "delete" and label.id:
        note = _("It is taken off every artifact that carries it.")
        title, names = _("Delete this label?"), [label.name]
        return Form("delete", title, (), _("Delete"), note, True, visit.back, kept, names)
    return None


async def change(visit: Visit) -> Response:
    """Make, change or delete a label."""
    _ = visit.gettext
    op, number = visit.field("op"), visit.integer("id")
    body: dict[str, Any] = {name: visit.field(name) for name in ("name", "description", "color")}
    if op == "create":
        body["scope"] = "g"
        if "project" in visit.params:
            here = await scope(visit)
            body |= {"scope": "p", "project_id": here.project.project_id}
        await visit.send("POST", "/labels", body)
    elif op == "edit":
        await visit.send("PUT", f"/labels/{number}", body)
    elif op == "delete":
        await visit.send("DELETE", f"/labels/{number}")
        return visit.done(visit.back, _("Deleted."))
    else:
        raise Problem(400, "BAD_REQUEST", _("That is not known here."))
    return visit.done(visit.back, _("Saved."))


ROUTES = (
    (PROJECTS + "/{project}/labels", of_project, change),
    ("/harbor/labels", of_everybody, change),
)
