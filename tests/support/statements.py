"""How many statements something takes."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

from moorage.db.transactions import Tx


@contextmanager
def statements() -> Iterator[list[str]]:
    """Those of every transaction of this process, in their order; of a batch each one."""
    seen: list[str] = []
    execute, fetch, fetch_many = Tx.execute, Tx.fetch, Tx.fetch_many

    async def executed(self: Tx, statement: Any, parameters: Any = None) -> Any:
        seen.append(str(statement.compile(self.connection.sync_connection)))
        return await execute(self, statement, parameters)

    async def fetched(self: Tx, prepared: Any, **values: Any) -> Any:
        seen.append(prepared.on(self.dialect).text)
        return await fetch(self, prepared, **values)

    async def fetched_many(self: Tx, prepared: Any, values: Any) -> Any:
        seen.extend([prepared.on(self.dialect).text] * len(values))
        return await fetch_many(self, prepared, values)

    with (
        patch.object(Tx, "execute", executed),
        patch.object(Tx, "fetch", fetched),
        patch.object(Tx, "fetch_many", fetched_many),
    ):
        yield seen
