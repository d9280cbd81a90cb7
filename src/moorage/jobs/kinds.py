"""Kinds of tasks: what each is allowed, and who does it."""

import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from moorage.jobs.context import Context

Handler = Callable[["Context"], Awaitable[None]]
"""Does a task. May run again after a crash: what must not happen twice goes through `Context.run`.

Raises Stopping when it saw that it shall stop, anything else when it failed.
"""


@dataclass(frozen=True)
class Kind:
    """A kind of tasks; `name` is Harbor's name of the job."""

    name: str
    run: Handler
    tries: int = 1  # runs that may fail
    limit: int | None = None  # at once in the whole installation
    share: int | None = None  # at once in one worker; None: half of its slots
    light: bool = False  # waits for others mostly, and takes no slot
    rank: int = 0  # lower is sooner
    backoff: float = 5.0  # seconds before the second try; doubles
    longest: float = 600.0  # seconds between two tries at most

    def pause(self, failures: int) -> float:
        """Seconds until the next try, after so many failures; spread, so that none come at once."""
        steady: float = min(self.longest, self.backoff * 2 ** min(failures - 1, 20))
        return steady * random.uniform(0.8, 1.2)  # noqa: S311


@dataclass(frozen=True)
class NewTask:
    """A task to be queued."""

    kind: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    extra: Mapping[str, Any] = field(default_factory=dict)
    rank: int = 0
    delay: float = 0.0  # seconds until it may be claimed


@dataclass(frozen=True)
class NewExecution:
    """An execution of one task, to be queued."""

    vendor_type: str
    vendor_id: int
    task: NewTask
    extra: Mapping[str, Any] = field(default_factory=dict)
