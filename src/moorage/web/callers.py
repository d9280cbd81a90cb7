"""Who calls: from an `Authorization` header to a `Caller`.

    none ──────────────► anonymous
    Bearer, remembered ► what it said, while its projects are the ones it was issued for
    Bearer, lent ──────► Logins: an access token, or one that was exchanged; wrong: Unauthenticated
    Bearer ────────────► signature and claims; wrong: Unauthenticated
    Basic ─────────────► Logins; wrong: anonymous with source "basic"

A verified token is remembered by the bytes of its header until it expires, so that a request costs
two dictionary look-ups instead of a signature.
"""

from base64 import b64decode
from binascii import Error as BadBase64
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, Protocol

from moorage.access.jwts import UnknownKey
from moorage.access.principals import ANONYMOUS, Principal
from moorage.access.roles import Pairs
from moorage.access.tokens import Right, Tokens
from moorage.accounts.keys import Keys
from moorage.accounts.logins import Logins
from moorage.accounts.records import Login
from moorage.accounts.sessions import Sessions
from moorage.accounts.standing import Standings
from moorage.clock import Clock, SystemClock
from moorage.errors import ProjectUnknown, Unauthenticated
from moorage.oci.names import project_of

REMEMBERED = 8192
"""Verified tokens that a process remembers."""
REMEMBERED_BYTES = 16 << 20
"""Bytes of their headers in all: anybody gets tokens, and may fill a header as he likes."""

_ACTIONS = ("pull", "push", "delete")


class Project(Protocol):
    """What tells one project from another of the same name."""

    @property
    def id(self) -> int: ...
    @property
    def created_at(self) -> float:
        """Seconds since 1970."""


class Grants(Protocol):
    """Rights by principal and project; `projects.grants` implements it."""

    async def actions(self, principal: Principal, project: str) -> Pairs:
        """Raises ProjectUnknown."""

    async def project(self, name: str) -> Project | None: ...

    def peek(self, name: str) -> Project | None:
        """The project, if this process may answer from memory."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Somebody, or nobody, with what the credentials allow."""

    principal: Principal
    source: Literal["none", "basic", "bearer", "session"]
    access: Mapping[str, frozenset[str]] | None = None  # None: ask the grants
    revision: int = 0  # of the account when it was identified
    expires_at: float | None = None  # of the account or of what lent it, seconds since 1970
    projects: Mapping[str, tuple[int, float]] = field(default_factory=dict, repr=False)


NOBODY = Caller(ANONYMOUS, "none")


class Callers:
    """Identifies callers for every face."""

    def __init__(
        self,
        tokens: Tokens,
        keys: Keys,
        logins: Logins,
        standings: Standings,
        sessions: Sessions,
        grants: Grants,
        clock: Clock | None = None,
    ) -> None:
        self._tokens = tokens
        self._keys = keys
        self._logins = logins
        self._standings = standings
        self._sessions = sessions
        self._grants = grants
        self._clock = clock or SystemClock()
        self._monotonic = self._clock.monotonic
        self._known: OrderedDict[bytes, tuple[Caller, float]] = OrderedDict()
        self._size = 0  # bytes of the headers in it

    def peek(self, authorization: bytes) -> Caller | None:
        """The caller of a token that was verified here, if nothing has to be awaited to be sure."""
        entry = self._known.get(authorization)
        if entry is None:
            return None
        caller, until = entry
        if self._monotonic() >= until:
            self._forget(authorization)
            return None
        for name, made in caller.projects.items():
            project = self._grants.peek(name)
            if project is None or (project.id, project.created_at) != made:
                return None
        return caller

    async def identify(self, authorization: bytes | None, address: str) -> Caller:
        """The caller behind an `Authorization` header that came from `address`.

        Raises Unauthenticated for a Bearer token that is wrong or expired, TooManyRequests while
        the account is slowed down for this address. Wrong Basic credentials make the caller
        nobody, with source "basic", as in Harbor.
        """
        if not authorization:
            return NOBODY
        scheme, _, credentials = authorization.partition(b" ")
        kind = scheme.lower()
        if kind == b"bearer":
            return await self._bearer(authorization, credentials.strip())
        if kind == b"basic":
            return await self._basic(credentials.strip(), address)
        raise Unauthenticated("authenticate by Bearer or Basic")

    async def sign_in(self, account: str, password: str, address: str) -> Caller:
        """The caller behind a name and a password: as `identify` with Basic credentials."""
        login = await self.check(account, password, address)
        if login is None:
            return Caller(ANONYMOUS, "basic")
        return Caller(login.principal, "basic", None, login.revision, login.expires_at)

    async def check(self, account: str, password: str, address: str) -> Login | None:
        """The account behind a name and a password, or None; raises TooManyRequests."""
        return await self._logins.verify(account, password, address)

    async def resume(self, session: str, *, renew: bool = True) -> Caller:
        """The caller whose session that is; nobody when it ended."""
        login = await self._sessions.find(session, renew=renew)
        if login is None:
            return NOBODY
        return Caller(login.principal, "session", None, login.revision)

    async def repository_actions(self, caller: Caller, repository: str) -> frozenset[str]:
        """Which of pull, push and delete the caller may do; nothing in an unknown project."""
        project = project_of(repository)
        if caller.access is not None:
            actions = caller.access.get(repository)
            made = caller.projects.get(project)
            if not actions or made is None:
                return frozenset()
            found = await self._grants.project(project)
            if found is None or (found.id, found.created_at) != made:
                return frozenset()
            return actions
        return (await self.right(caller.principal, repository)).actions

    async def right(self, principal: Principal, repository: str) -> Right:
        """All that `principal` may do in a repository, for a token."""
        name = project_of(repository)
        project = await self._grants.project(name)
        if project is None:
            return Right(frozenset())
        try:
            pairs = await self._grants.actions(principal, name)
        except ProjectUnknown:
            return Right(frozenset())
        actions = frozenset(action for action in _ACTIONS if ("repository", action) in pairs)
        # Which project it is would tell those without rights that there is one.
        return Right(actions, (project.id, project.created_at) if actions else None)

    async def current(self, caller: Caller) -> Principal | None:
        """The caller's account as it is now, for rights that no token carries.

        None for nobody, and for an account that is gone or has changed.
        """
        standing = await self._standings.of(caller.principal)
        if standing is None or standing.revision != caller.revision:
            return None
        return replace(caller.principal, sysadmin=standing.sysadmin, bounds=standing.bounds)

    async def still_may(self, caller: Caller, repository: str, action: str) -> bool:
        """Whether the account is as it was identified, and its rights as the token says.

        Asked before a write: a token outlives its account and its rights by its life time for
        reads only.
        """
        principal = await self.current(caller)
        if principal is None:
            return False
        if caller.access is None:
            return True  # the rights are those of this moment
        return action in (await self.right(principal, repository)).actions

    async def _bearer(self, authorization: bytes, token: bytes) -> Caller:
        entry = self._known.get(authorization)
        if entry is not None and self._monotonic() < entry[1]:
            return entry[0]
        text = token.decode("latin-1")
        if self._logins.lends(text):
            login = await self._logins.open(text)
            if login is None:
                raise Unauthenticated("the token is not valid, or has ended")
            return Caller(login.principal, "bearer", None, login.revision)
        try:
            verified = self._tokens.verify(text)
        except UnknownKey:
            await self._keys.look_again()  # another replica may have begun a new key
            verified = self._tokens.verify(text)
        caller = Caller(
            verified.principal,
            "bearer",
            {name: right.actions for name, right in verified.access.items()},
            verified.revision,
            verified.expires_at,
            {
                project_of(name): right.project
                for name, right in verified.access.items()
                if right.project is not None
            },
        )
        left = verified.expires_at - self._clock.now().timestamp()
        if left > 0:
            self._remember(authorization, caller, self._monotonic() + left)
        return caller

    def _remember(self, authorization: bytes, caller: Caller, until: float) -> None:
        self._forget(authorization)
        self._known[authorization] = (caller, until)
        self._size += len(authorization)
        while len(self._known) > REMEMBERED or self._size > REMEMBERED_BYTES:
            self._forget(next(iter(self._known)))

    def _forget(self, authorization: bytes) -> None:
        if self._known.pop(authorization, None) is not None:
            self._size -= len(authorization)

    async def _basic(self, credentials: bytes, address: str) -> Caller:
        try:
            account, colon, password = b64decode(credentials, validate=True).decode().partition(":")
        except (BadBase64, UnicodeDecodeError):
            return Caller(ANONYMOUS, "basic")
        if not colon:
            return Caller(ANONYMOUS, "basic")
        return await self.sign_in(account, password, address)
