"""Markdown that somebody wrote, as HTML that can do nothing.

    text ─► known ──────────────────────────────► HTML
       └──► one thread, one text after the other ─► parsed, cleaned ─► kept
                └─ too slow, or too many wait ─► the text as it was written

A text may be made to take the parser a minute. On the event loop everybody else would wait for it,
so it is parsed beside the loop, and within a time of the processor's that no README needs.
"""

import asyncio
import hashlib
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from time import thread_time
from typing import Any

import nh3
from markdown_it import MarkdownIt
from markupsafe import Markup

LONGEST = 256 << 10
"""Characters of a text that are shown."""
SECONDS = 2.0
"""Of the processor for one text."""
WAITING = 16
"""Texts that may wait for the thread."""
PATIENCE = 10.0
"""Seconds that a page waits."""
KEPT = 8 << 20
"""Characters of HTML that are kept."""

_TAGS = {
    *("p", "br", "hr", "em", "strong", "code", "pre", "blockquote", "ul", "ol", "li", "a"),
    *("h1", "h2", "h3", "h4", "h5", "h6", "table", "thead", "tbody", "tr", "th", "td"),
}
"""What descriptions and READMEs may hold; pictures would be requests to somewhere else."""
_UNTIL = "until"


class Prose:
    """Makes HTML of texts, and remembers some."""

    def __init__(self) -> None:
        self._known: OrderedDict[bytes, Markup] = OrderedDict()
        self._size = 0
        self._waiting = 0

    @cached_property
    def _thread(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(1, thread_name_prefix="prose")

    async def html(self, text: str) -> Markup:
        """The text as HTML; as it was written, where that would take too long."""
        text = text[:LONGEST]
        key = hashlib.sha256(text.encode(errors="surrogatepass")).digest()
        known = self._known.get(key)
        if known is not None:
            self._known.move_to_end(key)
            return known
        if self._waiting >= WAITING:
            return written(text)
        self._waiting += 1
        made = asyncio.get_running_loop().run_in_executor(self._thread, markdown, text)
        # Whoever asked may go away; the thread is free only when it is done.
        made.add_done_callback(lambda done: self._made(key, done))
        try:
            return await asyncio.wait_for(asyncio.shield(made), PATIENCE)
        except TimeoutError:
            return written(text)

    def _made(self, key: bytes, done: "asyncio.Future[Markup]") -> None:
        self._waiting -= 1
        if done.cancelled() or done.exception() is not None or key in self._known:
            return
        self._known[key] = done.result()
        self._size += len(done.result())
        while self._size > KEPT:
            self._size -= len(self._known.popitem(last=False)[1])


def markdown(text: str, seconds: float = SECONDS) -> Markup:
    """CommonMark as HTML that can do nothing; as it was written after so many `seconds`."""
    try:
        html = _MARKDOWN.render(text, {_UNTIL: thread_time() + seconds})
    except _TooSlow:
        return written(text)
    clean = nh3.clean(
        html,
        tags=_TAGS,
        attributes={"a": {"href"}},
        url_schemes={"http", "https", "mailto"},
        link_rel="noopener noreferrer nofollow",
    )
    return Markup(clean)  # noqa: S704 - nh3 let only these tags pass


def written(text: str) -> Markup:
    """The text as it was written."""
    return Markup('<pre class="log" tabindex="0">{}</pre>').format(text)


class _TooSlow(Exception):
    """The text takes too long."""


def _clock(state: Any, *_: Any) -> bool:
    """A rule that fits nothing: the parser asks it at each line and each mark."""
    if thread_time() > state.env[_UNTIL]:
        raise _TooSlow
    return False


def _parser() -> MarkdownIt:
    found = MarkdownIt("commonmark", {"html": False, "maxNesting": 20}).enable("table")
    around = {"alt": ["paragraph", "reference", "blockquote", "list"]}
    found.block.ruler.before("table", "clock", _clock, around)  # type: ignore[arg-type]
    found.inline.ruler.before("text", "clock", _clock)
    return found


_MARKDOWN = _parser()
