"""What every part of the topology spends while a block runs."""

import contextlib
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from tools.ha import Topology
from tools.ha.postgres import DATABASE

from benchmarks.usage import cpu_seconds, family

SETTLING = 1.5  # seconds after which PostgreSQL's counters are complete
_COUNTERS = (
    "SELECT xact_commit, pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0') "
    f"FROM pg_stat_database WHERE datname = '{DATABASE}'"
)
_HELD = (
    "SELECT (SELECT count(*) FROM pg_stat_activity "
    f"WHERE backend_type = 'client backend' AND datname = '{DATABASE}'), "
    "(SELECT count(*) FROM pg_locks WHERE pid <> pg_backend_pid())"
)


@dataclass
class Reading:
    """What was spent; the figures are complete when the block of `metered` has ended."""

    seconds: float = 0
    cpu: dict[str, float] = field(default_factory=dict)  # seconds, by part
    commits: float = 0
    wal: float = 0  # bytes of PostgreSQL's log
    commands: float = 0  # to Redis
    connections: int = 0  # to PostgreSQL, at most
    locks: int = 0  # in PostgreSQL, at most


def _cpu(ha: Topology) -> Mapping[str, float]:
    return {
        part: cpu_seconds(pid for root in pids for pid in family(root))
        for part, pids in ha.pids().items()
    }


def _commands(ha: Topology) -> int:
    for line in ha.redis.ask("INFO", "stats").splitlines():
        if line.startswith("total_commands_processed:"):
            return int(line.partition(":")[2])
    raise RuntimeError("Redis does not count its commands")


@contextlib.contextmanager
def metered(ha: Topology) -> Iterator[Reading]:
    """Read before and after, and what is held several times meanwhile."""
    reading, over = Reading(), threading.Event()

    def watch() -> None:
        while not over.wait(0.5):
            held = ha.postgres.primary.sql(_HELD).split("|")
            reading.connections = max(reading.connections, int(held[0]))
            reading.locks = max(reading.locks, int(held[1]))

    rows = _counters(ha)
    commands, cpu, began = _commands(ha), _cpu(ha), time.perf_counter()
    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield reading
    finally:
        over.set()
        watcher.join()
    reading.seconds = time.perf_counter() - began
    reading.cpu = {part: spent - cpu.get(part, 0) for part, spent in _cpu(ha).items()}
    reading.commands = _commands(ha) - commands
    time.sleep(SETTLING)
    after = _counters(ha)
    reading.commits, reading.wal = after[0] - rows[0], after[1] - rows[1]


def _counters(ha: Topology) -> tuple[float, float]:
    commits, wal = ha.postgres.primary.sql(_COUNTERS).split("|")
    return float(commits), float(wal)
