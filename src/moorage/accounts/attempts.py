"""Attempts to sign in, counted in the database: per account and address, on every replica.

    count ─► 0: try it ── right ─► forget
         └─► seconds to wait

An attempt is counted before it is tried. The wait grows with the failures, and ends.
"""

import ipaddress
import unicodedata

from sqlalchemy import delete, select, update

from moorage.db.moments import moment
from moorage.db.tables import login_attempts
from moorage.db.transactions import Tx
from moorage.db.types import from_now, now

FREE = 8
"""Failures in a row that cost no wait."""
LONGEST_WAIT = 300.0
"""Seconds."""
FORGET = 900.0
"""Seconds after which failures do not count any more."""
SIGNED_IN = "(signed in)"
"""The address of those who are asked for their password again, wherever they are."""


def wait_after(failures: int) -> float:
    """Seconds before the next attempt after so many failures."""
    if failures < FREE:
        return 0.0
    return min(2.0 ** min(failures - FREE, 30), LONGEST_WAIT)


def network(address: str, *, v4: int = 32, v6: int = 64) -> str:
    """What counts as one address: an IPv4 address, or the /64 that one customer owns of IPv6.

    `v4` and `v6` are the bits of another width.
    """
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address[:64] if address.isprintable() else ""
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped:
        parsed = parsed.ipv4_mapped
    bits = v4 if isinstance(parsed, ipaddress.IPv4Address) else v6
    if bits == parsed.max_prefixlen:
        return str(parsed)
    return str(ipaddress.ip_network((parsed, bits), strict=False))


def folded(name: str) -> str:
    """One text for all spellings that a directory may take for the same name.

    Case, spaces, and in Active Directory also accents make no difference there (RFC 4518): each
    spelling would have guesses of its own.
    """
    letters = unicodedata.normalize("NFKD", name).casefold()
    plain = "".join(c for c in letters if not unicodedata.category(c).startswith("M"))
    return " ".join(plain.split())[:255]


async def count(tx: Tx, account: str, address: str) -> float:
    """Step: count one attempt. Returns the seconds to wait, 0 when it may be tried."""
    here = (login_attempts.c.account == account) & (login_attempts.c.address == address)
    await tx.execute(
        tx.dialect.insert(login_attempts)
        .values(account=account, address=address, failures=0, blocked_until=now())
        .on_conflict_do_nothing()
    )
    query = select(
        login_attempts.c.failures, login_attempts.c.blocked_until, login_attempts.c.updated_at
    ).where(here)
    row = (await tx.execute(tx.dialect.for_update(query))).one()
    at = await moment(tx)
    wait = (row.blocked_until - at).total_seconds()
    if wait > 0:
        return float(wait)
    stale = (at - row.updated_at).total_seconds() > FORGET
    failures = 1 if stale else row.failures + 1
    await tx.execute(
        update(login_attempts)
        .where(here)
        .values(failures=failures, blocked_until=from_now(wait_after(failures)), updated_at=now())
    )
    return 0.0


async def forget(tx: Tx, account: str, address: str) -> None:
    """Step: the account signed in from there."""
    await tx.execute(
        delete(login_attempts).where(
            login_attempts.c.account == account, login_attempts.c.address == address
        )
    )


async def tidy(tx: Tx) -> None:
    """Step: names are the caller's to invent, a row each, so none stays that counts no more."""
    await tx.execute(delete(login_attempts).where(login_attempts.c.updated_at < from_now(-FORGET)))
