"""What drivers raise, told apart: try again, say that the database is away, or fail.

40001 40P01 55P03, "database is locked"     somebody else was in the way: again
the connection broke before the commit      again, on a fresh one
08*, 57P0*, 53300, refused, pool empty      DatabaseUnavailable
anything else                               as it is: a bug or a broken constraint
"""

import asyncio
import contextlib
from collections.abc import Iterator

from sqlalchemy import exc

from moorage.errors import DatabaseUnavailable

_CONTENDED = {"40001", "40P01", "55P03"}
_AWAY = {"57P01", "57P02", "57P03", "53300", "53400", "57014", "25006"}


def _state(error: exc.DBAPIError) -> str:
    return str(getattr(error.orig, "sqlstate", None) or "")


def contended(error: BaseException) -> bool:
    """Whether the same transaction will do better a moment later."""
    if not isinstance(error, exc.DBAPIError):
        return False
    return _state(error) in _CONTENDED or "database is locked" in str(error.orig)


def away(error: BaseException) -> bool:
    """Whether the database could not be reached, or threw us out."""
    if isinstance(error, exc.DBAPIError):
        state = _state(error)
        text = str(error.orig)
        return (
            error.connection_invalidated
            or state.startswith("08")
            or state in _AWAY
            or "unable to open database" in text
            or "disk is full" in text
            or "disk I/O error" in text
            or isinstance(error.orig, OSError)
        )
    state = str(getattr(error, "sqlstate", None) or "")
    return (
        isinstance(error, exc.TimeoutError | OSError | asyncio.TimeoutError)
        or state.startswith("08")
        or state in _AWAY
    )


@contextlib.contextmanager
def translated() -> Iterator[None]:
    """Turn what `away` or `contended` names into DatabaseUnavailable."""
    try:
        yield
    except (TimeoutError, exc.SQLAlchemyError, OSError) as error:
        if away(error) or contended(error):
            raise DatabaseUnavailable() from error
        raise
    except Exception as error:
        # asyncpg's own errors while connecting do not pass through SQLAlchemy.
        if type(error).__module__.startswith("asyncpg") and away(error):
            raise DatabaseUnavailable() from error
        raise
