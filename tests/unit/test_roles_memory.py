"""What a busy minute took from the system goes back to it."""

import subprocess
import sys

import pytest

MANY, SIZE = 400, 256 << 10

_SCRIPT = f"""
import os
from moorage.roles import memory

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

memory.tune()
buffers = [b"x" * {SIZE} for _ in range({MANY})]
behind = bytes(range(256)) * 40  # in the heap behind all of them
buffers.clear()
held = resident()
memory.give_back()
print(held - resident())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc, and glibc's heap is meant")
def test_free_memory_amid_the_heap_goes_back() -> None:
    """Nearly all of what freed buffers had, though something in use lies behind them."""
    done = subprocess.run(
        [sys.executable, "-c", _SCRIPT], check=True, capture_output=True, text=True
    )
    assert int(done.stdout) > MANY * SIZE * 0.9
