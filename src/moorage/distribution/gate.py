"""Who may do what here: every request passes before anything is looked up.

    no Authorization ──► 401 Bearer with the scope         nobody is let in without saying who,
    credentials fail ──► 401 with a fitting challenge      public projects too: clients then fetch
    right is missing ──► 401 with the scope that lacks     an anonymous token
    read-only mode ────► 403 for what changes something

A project that does not exist answers as one that the caller may not see.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NoReturn

from moorage.distribution.challenge import BASIC, Challenge, scope_of
from moorage.distribution.exchange import Exchange
from moorage.distribution.routes import Right
from moorage.errors import MoorageError, NotFound, Unauthenticated
from moorage.oci.names import project_of
from moorage.projects.grants import Grants
from moorage.settings import Current
from moorage.web.callers import Caller, Callers
from moorage.web.readonly import check_writable

_CATALOG = ("catalog", "read")


class Refused(MoorageError):
    """The caller has to show other credentials first; answered with a challenge."""

    def __init__(self, message: str, challenge: bytes) -> None:
        super().__init__(message)
        self.challenge = challenge


@dataclass(frozen=True, slots=True)
class Admitted:
    """A caller and what it may do in the repository of the request."""

    caller: Caller
    rights: frozenset[str]


class Gate:
    """Identifies callers and asks for their rights."""

    def __init__(
        self, callers: Callers, grants: Grants, challenge: Challenge, settings: Current
    ) -> None:
        self._callers = callers
        self._grants = grants
        self._challenge = challenge
        self._settings = settings

    async def admit(
        self, exchange: Exchange, repository: str, right: Right, mount: str = ""
    ) -> Admitted:
        """Let the caller pass with `right` in `repository`, or raise Refused.

        `mount` is a repository to mount from: a challenge asks for it too, it is not demanded.
        """
        scopes = [scope_of(repository, right)]
        if mount:
            scopes.append(scope_of(mount, "pull"))
        caller = await self._identify(exchange, right, scopes)
        if right == "catalog":
            # A token for repositories opens those only. One without any says who holds it.
            principal = None if caller.access else await self._callers.current(caller)
            if principal is None or _CATALOG not in await self._grants.system(principal):
                raise Refused("not allowed to list all repositories", BASIC)
            return Admitted(caller, frozenset())
        if not repository:
            if caller.principal.kind == "anonymous":
                self._refuse(exchange, right, scopes, "authentication required", "")
            return Admitted(caller, frozenset())
        rights = await self.rights(caller, repository)
        if right not in rights:
            message = await self._why_not(caller, repository, right)
            self._refuse(exchange, right, scopes, message, "insufficient_scope")
        if right != "pull" and not await self._callers.still_may(caller, repository, right):
            message = "the account or its rights have changed"
            self._refuse(exchange, right, scopes, message, "invalid_token")
        await check_writable(exchange.method, self._settings)
        return Admitted(caller, rights)

    async def rights(self, caller: Caller, repository: str) -> frozenset[str]:
        """What the caller may do in a repository; nothing where it may not even know of it."""
        try:
            return await self._callers.repository_actions(caller, repository)
        except NotFound:
            return frozenset()

    async def _why_not(self, caller: Caller, repository: str, right: Right) -> str:
        """What only a system administrator is told: that it is the project that lacks."""
        project = project_of(repository)
        principal = await self._callers.current(caller)
        told = principal is not None and principal.sysadmin
        if told and await self._grants.project(project) is None:
            return f"project {project} not found"
        return f"unauthorized to access repository: {repository}, action: {right}"

    async def _identify(self, exchange: Exchange, right: Right, scopes: Sequence[str]) -> Caller:
        authorization = exchange.header(b"authorization")
        if not authorization:
            self._refuse(exchange, right, scopes, "authentication required", "")
        try:
            caller = self._callers.peek(authorization) or await self._callers.identify(
                authorization, exchange.address
            )
        except Unauthenticated as error:
            self._refuse(exchange, right, scopes, error.message, "invalid_token")
        if caller.source == "basic" and caller.principal.kind == "anonymous":
            self._refuse(exchange, right, scopes, "authentication required", "")
        return caller

    def _refuse(
        self, exchange: Exchange, right: Right, scopes: Sequence[str], message: str, error: str
    ) -> NoReturn:
        authorization = exchange.text(b"authorization")
        if right == "catalog" or authorization[:6].lower() == "basic ":
            raise Refused(message, BASIC)
        challenge = self._challenge.bearer(
            exchange.scope.get("scheme", "http"),
            exchange.text(b"host"),
            scopes,
            error if authorization else "",
        )
        raise Refused(message, challenge)
