"""User groups: /usergroups."""

from typing import Annotated

from fastapi import APIRouter, Path, Query, Request
from pydantic import Field
from starlette.responses import Response

from moorage.access.principals import Principal
from moorage.accounts import dn
from moorage.accounts.ldap import LdapSettings
from moorage.accounts.records import LDAP, Group
from moorage.api.access import Api, Signed, in_system
from moorage.api.lists import Paged, created, listing, lists
from moorage.api.services import Services
from moorage.api.wire import Text, Wire, reply
from moorage.db.queries import LARGEST, Exact, Fuzzy
from moorage.errors import NotFound

router = APIRouter(tags=["usergroup"])
GroupId = Annotated[int, Path(ge=0, le=LARGEST, description="The id of the group.")]


class UserGroup(Wire):
    """A group of users."""

    id: Annotated[int, Field(ge=0, le=LARGEST)] = 0
    group_name: Annotated[Text, Field(max_length=255)] = ""
    group_type: int = Field(0, description="1: LDAP, 2: HTTP, 3: OIDC.")
    ldap_group_dn: Annotated[Text, Field(max_length=512)] = ""


class UserGroupSearchItem(Wire):
    """A group as everybody finds it."""

    id: int = 0
    group_name: str = ""
    group_type: int = 0


def _print(group: Group) -> UserGroup:
    return UserGroup(
        id=group.id,
        group_name=group.name,
        group_type=group.kind,
        ldap_group_dn=group.ldap_dn,
    )


@router.get("/usergroups", **lists(UserGroup))
async def list_user_groups(
    request: Request,
    api: Api,
    query: Paged,
    who: Annotated[Principal, in_system("user-group", "list")],
    ldap_group_dn: Annotated[str, Query(description="The DN of a group of LDAP.")] = "",
    group_name: Annotated[str, Query(description="Part of the name.")] = "",
) -> Response:
    """Every group that is known, by name."""
    if ldap_group_dn:
        query = query.with_filter("ldap_group_dn", Exact(dn.normal(ldap_group_dn)))
    if group_name:
        query = query.with_filter("group_name", Fuzzy(group_name))
    page = await api.groups.list(query)
    return listing(request, query, page, [_print(group) for group in page.items])


@router.post("/usergroups", status_code=201)
async def create_user_group(
    request: Request,
    api: Api,
    body: UserGroup,
    who: Annotated[Principal, in_system("user-group", "create")],
) -> Response:
    """Make a group known before anybody of it signs in; LDAP is asked for one of its own."""
    if body.group_type == LDAP and body.ldap_group_dn:
        await _require_known(api, body.ldap_group_dn)
    group_id = await api.groups.create(
        who, body.group_type, body.group_name, ldap_dn=body.ldap_group_dn
    )
    return created(request, group_id)


async def _require_known(api: Services, group_dn: str) -> None:
    """Raises NotFound when LDAP signs people in and does not know the group.

    A typo would give nobody anything, and only whoever misses it would notice.
    """
    settings = await api.configurations.current()
    if settings.auth_mode != "ldap_auth":
        return
    if not await api.ldap.groups(LdapSettings.of(settings), "", group_dn):
        raise NotFound(f"LDAP Group DN is not found: {group_dn}")


@router.get("/usergroups/search", **lists(UserGroupSearchItem))
async def search_user_groups(
    request: Request, api: Api, who: Signed, query: Paged, groupname: Annotated[str, Query()]
) -> Response:
    """Groups by part of the name, to make them members."""
    query = query.with_filter("group_name", Fuzzy(groupname))
    page = await api.groups.list(query)
    items = [
        UserGroupSearchItem(id=group.id, group_name=group.name, group_type=group.kind)
        for group in page.items
    ]
    return listing(request, query, page, items)


@router.get("/usergroups/{group_id}", response_model=UserGroup)
async def get_user_group(
    api: Api, group_id: GroupId, who: Annotated[Principal, in_system("user-group", "read")]
) -> Response:
    """One group."""
    return reply(_print(await api.groups.get(group_id)))


@router.put("/usergroups/{group_id}")
async def update_user_group(
    api: Api,
    group_id: GroupId,
    body: UserGroup,
    who: Annotated[Principal, in_system("user-group", "update")],
) -> Response:
    """Give a group another name; nothing else of it can change."""
    await api.groups.rename(who, group_id, body.group_name)
    return Response(status_code=200)


@router.delete("/usergroups/{group_id}")
async def delete_user_group(
    api: Api, group_id: GroupId, who: Annotated[Principal, in_system("user-group", "delete")]
) -> Response:
    """Forget a group and its roles in projects."""
    await api.groups.delete(who, group_id)
    return Response(status_code=200)
