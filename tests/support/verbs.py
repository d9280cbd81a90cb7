"""A verb of the command line as a process of its own, which may end at a failpoint.

ran(["verify", "--json"], folder)                                   what it said and returned
crash(["import", "storage"], folder, "import.batch=crash", "import.batch=2*crash")
"""

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

_SOURCE = Path(__file__).parents[2] / "src"
_CRASHED = 137
"""The exit status of a process that a failpoint ended, as a lost machine would."""


def ran(
    verb: Sequence[str],
    folder: Path,
    *,
    environment: Mapping[str, str] | None = None,
    failpoint: str = "",
    seconds: float = 300,
) -> subprocess.CompletedProcess[str]:
    """Run it in `folder`, with `environment` besides this process's own."""
    armed = {"MOORAGE_FAILPOINTS": failpoint} if failpoint else {}
    return subprocess.run(
        [sys.executable, "-m", "moorage", *verb],
        cwd=folder,
        env={**os.environ, **(environment or {}), "PYTHONPATH": str(_SOURCE), **armed},
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )


def crash(
    verb: Sequence[str],
    folder: Path,
    *failpoints: str,
    environment: Mapping[str, str] | None = None,
) -> None:
    """Run it once for each of the failpoints, all of which it has to reach."""
    for failpoint in failpoints:
        died = ran(verb, folder, environment=environment, failpoint=failpoint)
        assert died.returncode == _CRASHED, (failpoint, died.stdout, died.stderr)
