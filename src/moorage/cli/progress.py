"""How far a long verb is, on standard error: a bar a stage on a terminal, plain lines in a pipe."""

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

EVERY = 10.0
"""Seconds between two lines of a stage in a pipe."""

Tell = Callable[[str, int, int | None], None]


@contextlib.contextmanager
def progress() -> Iterator[Tell]:
    """Gives what a verb tells of its stages."""
    if not sys.stderr.isatty():
        yield _Lines().tell
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        stages: dict[str, Any] = {}

        def tell(stage: str, done: int, total: int | None) -> None:
            if stage not in stages:
                stages[stage] = bars.add_task(stage, total=total)
            bars.update(stages[stage], completed=done, total=total)

        yield tell


class _Lines:
    def __init__(self) -> None:
        self._next = time.monotonic() + EVERY

    def tell(self, stage: str, done: int, total: int | None) -> None:
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + EVERY
        of = f" of {total}" if total is not None else ""
        print(f"{stage}: {done}{of}", file=sys.stderr, flush=True)
