"""Pages that are followed live: their changing part as server-sent events.

    event ─► the whole part, whenever it differs from what was sent last

So a browser that comes back, to this replica or to another one, needs to tell nothing: the first
event is the state as it is. A moment without the API ends no stream. Each session and each address
holds a bounded number of them, for each costs a look every STREAM_SECONDS.
"""

import asyncio
import re
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

from starlette.responses import PlainTextResponse, Response, StreamingResponse

from moorage.portal.visits import Visit
from moorage.web.csrf import SESSION_COOKIE

STREAM_SECONDS = 2.0
"""Between two looks at what a live page shows."""
STREAM_LIFE = 600.0
"""Seconds after which a stream ends; the browser asks for the next one."""
RETRY = 1000
"""Milliseconds after which a browser comes back."""
OF_A_SESSION, OF_AN_ADDRESS = 16, 256
"""Streams at the same time, on one replica."""

_TOKEN = re.compile(r'name="csrf" value="[^"]*"')
"""Masked anew each time: a change of it is none."""
_LIVE = re.compile(r"<!--live-->(.*?)<!--/live-->", re.DOTALL)


class Streams:
    """Those that are open on this replica; `leaving` says that the process is about to end."""

    def __init__(self, leaving: Callable[[], bool]) -> None:
        self._leaving = leaving
        self._open: Counter[str] = Counter()

    def follow(self, visit: Visit, look: Callable[[], Awaitable[Response]]) -> Response:
        """The answer that tells of changes; `look` renders the page as it is."""
        holders = _holders(visit)
        if any(self._open[each] >= most for each, most in holders):
            text = "too many pages are followed live\n"
            return PlainTextResponse(text, 429, headers={"Retry-After": "30"})
        names = [each for each, _most in holders]
        return StreamingResponse(
            self._events(names, look),
            media_type="text/event-stream",
            headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
        )

    async def _events(
        self, holders: Sequence[str], look: Callable[[], Awaitable[Response]]
    ) -> AsyncIterator[str]:
        self._open.update(holders)
        try:
            async for event in self._changes(look):
                yield event
        finally:
            self._open.subtract(holders)
            self._open += Counter()  # forgets who holds none

    async def _changes(self, look: Callable[[], Awaitable[Response]]) -> AsyncIterator[str]:
        loop = asyncio.get_running_loop()
        until = loop.time() + STREAM_LIFE
        before = ""
        yield f"retry: {RETRY}\n\n"
        while loop.time() < until and not self._leaving():
            response = await look()
            found = _LIVE.search(bytes(response.body).decode())
            if response.status_code >= 500:
                yield ": the API does not answer\n\n"  # another replica of it soon will
            elif response.status_code != 200 or found is None:
                return
            elif _TOKEN.sub("", found[1]) != before:
                before = _TOKEN.sub("", found[1])
                yield "".join(f"data: {line}\n" for line in found[1].splitlines()) + "\n"
            else:
                yield ": nothing new\n\n"
            await asyncio.sleep(STREAM_SECONDS)


def _holders(visit: Visit) -> Sequence[tuple[str, int]]:
    """Who holds a stream, and how many at most. A session may be made up: the address is not."""
    holders = [(f"address {visit.visitor.address}", OF_AN_ADDRESS)]
    session = visit.request.cookies.get(SESSION_COOKIE)
    return [*holders, (f"session {session}", OF_A_SESSION)] if session else holders
