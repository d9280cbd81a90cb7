"""The audit log: of everything, and of one project."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from starlette.responses import Response

from moorage.portal import parts
from moorage.portal.client import quoted
from moorage.portal.parts import Choice, Column, Crumb, Filter, Row, Table, View
from moorage.portal.scope import PROJECTS, scope
from moorage.portal.shapes.installation import Logged
from moorage.portal.visits import Visit

OPERATIONS = (
    *("create", "update", "delete", "pull", "execute", "warn", "login"),  # in a project
    *("logout", "stop"),
)
OF_PROJECTS = (
    *("artifact", "repository", "project", "quota", "member", "label", "robot"),
    *("federation_rule", "immutable_rule", "retention_policy", "replication_policy"),
    "webhook_policy",
)
KINDS = (
    *OF_PROJECTS,
    *("user", "user_group", "access_token", "configuration", "registry", "scanner"),
    *("job", "job_queue", "schedule", "audit_log"),
)
"""What the API says that it happened to; a test holds it against all that can happen."""


async def of_everything(visit: Visit) -> Response:
    """What the visitor may know of."""
    _ = visit.gettext
    head = {"title": _("Audit log"), "glyph": "scroll-text", "crumbs": [Crumb(_("Audit log"))]}
    return await _page(visit, "/auditlog-exts", head, KINDS)


async def of_project(visit: Visit) -> Response:
    """What happened in a project."""
    here = await scope(visit)
    return await _page(visit, f"{here.named}/auditlog-exts", here.head("logs"), OF_PROJECTS)


async def _page(visit: Visit, path: str, head: dict[str, Any], kinds: Sequence[str]) -> Response:
    _ = visit.gettext
    view = visit.view("who", "operation", "type", sort="-op_time")
    if view.column != "op_time":  # there may be millions: only their times are in an order
        view = replace(view, sort="-op_time")
    found = await visit.page(Logged, path, view, q=_wanted(view.kept))
    table = Table(
        _("Audit log"),
        [
            Column(_("Time"), "op_time"),
            Column(_("Who")),
            Column(_("Did")),
            Column(_("What")),
            Column(_("Kind")),
            Column(_("Result")),
        ],
        [_row(visit, each) for each in found.items],
        found.total,
        view,
        _("Nothing happened yet"),
        icon="scroll-text",
        filters=_filters(visit, view, kinds),
    )
    return await visit.render("page.html", **head, sections=[table])


def _wanted(kept: Mapping[str, str]) -> str:
    """What the filters ask for, as the API reads it; a choice that is none asks for nothing."""
    wanted = []
    if kept.get("q"):
        wanted.append(f"resource=~{quoted(kept['q'])}")
    if kept.get("who"):
        wanted.append(f"username=~{quoted(kept['who'])}")
    if kept.get("operation") in OPERATIONS:
        wanted.append(f"operation={kept['operation']}")
    if kept.get("type") in KINDS:
        wanted.append(f"resource_type={kept['type']}")
    return ",".join(wanted)


def _row(visit: Visit, logged: Logged) -> Row:
    _ = visit.gettext
    result = (_("done"), "signed") if logged.operation_result else (_("failed"), "red")
    return Row(
        [
            parts.time(logged.op_time),
            parts.text(logged.username),
            parts.chips((logged.operation, "plain")),
            parts.text(logged.resource, logged.operation_description),
            parts.text(_said(logged.resource_type)),
            parts.chips(result),
        ]
    )


def _filters(visit: Visit, view: View, kinds: Sequence[str]) -> list[Filter]:
    _, kept = visit.gettext, view.kept
    every = Choice("", _("All"))
    operations = [every, *(Choice(each, each) for each in OPERATIONS)]
    types = [every, *(Choice(each, _said(each)) for each in kinds)]
    return [
        Filter("q", _("Filter by resource"), kept.get("q", "")),
        Filter("who", _("Filter by user"), kept.get("who", "")),
        Filter("operation", _("Did"), kept.get("operation", ""), operations),
        Filter("type", _("Kind"), kept.get("type", ""), types),
    ]


def _said(kind: str) -> str:
    return kind.replace("_", " ")


ROUTES = (
    ("/harbor/logs", of_everything, None),
    (PROJECTS + "/{project}/logs", of_project, None),
)
