"""A share of the processors for some processes, by a control group of Linux (version 1 or 2)."""

import contextlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

PERIOD = 20_000  # µs; short, so that a process that spent its share waits milliseconds only
_ROOTS = (Path("/sys/fs/cgroup/cpu"), Path("/sys/fs/cgroup"))


@contextlib.contextmanager
def limited(name: str, pid: int, cores: float) -> Iterator[None]:
    """Within the block a process and its threads get so many cores; OSError where that fails."""
    group = _make(f"moorage-bench-{os.getpid()}-{name}")
    try:
        _limit(group, cores)
        (group / "cgroup.procs").write_text(str(pid))
        yield
    finally:
        _move_away(group)
        group.rmdir()


def _make(name: str) -> Path:
    root = next(root for root in _ROOTS if (root / "cgroup.procs").exists())
    group = root / name
    group.mkdir()
    return group


def _limit(group: Path, cores: float) -> None:
    quota = round(cores * PERIOD)
    if (group / "cpu.cfs_quota_us").exists():
        (group / "cpu.cfs_period_us").write_text(str(PERIOD))
        (group / "cpu.cfs_quota_us").write_text(str(quota))
    else:
        (group / "cpu.max").write_text(f"{quota} {PERIOD}")


def _move_away(group: Path) -> None:
    def processes() -> Iterable[str]:
        return (group / "cgroup.procs").read_text().split()

    for pid in processes():
        with contextlib.suppress(OSError):  # it ended
            (group.parent / "cgroup.procs").write_text(pid)
