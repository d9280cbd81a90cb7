"""Users: /users. Whoever is no administrator reads and changes himself alone."""

from datetime import datetime
from typing import Annotated, ClassVar

from fastapi import APIRouter, Path, Query, Request
from pydantic import Field
from starlette.responses import Response

from moorage.access.principals import Principal
from moorage.accounts.records import Identity, User
from moorage.api.access import Api, InPerson, Signed, Who, in_system, refusal
from moorage.api.lists import Listed, Paged, created, listing, lists
from moorage.api.services import Services
from moorage.api.wire import Text, Wire, reply
from moorage.db.queries import LARGEST, Fuzzy
from moorage.errors import NotFound, PreconditionFailed

router = APIRouter(tags=["user"])
UserId = Annotated[int, Path(ge=0, le=LARGEST)]


class OIDCUserInfo(Wire):
    """What an identity provider says of a user."""

    id: int = 0
    user_id: int = 0
    subiss: str = ""
    secret: str = ""
    creation_time: datetime | None = None
    update_time: datetime | None = None


class UserResp(Wire):
    """A user."""

    kept: ClassVar[frozenset[str]] = frozenset({"sysadmin_flag", "admin_role_in_auth"})
    email: str = ""
    realname: str = ""
    comment: str = ""
    user_id: int = 0
    username: str = ""
    sysadmin_flag: bool = False
    admin_role_in_auth: bool = False
    oidc_user_meta: OIDCUserInfo | None = None
    creation_time: datetime | None = None
    update_time: datetime | None = None


class UserSearchRespItem(Wire):
    """A user as everybody finds him."""

    user_id: int = 0
    username: str = ""


class UserCreationReq(Wire):
    """A new user."""

    username: Annotated[Text, Field(max_length=255)] = ""
    email: Annotated[Text, Field(max_length=255)] = ""
    realname: Text = ""
    comment: Text = ""
    password: Text = ""


class UserProfile(Wire):
    """What a user may change of himself."""

    email: Text | None = None
    realname: Text | None = None
    comment: Text | None = None


class UserSysAdminFlag(Wire):
    """Whether a user administers the system."""

    sysadmin_flag: bool = False


class PasswordReq(Wire):
    """A new password; one's own needs the old one."""

    old_password: Text = ""
    new_password: Text = ""


class OIDCCliSecretReq(Wire):
    """A secret for clients that cannot sign in with a browser."""

    secret: Text = ""


def _user(user: User, identity: Identity | None = None) -> UserResp:
    return UserResp(
        oidc_user_meta=_meta(identity) if identity else None,
        email=user.email or "",
        realname=user.realname,
        comment=user.comment,
        user_id=user.id,
        username=user.username,
        sysadmin_flag=user.sysadmin,
        admin_role_in_auth=user.admin_in_auth,
        creation_time=user.created_at,
        update_time=user.updated_at,
    )


def _meta(identity: Identity) -> OIDCUserInfo:
    """Never with the secret: it was shown when it was made."""
    return OIDCUserInfo(
        id=identity.id,
        user_id=identity.user_id,
        subiss=identity.subject + identity.issuer,
        creation_time=identity.created_at,
        update_time=identity.updated_at,
    )


async def require_user(api: Services, who: Principal, user_id: int, action: str) -> None:
    """The user himself, or whoever may do `action` to users; a token of few rights only reads."""
    himself = who.kind == "user" and who.id == user_id
    if himself and (who.bounds is None or action == "read"):
        return
    if ("user", action) not in await api.grants.system(who):
        raise refusal(who)


@router.get("/users", **lists(UserResp))
async def list_users(
    request: Request,
    api: Api,
    query: Listed,
    who: Annotated[Principal, in_system("user", "list")],
) -> Response:
    """Every user."""
    page = await api.users.list(query)
    return listing(request, query, page, [_user(user) for user in page.items])


@router.post("/users", status_code=201)
async def create_user(request: Request, api: Api, who: Who, body: UserCreationReq) -> Response:
    """Make a user, or oneself where that is allowed; never an administrator."""
    settings = await api.configurations.current()
    local = settings.auth_mode == "db_auth"
    oneself = who.kind == "anonymous" and settings.self_registration and local
    if not oneself and ("user", "create") not in await api.grants.system(who):
        raise refusal(who)
    user_id = await api.users.create(
        who,
        body.username,
        body.password,
        email=body.email or None,
        realname=body.realname,
        comment=body.comment,
    )
    return created(request, user_id)


@router.get("/users/current", response_model=UserResp)
async def get_current_user_info(api: Api, who: Signed) -> Response:
    """Whoever calls; a robot account is no user."""
    if who.kind != "user":
        raise PreconditionFailed("get current user not available for security context: robot")
    try:
        return reply(_user(await api.users.get(who.id), await api.users.identity(who.id)))
    except NotFound as error:  # deleted since the credentials were verified
        raise refusal(Principal("anonymous")) from error


@router.get("/users/search", **lists(UserSearchRespItem))
async def search_users(
    request: Request, api: Api, who: Signed, query: Paged, username: Annotated[str, Query()]
) -> Response:
    """Users by part of the name: ids and names, to make them members."""
    query = query.with_filter("username", Fuzzy(username))
    page = await api.users.list(query)
    items = [UserSearchRespItem(user_id=u.id, username=u.username) for u in page.items]
    return listing(request, query, page, items)


@router.get("/users/{user_id}", response_model=UserResp)
async def get_user(api: Api, who: Signed, user_id: UserId) -> Response:
    """One user."""
    await require_user(api, who, user_id, "read")
    return reply(_user(await api.users.get(user_id), await api.users.identity(user_id)))


@router.put("/users/{user_id}")
async def update_user_profile(
    api: Api, who: Signed, user_id: UserId, body: UserProfile
) -> Response:
    """Change the profile."""
    await require_user(api, who, user_id, "update")
    await api.users.update(
        who, user_id, email=body.email, realname=body.realname, comment=body.comment
    )
    return Response(status_code=200)


@router.delete("/users/{user_id}")
async def delete_user(
    api: Api, user_id: UserId, who: Annotated[Principal, in_system("user", "delete")]
) -> Response:
    """Delete a user; neither oneself nor the first administrator."""
    await api.users.delete(who, user_id)
    return Response(status_code=200)


@router.put("/users/{user_id}/sysadmin")
async def set_user_sys_admin(
    api: Api,
    user_id: UserId,
    body: UserSysAdminFlag,
    who: Annotated[Principal, in_system("user", "update")],
    _: InPerson,
) -> Response:
    """Make a user an administrator of the system, or no longer."""
    await api.users.set_sysadmin(who, user_id, body.sysadmin_flag)
    return Response(status_code=200)


@router.put("/users/{user_id}/password")
async def update_user_password(
    api: Api, who: InPerson, user_id: UserId, body: PasswordReq
) -> Response:
    """Set a password."""
    await require_user(api, who, user_id, "update")
    await api.users.change_password(who, user_id, body.new_password, old=body.old_password)
    return Response(status_code=200)


@router.put("/users/{user_id}/cli_secret", response_model=OIDCCliSecretReq)
async def set_cli_secret(
    api: Api, who: InPerson, user_id: UserId, body: OIDCCliSecretReq
) -> Response:
    """Set the secret of docker and the like; without one, one is made and shown this once."""
    await require_user(api, who, user_id, "update")
    secret = await api.users.set_cli_secret(who, user_id, body.secret or None)
    return reply(OIDCCliSecretReq(secret="" if body.secret else secret))
