"""Values that cross the border of `accounts`; rows stay inside."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from moorage.access.principals import Principal


@dataclass(frozen=True, slots=True)
class User:
    """A person. The password's hash never leaves this package."""

    id: int
    username: str
    email: str | None
    realname: str
    comment: str
    sysadmin: bool
    admin_in_auth: bool  # an administrator by a group of the provider
    created_at: datetime
    updated_at: datetime


LDAP, HTTP, OIDC = 1, 2, 3
"""Kinds of groups, as Harbor's API numbers them."""


@dataclass(frozen=True, slots=True)
class Group:
    """A group of users, as a provider names it."""

    id: int
    name: str
    kind: int
    ldap_dn: str  # of one of LDAP, or ""


@dataclass(frozen=True, slots=True)
class Permission:
    """Rights of a robot account in one scope."""

    kind: Literal["system", "project"]
    namespace: str  # "/" for system; a project's name, or "*" for all projects
    access: frozenset[tuple[str, str]]  # (resource, action)


@dataclass(frozen=True, slots=True)
class Robot:
    """An account for a machine."""

    id: int
    name: str  # with its prefix, and its project: robot$library+builder
    level: Literal["system", "project"]
    project_id: int | None  # of a project robot
    project: str  # its name, or ""
    description: str
    disabled: bool
    duration: int  # days; -1 never expires
    expires_at: datetime | None  # None: never
    permissions: tuple[Permission, ...]
    creator: str  # "user:1" or "robot:2"
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class Made:
    """A robot account with its secret, which is shown this once."""

    robot: Robot
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Login:
    """Credentials that were right."""

    principal: Principal
    revision: int  # of the account; a later one means that its rights or secrets changed
    expires_at: float | None = None  # seconds since 1970: of the account, or of what lent it

    @property
    def opens_session(self) -> bool:
        """Whether a browser may stay signed in by them: only people, by their own password."""
        return self.principal.kind == "user" and not self.principal.via


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a user is at the provider that signs him in."""

    id: int
    user_id: int
    kind: Literal["ldap", "oidc"]
    issuer: str
    subject: str
    created_at: datetime
    updated_at: datetime
