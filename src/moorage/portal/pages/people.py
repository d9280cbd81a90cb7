"""Users and groups of the installation."""

from starlette.responses import Response

from moorage.portal import parts
from moorage.portal.client import Problem, quoted
from moorage.portal.i18n import N_
from moorage.portal.parts import Choice, Column, Crumb, Field, Filter, Form, Item, Row, Table
from moorage.portal.shapes.accounts import AccessToken, Group, User
from moorage.portal.visits import Visit

GROUPS = {1: N_("LDAP"), 3: N_("OpenID Connect")}


async def users(visit: Visit) -> Response:
    """Every user."""
    _ = visit.gettext
    view = visit.view(sort="username")
    q = view.kept.get("q", "")
    found = await visit.page(User, "/users", view, q=f"username=~{quoted(q)}" if q else "")
    rows = []
    for each in found.items:
        number = str(each.user_id)
        admin = {"id": number, "admin": str(not each.sysadmin_flag).lower()}
        label = _("Take administration away") if each.sysadmin_flag else _("Make an administrator")
        menu = [
            Item(label, op="admin", values=admin),
            Item(_("Set a password"), visit.doing("password", number), icon="key-round"),
            Item(_("Access tokens"), visit.listed({"tokens": number})),
            Item(_("Delete"), visit.doing("delete", number), icon="trash-2", danger=True),
        ]
        role = (_("Administrator"), "violet") if each.sysadmin_flag else (_("User"), "plain")
        cells = [
            parts.text(each.username, each.realname),
            parts.text(each.email),
            parts.chips(role),
            parts.text(_("OpenID Connect") if each.oidc_user_meta else ""),
            parts.time(each.creation_time),
        ]
        rows.append(Row(cells, number, each.username, menu))
    table = Table(
        _("Users"),
        [
            Column(_("Name"), "username"),
            Column(_("E-mail"), "email"),
            Column(_("Role")),
            Column(_("Source")),
            Column(_("Registered"), "creation_time"),
        ],
        rows,
        found.total,
        view,
        _("No users"),
        icon="users",
        filters=[Filter("q", _("Filter by name"), q)],
    )
    sections = [table]
    if visit.query.get("tokens", "").isdigit():
        held = await _tokens(visit, visit.query["tokens"])
        sections = [held, table] if held else [table]
    return await visit.render(
        "page.html",
        title=_("Users"),
        glyph="users",
        crumbs=[Crumb(_("Users"))],
        actions=[Item(_("New user"), visit.doing("new"), icon="plus")],
        form=await _user_form(visit),
        sections=sections,
    )


async def _tokens(visit: Visit, number: str) -> Table | None:
    _ = visit.gettext
    asked = visit.all(AccessToken, f"/users/{number}/tokens", page_size=100)
    found = await visit.unless_gone(asked)
    if found is None:
        return None
    rows = [
        Row(
            [
                parts.text(each.name),
                parts.time(each.last_used),
                parts.Cell("until", each.expires_at),
            ],
            str(each.id),
            each.name,
            [Item(_("End it"), op="token", values={"id": number, "token": str(each.id)})],
        )
        for each in found.items
    ]
    columns = [Column(_("Access token")), Column(_("Last used")), Column(_("Ends"))]
    view = parts.View(visit.path, size=100)
    title = _("Access tokens")
    return Table(title, columns, rows, len(rows), view, _("No access tokens"), icon="key-round")


async def _user_form(visit: Visit) -> Form | None:
    _ = visit.gettext
    do, chosen = visit.query.get("do"), visit.query.get("id", "")
    rule = _("8 to 128 characters, with upper and lower case letters and a digit.")
    password = Field("password", _("Password"), "password", help=rule, required=True)
    if do == "new":
        fields = [
            Field("username", _("User name"), required=True),
            Field("email", _("E-mail"), "email"),
            Field("realname", _("Full name")),
            Field("comment", _("Comment")),
            password,
        ]
        return Form("create", _("New user"), fields, _("Create"), cancel=visit.back)
    if do not in ("password", "delete") or not chosen.isdigit():
        return None
    user = await visit.unless_gone(visit.get(User, f"/users/{chosen}"))
    if user is None:
        return None
    kept, names = {"id": chosen}, [user.username]
    if do == "password":
        title = _("Set a password")
        return Form("password", title, [password], _("Save"), "", False, visit.back, kept, names)
    title = _("Delete this user?")
    return Form("delete", title, (), _("Delete"), "", True, visit.back, kept, names)


async def change_user(visit: Visit) -> Response:
    """Make, change or delete a user."""
    _ = visit.gettext
    op, number = visit.field("op"), visit.integer("id")
    if op == "create":
        names = ("username", "email", "realname", "comment")
        body = {name: visit.field(name) for name in names} | {"password": visit.raw("password")}
        await visit.send("POST", "/users", body)
    elif op == "admin":
        admin = visit.field("admin") == "true"
        await visit.send("PUT", f"/users/{number}/sysadmin", {"sysadmin_flag": admin})
    elif op == "password":
        body = {"new_password": visit.raw("password")}
        await visit.send("PUT", f"/users/{number}/password", body)
    elif op == "token":
        await visit.send("DELETE", f"/users/{number}/tokens/{visit.integer('token')}")
    elif op == "delete":
        await visit.send("DELETE", f"/users/{number}")
        gone = {"tokens": ""} if visit.query.get("tokens") == str(number) else {}
        return visit.done(visit.listed(gone), _("Deleted."))
    else:
        raise Problem(400, "BAD_REQUEST", _("That is not known here."))
    return visit.done(visit.back, _("Saved."))


async def groups(visit: Visit) -> Response:
    """Every group that is known."""
    _ = visit.gettext
    view = visit.view()
    q = view.kept.get("q", "")
    found = await visit.page(Group, "/usergroups", view, group_name=q)
    rows = []
    for each in found.items:
        number = str(each.id)
        menu = [
            Item(_("Rename"), visit.doing("rename", number)),
            Item(_("Delete"), visit.doing("delete", number), icon="trash-2", danger=True),
        ]
        kind = GROUPS.get(each.group_type, "")
        cells = [
            parts.text(each.group_name),
            parts.text(_(kind) if kind else each.group_type),
            parts.text(each.ldap_group_dn),
        ]
        rows.append(Row(cells, number, each.group_name, menu))
    table = Table(
        _("Groups"),
        [Column(_("Name")), Column(_("Source")), Column(_("DN"))],
        rows,
        found.total,
        view,
        _("No groups"),
        _("Groups of LDAP and of OpenID Connect become known when one of their members signs in."),
        "users",
        filters=[Filter("q", _("Filter by name"), q)],
    )
    return await visit.render(
        "page.html",
        title=_("Groups"),
        glyph="user-round",
        crumbs=[Crumb(_("Groups"))],
        actions=[Item(_("New group"), visit.doing("new"), icon="plus")],
        form=await _group_form(visit),
        sections=[table],
    )


async def _group_form(visit: Visit) -> Form | None:
    _ = visit.gettext
    do, chosen = visit.query.get("do"), visit.query.get("id", "")
    if do == "new":
        kinds = [Choice(str(number), _(name)) for number, name in GROUPS.items()]
        fields = [
            Field("kind", _("Source"), "select", "3", choices=kinds),
            Field("name", _("Name"), required=True),
            Field("dn", _("DN of an LDAP group")),
        ]
        return Form("create", _("New group"), fields, _("Create"), cancel=visit.back)
    if do not in ("rename", "delete") or not chosen.isdigit():
        return None
    group = await visit.unless_gone(visit.get(Group, f"/usergroups/{chosen}"))
    if group is None:
        return None
    kept = {"id": chosen}
    if do == "rename":
        fields = [Field("name", _("Name"), value=group.group_name, required=True)]
        return Form("rename", _("Rename"), fields, _("Save"), cancel=visit.back, values=kept)
    note, names = _("Its members lose the roles that they have by it."), [group.group_name]
    title = _("Delete this group?")
    return Form("delete", title, (), _("Delete"), note, True, visit.back, kept, names)


async def change_group(visit: Visit) -> Response:
    """Make, rename or delete a group."""
    _ = visit.gettext
    op, number = visit.field("op"), visit.integer("id")
    if op == "create":
        body = {
            "group_type": visit.integer("kind"),
            "group_name": visit.field("name"),
            "ldap_group_dn": visit.field("dn"),
        }
        await visit.send("POST", "/usergroups", body)
    elif op == "rename":
        await visit.send("PUT", f"/usergroups/{number}", {"group_name": visit.field("name")})
    elif op == "delete":
        await visit.send("DELETE", f"/usergroups/{number}")
    else:
        raise Problem(400, "BAD_REQUEST", _("That is not known here."))
    return visit.done(visit.back, _("Saved."))


ROUTES = (
    ("/harbor/users", users, change_user),
    ("/harbor/groups", groups, change_group),
)
