"""The portal as an ASGI application: routes, forms, streams, and what happens when the API says no.

GET                 the page
GET  …live=1        the page's live part as server-sent events, again whenever it changes
POST                the page's form; the API checks the CSRF token, and the browser has to say that
                    the form was on a page of ours. A refusal shows the page again, with the reason
                    and what was typed
"""

import logging
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import parse_qs, urlencode

from starlette.convertors import Convertor
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import compile_path
from starlette.types import ASGIApp, Receive, Scope, Send

from moorage.portal.assets import PATH as STATIC
from moorage.portal.assets import Assets
from moorage.portal.client import PortalApi, Problem
from moorage.portal.pages import ROUTES, Page
from moorage.portal.rendering import HEADERS, Templates
from moorage.portal.streams import Streams
from moorage.portal.visits import Visit
from moorage.web.csrf import from_elsewhere

log = logging.getLogger(__name__)

MAX_FORM = 256 << 10
"""Bytes of a form."""
MAX_FIELDS = 2000
SIGN_IN = "/account/sign-in"
_UNPACKED = "moorage.unpacked"


class Portal:
    """Answers every path that is a page; `leaving` says that the process is about to end."""

    def __init__(self, api: PortalApi, leaving: Callable[[], bool] = lambda: False) -> None:
        self._api = api
        self._streams = Streams(leaving)
        self._assets = Assets()
        self._templates = Templates(self._assets)
        self._routes = [(compile_path(path), get, post) for path, get, post in ROUTES]
        self._app: ASGIApp = GZipMiddleware(
            self._answered, minimum_size=1024, compresslevel=3, thread_minimum_size=1 << 20
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        # What comes bit by bit goes out as it comes: compressed, it would wait for more.
        await self._app({**scope, _UNPACKED: send}, receive, send)

    async def _answered(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        if scope["path"].startswith(STATIC):
            response = self._assets.answer(request)
        else:
            response = await self._page(request)
            for name, value in HEADERS.items():
                response.headers[name] = value
        growing = isinstance(response, StreamingResponse)
        await response(scope, receive, scope[_UNPACKED] if growing else send)

    async def _page(self, request: Request) -> Response:
        if request.method not in ("GET", "HEAD", "POST"):
            return PlainTextResponse("method not allowed\n", 405, headers={"Allow": "GET, POST"})
        for (pattern, _, convertors), get, post in self._routes:
            params = _params(pattern, convertors, request.scope["path"])
            if params is None:
                continue
            request.scope["path_params"] = params
            if request.method == "POST":
                if from_elsewhere(request.scope):
                    return PlainTextResponse("the form is on a page of another site\n", 403)
                if post is None:
                    break
                return await self._posted(request, get, post)
            if request.query_params.get("live") == "1":
                return self._live(request, get)
            return await self._shown(Visit(self._api, self._templates, request), get)
        return await self._shown(Visit(self._api, self._templates, request), _nowhere)

    def _live(self, request: Request, page: Page) -> Response:
        async def look() -> Response:
            return await self._shown(Visit(self._api, self._templates, request), page)

        return self._streams.follow(Visit(self._api, self._templates, request), look)

    async def _shown(self, visit: Visit, page: Page) -> Response:
        visit.begin()
        try:
            return await page(visit)
        except Problem as problem:
            return await self._refused(visit, problem)
        except Exception:
            log.exception("%s failed", visit.path)
            return await self._refused(visit, Problem(500, "UNKNOWN", "internal server error"))
        finally:
            await visit.end()

    async def _posted(self, request: Request, get: Page, post: Page) -> Response:
        try:
            form = await _form(request)
        except ClientDisconnect:
            return PlainTextResponse("the client is gone\n", 400)
        except ValueError as error:
            return PlainTextResponse(f"{error}\n", 400)
        visit = Visit(self._api, self._templates, request, form)
        try:
            return await post(visit)
        except Problem as problem:
            if problem.status == 401 and not visit.path.startswith("/account/"):
                return await self._refused(visit, problem)
            visit.problem = problem
            return await self._shown(visit, get)
        finally:
            await visit.end()

    async def _refused(self, visit: Visit, problem: Problem) -> Response:
        """What the API did not want to show."""
        try:
            shell = await visit.shell()
            if problem.status == 401 and shell.user is None:
                back = visit.path
                if visit.request.method == "GET" and visit.request.url.query:
                    back += f"?{visit.request.url.query}"
                where = f"{SIGN_IN}?{urlencode({'redirect_url': back})}"
                return RedirectResponse(where, 303, headers={"Cache-Control": "no-store"})
            visit.problem = None
            return await visit.render("error.html", status=problem.status, failure=problem)
        except Problem as error:
            status = error.status if error.status >= 500 else 502
            return PlainTextResponse(f"{error.message}\n", status, headers={"Retry-After": "2"})
        except Exception:
            log.exception("%s failed", visit.path)
            return PlainTextResponse("internal server error\n", 500)


def _params(
    pattern: re.Pattern[str], convertors: Mapping[str, Convertor[Any]], path: str
) -> Mapping[str, Any] | None:
    """What a path names, or None if it is that of another page."""
    found = pattern.fullmatch(path)
    if found is None:
        return None
    try:
        return {name: convertors[name].convert(said) for name, said in found.groupdict().items()}
    except ValueError:  # Python reads no number of more than 4300 digits
        return None


async def _form(request: Request) -> Mapping[str, Sequence[str]]:
    """The fields of the body; raises ValueError."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/x-www-form-urlencoded":
        raise ValueError("the body is not a form")
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_FORM:
            raise ValueError(f"the form has at most {MAX_FORM} bytes")
    found = parse_qs(
        body.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=MAX_FIELDS
    )
    return {
        name: [value.replace("\r\n", "\n") for value in values] for name, values in found.items()
    }


async def _nowhere(visit: Visit) -> Response:
    raise Problem(404, "NOT_FOUND", visit.gettext("There is no such page."))
