"""What was asked, and what was answered: one record a request, one JSON document a line.

{"id": 7, "client": "w3", "op": "put", "args": {…}, "invoke": 1.25, "complete": 1.31,
 "outcome": "ok", "status": 201, "value": "sha256:…", "attempt": 1, "via": "nginx"}

ok        it was done, or the read is right, as the answer says
fail      the answer says that nothing was done
unknown   no answer, or one that leaves it open: it may have been done, or may be done later
"""

import json
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

OK, FAIL, UNKNOWN = "ok", "fail", "unknown"


@dataclass
class Record:
    """One request. Times in seconds since the history began."""

    id: int
    client: str
    op: str
    args: Mapping[str, Any]
    invoke: float
    complete: float | None = None
    outcome: str = UNKNOWN
    status: int = 0
    value: str | None = None
    attempt: int = 1
    via: str = ""
    size: int = 0


class History:
    """Records of many threads."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.records: list[Record] = []
        self.began = time.monotonic()
        self._lock = threading.Lock()
        self._file = path.open("w")

    def now(self) -> float:
        """Seconds since the history began."""
        return time.monotonic() - self.began

    def begin(
        self, client: str, op: str, args: Mapping[str, Any], via: str, attempt: int
    ) -> Record:
        """Note that a request is about to be sent."""
        with self._lock:
            record = Record(
                len(self.records), client, op, args, self.now(), attempt=attempt, via=via
            )
            self.records.append(record)
        return record

    def end(self, record: Record, outcome: str, status: int, value: str | None = None) -> None:
        """Note its answer; of an unknown one only the status, for it stays open to the end."""
        record.outcome, record.status, record.value = outcome, status, value
        record.complete = self.now()
        with self._lock:
            self._file.write(json.dumps(asdict(record)) + "\n")

    def close(self) -> None:
        """Write what is left."""
        with self._lock:
            self._file.close()


def load(path: Path) -> Iterator[Record]:
    """The records of a file, in the order in which they were sent."""
    lines = (json.loads(line) for line in path.read_text().splitlines())
    yield from sorted((Record(**line) for line in lines), key=lambda record: record.id)
