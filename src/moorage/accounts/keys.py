"""The signing keys of this installation, in the database, encrypted under `secret_key`.

    made ── signs and verifies ── rotate ──► verifies until retires_at ──► deleted
                                    └──► the next key signs at once; other replicas look for it
                                         when they meet its id

`properties` holds the fingerprint of `secret_key`. A replica that was given another key refuses to
start, before it writes a secret that the others cannot read; one that has the recorded key among
its former ones encrypts everything anew.
"""

import logging
import secrets
from collections.abc import Awaitable, Callable, Iterable, Sequence

from joserfc.jwk import ECKey
from sqlalchemy import delete, func, select, update

from moorage.access.jwts import ALGORITHM, LEEWAY, KeyRing, SigningKey
from moorage.access.secretbox import CannotOpen, SecretBox
from moorage.clock import Clock, SystemClock
from moorage.db.engine import Database
from moorage.db.tables import properties, signing_keys
from moorage.db.transactions import Tx
from moorage.db.types import from_now, now

log = logging.getLogger(__name__)

FINGERPRINT = "secret_key_fingerprint"
"""The row of `properties`; its lock also orders replicas that make or rotate keys."""

SLACK = 600.0
"""Seconds that a key verifies longer than any token that it signed."""

LOOK_EVERY = 1.0
"""Seconds between two looks for unknown keys, however many tokens name them."""


Reseal = Callable[[Tx], Awaitable[None]]


class WrongSecretKey(Exception):
    """This replica's `secret_key` is not the one that this installation was made with."""

    def __init__(self) -> None:
        super().__init__(
            "secret_key is not the one that this installation's secrets are encrypted under; "
            "give every replica the same key, or list the former one in previous_secret_keys"
        )


class Keys:
    """Fills `ring` from the database."""

    def __init__(
        self,
        db: Database,
        box: SecretBox,
        ring: KeyRing,
        *,
        token_lifetime: float,
        rotation: float = 90 * 86400.0,
        others: Sequence[Reseal] = (),
        clock: Clock | None = None,
    ) -> None:
        """`token_lifetime` and `rotation` (the age at which a key is replaced) in seconds.

        `others` encrypt what they keep anew when `secret_key` was changed.
        """
        self._db = db
        self._box = box
        self._ring = ring
        self._overlap = token_lifetime + LEEWAY + SLACK
        self._rotation = rotation
        self._others = others
        self._monotonic = (clock or SystemClock()).monotonic
        self._looked = -LOOK_EVERY

    async def start(self) -> None:
        """Check `secret_key`, make the first key if there is none, load all.

        Raises WrongSecretKey.
        """
        await self._db.run(self._begin)
        await self.load()

    async def load(self) -> None:
        """Know what the database knows."""
        query = select(signing_keys).order_by(
            signing_keys.c.created_at.desc(), signing_keys.c.kid.desc()
        )
        async with self._db.read() as tx:
            rows = (await tx.execute(query)).all()
        keys = []
        for row in rows:
            if row.algorithm != ALGORITHM:
                continue  # a newer replica signs by an algorithm that this one does not know
            try:
                private = self._box.open(row.private_key, _purpose(row.kid))
            except CannotOpen:
                log.warning("signing key %s cannot be opened under this secret_key", row.kid)
                continue
            retires = row.retires_at.timestamp() if row.retires_at else None
            keys.append(SigningKey(row.kid, private, retires))
        self._ring.replace(keys)

    async def look_again(self) -> None:
        """Load, unless that was just done: anybody can send tokens with unknown key ids."""
        if self._monotonic() - self._looked < LOOK_EVERY:
            return
        self._looked = self._monotonic()
        await self.load()

    async def rotate(self) -> str:
        """Let a new key sign from now on. Returns its id."""
        kid = await self._db.run(self._rotate)
        await self.load()
        return kid

    async def tend(self) -> None:
        """Rotate when it is time, delete what retired, load; to be called now and then."""

        async def step(tx: Tx) -> None:
            await _lock(tx)
            await tx.execute(delete(signing_keys).where(signing_keys.c.retires_at <= now()))
            young = await tx.execute(
                select(func.count())
                .select_from(signing_keys)
                .where(
                    signing_keys.c.retires_at.is_(None),
                    signing_keys.c.created_at > from_now(-self._rotation),
                )
            )
            if not young.scalar_one():
                await self._rotate(tx)

        await self._db.run(step)
        await self.load()

    async def _begin(self, tx: Tx) -> None:
        made = tx.dialect.insert(properties).values(name=FINGERPRINT, value=self._box.fingerprint)
        await tx.execute(made.on_conflict_do_nothing())
        recorded = await _lock(tx)
        if recorded != self._box.fingerprint:
            if recorded not in self._box.previous:
                raise WrongSecretKey
            await self._seal_anew(tx)
        signing = await tx.execute(
            select(func.count())
            .select_from(signing_keys)
            .where(signing_keys.c.retires_at.is_(None))
        )
        if not signing.scalar_one():
            await self._add(tx)

    async def _rotate(self, tx: Tx) -> str:
        await _lock(tx)
        await tx.execute(
            update(signing_keys)
            .where(signing_keys.c.retires_at.is_(None))
            .values(retires_at=from_now(self._overlap))
        )
        return await self._add(tx)

    async def _add(self, tx: Tx) -> str:
        key = ECKey.generate_key("P-256")
        kid = secrets.token_hex(8)
        sealed = self._box.seal(key.as_pem(private=True), _purpose(kid))
        await tx.execute(
            signing_keys.insert().values(kid=kid, algorithm=ALGORITHM, private_key=sealed)
        )
        return kid

    async def _seal_anew(self, tx: Tx) -> None:
        rows: Iterable[tuple[str, bytes]] = (
            (row.kid, row.private_key) for row in (await tx.execute(select(signing_keys))).all()
        )
        for kid, sealed in rows:
            plain = self._box.open(sealed, _purpose(kid))
            await tx.execute(
                update(signing_keys)
                .where(signing_keys.c.kid == kid)
                .values(private_key=self._box.seal(plain, _purpose(kid)))
            )
        for reseal in self._others:
            await reseal(tx)
        await tx.execute(
            update(properties)
            .where(properties.c.name == FINGERPRINT)
            .values(value=self._box.fingerprint, updated_at=now())
        )


async def _lock(tx: Tx) -> str:
    query = select(properties.c.value).where(properties.c.name == FINGERPRINT)
    return str((await tx.execute(tx.dialect.for_update(query))).scalar_one())


def _purpose(kid: str) -> str:
    return f"signing key {kid}"
