"""The same done to many things: a page that grows line by line while it happens.

    POST ─► head of the page ─► one line for each thing, when it is done ─► the sum, and ways on

A browser shows what has come so far, so this needs no JavaScript; the bar of the last line is the
one that is seen. Who goes away ends it between two things. What failed can be tried again.
"""

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

from starlette.responses import Response, StreamingResponse

from moorage.portal.client import Problem
from moorage.portal.parts import Crumb
from moorage.portal.visits import Visit

log = logging.getLogger(__name__)

_ROWS = "<!--rows-->"


@dataclass(frozen=True, slots=True)
class Bulk:
    """What is done, and to what."""

    op: str
    """Its name in the addresses of the list."""
    title: str
    names: Sequence[str]
    work: Callable[[str], Awaitable[str]]
    """Does it to one of them, and says more of it or nothing; raises Problem."""
    crumbs: Sequence[Crumb] = ()


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one."""

    name: str
    failed: bool
    said: str


async def carried_out(visit: Visit, bulk: Bulk) -> Response:
    """The page that grows; raises Problem before anything is done."""
    if not bulk.names:
        raise Problem(400, "BAD_REQUEST", visit.gettext("Choose something first."))
    context = {
        "title": bulk.title,
        "glyph": "check",
        "crumbs": bulk.crumbs,
        "count": len(bulk.names),
    }
    page = await visit.text_of("bulk.html", **context)
    head, _, foot = page.partition(_ROWS)
    response = StreamingResponse(
        _lines(visit, bulk, head, foot),
        media_type="text/html",
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )
    return visit.with_cookies(response)


async def _lines(visit: Visit, bulk: Bulk, head: str, foot: str) -> AsyncIterator[str]:
    yield head
    outcomes: list[Outcome] = []
    for name in bulk.names:
        outcomes.append(await _one(visit, bulk, name))
        part = len(outcomes) / len(bulk.names)
        yield await visit.text_of("bulk_line.html", outcome=outcomes[-1], part=part)
    failed = [each.name for each in outcomes if each.failed]
    again = "".join(f"&{urlencode({'id': name})}" for name in failed)
    yield await visit.text_of(
        "bulk_end.html",
        done=len(outcomes) - len(failed),
        failed=len(failed),
        again=visit.doing(bulk.op) + again if failed else "",
        back=visit.back,
    )
    yield foot


async def _one(visit: Visit, bulk: Bulk, name: str) -> Outcome:
    try:
        return Outcome(name, False, await bulk.work(name))
    except Problem as problem:
        return Outcome(name, True, problem.message)
    except Exception:
        log.exception("%s of %s failed", bulk.op, name)
        return Outcome(name, True, visit.gettext("Something is wrong"))
