"""What drivers raise, told apart: try again, say that the database is away, or fail.

40001 40P01 55P03, "database is locked"     somebody else was in the way: again
a plan of before a migration                again: the driver has forgotten it by then
the connection broke before the commit      again, on a fresh one
08*, 57P0*, 53300, refused, pool empty      DatabaseUnavailable
53100, "database or disk is full"           StorageFull
anything else                               as it is: a bug or a broken constraint
"""

import asyncio
import contextlib
from collections.abc import Iterator

from sqlalchemy import exc

from moorage.errors import DatabaseUnavailable, StorageFull

_CONTENDED = {"40001", "40P01", "55P03"}
_AWAY = {
    *("57P01", "57P02", "57P03"),  # it is shutting down, crashed, or is starting
    "25P03",  # it ended a transaction in which nothing happened for too long
    *("53300", "53400", "57014", "25006"),  # too many connections, out of time, read-only
    *("28000", "28P01", "3D000"),  # it does not know us or the database (yet)
}
_CONNECTED = {"53300", "53400", "57014"}  # the connection itself is well

_TEXTS = ("unable to open database", "disk I/O error", "connection is closed")

# asyncpg, when a connection is not where it takes it to be. The last words of a session that was
# thrown out while it was idle leave it so until its socket is seen to be closed, a moment later.
_ASTRAY = "InternalClientError"

# asyncpg, when a type changed under a statement that it had prepared. It tries again by itself, but
# not inside of a transaction, which the error has ended.
_STALE = "InvalidCachedStatementError"


def _source(error: BaseException) -> BaseException:
    """The driver's own error: SQLAlchemy wraps what passes through it, `Tx.fetch` does not."""
    return error.orig or error if isinstance(error, exc.DBAPIError) else error


def _state(error: BaseException) -> str:
    return str(getattr(_source(error), "sqlstate", None) or "")


def _of_driver(error: BaseException) -> bool:
    module = type(_source(error)).__module__
    return module.startswith(("asyncpg", "sqlite3", "sqlalchemy.dialects"))


def contended(error: BaseException) -> bool:
    """Whether the same transaction will do better a moment later."""
    return _of_driver(error) and (
        _state(error) in _CONTENDED
        or type(_source(error)).__name__ == _STALE
        or "database is locked" in str(_source(error))
    )


def away(error: BaseException) -> bool:
    """Whether the database could not be reached, or threw us out."""
    if isinstance(error, exc.TimeoutError | OSError | asyncio.TimeoutError):
        return True
    if isinstance(error, exc.DBAPIError) and error.connection_invalidated:
        return True
    source, state = _source(error), _state(error)
    return isinstance(source, OSError) or (
        _of_driver(error)
        and (
            state.startswith("08")
            or state in _AWAY
            or type(source).__name__ == _ASTRAY
            or any(text in str(source) for text in _TEXTS)
        )
    )


def full(error: BaseException) -> bool:
    """Whether there is no room for what was to be written; nothing of it was."""
    return _of_driver(error) and (
        _state(error) == "53100" or "database or disk is full" in str(_source(error))
    )


def broken(error: BaseException) -> bool:
    """Whether the connection is dead or leads to the wrong server, and its neighbours with it."""
    return (
        isinstance(error, Exception)
        and away(error)
        and _state(error) not in _CONNECTED
        and not type(_source(error)).__module__.startswith("sqlite3")
    )


@contextlib.contextmanager
def translated() -> Iterator[None]:
    """Raise DatabaseUnavailable for `away` and `contended`, StorageFull for `full`."""
    try:
        yield
    except Exception as error:
        if full(error):
            raise StorageFull from error
        if away(error) or contended(error):
            raise DatabaseUnavailable() from error
        raise
