"""Members of a project: /projects/{p}/members."""

from typing import Annotated

from fastapi import APIRouter, Path, Query, Request
from starlette.responses import Response

from moorage.access.roles import ROLE_NAMES
from moorage.api.access import Api, Who, inside
from moorage.api.lists import Paged, listing, lists
from moorage.api.usergroups import UserGroup
from moorage.api.wire import Text, Wire, reply
from moorage.db.queries import LARGEST, Fuzzy
from moorage.projects.records import GroupName, Member, ProjectRef

router = APIRouter(tags=["member"])
MemberId = Annotated[int, Path(ge=0, le=LARGEST, description="The id of the membership.")]


class UserEntity(Wire):
    """A user by id or by name."""

    user_id: Annotated[int, Query(ge=0, le=LARGEST)] = 0
    username: Text = ""


class ProjectMember(Wire):
    """Who shall have which role."""

    role_id: int = 0
    member_user: UserEntity | None = None
    member_group: UserGroup | None = None


class RoleRequest(Wire):
    """Another role."""

    role_id: int = 0


class ProjectMemberEntity(Wire):
    """A membership."""

    id: int = 0
    project_id: int = 0
    entity_name: str = ""
    role_name: str = ""
    role_id: int = 0
    entity_id: int = 0
    entity_type: str = ""


def _entity(member: Member) -> ProjectMemberEntity:
    return ProjectMemberEntity(
        id=member.id,
        project_id=member.project_id,
        entity_name=member.name,
        role_name=ROLE_NAMES[member.role_id],
        role_id=member.role_id,
        entity_id=member.entity_id,
        entity_type=member.kind,
    )


@router.get("/projects/{project_name_or_id}/members", **lists(ProjectMemberEntity))
async def list_project_members(
    request: Request,
    api: Api,
    query: Paged,
    ref: Annotated[ProjectRef, inside("member", "list")],
    entityname: Annotated[str, Query(description="Part of the user's name.")] = "",
) -> Response:
    """The members of a project."""
    if entityname:
        query = query.with_filter("entityname", Fuzzy(entityname))
    page = await api.members.list(ref.id, query)
    return listing(request, query, page, [_entity(member) for member in page.items])


@router.post("/projects/{project_name_or_id}/members", status_code=201)
async def create_project_member(
    api: Api, who: Who, body: ProjectMember, ref: Annotated[ProjectRef, inside("member", "create")]
) -> Response:
    """Give a user or a group a role; a group that is not known yet becomes known."""
    user, group = body.member_user or UserEntity(), None
    if body.member_user is None and body.member_group is not None:
        said = body.member_group
        group = GroupName(said.id, said.ldap_group_dn, said.group_type, said.group_name)
    member_id = await api.members.add(
        who, ref.id, body.role_id, user_id=user.user_id or None, username=user.username, group=group
    )
    location = f"/api/v2.0/projects/{ref.id}/members/{member_id}"
    return Response(status_code=201, headers={"Location": location})


@router.get("/projects/{project_name_or_id}/members/{mid}", response_model=ProjectMemberEntity)
async def get_project_member(
    api: Api, mid: MemberId, ref: Annotated[ProjectRef, inside("member", "read")]
) -> Response:
    """One membership."""
    return reply(_entity(await api.members.get(ref.id, mid)))


@router.put("/projects/{project_name_or_id}/members/{mid}")
async def update_project_member(
    api: Api,
    who: Who,
    mid: MemberId,
    body: RoleRequest,
    ref: Annotated[ProjectRef, inside("member", "update")],
) -> Response:
    """Give a member another role."""
    await api.members.change(who, ref.id, mid, body.role_id)
    return Response(status_code=200)


@router.delete("/projects/{project_name_or_id}/members/{mid}")
async def delete_project_member(
    api: Api, who: Who, mid: MemberId, ref: Annotated[ProjectRef, inside("member", "delete")]
) -> Response:
    """End a membership."""
    await api.members.remove(who, ref.id, mid)
    return Response(status_code=200)
