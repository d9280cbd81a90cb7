"""The database's clock, asked by itself."""

from datetime import date, datetime

from sqlalchemy import select

from moorage.db.prepared import Prepared
from moorage.db.transactions import Tx
from moorage.db.types import now


async def moment(tx: Tx) -> datetime:
    """What it says, in UTC."""
    found: datetime = (await tx.find(_NOW)).moment
    return found


async def today(tx: Tx) -> date:
    """The day that it is, in UTC."""
    return (await moment(tx)).date()


_NOW = Prepared(lambda _: select(now().label("moment")))
