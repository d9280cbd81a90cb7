"""The operator's settings: default < database < file and environment.

    current()  ─► cache ─► rows ─► Configuration
    within(tx) ─► rows ─► Configuration
    change()   ─► try a new syslog server ─► one transaction: lock, merge, check as a whole, write
                  what differs from its default, do what goes with it elsewhere

A secret is encrypted in its row, and so it is in a cache; it is opened in the process alone.
"""

import base64
import logging
from collections.abc import Awaitable, Callable, Collection, Mapping
from functools import lru_cache
from typing import Any

import orjson
from pydantic import SecretStr, ValidationError
from sqlalchemy import delete, select

from moorage.access.principals import Principal
from moorage.access.secretbox import CannotOpen, SecretBox
from moorage.cache.base import Cache, Kind
from moorage.config.configuration import Configuration
from moorage.db.engine import Database
from moorage.db.tables import configuration, properties
from moorage.db.transactions import Tx
from moorage.db.types import now
from moorage.errors import Denied, Invalid
from moorage.events import ConfigurationUpdated, emit

log = logging.getLogger(__name__)

Rows = Mapping[str, str]

ROWS: Kind[Rows] = Kind("configuration", orjson.dumps, orjson.loads)
"""Touched by every change of a setting."""

SECRETS = frozenset(
    name for name, field in Configuration.model_fields.items() if field.annotation is SecretStr
)

Reach = Callable[[str], Awaitable[None]]
"""Tries a syslog server; raises Invalid when it cannot be used."""

Checks = Mapping[str, Callable[[str], object]]
"""By the name of a setting: raises Invalid when a new text cannot be it."""

Follow = Callable[[Tx, Collection[str]], Awaitable[None]]
"""Step: what goes with a change of the settings of these names."""

BOUND: Mapping[str, tuple[str, ...]] = {
    "ldap_search_password": ("ldap_url", "ldap_search_dn"),
    "oidc_client_secret": ("oidc_endpoint", "oidc_client_id"),
}
"""Secrets, and the settings that say where each goes: its server, and as whom."""

VERIFIED: Mapping[str, str] = {
    "ldap_search_password": "ldap_verify_cert",
    "oidc_client_secret": "oidc_verify_cert",
}
"""Secrets, and whether a server must prove by its certificate that it is the right one.

Nobody can read a secret here. Who could turn the server alone, or let another one answer for it,
would have the secret sent to one of his own.
"""

_LOCK = "configuration"  # a row of `properties`: one change after the other


class Configurations:
    """The settings that the API can change."""

    def __init__(
        self,
        db: Database,
        cache: Cache,
        box: SecretBox,
        fixed: Configuration | None = None,
        *,
        reach: Reach | None = None,
        checks: Checks | None = None,
        follow: Follow | None = None,
    ) -> None:
        """`fixed` is what the file and the environment say; what it sets, nobody else can.

        `reach` tries a new `audit_log_forward_endpoint`, `checks` look at new texts; `follow` is
        part of each change.
        """
        self._db = db
        self._cache = cache
        self._box = box
        self._fixed = fixed or Configuration()
        self._reach = reach
        self._checks = checks or {}
        self._follow = follow
        self._parse = lru_cache(maxsize=4)(self._parsed)

    @property
    def fixed(self) -> frozenset[str]:
        """Names of the settings that cannot be changed here."""
        return frozenset(self._fixed.model_fields_set)

    async def current(self) -> Configuration:
        """The settings, with every change that was acknowledged before this call."""

        async def load() -> Rows:
            async with self._db.read() as tx:
                return await _rows(tx)

        rows = await self._cache.through(ROWS, ROWS.key(), load)
        return self._parse(tuple((rows or {}).items()))

    async def within(self, tx: Tx) -> Configuration:
        """Step: the settings as the transaction sees them, without a connection of their own."""
        return self._parse(tuple((await _rows(tx)).items()))

    async def change(self, actor: Principal, values: Mapping[str, Any]) -> list[str]:
        """Change settings, all or none. Returns the names of those that are different now.

        Raises Invalid (what a setting cannot be, or a server that does not answer), Denied (one
        that is fixed, or of the sign-in for an actor to whom the account was lent).
        """
        await self._try_endpoint(values)

        async def step(tx: Tx) -> list[str]:
            await _lock(tx)
            before = self._parsed(tuple((await _rows(tx)).items()))
            after = _checked({**_plain(before), **values, **self._left(before, values)})
            changed = sorted(
                name
                for name in Configuration.model_fields
                if getattr(before, name) != getattr(after, name)
            )
            self._check(actor, changed, after)
            self._check_bound(changed, before, values)
            for name in changed:
                await self._write(tx, name, after)
            if changed:
                tx.touch(ROWS.key())
                if self._follow is not None:
                    await self._follow(tx, changed)
                await emit(tx, ConfigurationUpdated(operator=actor.name, names=changed))
            return changed

        return await self._db.run(step)

    async def seal_anew(self, tx: Tx) -> None:
        """Step: encrypt every secret under the present `secret_key`."""
        for name, text in (await _rows(tx)).items():
            if name in SECRETS:
                await _put(tx, name, self._seal(name, self._open(name, text)))
        tx.touch(ROWS.key())

    async def _try_endpoint(self, values: Mapping[str, Any]) -> None:
        """Look for a new syslog server before the transaction: it may be slow to answer."""
        name = "audit_log_forward_endpoint"
        if self._reach is None or name in self.fixed or not values.get(name):
            return
        before = await self.current()
        after = _checked({**_plain(before), **values})
        if after.audit_log_forward_endpoint != before.audit_log_forward_endpoint:
            await self._reach(after.audit_log_forward_endpoint)

    def _check(self, actor: Principal, changed: list[str], after: Configuration) -> None:
        fixed = sorted(self.fixed & set(changed))
        if fixed:
            raise Denied(
                f"{', '.join(fixed)}: set by the file or the environment of the server; "
                "change it there"
            )
        if actor.via and any(map(_of_sign_in, changed)):
            raise Denied("a token or CLI secret cannot change who signs in; use a password")
        for name in changed:
            if name in self._checks and getattr(after, name):
                self._checks[name](getattr(after, name))
        if after.auth_mode == "ldap_auth" and not (after.ldap_url and after.ldap_base_dn):
            raise Invalid("auth_mode ldap_auth needs ldap_url and ldap_base_dn")
        if after.auth_mode == "oidc_auth" and not (after.oidc_endpoint and after.oidc_client_id):
            raise Invalid("auth_mode oidc_auth needs oidc_endpoint and oidc_client_id")
        if after.skip_audit_log_database and not after.audit_log_forward_endpoint:
            raise Invalid(
                "skip_audit_log_database needs audit_log_forward_endpoint: "
                "the audit log would be kept nowhere"
            )

    def _left(self, before: Configuration, values: Mapping[str, Any]) -> dict[str, str]:
        """Secrets that go with their server, when that is taken away."""
        return {
            secret: ""
            for secret, (server, *_) in BOUND.items()
            if values.get(server) == "" and getattr(before, server)
            if secret not in values and secret not in self.fixed
        }

    def _check_bound(
        self, changed: list[str], before: Configuration, values: Mapping[str, Any]
    ) -> None:
        """Whoever says where a secret goes says the secret too.

        One that was stored first waits for its server; one of the file or the environment is for
        no server that the API names.
        """
        for secret, places in BOUND.items():
            if secret in values or secret in changed or not getattr(before, secret):
                continue
            moved = [name for name in places if name in changed]
            if moved and (secret in self.fixed or any(getattr(before, name) for name in moved)):
                raise Invalid(
                    f"{secret} was given for another {' and '.join(moved)}: give it again"
                )
            verify = VERIFIED[secret]
            if verify not in changed or not getattr(before, verify):
                continue
            if secret in self.fixed:
                raise Invalid(f"{verify}: set it where {secret} is set, in the file or environment")
            if getattr(before, places[0]):
                raise Invalid(
                    f"{secret} was given for a server whose certificate is verified: "
                    f"give it again to switch {verify} off"
                )

    async def _write(self, tx: Tx, name: str, after: Configuration) -> None:
        value = getattr(after, name)
        if value == Configuration.model_fields[name].default:
            await tx.execute(delete(configuration).where(configuration.c.name == name))
        elif isinstance(value, SecretStr):
            await _put(tx, name, self._seal(name, value.get_secret_value()))
        else:
            await _put(tx, name, orjson.dumps(value).decode())

    def _parsed(self, rows: tuple[tuple[str, str], ...]) -> Configuration:
        """The settings of these rows; what this version does not understand has its default."""
        values: dict[str, Any] = {}
        for name, text in rows:
            if name not in Configuration.model_fields:
                continue  # of a newer replica
            try:
                value = self._open(name, text) if name in SECRETS else orjson.loads(text)
                Configuration(**{name: value})
            except (CannotOpen, ValueError) as error:
                log.warning("setting %s in the database cannot be used: %s", name, type(error))
                continue
            values[name] = value
        given = {name: getattr(self._fixed, name) for name in self.fixed}
        return Configuration(**{**values, **given})

    def _seal(self, name: str, plain: str) -> str:
        return base64.b64encode(self._box.seal(plain.encode(), _purpose(name))).decode()

    def _open(self, name: str, text: str) -> str:
        return self._box.open(base64.b64decode(text), _purpose(name)).decode()


def _purpose(name: str) -> str:
    return f"setting {name}"


def _of_sign_in(name: str) -> bool:
    return name == "auth_mode" or name.startswith(("ldap_", "oidc_"))


def _plain(values: Configuration) -> dict[str, Any]:
    return {name: getattr(values, name) for name in Configuration.model_fields}


def _checked(values: Mapping[str, Any]) -> Configuration:
    try:
        return Configuration(**values)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        raise Invalid(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from None


async def _rows(tx: Tx) -> Rows:
    found = await tx.execute(select(configuration.c.name, configuration.c.value))
    return {row.name: row.value for row in found}


async def _lock(tx: Tx) -> None:
    made = tx.dialect.insert(properties).values(name=_LOCK, value="")
    await tx.execute(made.on_conflict_do_nothing())
    await tx.execute(
        tx.dialect.for_update(select(properties.c.value).where(properties.c.name == _LOCK))
    )


async def _put(tx: Tx, name: str, text: str) -> None:
    row = tx.dialect.insert(configuration).values(name=name, value=text)
    await tx.execute(
        row.on_conflict_do_update(
            index_elements=["name"], set_={"value": text, "updated_at": now()}
        )
    )
