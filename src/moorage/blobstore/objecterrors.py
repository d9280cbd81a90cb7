"""Our errors for those of the object stores' client, whose texts name hosts and go to the log."""

import contextlib
from collections.abc import Iterator

import structlog
from obstore.exceptions import BaseError, PermissionDeniedError, UnauthenticatedError

from moorage.errors import BlobUnknown, StorageFull, StorageUnavailable

_FULL = ("status code: 507", "StorageFull", "QuotaExceeded")
"""How servers say that no more fits."""

_NO_BUCKET = ("NoSuchBucket", "ContainerNotFound", "bucket does not exist")

_log = structlog.get_logger(__name__)


@contextlib.contextmanager
def storage_errors(key: str = "") -> Iterator[None]:
    """Raise our errors for the client's own."""
    try:
        yield
    except FileNotFoundError as error:
        # A bucket that is gone must not pass for each of its objects being gone.
        if any(sign in str(error)[:2000] for sign in _NO_BUCKET):
            raise failure(error, key) from error
        raise BlobUnknown from error
    except (PermissionDeniedError, UnauthenticatedError) as error:
        _log.error("storage refuses", key=key, error=first_line(error))
        raise StorageUnavailable("the blob storage refuses the registry's credentials") from error
    except (BaseError, OSError, ValueError, TimeoutError) as error:
        raise failure(error, key) from error


def failure(error: BaseException | None, key: str = "") -> StorageUnavailable | StorageFull:
    """Our error for one of the client's, which goes to the log."""
    if error is None:
        return StorageUnavailable()
    _log.warning("storage failed", key=key, error=first_line(error))
    full = any(sign in str(error)[:2000] for sign in _FULL)
    return StorageFull() if full else StorageUnavailable()


def first_line(error: BaseException) -> str:
    """What went wrong, without the client's debug output."""
    return (str(error).splitlines() or [type(error).__name__])[0][:500]
