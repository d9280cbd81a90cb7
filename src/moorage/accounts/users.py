"""Users: people with a name and, mostly, a password.

Whoever acts is passed along: nobody but a system administrator may make one, or touch one
otherwise than as himself. A robot account with `user:update` therefore cannot take an
administrator's account over.
"""

import re
import secrets
from collections.abc import Mapping
from typing import Any

from sqlalchemy import ColumnElement, bindparam, delete, select, update

from moorage.access.principals import Principal
from moorage.accounts import attempts
from moorage.accounts.passwords import Passwords, check_password, digest_secret, new_secret
from moorage.accounts.records import Identity, User
from moorage.accounts.standing import ADMINISTERS, touch_lent, touch_user, via_cli_secret
from moorage.db.engine import Database
from moorage.db.prepared import Prepared
from moorage.db.queries import Page, Query, narrow, one_page, ordered
from moorage.db.tables import identities, projects, users
from moorage.db.transactions import Tx
from moorage.db.types import now
from moorage.errors import Conflict, Denied, Invalid, NotFound, PreconditionFailed, TooManyRequests
from moorage.events import UserCreated, UserDeleted, UserUpdated, emit
from moorage.settings import Current, Fixed

FIRST = 1
"""Id of the administrator that the first start makes; it cannot be deleted."""

COLUMNS: Mapping[str, ColumnElement[Any]] = {
    "user_id": users.c.id,
    "id": users.c.id,
    "username": users.c.username,
    "email": users.c.email,
    "realname": users.c.realname,
    "sysadmin_flag": users.c.sysadmin,
    "creation_time": users.c.created_at,
    "update_time": users.c.updated_at,
}
"""What a list of users can be narrowed and sorted by."""

_NAME = re.compile(r"[^\s,~#$%:+\x00-\x1f\x7f\u200b-\u200f\u202a-\u202e\u2066-\u2069]{1,255}")
_EMAIL = re.compile(r"[^\s@<>\"(),:;\x00-\x1f]{1,64}@[A-Za-z0-9.-]{1,190}")


class Users:
    """The users of this installation."""

    def __init__(self, db: Database, passwords: Passwords, settings: Current | None = None) -> None:
        self._db = db
        self._passwords = passwords
        self._settings = settings or Fixed()

    async def create(
        self,
        actor: Principal,
        username: str,
        password: str | None,
        *,
        email: str | None = None,
        realname: str = "",
        comment: str = "",
        sysadmin: bool = False,
    ) -> int:
        """Make a user. Returns the id. Without a password the user cannot sign in with one.

        Raises Invalid, Conflict (name or email is taken).
        """
        values = {
            "username": check_name(username, (await self._settings.current()).robot_name_prefix),
            "sysadmin": sysadmin,
            **_profile(email=email, realname=realname, comment=comment),
        }
        if password is not None:
            values["password_hash"] = await self._passwords.hash(check_password(password))
        return await self._db.run(insert, actor, values)

    async def get(self, user_id: int) -> User:
        """Raises NotFound."""
        return await self._one(_BY_ID, f"user {user_id} not found", id=user_id)

    async def by_name(self, username: str) -> User:
        """Raises NotFound."""
        return await self._one(_BY_NAME, "user not found", name=username)

    async def exists(self, *, username: str | None = None, email: str | None = None) -> bool:
        """Whether the name or the address is taken."""
        taken = users.c.email == email if username is None else users.c.username == username
        async with self._db.read() as tx:
            return (await tx.execute(select(users.c.id).where(taken))).first() is not None

    async def list(self, query: Query) -> Page[User]:
        """Users by name unless asked otherwise."""
        statement = narrow(select(users), query, COLUMNS)
        async with self._db.read() as tx:
            found, total = await one_page(
                tx, ordered(statement, query, COLUMNS, users.c.username), query
            )
            return Page([_user(row) for row in found], total)

    async def update(
        self,
        actor: Principal,
        user_id: int,
        *,
        email: str | None = None,
        realname: str | None = None,
        comment: str | None = None,
    ) -> None:
        """Change the profile; None leaves a field. Raises Invalid, NotFound, Denied, Conflict."""
        values = _profile(email=email, realname=realname, comment=comment)

        async def step(tx: Tx) -> None:
            username = await _may_touch(tx, actor, user_id)
            if values.get("email"):
                taken = await tx.execute(
                    select(users.c.id).where(
                        users.c.email == values["email"], users.c.id != user_id
                    )
                )
                if taken.first() is not None:
                    raise Conflict("the email address is taken")
            if values:
                await _change(tx, user_id, values)
                await _tell(tx, actor, username, *values)

        await self._db.run(step)

    async def set_sysadmin(self, actor: Principal, user_id: int, sysadmin: bool) -> None:
        """Raises NotFound, Denied, PreconditionFailed (nobody else is an administrator)."""

        async def step(tx: Tx) -> None:
            username = await _may_touch(tx, actor, user_id)
            if not await is_sysadmin(tx, actor):
                raise Denied("only a system administrator makes another")
            if not sysadmin:
                await _keep_one_admin(tx, user_id)
            await _change(tx, user_id, {"sysadmin": sysadmin}, secure=True)
            await _tell(tx, actor, username, "sysadmin_flag", sysadmin=sysadmin)

        await self._db.run(step)

    async def change_password(
        self, actor: Principal, user_id: int, new: str, *, old: str | None = None
    ) -> None:
        """Set a password. One's own needs the old one.

        Raises Invalid (the rule, or the same as before), Denied (wrong old password, or not
        allowed), TooManyRequests (too many wrong old ones), NotFound, Conflict (changed by
        somebody else meanwhile).
        """
        check_password(new)
        async with self._db.read() as tx:
            username = await _may_touch(tx, actor, user_id)
            await _keeps_own_password(tx, user_id)
            query = select(users.c.password_hash, users.c.revision).where(users.c.id == user_id)
            row = (await tx.execute(query)).one()
        himself = actor.kind == "user" and actor.id == user_id
        if himself:
            await self._confirm(username, row.password_hash, old or "")
        if row.password_hash and await self._passwords.verify(row.password_hash, new):
            raise Invalid("the new password is the same as the old one")
        hashed = await self._passwords.hash(new)

        async def step(tx: Tx) -> None:
            username = await _may_touch(tx, actor, user_id)
            changed = await _change(
                tx, user_id, {"password_hash": hashed}, secure=True, revision=row.revision
            )
            if not changed:
                raise Conflict("the account was changed meanwhile; try again")
            await _tell(tx, actor, username, "password")

        await self._db.run(step)

    async def _confirm(self, username: str, encoded: str | None, password: str) -> None:
        """Whoever took a session over may not find the password out by it; raises Denied."""
        wait = await self._db.run(attempts.count, username, attempts.SIGNED_IN)
        if wait > 0:
            seconds = round(wait)
            message = f"too many wrong passwords; try again in {seconds} seconds"
            raise TooManyRequests(message, detail={"seconds": seconds})
        if not await self._passwords.verify(encoded, password):
            raise Denied("the current password is incorrect")
        await self._db.run(attempts.forget, username, attempts.SIGNED_IN)

    async def set_cli_secret(self, actor: Principal, user_id: int, secret: str | None) -> str:
        """Set the secret of clients without a browser, or make one; returns it.

        What was issued for the one before ends.
        Raises Invalid (the rule of passwords), NotFound, Denied, PreconditionFailed for somebody
        whom OpenID Connect does not sign in.
        """
        chosen = secret or new_secret()
        hashed = digest_secret(chosen)
        if secret:
            hashed = await self._passwords.hash(check_password(secret))

        async def step(tx: Tx) -> None:
            username = await _may_touch(tx, actor, user_id)
            if await _identity(tx, user_id) is None:
                raise PreconditionFailed("only users of OpenID Connect have a CLI secret")
            query = select(users.c.cli_secret_hash).where(users.c.id == user_id)
            before = (await tx.execute(tx.dialect.for_update(query))).scalar_one()
            if before:
                touch_lent(tx, via_cli_secret(user_id, before))
            await _change(tx, user_id, {"cli_secret_hash": hashed})
            await _tell(tx, actor, username, "cli_secret")

        await self._db.run(step)
        return chosen

    async def identity(self, user_id: int) -> Identity | None:
        """Who the user is at the provider of OpenID Connect that signs him in."""
        async with self._db.read() as tx:
            return await _identity(tx, user_id)

    async def reset_password(self, actor: Principal, username: str, new: str) -> None:
        """Set a password from the command line of the server; raises Invalid, NotFound."""
        hashed = await self._passwords.hash(check_password(new))

        async def step(tx: Tx) -> None:
            found = await tx.execute(select(users.c.id).where(users.c.username == username))
            user_id = found.scalar_one_or_none()
            if user_id is None:
                raise NotFound("user not found")
            await _change(tx, user_id, {"password_hash": hashed}, secure=True)
            await _tell(tx, actor, username, "password")

        await self._db.run(step)

    async def delete(self, actor: Principal, user_id: int) -> None:
        """Delete a user; projects go to the first administrator.

        Raises NotFound, Denied (oneself, or the first administrator), PreconditionFailed.
        """

        async def step(tx: Tx) -> None:
            username = await _may_touch(tx, actor, user_id)
            if user_id == FIRST or (actor.kind == "user" and actor.id == user_id):
                raise Denied("oneself and the first administrator cannot be deleted")
            heir = await _keep_one_admin(tx, user_id)
            await tx.execute(
                update(projects).where(projects.c.owner_id == user_id).values(owner_id=heir)
            )
            touch_user(tx, user_id)
            await tx.execute(delete(users).where(users.c.id == user_id))
            await emit(tx, UserDeleted(operator=actor.name, username=username))

        await self._db.run(step)

    async def _one(self, which: Prepared, missing: str, **values: Any) -> User:
        async with self._db.read() as tx:
            row = await tx.find(which, **values)
        if row is None:
            raise NotFound(missing)
        return _user(row)


def check_name(username: str, prefix: str) -> str:
    """Return `username`; `prefix` is that of robot accounts. Raises Invalid."""
    if not _NAME.fullmatch(username) or not username.isprintable():
        raise Invalid("a user name is 1 to 255 characters without spaces and , ~ # $ % : +")
    if username.startswith(prefix):
        raise Invalid(f"only names of robot accounts begin with {prefix}")
    return username


def check_email(email: str) -> str:
    """Return `email`; raises Invalid."""
    if not _EMAIL.fullmatch(email):
        raise Invalid("the email address is not valid")
    return email


async def insert(tx: Tx, actor: Principal, values: Mapping[str, Any]) -> int:
    """Step: insert a user. Returns the id; raises Conflict."""
    # Ids may come again on SQLite, so the revision must not: it stands in tokens of the one before.
    made = await tx.execute(
        tx.dialect.insert(users)
        .values(revision=secrets.randbits(48), **values)
        .on_conflict_do_nothing()
        .returning(users.c.id)
    )
    user_id = made.scalar_one_or_none()
    if user_id is None:
        raise Conflict("the user name or the email address is taken")
    fact = UserCreated(
        operator=actor.name, username=values["username"], sysadmin=values.get("sysadmin", False)
    )
    await emit(tx, fact)
    return int(user_id)


async def is_sysadmin(tx: Tx, actor: Principal) -> bool:
    """Step: whether the actor is a system administrator now."""
    if actor.kind != "user" or actor.bounds is not None:
        return False
    found = await tx.execute(select(ADMINISTERS).where(users.c.id == actor.id))
    return bool(found.scalar_one_or_none())


async def _may_touch(tx: Tx, actor: Principal, user_id: int) -> str:
    """The user's name, when the actor may change the user; raises NotFound, Denied."""
    query = select(users.c.username, ADMINISTERS).where(users.c.id == user_id)
    row = (await tx.execute(query)).one_or_none()
    if row is None:
        raise NotFound(f"user {user_id} not found")
    himself = actor.kind == "user" and actor.id == user_id
    if row.administers and not himself and not await is_sysadmin(tx, actor):
        raise Denied("only a system administrator changes another")
    return str(row.username)


async def _keeps_own_password(tx: Tx, user_id: int) -> None:
    """Raises Denied for somebody whom a provider signs in."""
    elsewhere = select(identities.c.id).where(identities.c.user_id == user_id).limit(1)
    if (await tx.execute(elsewhere)).first() is not None:
        raise Denied("the password is kept by the sign-in provider; change it there")


async def _identity(tx: Tx, user_id: int) -> Identity | None:
    row = await tx.find(_BY_OPENID, user=user_id)
    return None if row is None else Identity(*row)


async def _tell(
    tx: Tx, actor: Principal, username: str, *names: str, sysadmin: bool | None = None
) -> None:
    fact = UserUpdated(
        operator=actor.name, username=username, names=sorted(names), sysadmin=sysadmin
    )
    await emit(tx, fact)


async def _keep_one_admin(tx: Tx, user_id: int) -> int:
    """The first system administrator other than this user; raises PreconditionFailed."""
    query = select(users.c.id).where(users.c.sysadmin).order_by(users.c.id)
    admins = (await tx.execute(tx.dialect.for_update(query))).scalars().all()
    heir = next((admin for admin in admins if admin != user_id), None)
    if heir is None:
        raise PreconditionFailed("one system administrator has to stay")
    return int(heir)


async def _change(
    tx: Tx,
    user_id: int,
    values: Mapping[str, Any],
    *,
    secure: bool = False,
    revision: int | None = None,
) -> bool:
    """Set columns; `secure` ends what was issued before. False when the revision is another."""
    changes: dict[str, Any] = {**values, "updated_at": now()}
    if secure:
        changes["revision"] = users.c.revision + 1
        touch_user(tx, user_id)
    where = users.c.id == user_id
    if revision is not None:
        where &= users.c.revision == revision
    done = await tx.execute(update(users).where(where).values(changes).returning(users.c.id))
    return done.first() is not None


def _profile(
    *, email: str | None, realname: str | None, comment: str | None
) -> dict[str, str | bool | None]:
    values: dict[str, str | bool | None] = {}
    if email:
        values["email"] = check_email(email)
    for name, value, longest in (("realname", realname, 255), ("comment", comment, 30)):
        if value is None:
            continue
        if len(value) > longest or "\0" in value:
            raise Invalid(f"{name} has at most {longest} characters")
        values[name] = value
    return values


def _user(row: Any) -> User:
    return User(
        id=row.id,
        username=row.username,
        email=row.email,
        realname=row.realname,
        comment=row.comment,
        sysadmin=row.sysadmin,
        admin_in_auth=row.admin_in_auth,
        created_at=row.created_at,
        updated_at=row.updated_at,
    )


_BY_ID = Prepared(lambda _: select(users).where(users.c.id == bindparam("id")))
_BY_NAME = Prepared(lambda _: select(users).where(users.c.username == bindparam("name")))
_BY_OPENID = Prepared(
    lambda _: (
        select(identities)
        .where(identities.c.user_id == bindparam("user"), identities.c.kind == "oidc")
        .order_by(identities.c.id)
        .limit(1)
    )
)
