"""The table in the log of a task: a line for each artifact, with Harbor's columns."""

from collections.abc import Iterable
from datetime import UTC, datetime

from moorage.retention.records import Candidate

COLUMNS = (
    ("Digest", 71),
    ("Tag", 20),
    ("Kind", 10),
    ("Labels", 10),
    ("PushedTime", 19),
    ("PulledTime", 19),
    ("CreatedTime", 19),
    ("Retention", 9),
)
"""With the characters that each has at least."""

_NAMES = 20  # tags or labels of one line


def line(candidate: Candidate, *, retained: bool) -> str:
    """What is shown of one artifact, and what happens to it."""
    return _row(
        (
            candidate.digest,
            _listed(candidate.tags),
            candidate.kind,
            _listed(candidate.labels),
            _time(candidate.pushed),
            _time(candidate.pulled),
            _time(candidate.created),
            "RETAIN" if retained else "DEL",
        )
    )


def _row(cells: Iterable[str]) -> str:
    padded = (cell.ljust(width) for cell, (_, width) in zip(cells, COLUMNS, strict=True))
    return f"| {' | '.join(padded)} |"


def _listed(names: tuple[str, ...]) -> str:
    more = len(names) - _NAMES
    return ",".join(names[:_NAMES]) + (f" and {more} more" if more > 0 else "")


def _time(moment: datetime | None) -> str:
    return f"{moment.astimezone(UTC):%Y/%m/%d %H:%M:%S}" if moment else ""


HEADER = _row(name for name, _ in COLUMNS)
