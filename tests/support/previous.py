"""The version before this one, out of the history: what an operator upgrades from.

tests/cluster/previous.txt     the commit
source(folder)                 its `src`, for PYTHONPATH
"""

import io
import subprocess
import tarfile
from pathlib import Path

from tests.support.requirements import require
from tests.support.serving import ROOT

FILE = ROOT / "tests" / "cluster" / "previous.txt"


def commit() -> str:
    """The full hash that the file names."""
    lines = [line.strip() for line in FILE.read_text().splitlines()]
    (found,) = [line for line in lines if line and not line.startswith("#")]
    return found


def source(folder: Path) -> Path:
    """The packages of that version in a folder; skips the test where the history lacks it."""
    require("git")
    wanted = commit()
    known = subprocess.run(
        ["git", "cat-file", "-e", f"{wanted}^{{commit}}"],
        cwd=ROOT,
        capture_output=True,
        check=False,
    )
    if known.returncode:
        require(f"commit {wanted[:12]} of tests/cluster/previous.txt in the history")
    packed = subprocess.run(
        ["git", "archive", wanted, "src"], cwd=ROOT, capture_output=True, check=True
    )
    with tarfile.open(fileobj=io.BytesIO(packed.stdout)) as tree:
        tree.extractall(folder, filter="data")
    return folder / "src"
