"""One's own account: profile, password, CLI secret, access tokens, language."""

from starlette.responses import Response

from moorage.portal import parts
from moorage.portal.client import Problem, plain
from moorage.portal.parts import Column, Crumb, Fact, Facts, Field, Form, Item, Once, Row, Table
from moorage.portal.shapes.accounts import AccessToken, Secret, User
from moorage.portal.shapes.shape import Shape
from moorage.portal.visits import Visit


class CliSecret(Shape):
    """What docker signs in with."""

    secret: str = ""


async def _me(visit: Visit) -> User:
    shell = await visit.shell()
    if shell.user is None:
        raise Problem(401, "UNAUTHORIZED", visit.gettext("Sign in first."))
    return shell.user


async def profile(visit: Visit) -> Response:
    """Who one is."""
    me = await _me(visit)
    _ = visit.gettext
    about = Facts(
        _("Account"),
        [
            Fact(_("User name"), parts.text(me.username)),
            Fact(_("Role"), parts.text(_("Administrator") if me.sysadmin_flag else _("User"))),
            Fact(_("Registered"), parts.time(me.creation_time)),
        ],
    )
    details = Form(
        "profile",
        _("Profile"),
        [
            Field("email", _("E-mail"), "email", me.email),
            Field("realname", _("Full name"), value=me.realname),
            Field("comment", _("Comment"), value=me.comment),
        ],
        _("Save"),
    )
    sections: list[object] = [about, details]
    if me.oidc_user_meta is None:
        rule = _("8 to 128 characters, with upper and lower case letters and a digit.")
        fields = [
            Field("old", _("Current password"), "password", required=True),
            Field("new", _("New password"), "password", help=rule, required=True),
            Field("again", _("The new password again"), "password", required=True),
        ]
        sections.append(Form("password", _("Change the password"), fields, _("Change")))
    else:
        note = _("docker and the like sign in with your user name and this secret.")
        sections.append(Form("secret", _("CLI secret"), (), _("Make a new secret"), note))
    return await visit.render(
        "profile.html",
        title=_("Profile"),
        glyph="user-round",
        crumbs=[Crumb(_("Profile"))],
        sections=sections,
    )


async def change(visit: Visit) -> Response:
    """Save the profile, the password, or make a secret."""
    me = await _me(visit)
    op, api, _ = visit.field("op"), f"/users/{me.user_id}", visit.gettext
    if op == "profile":
        body = {name: visit.field(name) for name in ("email", "realname", "comment")}
        await visit.send("PUT", api, body)
        return visit.done(visit.back, _("Saved."))
    if op == "password":
        if visit.raw("new") != visit.raw("again"):
            raise Problem(400, "BAD_REQUEST", _("The two passwords differ."))
        body = {"old_password": visit.raw("old"), "new_password": visit.raw("new")}
        await visit.send("PUT", f"{api}/password", body)
        return visit.done("/account/sign-in", _("The password is changed. Sign in again."))
    if op == "secret":
        answer = await visit.send("PUT", f"{api}/cli_secret", {"secret": ""})
        made = CliSecret.model_validate(plain(answer.content) or {})
        return await _once(visit, me.username, made.secret, _("CLI secret"))
    raise Problem(400, "BAD_REQUEST", _("That is not known here."))


async def tokens(visit: Visit) -> Response:
    """Access tokens: secrets for scripts and machines of one's own."""
    await _me(visit)
    _ = visit.gettext
    view = visit.view()
    found = await visit.page(AccessToken, "/users/current/tokens", view, sort="")
    rows = [
        Row(
            [
                parts.text(each.name),
                parts.text(_rights(visit, each)),
                parts.time(each.last_used),
                parts.Cell("until", each.expires_at),
                parts.time(each.creation_time),
            ],
            str(each.id),
            each.name,
            [Item(_("End it"), op="end", danger=True, values={"id": str(each.id)})],
        )
        for each in found.items
    ]
    table = Table(
        _("Access tokens"),
        [
            Column(_("Name")),
            Column(_("May")),
            Column(_("Last used")),
            Column(_("Ends")),
            Column(_("Created")),
        ],
        rows,
        found.total,
        view,
        _("No access tokens"),
        _("A token signs you in where a password should not be typed: in scripts and pipelines."),
        "key-round",
    )
    form = None
    if visit.query.get("do") == "new":
        fields = [
            Field("name", _("Name"), required=True),
            Field("days", _("Days until it ends"), "number", 30, _("-1 for never.")),
            Field(
                "project",
                _("Only this project"),
                help=_("Empty: everything that you may do."),
            ),
            Field("push", _("It may push too"), "checkbox"),
        ]
        form = Form("create", _("New access token"), fields, _("Create"), cancel=visit.back)
    return await visit.render(
        "page.html",
        title=_("Access tokens"),
        glyph="key-round",
        crumbs=[Crumb(_("Access tokens"))],
        actions=[Item(_("New access token"), visit.doing("new"), icon="plus")],
        form=form,
        sections=[table],
    )


def _rights(visit: Visit, token: AccessToken) -> str:
    if token.permissions is None:
        return visit.gettext("everything that you may do")
    return "; ".join(
        f"{each.namespace}: {', '.join(f'{p.resource} {p.action}' for p in each.access)}"
        for each in token.permissions
    )


async def change_tokens(visit: Visit) -> Response:
    """Make a token, or end one."""
    me = await _me(visit)
    _ = visit.gettext
    if visit.field("op") == "end":
        await visit.send("DELETE", f"/users/current/tokens/{visit.integer('id')}")
        return visit.done(visit.back, _("The token is ended."))
    if visit.field("op") != "create":
        raise Problem(400, "BAD_REQUEST", _("That is not known here."))
    body: dict[str, object] = {
        "name": visit.field("name"),
        "duration": visit.integer("days", 30),
    }
    if visit.field("project"):
        actions = ["pull", "push"] if visit.checked("push") else ["pull"]
        access = [{"resource": "repository", "action": action} for action in actions]
        space = {"kind": "project", "namespace": visit.field("project"), "access": access}
        body["permissions"] = [space]
    made = await visit.made(Secret, "/users/current/tokens", body)
    return await _once(visit, me.username, made.secret, made.name)


async def _once(visit: Visit, user: str, secret: str, title: str) -> Response:
    _ = visit.gettext
    shell = await visit.shell()
    host = shell.info.registry_url or visit.host
    shown = Once(
        _("Keep this secret now"),
        user,
        secret,
        _("It is shown this once, and works instead of your password."),
        [f"docker login -u '{user}' {host}"],
    )
    return await visit.render(
        "page.html",
        title=title,
        glyph="key-round",
        crumbs=[Crumb(title)],
        secret=shown,
        actions=[Item(_("Done"), visit.back)],
    )


ROUTES = (
    ("/account/profile", profile, change),
    ("/account/tokens", tokens, change_tokens),
)
