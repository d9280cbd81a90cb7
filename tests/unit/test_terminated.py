"""A run of tests that is ended leaves no server behind."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

ROOT = Path(__file__).parents[2]
WAITING = """
import time
from pathlib import Path
import pytest
from tools.ha.processes import Child

@pytest.fixture
def server():
    child = Child("server", Path(__file__).parent, ["sleep", "600"])
    child.launch()
    yield child
    child.kill()

def test_waits(server):
    name = Path(__file__).parent / "pid"
    name.with_suffix(".new").write_text(str(server.pid))
    name.with_suffix(".new").rename(name)
    time.sleep(600)
"""


def test_servers_end_with_the_run(tmp_path: Path) -> None:
    """As they do at Ctrl-C; those in sessions of their own, which no terminal reaches, too."""
    (tmp_path / "test_waiting.py").write_text(WAITING)
    command = (*("-m", "pytest", "-q", "-p", "tests.conftest", "-p", "no:cacheprovider"),
               *("-o", "pythonpath=", "--rootdir", str(tmp_path), str(tmp_path)))  # fmt: skip
    run = subprocess.Popen(
        [sys.executable, *command], cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    file = tmp_path / "pid"
    for _ in range(2000):
        if file.exists() or run.poll() is not None:
            break
        threading.Event().wait(0.05)
    assert run.poll() is None, run.communicate()[0]
    server = Path("/proc") / file.read_text()
    assert server.exists()
    run.send_signal(signal.SIGTERM)
    said, _ = run.communicate(timeout=60)
    assert not server.exists(), said
