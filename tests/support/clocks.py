"""A clock that a test turns."""

from datetime import UTC, datetime, timedelta


class TurnedClock:
    """Starts at the machine's time and moves when it is told."""

    def __init__(self) -> None:
        self._now = datetime.now(UTC)
        self._monotonic = 1000.0

    def now(self) -> datetime:
        """The wall clock."""
        return self._now

    def monotonic(self) -> float:
        """Seconds."""
        return self._monotonic

    def advance(self, seconds: float) -> None:
        """Let time pass, backwards only on the wall."""
        self._now += timedelta(seconds=seconds)
        self._monotonic += max(seconds, 0.0)
