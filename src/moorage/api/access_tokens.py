"""Personal access tokens: /users/current/tokens and /users/{user_id}/tokens. Ours, not Harbor's.

A user makes, lists and ends his own; whoever may change users lists and ends those of all.
"""

from collections.abc import Awaitable
from datetime import datetime
from typing import Annotated, TypeVar

from fastapi import APIRouter, Path, Request
from pydantic import Field
from starlette.responses import Response

from moorage.access.principals import Principal
from moorage.accounts import access_tokens
from moorage.api.access import Api, InPerson, refusal
from moorage.api.lists import Paged, address, listing, lists
from moorage.api.robots import Permissions, from_wire, to_wire
from moorage.api.users import UserId, require_user
from moorage.api.wire import Text, Wire, reply
from moorage.db.queries import LARGEST
from moorage.errors import Invalid, ProjectUnknown

router = APIRouter(tags=["access token"])
T = TypeVar("T")
TokenId = Annotated[int, Path(ge=0, le=LARGEST)]
OWN = "/users/current/tokens"
OF_USER = "/users/{user_id}/tokens"


class AccessTokenReq(Wire):
    """A new access token."""

    name: Text = ""
    duration: int | None = Field(default=None, description="Days; -1 for ever; 30 if left out.")
    permissions: Permissions | None = Field(
        default=None,
        description="Rights in projects that the token leaves; left out: all that the user may.",
    )


class AccessTokenResp(Wire):
    """An access token, without its secret."""

    id: int = 0
    name: str = ""
    permissions: Permissions | None = None
    expires_at: int = Field(default=0, description="Seconds since 1970; -1: never.")
    last_used: datetime | None = None
    creation_time: datetime | None = None


class AccessTokenCreated(Wire):
    """A new access token with its secret, which is shown this once."""

    id: int = 0
    name: str = ""
    secret: str = ""
    expires_at: int = 0
    creation_time: datetime | None = None


def _expiry(token: access_tokens.AccessToken) -> int:
    return int(token.expires_at.timestamp()) if token.expires_at else -1


def _token(token: access_tokens.AccessToken) -> AccessTokenResp:
    return AccessTokenResp(
        id=token.id,
        name=token.name,
        permissions=None if token.permissions is None else to_wire(token.permissions),
        expires_at=_expiry(token),
        last_used=token.used_at,
        creation_time=token.created_at,
    )


@router.get(OWN, **lists(AccessTokenResp))
async def list_access_tokens(request: Request, api: Api, who: InPerson, query: Paged) -> Response:
    """The caller's tokens by name, those that ended too."""
    page = await api.access_tokens.list(_user(who), query)
    return listing(request, query, page, [_token(token) for token in page.items])


@router.post(OWN, status_code=201, response_model=AccessTokenCreated)
async def create_access_token(
    request: Request, api: Api, who: InPerson, body: AccessTokenReq
) -> Response:
    """Make a token of the caller; its secret is shown this once."""
    work = api.access_tokens.create(
        who,
        body.name,
        duration=body.duration,
        permissions=None if body.permissions is None else from_wire(body.permissions),
    )
    made = await _unseen(who, work)
    answer = AccessTokenCreated(
        id=made.token.id,
        name=made.token.name,
        secret=made.secret,
        expires_at=_expiry(made.token),
        creation_time=made.token.created_at,
    )
    location = f"{address(request)}/{made.token.id}"
    headers = {"Location": location, "Cache-Control": "no-store"}
    return reply(answer, status=201, headers=headers)


@router.delete(OWN + "/{token_id}")
async def delete_access_token(api: Api, who: InPerson, token_id: TokenId) -> Response:
    """End one of the caller's tokens at once."""
    await api.access_tokens.delete(who, _user(who), token_id)
    return Response(status_code=200)


@router.get(OF_USER, **lists(AccessTokenResp))
async def list_user_access_tokens(
    request: Request, api: Api, who: InPerson, user_id: UserId, query: Paged
) -> Response:
    """Somebody's tokens, for himself and whoever may read users."""
    await require_user(api, who, user_id, "read")
    await api.users.get(user_id)
    page = await api.access_tokens.list(user_id, query)
    return listing(request, query, page, [_token(token) for token in page.items])


@router.delete(OF_USER + "/{token_id}")
async def delete_user_access_token(
    api: Api, who: InPerson, user_id: UserId, token_id: TokenId
) -> Response:
    """End somebody's token at once: for himself and whoever may change users."""
    await require_user(api, who, user_id, "update")
    await api.access_tokens.delete(who, user_id, token_id)
    return Response(status_code=200)


def _user(who: Principal) -> int:
    if who.kind != "user":
        raise Invalid("only users have access tokens; a robot account has its secret")
    return who.id


async def _unseen(who: Principal, work: Awaitable[T]) -> T:
    """A project that is not there looks like one without rights."""
    try:
        return await work
    except ProjectUnknown as error:
        raise (error if who.sysadmin else refusal(who)) from error
