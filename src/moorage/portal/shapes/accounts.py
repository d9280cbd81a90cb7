"""People, groups, robot accounts and access tokens, and what they may do."""

from typing import Any

from pydantic import Field

from moorage.portal.shapes.shape import Moment, Shape


class User(Shape):
    """Somebody."""

    user_id: int = 0
    username: str = ""
    email: str = ""
    realname: str = ""
    comment: str = ""
    sysadmin_flag: bool = False
    admin_role_in_auth: bool = False
    oidc_user_meta: dict[str, Any] | None = None
    creation_time: Moment = None


class Group(Shape):
    """A group of users."""

    id: int = 0
    group_name: str = ""
    group_type: int = 0
    ldap_group_dn: str = ""


class Pair(Shape):
    """A right: what may be done to what."""

    resource: str = ""
    action: str = ""


class Rights(Shape):
    """What a robot account can be given."""

    system: list[Pair] = Field(default_factory=list)
    project: list[Pair] = Field(default_factory=list)


class Permission(Shape):
    """Rights in one place."""

    kind: str = ""
    namespace: str = ""
    access: list[Pair] = Field(default_factory=list)


class Robot(Shape):
    """A robot account."""

    id: int = 0
    name: str = ""
    description: str = ""
    level: str = ""
    disable: bool = False
    duration: int = 0
    expires_at: int = 0
    permissions: list[Permission] = Field(default_factory=list)
    creation_time: Moment = None


class AccessToken(Shape):
    """An access token."""

    id: int = 0
    name: str = ""
    permissions: list[Permission] | None = None
    expires_at: int = 0
    last_used: Moment = None
    creation_time: Moment = None


class Secret(Shape):
    """Something new, with the secret that is shown once."""

    id: int = 0
    name: str = ""
    secret: str = ""
    expires_at: int = 0
