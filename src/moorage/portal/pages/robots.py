"""Robot accounts: of a project, and of the system; each right is a box, each secret shown once."""

from collections.abc import Mapping, Sequence
from typing import Any

from starlette.responses import Response

from moorage.portal import parts
from moorage.portal.client import Problem, plain, quoted
from moorage.portal.parts import Column, Crumb, Field, Filter, Form, Item, Once, Row, Table
from moorage.portal.scope import PROJECTS, Scope, scope
from moorage.portal.shapes.accounts import Pair, Permission, Rights, Robot, Secret
from moorage.portal.visits import Visit

ACTIONS = ("pull", "push", "list", "read", "create", "update", "delete", "stop")
FIRST = (("repository", "pull"), ("repository", "push"))
"""What a new robot account is offered to hold."""


async def of_project(visit: Visit) -> Response:
    """The robot accounts of one project."""
    here = await scope(visit)
    q = f"Level=project,ProjectID={here.project.project_id}"
    may = {action for resource, action in here.rights if resource == "robot"}
    return await _page(visit, q, may, here.head("robot-account"), here)


async def of_system(visit: Visit) -> Response:
    """Those that reach beyond one project."""
    _ = visit.gettext
    head = {
        "title": _("Robot accounts"),
        "glyph": "bot",
        "crumbs": [Crumb(_("Robot accounts"))],
    }
    return await _page(visit, "", {"create", "update", "delete"}, head, None)


async def _page(
    visit: Visit, scope_q: str, may: set[str], head: Mapping[str, Any], here: Scope | None
) -> Response:
    _ = visit.gettext
    view = visit.view(sort="name")
    text = view.kept.get("q", "")
    wanted = [part for part in (scope_q, f"name=~{quoted(text)}" if text else "") if part]
    found = await visit.page(Robot, "/robots", view, q=",".join(wanted))
    rows = [_row(visit, each, may) for each in found.items]
    table = Table(
        _("Robot accounts"),
        [
            Column(_("Name"), "name"),
            Column(_("State")),
            Column(_("Rights")),
            Column(_("Ends")),
            Column(_("Created"), "creation_time"),
        ],
        rows,
        found.total,
        view,
        _("No robot accounts"),
        _("Pipelines and clusters sign in with one, which has only the rights that it needs."),
        "bot",
        filters=[Filter("q", _("Filter by name"), text)],
    )
    new = Item(_("New robot account"), visit.doing("new"), icon="plus")
    form, matrix = await _forms(visit, here)
    return await visit.render(
        "robots.html",
        **head,
        actions=[new] if "create" in may else [],
        form=form,
        matrix=matrix,
        actions_of=ACTIONS,
        sections=[table],
    )


def _row(visit: Visit, robot: Robot, may: set[str]) -> Row:
    _ = visit.gettext
    count = sum(len(each.access) for each in robot.permissions)
    where = ", ".join(each.namespace for each in robot.permissions[:3])
    rights = visit.ngettext("%(count)s right", "%(count)s rights", count)
    menu = []
    if "update" in may or "create" in may:
        menu += [
            Item(_("Edit"), visit.doing("edit", robot.id)),
            Item(_("New secret"), visit.doing("secret", robot.id), icon="key-round"),
            Item(
                _("Enable") if robot.disable else _("Disable"),
                op="switch",
                values={"id": str(robot.id), "disable": str(not robot.disable).lower()},
            ),
        ]
    if "delete" in may:
        href = visit.doing("delete", robot.id)
        menu.append(Item(_("Delete"), href, icon="trash-2", danger=True))
    state = (_("Disabled"), "amber") if robot.disable else (_("Enabled"), "signed")
    cells = [
        parts.text(robot.name, robot.description),
        parts.chips(state),
        parts.text(rights, where),
        parts.Cell("until", robot.expires_at),
        parts.time(robot.creation_time),
    ]
    return Row(cells, str(robot.id), robot.name, menu)


async def _forms(visit: Visit, here: Scope | None) -> tuple[Form | None, dict[str, Any]]:
    """The form, and the rights that can be ticked in it, by scope."""
    _ = visit.gettext
    do, chosen = visit.query.get("do"), visit.query.get("id", "")
    robot = Robot()
    if do in ("edit", "secret", "delete") and chosen.isdigit():
        robot = await visit.unless_gone(visit.get(Robot, f"/robots/{chosen}")) or robot
    kept = {"id": chosen}
    if do in ("secret", "delete") and robot.id:
        return _sure(visit, do, robot, kept), {}
    if do not in ("new", "edit") or (do == "edit" and not robot.id):
        return None, {}
    rights = await visit.get(Rights, "/permissions")
    matrix = {"project": _matrix(rights.project)}
    if here is None:
        matrix["system"] = _matrix(rights.system)
    days, never = _("Days until it ends"), _("-1 for never.")
    fields = [
        Field("name", _("Name"), value=robot.name, required=True, disabled=do == "edit"),
        Field("description", _("Description"), value=robot.description),
        Field("duration", days, "number", robot.duration or 30, help=never),
    ]
    if _differ(robot):
        note = _("Its rights differ between projects. They stay as they are, whatever is saved.")
        kept["rights"] = "stay"
        names = [_said(each) for each in robot.permissions]
        title = _("Edit the robot account")
        return Form("edit", title, fields, _("Save"), note, False, visit.back, kept, names), {}
    spaces = [each.namespace for each in robot.permissions if each.kind == "project"]
    if here is None:
        text = "\n".join(spaces) or "*"
        fields.append(
            Field("projects", _("Projects"), "textarea", text, _("One a line; * for every one."))
        )
    form = Form(
        "edit" if do == "edit" else "create",
        _("Edit the robot account") if do == "edit" else _("New robot account"),
        fields,
        _("Save") if do == "edit" else _("Create"),
        cancel=visit.back,
        values=kept if do == "edit" else {},
    )
    mine = form.sends(visit.field("op")) and visit.field("id") == form.values.get("id", "")
    sent = visit.problem and mine
    ticked = set(visit.fields("right")) if sent else _held(robot if do == "edit" else None)
    return form, {"rights": matrix, "ticked": ticked}


def _sure(visit: Visit, do: str, robot: Robot, kept: Mapping[str, str]) -> Form:
    """Asks once more, before there is a new secret, or no account any more."""
    _, names = visit.gettext, [robot.name]
    if do == "secret":
        title, note = _("Make a new secret?"), _("The old one stops working at once.")
        return Form("secret", title, (), _("Make it"), note, True, visit.back, kept, names)
    title = _("Delete this robot account?")
    return Form("delete", title, (), _("Delete"), "", True, visit.back, kept, names)


def _held(robot: Robot | None) -> set[str]:
    """The boxes that are ticked; for a new one, those that it is offered."""
    if robot is None:
        return {f"project:{resource}:{action}" for resource, action in FIRST}
    return {
        f"{each.kind}:{pair.resource}:{pair.action}"
        for each in robot.permissions
        for pair in each.access
    }


def _differ(robot: Robot) -> bool:
    """Whether one set of boxes cannot say what it may do: not the same in every project."""
    rights = {
        frozenset((pair.resource, pair.action) for pair in each.access)
        for each in robot.permissions
        if each.kind == "project"
    }
    return len(rights) > 1


def _said(permission: Permission) -> str:
    """A place, and what may be done there."""
    rights = ", ".join(f"{pair.resource} {pair.action}" for pair in permission.access)
    return f"{permission.namespace}: {rights}"


def _matrix(pairs: Sequence[Pair]) -> Mapping[str, set[str]]:
    """Resource to what can be done to it."""
    found: dict[str, set[str]] = {}
    for pair in pairs:
        found.setdefault(pair.resource, set()).add(pair.action)
    return dict(sorted(found.items()))


async def change(visit: Visit) -> Response:
    """Make, change, switch or delete a robot account."""
    here = await scope(visit) if "project" in visit.params else None
    op, number = visit.field("op"), visit.integer("id")
    _ = visit.gettext
    if op == "create":
        body = {
            "name": visit.field("name"),
            "level": "project" if here else "system",
            **_body(visit, here),
        }
        made = await visit.made(Secret, "/robots", body)
        return await _once(visit, made)
    if op == "secret":
        answer = await visit.send("PATCH", f"/robots/{number}", {"secret": ""})
        robot = await visit.get(Robot, f"/robots/{number}")
        secret = Secret.model_validate(plain(answer.content) or {})
        return await _once(visit, secret.model_copy(update={"name": robot.name}))
    if op == "edit":
        robot = await visit.get(Robot, f"/robots/{number}")
        body = {"name": robot.name, "level": robot.level, "disable": robot.disable}
        body |= _body(visit, here)
        if visit.field("rights") == "stay" or _differ(robot):
            del body["permissions"]  # what the API is not told of stays
        await visit.send("PUT", f"/robots/{number}", body)
        return visit.done(visit.back, _("Saved."))
    if op == "switch":
        switched = {"disable": visit.field("disable") == "true"}  # what is not said stays
        await visit.send("PUT", f"/robots/{number}", switched)
        return visit.done(visit.back, _("Saved."))
    if op == "delete":
        await visit.send("DELETE", f"/robots/{number}")
        return visit.done(visit.back, _("Deleted."))
    raise Problem(400, "BAD_REQUEST", _("That is not known here."))


def _body(visit: Visit, here: Scope | None) -> dict[str, Any]:
    access: dict[str, list[dict[str, str]]] = {"project": [], "system": []}
    for right in visit.fields("right"):
        kind, _, pair = right.partition(":")
        resource, _, action = pair.partition(":")
        if kind in access:
            access[kind].append({"resource": resource, "action": action})
    spaces = [here.project.name] if here else visit.raw("projects").split()
    permissions = [
        {"kind": "project", "namespace": space, "access": access["project"]}
        for space in spaces
        if access["project"]
    ]
    if access["system"]:
        permissions.append({"kind": "system", "namespace": "/", "access": access["system"]})
    body: dict[str, Any] = {
        "description": visit.field("description"),
        "permissions": permissions,
    }
    if visit.field("duration"):  # else as it was, or what the settings say
        body["duration"] = visit.integer("duration")
    return body


async def _once(visit: Visit, made: Secret) -> Response:
    """The secret: shown now, and never again. It stands in no address and no cookie."""
    _ = visit.gettext
    shell = await visit.shell()
    host = shell.info.registry_url or visit.host
    secret = Once(
        _("Keep this secret now"),
        made.name,
        made.secret,
        _("It is shown this once. Whoever has it acts as this robot account."),
        [f"docker login -u '{made.name}' {host}"],
    )
    return await visit.render(
        "page.html",
        title=_("Robot account"),
        glyph="bot",
        crumbs=[Crumb(_("Robot accounts"), visit.path), Crumb(made.name)],
        secret=secret,
        actions=[Item(_("Done"), visit.back)],
    )


ROUTES = (
    (PROJECTS + "/{project}/robot-account", of_project, change),
    ("/harbor/robot-accounts", of_system, change),
)
