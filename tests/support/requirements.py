"""What a test needs from the machine: a binary, or a skip that names it.

TESTS_REQUIRE_ALL=1     an absent binary fails the test (CI, `make check`)
TESTS_PYTHON_ONLY=1     every such test is skipped, present or not (`make test`)
"""

import os
import shutil
import sys
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[2]

#: Where binaries are besides PATH: built by `make clients`, and where Debian keeps servers.
_FOLDERS = (
    str(_ROOT / ".cache" / "bin"),
    "/usr/sbin",
    "/usr/local/sbin",
    *(str(path) for path in sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)),
)


def find(binary: str) -> str | None:
    """Return the full path of a binary, or None.

    A name is looked for beside the running Python first: servers that come as Python packages
    have their program there.
    """
    folders = [str(Path(sys.prefix) / "bin"), os.environ.get("PATH", ""), *_FOLDERS]
    return shutil.which(binary, path=os.pathsep.join(folders))


def require(*binaries: str) -> None:
    """Skip the calling test unless every binary is here.

    A name with a space in it is a reason and not a binary: it counts as absent. Without any name
    it only keeps the test from `make test`.
    """
    if os.environ.get("TESTS_PYTHON_ONLY") == "1":
        pytest.skip(f"needs {' '.join(binaries) or 'a real client'}: `make check` runs it")
    lacking = [name for name in binaries if " " in name or find(name) is None]
    if not lacking:
        return
    reason = f"not on this machine: {', '.join(lacking)}"
    if os.environ.get("TESTS_REQUIRE_ALL") == "1":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


def path_of(binary: str) -> str:
    """Return the full path of a binary; skip the calling test when it is absent."""
    require(binary)
    found = find(binary)
    assert found is not None
    return found
