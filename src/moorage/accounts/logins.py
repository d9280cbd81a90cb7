"""Credentials to a principal, against guessing.

    verify ─► remembered? ── yes, and the account is as it was ─► Login
                 │ no
                 ▼
              count one attempt in the database ── too many ─► TooManyRequests
                 ▼
              compare (an unknown account takes as long), or ask the directory for an account
                 │ without a secret of its own ── wrong ─► None
                 ▼ right
              forget the attempts, upgrade an old hash, remember ─► Login

What is remembered holds for the address that it came from: who has to wait elsewhere learns nothing
from it. An attempt is counted before it is tried, so a hundred at once, on however many replicas,
are not a hundred guesses. The wait grows with the failures, per account and address, and ends:
nobody is locked out for good, and who guesses from elsewhere does not lock out the owner.
"""

import asyncio
import hashlib
import hmac
import logging
import secrets
from collections import OrderedDict, deque
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Protocol

from sqlalchemy import ColumnElement, func, literal, select, update

from moorage.access.principals import Principal
from moorage.accounts import attempts
from moorage.accounts.attempts import network
from moorage.accounts.passwords import Passwords, digest_secret, new_secret
from moorage.accounts.records import Login
from moorage.accounts.standing import ADMINISTERS, Standings, via_cli_secret
from moorage.clock import Clock, SystemClock
from moorage.db.engine import Database
from moorage.db.tables import robots, users
from moorage.db.transactions import Tx
from moorage.errors import TooManyRequests
from moorage.events import UserRefused, emit
from moorage.settings import Current, Fixed

log = logging.getLogger(__name__)

REMEMBER = 600.0
"""Seconds for which right credentials are not compared again."""
REMEMBER_OUTSIDE = 60.0
"""The same for those of a directory, which tells nobody of a change."""
REMEMBERED = 4096
REFUSED = 1000
"""Wrong secrets that wait to be told; beyond, the oldest are not."""

_TIDY_EVERY = 500


class Directory(Protocol):
    """Knows people whose passwords are kept elsewhere; `accounts.ldap` implements it."""

    async def verify(self, username: str, password: str) -> int | None:
        """The id of the account of whoever gave the right password; raises Unavailable."""


class Lender(Protocol):
    """Knows secrets of its own form, each of which opens an account beside the account's own."""

    def takes(self, secret: str) -> bool:
        """Whether the text has the form."""

    async def open(self, account: str | None, secret: str) -> Login | None:
        """The account that it opens, if that is the one that was named."""


class Logins:
    """Verifies users and robot accounts by name and secret."""

    def __init__(
        self,
        db: Database,
        passwords: Passwords,
        standings: Standings,
        *,
        settings: Current | None = None,
        directory: Directory | None = None,
        lenders: Sequence[Lender] = (),
        clock: Clock | None = None,
    ) -> None:
        self._db = db
        self._passwords = passwords
        self._standings = standings
        self._settings = settings or Fixed()
        self._directory = directory
        self._lenders = lenders
        self._monotonic = (clock or SystemClock()).monotonic
        self._key = secrets.token_bytes(32)
        self._no_robot = digest_secret(new_secret())
        self._known: OrderedDict[bytes, tuple[Login, float]] = OrderedDict()
        self._flights: dict[bytes, asyncio.Task[Login | None]] = {}
        self._refused: deque[tuple[str, str]] = deque(maxlen=REFUSED)
        self._attempts = 0

    async def verify(self, account: str, password: str, address: str) -> Login | None:
        """The account behind the credentials, or None.

        Raises TooManyRequests while the account has to wait at this address.
        """
        if not 1 <= len(account) <= 255 or not account.isprintable() or len(password) > 1024:
            return None
        if account != account.strip():  # a directory would not see the difference
            return None
        if self.lends(password):
            return await self.open(password, account)
        place = network(address)
        settings = await self._settings.current()
        prefix = settings.robot_name_prefix
        robot = account.startswith(prefix)
        name = account.removeprefix(prefix) if robot else account
        key = self._digest(account, password, place, name)
        known = await self._remembered(key)
        if known is not None:
            return known
        # A client that sends the same credentials ten times at once makes one attempt.
        flight = self._flights.get(key)
        if flight is None:
            fold = settings.auth_mode == "ldap_auth" and not robot
            flight = asyncio.create_task(self._try(key, account, password, place, name, fold))
            self._flights[key] = flight
            flight.add_done_callback(lambda done: self._land(key, done))
        return await asyncio.shield(flight)

    def lends(self, secret: str) -> bool:
        """Whether the text has the form of a secret that names its account itself."""
        return any(lender.takes(secret) for lender in self._lenders)

    async def open(self, secret: str, account: str | None = None) -> Login | None:
        """The account behind such a secret, or None. Nobody guesses one: attempts are not counted.

        `account` is the name that came with it, which has to be right.
        """
        for lender in self._lenders:
            if lender.takes(secret):
                return await lender.open(account, secret)
        return None

    def _land(self, key: bytes, flight: asyncio.Task[Login | None]) -> None:
        self._flights.pop(key, None)
        if not flight.cancelled():
            flight.exception()  # read, in case that everybody who waited is gone

    async def _remembered(self, key: bytes) -> Login | None:
        entry = self._known.get(key)
        if entry is None:
            return None
        login, until = entry
        standing = await self._standings.of(login.principal)
        if self._monotonic() >= until or standing is None or standing.revision != login.revision:
            self._known.pop(key, None)
            return None
        return login

    async def _try(
        self, key: bytes, account: str, password: str, address: str, name: str, fold: bool
    ) -> Login | None:
        """`name` is that of the account's row; a robot's has no prefix.

        To `fold` says that a directory may know the account by other spellings of the name.
        """
        counted = attempts.folded(account) if fold else account
        wait = await self._db.run(attempts.count, counted, address)
        if wait > 0:
            raise TooManyRequests(
                "too many failed sign-ins; wait and try again", detail={"seconds": round(wait)}
            )
        self._attempts += 1
        if self._attempts % _TIDY_EVERY == 0:
            await self._db.run(attempts.tidy)
        robot = name != account
        row = await self._find(name, robot)
        found = None
        if self._directory is not None and not robot and _kept_elsewhere(row):
            found = await self._directory.verify(name, password)
        if found is not None:
            row = await self._user(users.c.id == found)
        # An unknown account costs what most known ones of its kind do.
        by_cli_secret = found is None and row is not None and row.secret is None
        encoded = self._no_robot if robot else None
        if row is not None:
            encoded = row.cli_secret if by_cli_secret else row.secret
        right = found is not None or await self._passwords.verify(encoded, password)
        if not right or row is None:
            known = account if row is not None else await self._respelled(name) if fold else ""
            # What is no account may be a password in the wrong field: it stays out of the log.
            log.warning("sign-in failed for %r from %s", known or "(unknown)", address)
            if known:
                self._refused.append((known, address))
            return None
        login = Login(
            Principal(
                "robot" if robot else "user",
                row.id,
                account if robot else row.username,
                sysadmin=bool(row.sysadmin),
                via=via_cli_secret(row.id, row.cli_secret) if by_cli_secret else "",
            ),
            row.revision,
        )
        standing = await self._standings.of(login.principal)
        if standing is None or standing.revision != row.revision:
            return None  # disabled or expired, or changed at this moment
        login = replace(login, expires_at=standing.expires_at)
        await self._db.run(attempts.forget, counted, address)
        if by_cli_secret:
            return login  # remembered by nobody: a new one counts at once
        if found is None and not robot and self._passwords.outdated(row.secret):
            await self._upgrade(row.id, row.secret, password)
        seconds = REMEMBER if found is None else REMEMBER_OUTSIDE
        self._known[key] = (login, self._monotonic() + seconds)
        while len(self._known) > REMEMBERED:
            self._known.popitem(last=False)
        return login

    async def flush(self) -> int:
        """Tell of wrong secrets; how many there were. A process that dies loses the last few.

        Not while somebody waits for the answer: its time would say that the name is right.
        """
        told = list(self._refused)
        if not told:
            return 0
        self._refused.clear()
        try:
            await self._db.run(_tell, told)
        except BaseException:
            self._refused.extendleft(reversed(told))
            raise
        return len(told)

    async def _find(self, name: str, robot: bool) -> Any:
        if not robot:
            return await self._user(users.c.username == name)
        query = select(
            robots.c.id,
            robots.c.revision,
            robots.c.secret_hash.label("secret"),
            literal(False).label("sysadmin"),
        ).where(robots.c.name == name)
        async with self._db.read() as tx:
            return (await tx.execute(query)).one_or_none()

    async def _user(self, where: ColumnElement[bool]) -> Any:
        query = select(
            users.c.id,
            users.c.username,
            users.c.revision,
            users.c.password_hash.label("secret"),
            users.c.cli_secret_hash.label("cli_secret"),
            ADMINISTERS.label("sysadmin"),
        ).where(where)
        async with self._db.read() as tx:
            return (await tx.execute(query)).one_or_none()

    async def _respelled(self, name: str) -> str:
        """The user whose name differs in the case of letters alone, or ""."""
        same = func.lower(users.c.username) == func.lower(name)
        query = select(users.c.username).where(same).order_by(users.c.id).limit(1)
        async with self._db.read() as tx:
            return str((await tx.execute(query)).scalar_one_or_none() or "")

    async def _upgrade(self, user_id: int, old: str, password: str) -> None:
        hashed = await self._passwords.hash(password)

        async def step(tx: Tx) -> None:
            # The password stays the same, so what was issued stays valid: no new revision.
            await tx.execute(
                update(users)
                .where(users.c.id == user_id, users.c.password_hash == old)
                .values(password_hash=hashed)
            )

        await self._db.run(step)

    def _digest(self, account: str, password: str, address: str, name: str) -> bytes:
        # With the address: else who guesses from elsewhere would need no attempt for the right one.
        # With the name: another prefix makes another account of it.
        parts = (address, account, name)
        text = "".join(f"{len(part)}:{part}" for part in parts) + password
        return hmac.new(self._key, text.encode("utf-8", "surrogatepass"), hashlib.sha256).digest()


def _kept_elsewhere(row: Any) -> bool:
    return row is None or (row.secret is None and row.cli_secret is None)


async def _tell(tx: Tx, refused: Sequence[tuple[str, str]]) -> None:
    facts = [UserRefused(operator=name, username=name, address=place) for name, place in refused]
    await emit(tx, *facts)
