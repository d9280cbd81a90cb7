"""Lists: `/v2/<name>/tags/list` and `/v2/_catalog`.

`n` is how many to send, `last` the entry after which to go on; it need not exist. Whoever asks for
more than a page holds gets a page and a `Link`.
"""

import orjson

from moorage.artifacts.listing import Listing
from moorage.distribution.call import Call
from moorage.distribution.exchange import JSON, Headers
from moorage.distribution.locations import Locations
from moorage.errors import PaginationInvalid

MAX_TAGS = 10_000
"""Tags of one answer."""

MAX_REPOSITORIES = 1000
"""Repositories of one answer."""

DEFAULT_REPOSITORIES = 100
_MAX_LAST = 1024


class Lists:
    """Sends sorted names."""

    def __init__(self, listing: Listing, locations: Locations) -> None:
        self._listing = listing
        self._locations = locations

    async def tags(self, call: Call) -> None:
        """The tags of a repository."""
        exchange = call.exchange
        asked = whole_number(exchange.parameter("n"))
        limit = MAX_TAGS if asked is None else min(asked, MAX_TAGS)
        found = await self._listing.tags(call.repository, last=_last(call), limit=limit + 1)
        names, headers = self._page(f"{call.repository}/tags/list", found, limit)
        body = orjson.dumps({"name": call.repository, "tags": names})
        await exchange.answer(200, headers, body)

    async def catalog(self, call: Call) -> None:
        """All repositories of the registry."""
        asked = whole_number(call.exchange.parameter("n"))
        limit = DEFAULT_REPOSITORIES if asked is None else min(asked, MAX_REPOSITORIES)
        found = await self._listing.repositories(last=_last(call), limit=limit + 1)
        names, headers = self._page("_catalog", found, limit)
        await call.exchange.answer(200, headers, orjson.dumps({"repositories": names}))

    def _page(self, path: str, found: list[str], limit: int) -> tuple[list[str], Headers]:
        """Of `limit + 1` names the first `limit`, with a link when one is left over."""
        names = found[:limit]
        headers: Headers = [JSON]
        if names and len(found) > limit:
            headers.append(self._locations.next_page(path, n=limit, last=names[-1]))
        return names, headers


def whole_number(text: str | None) -> int | None:
    """A count from the query, None when absent; raises PaginationInvalid."""
    if text is None or text == "":
        return None
    if not text.isascii() or not text.isdigit():
        raise PaginationInvalid(f"n is not a whole number: {text[:32]}", detail={"n": text[:32]})
    return int(text[:12])


def _last(call: Call) -> str | None:
    last = call.exchange.parameter("last")
    if last is not None and (len(last) > _MAX_LAST or not last.isprintable()):
        raise PaginationInvalid("last is not a name that could have been listed")
    return last or None
