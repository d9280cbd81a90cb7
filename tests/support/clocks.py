"""A clock that a test turns, an hour that does not end under it, and long waits."""

import time
from datetime import UTC, datetime, timedelta

import pytest

from moorage.accounts import attempts

HOUR, LEFT = 3600.0, 90.0  # seconds
_wait_after = attempts.wait_after


@pytest.fixture
def same_hour() -> None:
    """What happens now and what is asked of it later are of one day, and of one hour of it.

    So a test of days does not begin when the hour is about to end: it waits for the next one.
    """
    left = HOUR - time.time() % HOUR
    if left < LEFT:
        time.sleep(left + 0.1)


@pytest.fixture
def long_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who guessed too often waits hours for seconds: it is not over while the test still asks."""
    monkeypatch.setattr(attempts, "wait_after", lambda failures: HOUR * _wait_after(failures))


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
