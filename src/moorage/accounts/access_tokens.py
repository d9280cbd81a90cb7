"""Personal access tokens: secrets of a user for clients, with an end and perhaps fewer rights.

A token opens the account of its user wherever a password does, and never more than that user may at
the moment; one with `permissions` leaves only those. It opens no session of a browser and changes
no credentials. It is shown once and kept as a digest: of a random secret that is as good as a slow
hash.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from sqlalchemy import bindparam, delete, func, or_, select, update

from moorage.access.personal import PREFIX, new_token, well_formed
from moorage.access.principals import Principal
from moorage.access.roles import Pairs
from moorage.accounts import permissions as rights
from moorage.accounts.permissions import ALL_PROJECTS
from moorage.accounts.records import Login, Permission
from moorage.accounts.standing import Standings, from_rows, to_rows, touch_lent, via_token
from moorage.clock import Clock, SystemClock
from moorage.db.engine import Database
from moorage.db.queries import Page, Query, one_page, ordered
from moorage.db.tables import access_tokens, projects, users
from moorage.db.transactions import Tx
from moorage.db.types import from_now
from moorage.errors import Conflict, Denied, Invalid, NotFound, PreconditionFailed
from moorage.events import AccessTokenCreated, AccessTokenDeleted, emit

FOREVER = -1
DEFAULT_DURATION = 30
MAX_DURATION = 3650
"""Days."""
MAX_TOKENS = 100
"""Tokens of one user."""
REMEMBERED = 4096


@dataclass(frozen=True, slots=True)
class AccessToken:
    """A token, without its secret."""

    id: int
    user_id: int
    name: str
    permissions: tuple[Permission, ...] | None  # None: all that the user may
    expires_at: datetime | None  # None: never
    used_at: datetime | None
    created_at: datetime


@dataclass(frozen=True, slots=True)
class MadeToken:
    """A fresh token with its secret, which is shown this once."""

    token: AccessToken
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class _Known:
    token_id: int
    user_id: int
    username: str


class AccessTokens:
    """The personal access tokens of this installation."""

    def __init__(self, db: Database, standings: Standings, clock: Clock | None = None) -> None:
        self._db = db
        self._standings = standings
        self._clock = clock or SystemClock()
        self._known: OrderedDict[str, _Known] = OrderedDict()
        self._used: dict[int, datetime] = {}

    async def create(
        self,
        actor: Principal,
        name: str,
        *,
        duration: int | None = None,
        permissions: Sequence[Permission] | None = None,
    ) -> MadeToken:
        """Make a token of the actor; `duration` in days, FOREVER among them.

        Raises Invalid, ProjectUnknown, Denied (no user, or more than he holds), Conflict,
        PreconditionFailed (too many).
        """
        if actor.kind != "user" or actor.via:
            raise Denied("only a user who signed in with a password makes access tokens")
        if not 1 <= len(name) <= 255 or not name.isprintable():
            raise Invalid("the name of an access token is 1 to 255 printable characters")
        days = _days(DEFAULT_DURATION if duration is None else duration)
        checked = None if permissions is None else _narrow(permissions)
        secret = new_token()

        async def step(tx: Tx) -> int:
            held = await tx.execute(select(func.count()).where(access_tokens.c.user_id == actor.id))
            if held.scalar_one() >= MAX_TOKENS:
                raise PreconditionFailed(f"a user has at most {MAX_TOKENS} access tokens")
            access = None if checked is None else await _left(tx, actor, checked)
            made = await tx.execute(
                tx.dialect.insert(access_tokens)
                .values(
                    user_id=actor.id,
                    name=name,
                    digest=_digest(secret),
                    permissions=None if access is None else to_rows(access),
                    expires_at=None if days == FOREVER else from_now(days * 86400.0),
                )
                .on_conflict_do_nothing()
                .returning(access_tokens.c.id)
            )
            token_id = made.scalar_one_or_none()
            if token_id is None:
                raise Conflict(f"there is an access token {name} already")
            await emit(tx, AccessTokenCreated(operator=actor.name, username=actor.name, token=name))
            return int(token_id)

        return MadeToken(await self.get(actor.id, await self._db.run(step)), secret)

    async def get(self, user_id: int, token_id: int) -> AccessToken:
        """One token of a user; raises NotFound."""
        query = select(access_tokens).filter_by(id=token_id, user_id=user_id)
        async with self._db.read() as tx:
            rows = (await tx.execute(query)).all()
            if not rows:
                raise _missing(token_id)
            return (await _tokens(tx, rows))[0]

    async def list(self, user_id: int, query: Query) -> Page[AccessToken]:
        """The tokens of a user by name, those that ended too."""
        statement = select(access_tokens).filter_by(user_id=user_id)
        async with self._db.read() as tx:
            by_name = ordered(statement, query, {}, access_tokens.c.name)
            rows, total = await one_page(tx, by_name, query)
            return Page(await _tokens(tx, rows), total)

    async def delete(self, actor: Principal, user_id: int, token_id: int) -> None:
        """End a token at once, and forget it; raises NotFound."""

        async def step(tx: Tx) -> None:
            touch_lent(tx, via_token(token_id))
            owner = select(users.c.username).where(users.c.id == user_id)
            username = (await tx.execute(owner)).scalar_one_or_none()
            gone = await tx.execute(
                delete(access_tokens)
                .where(access_tokens.c.id == token_id, access_tokens.c.user_id == user_id)
                .returning(access_tokens.c.name)
            )
            name = gone.scalar_one_or_none()
            if name is None:
                raise _missing(token_id)
            fact = AccessTokenDeleted(operator=actor.name, username=str(username), token=name)
            await emit(tx, fact)

        await self._db.run(step)

    def takes(self, secret: str) -> bool:
        """Whether the text has the form of a token."""
        return secret.startswith(PREFIX)

    async def open(self, account: str | None, secret: str) -> Login | None:
        """The account that a token opens, or None; `account` is its name where one was given."""
        if not well_formed(secret):
            return None
        digest = _digest(secret)
        known = self._known.get(digest) or await self._find(digest)
        if known is None or account not in (None, known.username):
            return None
        principal = Principal("user", known.user_id, known.username, via=via_token(known.token_id))
        standing = await self._standings.of(principal)
        if standing is None:
            self._known.pop(digest, None)
            self._used.pop(known.token_id, None)
            return None
        self._known[digest] = known
        while len(self._known) > REMEMBERED:
            self._known.popitem(last=False)
        self._used[known.token_id] = self._clock.now()
        whole = replace(principal, sysadmin=standing.sysadmin, bounds=standing.bounds)
        return Login(whole, standing.revision, standing.expires_at)

    async def flush(self) -> int:
        """Write down when tokens were used; how many. A process that dies loses the last few."""
        used, self._used = self._used, {}
        if not used:
            return 0
        moment = bindparam("moment", type_=access_tokens.c.used_at.type)
        statement = (
            update(access_tokens)
            .where(
                access_tokens.c.id == bindparam("token"),
                or_(access_tokens.c.used_at.is_(None), access_tokens.c.used_at < moment),
            )
            .values(used_at=moment)
        )
        # In one order, so that two replicas do not wait for each other.
        rows = [{"token": token, "moment": used[token]} for token in sorted(used)]

        async def step(tx: Tx) -> None:
            await tx.execute(statement, rows)

        try:
            await self._db.run(step)
        except BaseException:
            self._used = used | self._used
            raise
        return len(used)

    async def _find(self, digest: str) -> _Known | None:
        query = (
            select(access_tokens.c.id, access_tokens.c.user_id, users.c.username)
            .join(users, users.c.id == access_tokens.c.user_id)
            .where(access_tokens.c.digest == digest)
        )
        async with self._db.read() as tx:
            row = (await tx.execute(query)).one_or_none()
        return None if row is None else _Known(row.id, row.user_id, row.username)


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def _days(duration: int) -> int:
    if duration != FOREVER and not 1 <= duration <= MAX_DURATION:
        raise Invalid(f"an access token lives 1 to {MAX_DURATION} days, or for ever with -1")
    return duration


def _narrow(permissions: Sequence[Permission]) -> tuple[Permission, ...]:
    checked = rights.check("system", permissions)
    if any(permission.kind != "project" for permission in checked):
        raise Invalid("the permissions of an access token are those of projects")
    return checked


async def _left(
    tx: Tx, actor: Principal, permissions: Sequence[Permission]
) -> Mapping[int | None, Pairs]:
    """What the token leaves, by project. What counts is what the actor holds when it is used.

    Raises ProjectUnknown, Denied for a private project in which the actor holds nothing.
    """
    scoped = await rights.resolve(tx, permissions)
    mine = await rights.held(tx, actor)
    named = {scope.project_id for scope in scoped} - {None}
    unheld = {project for project in named if not mine.within("project", project)}
    private = select(projects.c.id).where(projects.c.id.in_(unheld), projects.c.public.is_(False))
    if unheld and (await tx.execute(private)).first():
        raise Denied("an access token names projects in which its user holds something")
    return {scope.project_id: scope.access for scope in scoped}


async def _tokens(tx: Tx, rows: Sequence[Any]) -> list[AccessToken]:
    """Rows of tokens with the names of their projects; one that is gone is left out."""
    left = [None if row.permissions is None else from_rows(row.permissions) for row in rows]
    ids = {project for access in left if access for project in access if project is not None}
    query = select(projects.c.id, projects.c.name).where(projects.c.id.in_(ids))
    names = {row.id: row.name for row in await tx.execute(query)} if ids else {}
    names[None] = ALL_PROJECTS
    return [_token(row, access, names) for row, access in zip(rows, left, strict=True)]


def _token(
    row: Any, access: Mapping[int | None, Pairs] | None, names: Mapping[int | None, str]
) -> AccessToken:
    permissions = None
    if access is not None:
        permissions = tuple(
            Permission("project", names[project], pairs)
            for project, pairs in access.items()
            if project in names
        )
    return AccessToken(
        row.id, row.user_id, row.name, permissions, row.expires_at, row.used_at, row.created_at
    )


def _missing(token_id: int) -> NotFound:
    return NotFound(f"access token {token_id} not found")
