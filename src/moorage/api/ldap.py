"""The LDAP server behind the sign-in: /ldap."""

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import Field, SecretStr
from starlette.responses import Response

from moorage.access.principals import Principal
from moorage.accounts.ldap import LdapSettings
from moorage.accounts.records import LDAP
from moorage.api.access import Admin, Api, in_system
from moorage.api.usergroups import UserGroup
from moorage.api.wire import Text, Wire, reply
from moorage.config.configuration import Configuration
from moorage.errors import AddressRefused, Invalid, Unreachable, Unsupported

router = APIRouter(tags=["Ldap"])


class LdapConf(Wire):
    """Settings to try; what is left out is as it is set."""

    ldap_url: Text | None = None
    ldap_search_dn: Text | None = None
    ldap_search_password: Text | None = None
    ldap_base_dn: Text | None = None
    ldap_filter: Text | None = None
    ldap_uid: Text | None = None
    ldap_scope: Annotated[int, Field(ge=0, le=2)] | None = None
    ldap_connection_timeout: Annotated[int, Field(gt=0, le=60)] | None = None
    ldap_verify_cert: bool | None = None


class LdapPingResult(Wire):
    """Whether the server can be used, and why not."""

    success: bool = False
    message: str = ""


class LdapUser(Wire):
    """Somebody whom the directory knows."""

    username: str = ""
    realname: str = ""
    email: str = ""


class LdapImportUsers(Wire):
    """Who shall have an account."""

    ldap_uid_list: list[Text] = Field(default_factory=list)


class LdapFailedImportUser(Wire):
    """Who got none, and why."""

    uid: str = ""
    error: str = ""


def _tried(stored: Configuration, said: LdapConf | None) -> Configuration:
    """The settings to try. The stored password only goes to the server that it was stored for."""
    if said is None:
        return stored
    values = said.model_dump(exclude_none=True)
    if "ldap_connection_timeout" in values:
        values["ldap_timeout"] = values.pop("ldap_connection_timeout")
    password = values.pop("ldap_search_password", None)
    elsewhere = any(
        values.get(name, getattr(stored, name)) != getattr(stored, name)
        for name in ("ldap_url", "ldap_search_dn")
    )
    if password is not None:
        values["ldap_search_password"] = SecretStr(password)
    elif elsewhere or (stored.ldap_verify_cert and values.get("ldap_verify_cert") is False):
        values["ldap_search_password"] = SecretStr("")
    return stored.model_copy(update=values)


@router.post("/ldap/ping", response_model=LdapPingResult)
async def ping_ldap(api: Api, who: Admin, body: LdapConf | None = None) -> Response:
    """Try the settings: connect, sign in as the search account, search."""
    stored = await api.configurations.current()
    try:
        await api.ldap.ping(LdapSettings.of(_tried(stored, body)))
    except (Unreachable, AddressRefused, Invalid, Unsupported) as error:
        return reply(LdapPingResult(message=error.message))
    return reply(LdapPingResult(success=True))


@router.get("/ldap/users/search", response_model=list[LdapUser])
async def search_ldap_user(
    api: Api,
    who: Annotated[Principal, in_system("ldap-user", "list")],
    username: Annotated[str, Query(description="The user name; all, without one.")] = "",
) -> Response:
    """People whom the directory knows."""
    settings = LdapSettings.of(await api.configurations.current())
    people = await api.ldap.people(settings, username)
    return reply(
        [LdapUser(username=p.username, realname=p.realname, email=p.email) for p in people]
    )


@router.post(
    "/ldap/users/import",
    responses={404: {"model": list[LdapFailedImportUser], "description": "Some got none."}},
)
async def import_ldap_user(
    api: Api,
    body: LdapImportUsers,
    who: Annotated[Principal, in_system("ldap-user", "create")],
) -> Response:
    """Make accounts for people before they sign in; 404 lists those who got none."""
    failed = await api.ldap_accounts.bring(body.ldap_uid_list)
    if failed:
        items = [LdapFailedImportUser(uid=uid, error=why) for uid, why in failed]
        return reply(items, status=404)
    return Response(status_code=200)


@router.get("/ldap/groups/search", response_model=list[UserGroup])
async def search_ldap_group(
    api: Api,
    who: Annotated[Principal, in_system("ldap-user", "list")],
    groupname: Annotated[str, Query(description="Part of the name.")] = "",
    groupdn: Annotated[str, Query(description="The DN.")] = "",
) -> Response:
    """Groups that the directory knows."""
    settings = LdapSettings.of(await api.configurations.current())
    found = await api.ldap.groups(settings, groupname, groupdn)
    return reply(
        [
            UserGroup(group_name=name, group_type=LDAP, ldap_group_dn=group_dn)
            for group_dn, name in sorted(found.items(), key=lambda item: item[1])
        ]
    )
