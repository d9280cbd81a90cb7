"""All that a visitor can get to by links, and each form that he can send: found, not listed.

    crawl(visitor)  ─►  Found(pages: shape ─► an example, forms: (route, op) ─► where it stands)

Two pages have the same shape when the same code draws them: the route, and which view of it (`do`,
`tab`, `view`, `kind`). So a new page or form is noticed.
"""

import re
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, urlsplit

import httpx2
from starlette.routing import Match, Route
from tests.portal.html import Document, Sent
from tests.portal.visitor import Visitor

from moorage.portal.pages import ROUTES

VIEWS = ("do", "tab", "view", "kind")
"""Parameters whose value says what is drawn."""
_REPOSITORY = "/harbor/projects/{project}/repositories/{rest:path}"
_PLACE = re.compile(r"(artifacts|tags)/[^/?]+$")


async def _unused(request: object) -> None:
    raise AssertionError("routes only match here")


_ROUTES = [Route(path, endpoint=_unused) for path, *_ in ROUTES]


def template(path: str) -> str:
    """The route that a path belongs to, as it stands in ROUTES; empty for what is no page."""
    scope = {"type": "http", "method": "GET", "path": urlsplit(path).path}
    fitting = (each.path for each in _ROUTES if each.matches(scope)[0] is Match.FULL)
    return next(fitting, "")


def route(path: str) -> str:
    """The route of a path, with what is shown of a repository; empty for what is no page."""
    plain, found = urlsplit(path).path, template(path)
    if found.endswith("/{group}"):
        return plain
    if found != _REPOSITORY:
        return found
    ends = re.search(r"/(artifacts-tab|info-tab|usage-tab|compare)(/depth/[^/]+)?(/.*)?$", plain)
    if ends is None:
        return f"{_REPOSITORY}/artifacts-tab"
    inner = _PLACE.search(ends[3] or "")
    return f"{_REPOSITORY}/{ends[1]}" + (f"/{inner[1]}" if inner else "")


def shape(path: str, *more: str) -> str:
    """What draws a page; see above. The values of `more` parameters make a difference as well."""
    said = dict(parse_qsl(urlsplit(path).query))
    if said.get("page", "1") not in ("1", "2"):
        return ""  # the third page is as the second
    views = [f"{name}={said[name]}" for name in (*VIEWS, *more) if said.get(name)]
    return f"{route(path)}?{'&'.join(views)}" if views else route(path)


@dataclass
class Found:
    """What a crawl came across."""

    pages: dict[str, str] = field(default_factory=dict)
    """Shape to the first address of it."""
    texts: dict[str, httpx2.Response] = field(default_factory=dict)
    """Address to what was answered."""
    forms: dict[tuple[str, str], list[Sent]] = field(default_factory=dict)
    """Route and `op` to the forms that are posted so; without `op` for one that has none."""


def crawl(visitor: Visitor, starts: Sequence[str], *more: str, within: str = "") -> Found:
    """Everything that is reached from `starts`, or what of it one route shows; nothing is changed.

    For `more`, see `shape`.
    """
    found = Found()
    waiting = deque(starts)
    while waiting:
        path = waiting.popleft()
        kind = shape(path, *more)
        if not kind or kind in found.pages or (within and route(path) != within):
            continue
        answer = visitor.client.get(path, follow_redirects=True)
        if "text/html" not in answer.headers.get("content-type", ""):
            continue
        if within and answer.status_code == 404:
            continue  # what was there before something was done
        assert answer.status_code == 200, (path, answer.status_code, answer.text[:500])
        found.pages[kind] = path
        found.texts[path] = answer
        document = Document.read(answer.url.raw_path.decode(), answer.text)
        for form in document.forms:
            if form.method == "post":
                for name, value in form.buttons or [("", "")]:
                    key = (route(form.action), value if name == "op" else "")
                    found.forms.setdefault(key, []).append(form)
        waiting.extend(each for each in document.ways() if each.startswith("/"))
    return found
