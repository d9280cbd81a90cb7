"""The API as the portal asks it: the same in this process and over HTTP."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable

import httpx2
import pytest
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, StreamingResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from moorage.portal.client import PortalApi, Problem, Visitor, segment
from moorage.portal.core import Core, InProcess, OverHttp

pytestmark = pytest.mark.anyio
NOBODY = Visitor()


def over_http(app: ASGIApp) -> Core:
    transport = httpx2.ASGITransport(app, raise_app_exceptions=False)
    return OverHttp(transport, "http://core")


Way = Callable[[ASGIApp], Core]
WAYS = pytest.mark.parametrize("way", [InProcess, over_http])


async def bug() -> None:
    raise RuntimeError("a bug")


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Says what was asked, as far as an API looks at it."""
    request = Request(scope, receive)
    said = {
        "method": scope["method"],
        "path": scope["path"],
        "raw": scope["raw_path"].decode(),
        "query": scope["query_string"].decode(),
        "body": (await request.body()).decode(),
        "headers": {
            name: value
            for name, value in request.headers.items()
            if name not in ("accept-encoding", "connection", "user-agent")
        },
    }
    response = JSONResponse(said, 201)
    response.set_cookie("a", "1")
    response.set_cookie("b", "2")
    await response(scope, receive, send)


@WAYS
async def test_what_is_asked_arrives_as_it_was_meant(way: Way) -> None:
    """Names are one segment each and queries are escaped, whatever is in them; so is all else."""
    visitor = Visitor(address="192.0.2.7", cookies="sid=x", csrf="t", scheme="https", quiet=True)
    path = f"/{segment('a/b c')}/{segment('ü%?#')}/*'x\"?y#z"
    answer = await PortalApi(way(echo)).send(visitor, "PUT", path, {"x": 1}, q="k=~ü &*", no="")
    raw = "/api/v2.0/a%252Fb%2520c/%C3%BC%25%3F%23/*'x%22%3Fy%23z"
    assert answer.status == 201
    assert json.loads(answer.text) == {
        "method": "PUT",
        "path": "/api/v2.0/a%2Fb%20c/ü%?#/*'x\"?y#z",
        "raw": raw,
        "query": "q=k%3D~%C3%BC+%26%2A",
        "body": '{"x":1}',
        "headers": {
            "host": "core",
            "accept": "application/json",
            "content-type": "application/json",
            "content-length": "7",
            "cookie": "sid=x",
            "x-forwarded-for": "192.0.2.7",
            "x-forwarded-proto": "https",
            "x-harbor-csrf-token": "t",
            "x-harbor-no-session-renewal": "true",
        },
    }
    cookies = answer.headers.getlist("set-cookie")
    assert [each.partition(";")[0] for each in cookies] == ["a=1", "b=2"]


@WAYS
async def test_a_form_arrives_as_a_form(way: Way) -> None:
    """With what is typed escaped."""
    api, fields = PortalApi(way(echo)), {"principal": "ü&", "password": "a b"}
    found = json.loads((await api.ask(NOBODY, "POST", "/c/login", form=fields)).text)
    assert found["body"] == "principal=%C3%BC%26&password=a+b"
    assert found["headers"]["content-type"] == "application/x-www-form-urlencoded"
    assert found["query"] == ""


@WAYS
async def test_a_name_leads_to_no_other_resource(way: Way) -> None:
    """Folders that clients resolve are not asked for at all."""
    for name in (".", ".."):
        with pytest.raises(Problem) as caught:
            await PortalApi(way(echo)).text(NOBODY, f"/projects/{segment(name)}/x")
        assert caught.value.status == 404


async def test_the_api_of_this_process_sees_where_the_visitor_is() -> None:
    """And the answer ends what it waits for."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        assert (await receive())["more_body"] is False
        await PlainTextResponse(scope["client"][0])(scope, receive, send)
        assert (await receive())["type"] == "http.disconnect"

    api = PortalApi(InProcess(app))
    assert await api.text(Visitor(address="192.0.2.7"), "/x") == "192.0.2.7"


@WAYS
async def test_what_the_api_refuses_is_a_problem(way: Way) -> None:
    """With its code and message, or with its status alone."""
    said = {"errors": [{"code": "FORBIDDEN", "message": "not you"}]}
    for app, code, message in (
        (JSONResponse(said, 403), "FORBIDDEN", "not you"),
        (PlainTextResponse("x", 403), "UNKNOWN", "the API answered 403"),
    ):
        with pytest.raises(Problem) as caught:
            await PortalApi(way(app)).text(NOBODY, "/x")
        assert (caught.value.status, caught.value.code) == (403, code)
        assert caught.value.message == message


async def test_an_api_that_cannot_be_reached_is_a_problem() -> None:
    """Of the way there, not of what was asked."""

    def refuse(request: httpx2.Request) -> httpx2.Response:
        raise httpx2.ConnectError("refused")

    async with OverHttp(httpx2.MockTransport(refuse), "http://core") as core:
        with pytest.raises(Problem) as caught:
            await PortalApi(core).text(NOBODY, "/x")
    assert caught.value.status == 502


async def test_an_answer_that_cannot_be_read_is_none() -> None:
    """Whatever stands between broke it."""

    def garbled(request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, headers={"Content-Encoding": "gzip"}, content=b"no gzip")

    async with OverHttp(httpx2.MockTransport(garbled), "http://core") as core:
        with pytest.raises(Problem) as caught:
            await PortalApi(core).text(NOBODY, "/x")
    assert caught.value.status == 502


async def test_what_is_too_long_to_be_asked_is_refused() -> None:
    """Escaped anew, the text of a filter is longer than it came."""
    with pytest.raises(Problem) as caught:
        await PortalApi(over_http(echo)).send(NOBODY, "GET", "/x", q="%" * 30_000)
    assert caught.value.status == 414


async def test_what_fails_is_no_answer() -> None:
    """Neither nothing at all nor the beginning of a text; what comes after the answer is not it."""

    async def begins(scope: Scope, receive: Receive, send: Send) -> None:
        async def pieces() -> AsyncIterator[str]:
            yield "a piece"
            await bug()

        await StreamingResponse(pieces())(scope, receive, send)

    async def raises(scope: Scope, receive: Receive, send: Send) -> None:
        await bug()

    async def says_nothing(scope: Scope, receive: Receive, send: Send) -> None:
        return

    for app in (begins, raises, says_nothing):
        with pytest.raises(Problem) as caught:
            await PortalApi(InProcess(app)).text(NOBODY, "/x")
        assert caught.value.status == 500
    late = PlainTextResponse("whole", background=BackgroundTask(bug))
    assert await PortalApi(InProcess(late)).text(NOBODY, "/x") == "whole"


async def test_who_asks_no_more_ends_the_question() -> None:
    """A page that is given up leaves nothing running in the API."""
    asked, ended = asyncio.Event(), asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        asked.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    task = asyncio.create_task(PortalApi(InProcess(app)).text(NOBODY, "/x"))
    await asked.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended.is_set()
