"""The one place that decides what a storage key may look like.

    blobs/7f/3c9a…        made by the database
    docker/registry/v2/blobs/sha256/ab/ab…/data        adopted from another registry's storage

No segment begins with a dot, so that a driver may keep its own names (`.name.part`) beside keys.
"""

import re

MAX_LENGTH = 480
"""Characters of a key, as another registry's longest; a driver adds its root directory in front."""

_FORM = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]*(?:/[A-Za-z0-9_-][A-Za-z0-9_.-]*)*")


def check(key: str) -> str:
    """The key itself; raises ValueError, a fault of the program, for one that is not valid."""
    if len(key) > MAX_LENGTH or not _FORM.fullmatch(key):
        raise ValueError(f"not a storage key: {key[:80]!r}")
    return key


def check_prefix(prefix: str) -> str:
    """A prefix of keys that ends in `/`, or nothing; raises ValueError."""
    if prefix:
        check(prefix.removesuffix("/"))
        if not prefix.endswith("/"):
            raise ValueError(f"a prefix ends in a slash: {prefix[:80]!r}")
    return prefix
