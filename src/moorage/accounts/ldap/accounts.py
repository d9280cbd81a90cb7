"""Accounts of people that the directory knows.

directory ─► person ─► identity known? ── yes ─► that account
                            │ no
                            ▼
                    name free? ── no ─► refused: a name is no proof of who somebody is
                            │ yes
                            ▼
                    new account and identity
and then: the groups that the directory names, and whether one of them administers
"""

import logging
from collections.abc import Sequence

from sqlalchemy import select

from moorage.access.principals import Principal
from moorage.accounts import dn, groups, users
from moorage.accounts.ldap.client import Ldap
from moorage.accounts.ldap.settings import LdapSettings, Person
from moorage.accounts.records import LDAP
from moorage.db.engine import Database
from moorage.db.tables import identities
from moorage.db.tables import users as user_table
from moorage.db.transactions import Tx
from moorage.errors import Conflict, Invalid, MoorageError, NotFound
from moorage.settings import Current

log = logging.getLogger(__name__)

MODE = "ldap_auth"
KIND = "ldap"
MOST = 100
"""People that are imported at once."""


class LdapAccounts:
    """People of the directory as users."""

    def __init__(self, db: Database, settings: Current, ldap: Ldap) -> None:
        self._db = db
        self._settings = settings
        self._ldap = ldap

    async def verify(self, username: str, password: str) -> int | None:
        """The id of the account whose owner gave the right password, made if need be.

        Raises Unavailable while the directory does not answer.
        """
        values = await self._settings.current()
        if values.auth_mode != MODE or not password:
            return None
        settings = LdapSettings.of(values)
        person = await self._ldap.authenticate(settings, username, password)
        if person is None:
            return None
        try:
            return await self._account(person, settings, values.robot_name_prefix)
        except (Conflict, Invalid) as error:
            log.warning("%r of LDAP cannot sign in: %s", person.username, error.message)
            return None

    async def bring(self, usernames: Sequence[str]) -> list[tuple[str, str]]:
        """Make accounts before their owners sign in; (name, why not) of those that failed.

        Raises Invalid for too many, Unavailable while the directory does not answer.
        """
        if len(usernames) > MOST:
            raise Invalid(f"import {MOST} users at most at once")
        values = await self._settings.current()
        settings = LdapSettings.of(values)
        failed = []
        for username in usernames:
            try:
                person = await self._ldap.person(settings, username) if username else None
                if person is None:
                    raise NotFound("unknown_user")
                await self._account(person, settings, values.robot_name_prefix)
            except (Conflict, Invalid, NotFound) as error:
                failed.append((username, error.message))
        return failed

    async def _account(self, person: Person, settings: LdapSettings, prefix: str) -> int:
        try:
            return await self._db.run(_onboard, person, settings, prefix)
        except Conflict:
            # Two first sign-ins at the same moment: the account is there now, or the name is taken.
            return await self._db.run(_onboard, person, settings, prefix)


async def _onboard(tx: Tx, person: Person, settings: LdapSettings, prefix: str) -> int:
    """Step: the person's account with the groups of today; raises Conflict, Invalid."""
    issuer = realm(settings.base_dn)
    query = select(identities.c.user_id).where(
        identities.c.kind == KIND,
        identities.c.issuer == issuer,
        identities.c.subject == person.key,
    )
    user_id = (await tx.execute(query)).scalar_one_or_none()
    if user_id is None:
        user_id = await _make(tx, person, prefix)
        row = {"user_id": user_id, "kind": KIND, "issuer": issuer, "subject": person.key}
        await tx.execute(identities.insert().values(row))
    admin = bool(settings.admin_dn) and dn.normal(settings.admin_dn) in person.memberships
    known = await groups.known(tx, LDAP, person.groups)
    await groups.belong(tx, int(user_id), known, admin=admin)
    return int(user_id)


async def _make(tx: Tx, person: Person, prefix: str) -> int:
    values = {
        "username": users.check_name(person.username, prefix),
        "realname": person.realname[:255],
    }
    try:
        email = users.check_email(person.email)
    except MoorageError:
        email = None
    if email:
        taken = select(user_table.c.id).where(user_table.c.email == email)
        if (await tx.execute(taken)).first() is None:
            values["email"] = email
    himself = Principal("user", name=person.username)
    return await users.insert(tx, himself, values)


def realm(base_dn: str) -> str:
    """What tells one directory from another, whatever its address: the domain of its names."""
    parts = dn.normal(base_dn).split(",")
    domain = [part for part in parts if part.startswith("dc=")]
    return ",".join(domain or parts)
