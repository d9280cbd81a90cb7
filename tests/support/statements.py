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
    execute, fetch_many = Tx.execute, Tx.fetch_many

    async def executed(self: Tx, statement: Any, parameters: Any = None) -> Any:
        seen.append(str(statement.compile(self.connection.sync_connection)))
        return await execute(self, statement, parameters)

    def seeing(ask: Any) -> Any:
        async def asked(self: Tx, prepared: Any, **values: Any) -> Any:
            seen.append(prepared.on(self.dialect).text)
            return await ask(self, prepared, **values)

        return asked

    async def fetched_many(self: Tx, prepared: Any, values: Any) -> Any:
        seen.extend([prepared.on(self.dialect).text] * len(values))
        return await fetch_many(self, prepared, values)

    with (
        patch.object(Tx, "execute", executed),
        patch.object(Tx, "fetch", seeing(Tx.fetch)),
        patch.object(Tx, "find", seeing(Tx.find)),
        patch.object(Tx, "select", seeing(Tx.select)),
        patch.object(Tx, "fetch_many", fetched_many),
    ):
        yield seen
