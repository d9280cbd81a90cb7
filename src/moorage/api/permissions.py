"""What a robot account can be given: /permissions; what the caller holds: /users/current/…"""

import re
from collections.abc import Mapping
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import Field
from starlette.responses import Response

from moorage.access import roles
from moorage.api.access import Api, Signed, refusal
from moorage.api.wire import Wire, reply

router = APIRouter()
_SCOPE = re.compile(r"/project/(\d{1,18})")


class PermissionResp(Wire):
    """One pair."""

    resource: str = ""
    action: str = ""


class Permissions(Wire):
    """The pairs of both scopes."""

    system: list[PermissionResp] = Field(default_factory=list)
    project: list[PermissionResp] = Field(default_factory=list)


def _pairs(table: Mapping[str, tuple[str, ...]]) -> list[PermissionResp]:
    return [
        PermissionResp(resource=resource, action=action)
        for resource, actions in table.items()
        for action in actions
    ]


@router.get("/permissions", tags=["permissions"], response_model=Permissions)
async def get_permissions(api: Api, who: Signed) -> Response:
    """For whoever may make robot accounts: system and project administrators."""
    if who.sysadmin:
        return reply(
            Permissions(
                system=_pairs(roles.GRANTABLE_SYSTEM), project=_pairs(roles.GRANTABLE_PROJECT)
            )
        )
    if who.kind != "user" or not await api.members.administers(who.id):
        raise refusal(who)
    return reply(Permissions(project=_pairs(roles.GRANTABLE_PROJECT)))


@router.get("/users/current/permissions", tags=["user"], response_model=list[PermissionResp])
async def get_current_user_permissions(
    api: Api,
    who: Signed,
    scope: Annotated[str, Query(description="/project/{id}; without it the system.")] = "",
    relative: Annotated[bool, Query(description="Names without the scope before them.")] = False,
) -> Response:
    """The pairs that the caller holds in a scope; none in a scope that is not there."""
    found = _SCOPE.fullmatch(scope)
    held: roles.Pairs = frozenset()
    if not scope:
        held = await api.grants.system(who)
    elif found:
        ref = await api.grants.project_by_id(int(found[1]))
        held = await api.grants.within(who, ref) if ref else held
    # More than a hundred, and nothing of them is zero.
    return reply(
        [
            {"resource": _name(resource, scope, relative), "action": action}
            for resource, action in sorted(held)
        ]
    )


def _name(resource: str, scope: str, relative: bool) -> str:
    """A resource in its scope: `/project/1/tag`, relative `tag`; the project itself is `.`."""
    if scope and resource == "project":
        return "." if relative else scope
    return resource if relative else f"{scope or '/system'}/{resource}"
