"""The cache's fence, kept in the table of properties (see `moorage.cache.fence`)."""

import secrets
from dataclasses import replace

import orjson
from sqlalchemy import select

from moorage.cache.fence import FenceState
from moorage.db.engine import Database
from moorage.db.moments import moment
from moorage.db.tables import properties
from moorage.db.transactions import Tx
from moorage.db.types import now

_NAME = "cache_fence"


class DatabaseFence:
    """One row. `db` has a pool of its own, so that busy requests do not look like a lost fence."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def read(self) -> FenceState:
        """The fence as committed now, made by the first call ever."""
        async with self._db.read() as tx:
            kept = await _read(tx)
        return kept if kept is not None else await self._db.run(_open)

    async def choose(self, server: str) -> FenceState:
        """Set the server if none is chosen yet; else change nothing."""
        return await self._db.run(_choose, server)

    async def suspend(self, seconds: float, server: str | None = None) -> FenceState:
        """Stop the use of Redis for `seconds` from now, and choose `server` if one is given."""
        return await self._db.run(_suspend, seconds, server)


async def _read(tx: Tx, *, lock: bool = False) -> FenceState | None:
    query = select(properties.c.value, now().label("now")).where(properties.c.name == _NAME)
    row = (await tx.execute(tx.dialect.for_update(query) if lock else query)).one_or_none()
    if row is None:
        return None
    kept, instant = orjson.loads(row.value), row.now.timestamp()
    return FenceState(
        generation=kept["generation"],
        server=kept["server"],
        remaining=kept["until"] - instant,
    )


async def _open(tx: Tx) -> FenceState:
    instant = (await moment(tx)).timestamp()
    fresh = {"generation": secrets.token_hex(8), "server": "", "until": instant}
    insert = tx.dialect.insert(properties).values(name=_NAME, value=orjson.dumps(fresh).decode())
    await tx.execute(insert.on_conflict_do_nothing())
    kept = await _read(tx)
    assert kept is not None
    return kept


async def _locked(tx: Tx) -> FenceState:
    await _open(tx)
    kept = await _read(tx, lock=True)
    assert kept is not None
    return kept


async def _keep(tx: Tx, state: FenceState) -> FenceState:
    value = {
        "generation": state.generation,
        "server": state.server,
        "until": (await moment(tx)).timestamp() + state.remaining,
    }
    change = properties.update().where(properties.c.name == _NAME)
    await tx.execute(change.values(value=orjson.dumps(value).decode(), updated_at=now()))
    return state


async def _choose(tx: Tx, server: str) -> FenceState:
    kept = await _locked(tx)
    return kept if kept.server else await _keep(tx, replace(kept, server=server))


async def _suspend(tx: Tx, seconds: float, server: str | None) -> FenceState:
    kept = await _locked(tx)
    state = FenceState(
        generation=secrets.token_hex(8),
        server=kept.server if server is None else server,
        remaining=max(kept.remaining, seconds),
    )
    return await _keep(tx, state)
