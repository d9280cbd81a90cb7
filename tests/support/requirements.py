"""What a test needs from the machine: a binary on PATH, or a skip that names it.

Where ``MOORAGE_REQUIRE_ALL=1`` is set (CI, ``make check``), an absent binary fails the test
instead, so that nothing is left out there without notice.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest

#: Places where Debian keeps servers that are not on an ordinary user's PATH, newest first.
_SERVER_FOLDERS = (
    "/usr/sbin",
    "/usr/local/sbin",
    *(str(path) for path in sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)),
)


def find(binary: str) -> str | None:
    """Return the full path of a binary, or None.

    A file given by path is taken as it is. A name is looked for beside the running Python
    first: servers that come as Python packages put their binary there.
    """
    if os.sep in binary:
        return binary if os.access(binary, os.X_OK) else None
    beside = Path(sys.prefix) / "bin" / binary
    if os.access(beside, os.X_OK):
        return str(beside)
    folders = os.pathsep.join([os.environ.get("PATH", ""), *_SERVER_FOLDERS])
    return shutil.which(binary, path=folders)


def require(*binaries: str) -> None:
    """Skip the calling test unless every binary is here.

    A name with a space in it is a reason, not a binary: it is skipped (or fails) as it stands.
    """
    absent = [name for name in binaries if " " in name or find(name) is None]
    if not absent:
        return
    reason = f"not on this machine: {', '.join(absent)}"
    if os.environ.get("MOORAGE_REQUIRE_ALL") == "1":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


def path_of(binary: str) -> str:
    """Return the full path of a binary; skip the calling test when it is absent."""
    require(binary)
    found = find(binary)
    assert found is not None
    return found
