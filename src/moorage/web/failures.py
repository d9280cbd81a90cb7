"""What the operator hears of a request that failed, and not by the caller's fault.

The client is told to come back later and little else; database or store, and what they said, go to
the log with the request's id.
"""

import logging

from moorage.errors import MoorageError, Unavailable

log = logging.getLogger(__name__)


def report(error: MoorageError, method: str, path: str) -> None:
    """Log a failure of ours; what the caller did wrong is not the operator's concern.

    `path` comes without its query, which may hold names and secrets.
    """
    if not isinstance(error, Unavailable):
        return
    cause = error.__cause__
    told = f" ({type(cause).__name__}: {cause})" if cause is not None else ""
    log.warning("%s %s: %s%s", method, path[:512], error.message, told)
