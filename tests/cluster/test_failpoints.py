"""Crash at every named step, start again, and look at what is left.

A crash is the end of the process without any cleaning up. Afterwards what was acknowledged is
there, the work can be done again, and a collection leaves nothing that no manifest needs.
"""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from tests.support.databases import PostgresServer
from tests.support.stores import Bucket

from moorage.failpoints import NAMES

# Sixty processes a database: `make check` has the time.
pytestmark = pytest.mark.slow

# Steps of an operator's verbs: `test_failpoints_verbs.py`, `test_moving.py`, tests of migrations.
ELSEWHERE = ("migrate.", "backup.", "copy.", "prune.", "refill.", "move.", "import.")
STEPS = [name for name in NAMES if not name.startswith(ELSEWHERE)]
ROOT = Path(__file__).parents[2]


def run(verb: str, log: Path, environment: Mapping[str, str], failpoint: str = "") -> int:
    """Run the worker; its exit status."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.crashing", verb, str(log)],
        cwd=ROOT,
        env={**os.environ, **environment, "MOORAGE_FAILPOINTS": failpoint},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode in (0, 137), f"{verb}: {done.stdout}\n{done.stderr}"
    return done.returncode


@pytest.fixture
def files(tmp_path: Path) -> dict[str, str]:
    """SQLite and a folder."""
    (tmp_path / "data").mkdir()
    return {"MOORAGE_DATA_DIR": str(tmp_path / "data")}


@pytest.fixture
def servers(tmp_path: Path, postgres_server: PostgresServer, seaweed: Bucket) -> dict[str, str]:
    """PostgreSQL and S3."""
    return {
        "MOORAGE_DATA_DIR": str(tmp_path),
        "MOORAGE_DATABASE__URL": postgres_server.url(postgres_server.fresh()),
        "MOORAGE_STORAGE__DRIVER": "s3",
        "MOORAGE_STORAGE__S3": json.dumps(seaweed.section()),
    }


def crash_at(step: str, environment: Mapping[str, str], log: Path) -> None:
    """The invariants hold right after the crash, and after everything was done again."""
    assert run("work", log, environment, f"{step}=crash") == 137, "the step was never passed"
    assert run("check", log, environment) == 0
    assert run("work", log, environment) == 0
    assert run("check", log, environment) == 0


@pytest.mark.parametrize("step", STEPS)
def test_a_crash_loses_nothing_on_sqlite_and_files(
    step: str, files: dict[str, str], tmp_path: Path
) -> None:
    """One process, one folder."""
    crash_at(step, files, tmp_path / "log")


@pytest.mark.parametrize("step", STEPS)
def test_a_crash_loses_nothing_on_postgres_and_s3(
    step: str, servers: dict[str, str], tmp_path: Path
) -> None:
    """Replicas' databases and stores."""
    crash_at(step, servers, tmp_path / "log")
