"""The installation: its settings, and how its parts are."""

from collections.abc import Awaitable, Callable, Mapping, Sequence

from pydantic import RootModel
from starlette.responses import RedirectResponse, Response

from moorage.portal import parts
from moorage.portal.client import PREFIX, Problem, plain
from moorage.portal.i18n import N_
from moorage.portal.parts import Choice, Column, Crumb, Field, Form, Item, Row, Tab, Table
from moorage.portal.shapes.installation import Health, Setting
from moorage.portal.shapes.shape import Shape
from moorage.portal.visits import Visit

BASE = "/harbor/configs"

GROUPS: Mapping[str, tuple[str, Sequence[tuple[str, str]]]] = {
    "auth": (
        N_("Sign-in"),
        (
            ("auth_mode", N_("Where users come from")),
            ("primary_auth_mode", N_("Offer that sign-in first")),
            ("self_registration", N_("People may make their own account")),
            ("session_timeout", N_("Minutes that a session may rest")),
        ),
    ),
    "ldap": (
        N_("LDAP"),
        (
            ("ldap_url", N_("URL of the server")),
            ("ldap_search_dn", N_("DN of the account that searches")),
            ("ldap_search_password", N_("Its password")),
            ("ldap_base_dn", N_("Base DN of users")),
            ("ldap_filter", N_("Filter of users")),
            ("ldap_uid", N_("Attribute of the user name")),
            ("ldap_scope", N_("Depth of the search")),
            ("ldap_verify_cert", N_("Verify the certificate")),
            ("ldap_group_base_dn", N_("Base DN of groups")),
            ("ldap_group_search_filter", N_("Filter of groups")),
            ("ldap_group_attribute_name", N_("Attribute of a group's name")),
            ("ldap_group_search_scope", N_("Depth of the search for groups")),
            ("ldap_group_admin_dn", N_("DN of the group of administrators")),
            ("ldap_group_membership_attribute", N_("Attribute of membership")),
        ),
    ),
    "oidc": (
        N_("OpenID Connect"),
        (
            ("oidc_name", N_("Name of the provider")),
            ("oidc_endpoint", N_("URL of the provider")),
            ("oidc_client_id", N_("Client id")),
            ("oidc_client_secret", N_("Client secret")),
            ("oidc_scope", N_("Scopes")),
            ("oidc_groups_claim", N_("Claim of groups")),
            ("oidc_admin_group", N_("Group of administrators")),
            ("oidc_group_filter", N_("Filter of groups")),
            ("oidc_user_claim", N_("Claim of the user name")),
            ("oidc_auto_onboard", N_("Make accounts without asking for a name")),
            ("oidc_verify_cert", N_("Verify the certificate")),
            ("oidc_logout", N_("Sign out at the provider too")),
            ("oidc_extra_redirect_parms", N_("Further parameters, as JSON")),
        ),
    ),
    "setting": (
        N_("System"),
        (
            ("project_creation_restriction", N_("Who may make projects")),
            ("read_only", N_("Read-only")),
            ("token_expiration", N_("Minutes that a registry token lives")),
            ("robot_name_prefix", N_("Prefix of robot accounts")),
            ("robot_token_duration", N_("Days that a robot account lives")),
            ("notification_enable", N_("Send webhooks")),
            ("scanner_skip_update_pulltime", N_("Pulls of scanners do not count")),
            ("quota_per_project_enable", N_("Quotas are enforced")),
            ("banner_message", N_("Message above every page")),
        ),
    ),
    "audit": (
        N_("Audit log"),
        (
            ("audit_log_forward_endpoint", N_("Syslog server")),
            ("skip_audit_log_database", N_("Keep it there alone")),
            ("disabled_audit_log_event_types", N_("Events that are left out")),
        ),
    ),
}
"""Group to its name, and the settings in it with their names."""

CHOICES: Mapping[str, Sequence[tuple[str, str]]] = {
    "auth_mode": (
        ("db_auth", N_("this registry")),
        ("ldap_auth", N_("LDAP")),
        ("oidc_auth", N_("OpenID Connect")),
    ),
    "project_creation_restriction": (
        ("everyone", N_("everybody")),
        ("adminonly", N_("administrators")),
    ),
    "ldap_scope": (("0", N_("base")), ("1", N_("one level")), ("2", N_("subtree"))),
    "ldap_group_search_scope": (("0", N_("base")), ("1", N_("one level")), ("2", N_("subtree"))),
}
SECRETS = ("ldap_search_password", "oidc_client_secret")
LONG = ("banner_message", "disabled_audit_log_event_types")


class Ping(Shape):
    """Whether a directory can be used, and why not."""

    success: bool = False
    message: str = ""


class Configurations(RootModel[dict[str, Setting]]):
    """Every setting that can be read."""


async def first(visit: Visit) -> Response:
    """Sign-in comes first."""
    return RedirectResponse(f"{BASE}/auth", 303)


async def _values(visit: Visit) -> dict[str, Setting]:
    answer = await visit.api.ask(visit.visitor, "GET", f"{PREFIX}/configurations")
    found = {k: v for k, v in plain(answer.content).items() if isinstance(v, dict) and "value" in v}
    return Configurations.model_validate(found).root


def _group(visit: Visit) -> str:
    group = str(visit.params["group"])
    if group not in GROUPS:
        raise Problem(404, "NOT_FOUND", visit.gettext("There is no such page."))
    return group


async def settings(visit: Visit) -> Response:
    """One group of settings."""
    _ = visit.gettext
    group = _group(visit)
    values = await _values(visit)
    fields = [_field(visit, name, label, values.get(name)) for name, label in GROUPS[group][1]]
    note = _("What the configuration file or the environment sets cannot be changed here.")
    also = [Item(_("Test the connection"), op="test", icon="activity")] if group in TESTS else ()
    form = Form("save", _(GROUPS[group][0]), fields, _("Save"), note, also=also, in_place=True)
    tabs = [Tab(_(text), f"{BASE}/{name}", name == group) for name, (text, _f) in GROUPS.items()]
    return await visit.render(
        "page.html",
        title=_("Configuration"),
        glyph="settings",
        crumbs=[Crumb(_("Configuration"))],
        tabs=tabs,
        form=form,
    )


def _field(visit: Visit, name: str, label: str, setting: Setting | None) -> Field:
    _ = visit.gettext
    title = _(label)
    if setting is None:
        return Field(
            name,
            title,
            "password",
            help=_("Never shown. Empty keeps it, for the same server and account."),
        )
    disabled = not setting.editable
    if isinstance(setting.value, bool):
        return Field(name, title, "checkbox", setting.value, disabled=disabled)
    if name in CHOICES:
        choices = [Choice(value, _(text)) for value, text in CHOICES[name]]
        value = str(setting.value)
        return Field(name, title, "select", value, choices=choices, disabled=disabled)
    kind = "number" if isinstance(setting.value, int) else "text"
    kind = "textarea" if name in LONG else kind
    return Field(name, title, kind, setting.value, disabled=disabled)


async def save(visit: Visit) -> Response:
    """Change what can be changed, all or none of it; or try what is typed."""
    group = _group(visit)
    values = await _values(visit)
    typed = _typed(visit, group, values)
    if visit.field("op") == "test" and group in TESTS:
        await TESTS[group](visit, typed, values)
        visit.notice = visit.gettext("It answers.")
        return await settings(visit)
    changed = {
        name: value
        for name, value in typed.items()
        if name not in values or values[name].value != value
    }
    if changed:
        await visit.send("PUT", "/configurations", changed)
    return visit.done(visit.path, visit.gettext("Saved."))


def _typed(visit: Visit, group: str, values: Mapping[str, Setting]) -> dict[str, object]:
    """What stands in the form; of secrets, those that somebody typed."""
    body: dict[str, object] = {}
    for name, _label in GROUPS[group][1]:
        setting = values.get(name)
        if setting is None:
            if visit.raw(name):
                body[name] = visit.raw(name)
        elif not setting.editable:
            continue
        elif isinstance(setting.value, bool):
            body[name] = visit.checked(name)
        elif isinstance(setting.value, int):
            body[name] = visit.integer(name, setting.value)
        else:
            body[name] = visit.raw(name).strip()
    return body


async def _test_ldap(
    visit: Visit, typed: Mapping[str, object], values: Mapping[str, Setting]
) -> None:
    """Try the directory; the API keeps the stored password to its own server. Raises Problem."""
    body = {name: value for name, value in typed.items() if not name.startswith("ldap_group_")}
    found = await visit.made(Ping, "/ldap/ping", body)
    if not found.success:
        raise Problem(400, "UNREACHABLE", found.message)


async def _test_oidc(
    visit: Visit, typed: Mapping[str, object], values: Mapping[str, Setting]
) -> None:
    """Try the provider; raises Problem."""
    said = {name: setting.value for name, setting in values.items()} | dict(typed)
    body = {"url": said.get("oidc_endpoint"), "verify_cert": said.get("oidc_verify_cert")}
    await visit.send("POST", "/system/oidc/ping", body)


TESTS: Mapping[
    str, Callable[[Visit, Mapping[str, object], Mapping[str, Setting]], Awaitable[None]]
] = {"ldap": _test_ldap, "oidc": _test_oidc}
"""Groups of settings that name a server, and how that is tried."""


async def health(visit: Visit) -> Response:
    """How the parts are."""
    _ = visit.gettext
    found = await visit.get(Health, "/health")
    rows = [
        Row(
            [
                parts.text(each.name),
                parts.chips(
                    (_("healthy"), "signed") if each.status == "healthy" else (_("unwell"), "red")
                ),
                parts.text(each.error),
            ]
        )
        for each in found.components
    ]
    columns = [Column(_("Part")), Column(_("State")), Column(_("Why"))]
    view = parts.View(visit.path, size=100)
    table = Table(_("Parts"), columns, rows, len(rows), view, _("No parts"), icon="activity")
    return await visit.render(
        "page.html",
        title=_("Health"),
        glyph="activity",
        crumbs=[Crumb(_("Health"))],
        live=visit.here(live="1"),
        sections=[table],
    )


ROUTES = (
    (BASE, first, None),
    (BASE + "/{group}", settings, save),
    ("/harbor/health", health, None),
)
