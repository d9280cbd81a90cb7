"""The first run: while there is no repository, the projects page shows how the first push is made.

    nothing pushed ─► three commands of a client, with the host of this registry
    a button       ─► an access token of the visitor's own that may only push to one project,
                      shown once and filled into the commands

Without a project to push to the button makes that too.
"""

import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from moorage.portal.client import Problem, segment
from moorage.portal.parts import Choice, Field, Form
from moorage.portal.scope import rights_in
from moorage.portal.shapes.accounts import Secret
from moorage.portal.shapes.projects import Project
from moorage.portal.visits import Shell, Visit

DAYS = 30
"""Until the token ends."""
PUSHERS = (1, 2, 4)
"""Ids of the roles that push."""
EXAMPLE = "hello-world"
_LOCAL = re.compile(r"(localhost|127\.[0-9.]+|\[::1\])(:\d+)?")


@dataclass(frozen=True, slots=True)
class Commands:
    """What somebody types with one client."""

    client: str
    lines: Sequence[str]


@dataclass(frozen=True, slots=True)
class FirstPush:
    """The panel: commands, and the form that fills a credential into them."""

    form: Form | None
    commands: Sequence[Commands]
    insecure: bool
    """Whether docker has to be told that this registry answers without TLS."""
    secret: Secret | None = None
    project: str = ""


def panel(visit: Visit, shell: Shell, found: Sequence[Project], *, may_create: bool) -> FirstPush:
    """What is shown before anything is made; `found` are the projects that the visitor sees."""
    _ = visit.gettext
    open_to_push = [
        each.name
        for each in found
        if not each.registry_id and (shell.admin or each.current_user_role_id in PUSHERS)
    ]
    field = None
    if open_to_push:
        choices = [Choice(name, name) for name in open_to_push]
        field = Field("project", _("Project"), "select", open_to_push[0], choices=choices)
    elif may_create:
        assert shell.user is not None
        name = re.sub(r"[^a-z0-9]+", "-", shell.user.username.lower()).strip("-") or "first"
        note = _("It is made with the token, and private.")
        field = Field("project", _("New project"), value=name, help=note, required=True)
    project = str(field.value) if field else "PROJECT"
    form = None
    if field is not None:
        form = Form(
            "first-push",
            _("Make the first push"),
            [field],
            _("Make a token and fill it in"),
            _("It may push to and pull from this project alone, for %(days)s days.", days=DAYS),
        )
    return FirstPush(
        form, _commands(visit, shell, project, ""), _insecure(visit, shell), None, project
    )


async def made(visit: Visit, *, may_create: bool) -> tuple[Secret, str]:
    """The button: a token, and the project that it is for; raises Problem."""
    name = visit.field("project")
    if may_create:
        try:
            body = {"project_name": name, "metadata": {"public": "false"}}
            await visit.send("POST", "/projects", body)
        except Problem as problem:
            if problem.status != 409:
                raise
    project = await visit.get(Project, f"/projects/{segment(name)}")
    if ("repository", "push") not in await rights_in(visit, project.project_id):
        raise Problem(403, "FORBIDDEN", visit.gettext("You may not push to this project."))
    access = [{"resource": "repository", "action": action} for action in ("pull", "push")]
    token: dict[str, Any] = {
        "name": f"first-push-{secrets.token_hex(3)}",
        "duration": DAYS,
        "permissions": [{"kind": "project", "namespace": name, "access": access}],
    }
    return await visit.made(Secret, "/users/current/tokens", token), name


def filled(
    visit: Visit, shell: Shell, before: FirstPush, secret: Secret, project: str
) -> FirstPush:
    """The panel with the token in it. It is shown this once, and stands in no address."""
    commands = _commands(visit, shell, project, secret.secret)
    return replace(before, form=None, commands=commands, secret=secret, project=project)


def _insecure(visit: Visit, shell: Shell) -> bool:
    return not visit.secure and not _LOCAL.fullmatch(_host(visit, shell))


def _host(visit: Visit, shell: Shell) -> str:
    return shell.info.registry_url or visit.host


def _commands(visit: Visit, shell: Shell, project: str, secret: str) -> Sequence[Commands]:
    """The same three steps with each client: sign in, name something, push it."""
    name = shell.user.username if shell.user else "USER"
    host, user = _host(visit, shell), "'" + name.replace("'", "'\\''") + "'"
    place = f"{host}/{project}/{EXAMPLE}:1.0"
    without_tls = "" if visit.secure else " --tls-verify=false"
    plain = "" if visit.secure else " --plain-http"

    def login(command: str) -> str:
        if not secret:
            return f"{command} -u {user} {host}"
        return f"echo '{secret}' | {command} -u {user} --password-stdin {host}"

    origin = f"docker.io/library/{EXAMPLE}"
    return [
        Commands(
            "docker",
            [
                login("docker login"),
                f"docker pull {EXAMPLE} && docker tag {EXAMPLE} {place}",
                f"docker push {place}",
            ],
        ),
        Commands(
            "podman",
            [
                login(f"podman login{without_tls}"),
                f"podman pull {origin} && podman tag {origin} {place}",
                f"podman push{without_tls} {place}",
            ],
        ),
        Commands(
            "oras",
            [
                login(f"oras login{plain}"),
                "echo hello > hello.txt",
                f"oras push{plain} {place} hello.txt",
            ],
        ),
    ]
