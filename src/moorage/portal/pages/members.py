"""Who belongs to a project, and as what."""

import asyncio

from starlette.responses import Response

from moorage.portal import parts
from moorage.portal.client import Problem
from moorage.portal.pages import completions
from moorage.portal.parts import Choice, Column, Field, Filter, Form, Item, Row, Table
from moorage.portal.scope import PROJECTS, ROLES, Scope, scope
from moorage.portal.shapes.projects import Member
from moorage.portal.visits import Visit


async def members(visit: Visit) -> Response:
    """The members."""
    here = await scope(visit)
    _ = visit.gettext
    view = visit.view()
    q = view.kept.get("q", "")
    found, form = await asyncio.gather(
        visit.page(Member, f"{here.api}/members", view, entityname=q), _form(visit, here)
    )
    may = here.may("member", "create")
    rows = [_row(visit, here, each) for each in found.items]
    table = Table(
        _("Members"),
        [Column(_("Name")), Column(_("Kind")), Column(_("Role"))],
        rows,
        found.total,
        view,
        _("No members"),
        icon="users",
        filters=[Filter("q", _("Filter by name"), q)],
    )
    return await visit.render(
        "page.html",
        **here.head("members"),
        actions=[Item(_("Add a member"), visit.doing("new"), icon="plus")] if may else [],
        form=form,
        sections=[table],
    )


def _row(visit: Visit, here: Scope, member: Member) -> Row:
    _ = visit.gettext
    kind = _("Group") if member.entity_type == "g" else _("User")
    menu = []
    if here.may("member", "update"):
        menu.append(Item(_("Change the role"), visit.doing("role", member.id)))
    if here.may("member", "delete"):
        menu.append(Item(_("Remove"), visit.doing("remove", member.id), icon="x", danger=True))
    cells = [
        parts.text(member.entity_name),
        parts.text(kind),
        parts.text(_(ROLES[member.role_id]) if member.role_id in ROLES else member.role_name),
    ]
    return Row(cells, str(member.id), member.entity_name, menu)


async def _form(visit: Visit, here: Scope) -> Form | None:
    _ = visit.gettext
    do, chosen = visit.query.get("do"), visit.query.get("id", "")
    roles = [Choice(str(number), _(name)) for number, name in ROLES.items()]
    if do == "new":
        kinds = [
            Choice("user", _("User")),
            Choice("3", _("OpenID group")),
            Choice("1", _("LDAP group, by its DN")),
        ]
        fields = [
            Field("kind", _("Kind"), "select", "user", choices=kinds),
            Field("name", _("Name"), required=True, completes=completions.MEMBERS),
            Field("role", _("Role"), "select", "3", choices=roles),
        ]
        return Form("add", _("Add a member"), fields, _("Add"), cancel=visit.back)
    if do not in ("role", "remove") or not chosen.isdigit():
        return None
    member = await visit.unless_gone(visit.get(Member, f"{here.api}/members/{chosen}"))
    if member is None:
        return None
    kept, names = {"id": chosen}, [member.entity_name]
    if do == "role":
        title, now = _("Change the role"), str(member.role_id)
        fields = [Field("role", _("Role"), "select", now, choices=roles)]
        return Form("role", title, fields, _("Save"), "", False, visit.back, kept, names)
    title = _("Remove this member?")
    return Form("remove", title, (), _("Remove"), "", True, visit.back, kept, names)


async def change(visit: Visit) -> Response:
    """Add, change or remove a member."""
    here = await scope(visit)
    op, api = visit.field("op"), f"{here.api}/members"
    _ = visit.gettext
    if op == "add":
        name, kind = visit.field("name"), visit.field("kind")
        body: dict[str, object] = {"role_id": visit.integer("role")}
        if kind == "1":
            body["member_group"] = {"group_type": 1, "ldap_group_dn": name}
        elif kind == "3":
            body["member_group"] = {"group_type": 3, "group_name": name}
        else:
            body["member_user"] = {"username": name}
        await visit.send("POST", api, body)
        return visit.done(visit.back, _("%(name)s is a member now.", name=name))
    number = visit.integer("id")
    if op == "role":
        await visit.send("PUT", f"{api}/{number}", {"role_id": visit.integer("role")})
        return visit.done(visit.back, _("Saved."))
    if op == "remove":
        await visit.send("DELETE", f"{api}/{number}")
        return visit.done(visit.back, _("Removed."))
    raise Problem(400, "BAD_REQUEST", _("That is not known here."))


ROUTES = ((PROJECTS + "/{project}/members", members, change),)
