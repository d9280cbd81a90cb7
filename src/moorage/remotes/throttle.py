"""Bounds how many bytes a second pass."""

import asyncio
import time
from collections.abc import Callable

KILOBITS = 128
"""Bytes of one of Harbor's units of speed, a kilobit."""


class Throttle:
    """Lets `rate` bytes a second pass, for any number of streams together; 0: all that come."""

    def __init__(self, rate: float, monotonic: Callable[[], float] = time.monotonic) -> None:
        self.rate = rate
        self._monotonic = monotonic
        self._free_at = 0.0

    async def pass_(self, size: int) -> None:
        """Wait until `size` bytes may have passed."""
        if self.rate <= 0:
            return
        moment = self._monotonic()
        self._free_at = max(self._free_at, moment) + size / self.rate
        if (pause := self._free_at - moment) > 0:
            await asyncio.sleep(pause)


FREE = Throttle(0)
"""Holds nothing up."""
