"""The API of this process as the portal asks it: like a server, without a socket."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from moorage.portal.client import InProcess, PortalApi, Problem, Visitor

pytestmark = pytest.mark.anyio
NOBODY = Visitor()


def asking(app: ASGIApp) -> PortalApi:
    return PortalApi(InProcess(app))


async def bug() -> None:
    raise RuntimeError("a bug")


async def test_an_answer_comes_as_it_was_sent() -> None:
    """With each of its cookies; what the application saw is what was asked."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        body = (await request.body()).decode()
        assert request.client is not None
        text = f"{request.method} {request.url.path} {request.url.query} {body}"
        response = PlainTextResponse(f"{text} {request.client.host}", 201)
        response.set_cookie("a", "1")
        response.set_cookie("b", "2")
        await response(scope, receive, send)
        assert (await receive())["type"] == "http.disconnect"

    visitor = Visitor(address="192.0.2.7")
    answer = await asking(app).send(visitor, "PUT", "/a%252Fb", {"x": 1}, q="k=~v")
    assert answer.text == 'PUT /api/v2.0/a%2Fb q=k%3D~v {"x":1} 192.0.2.7'
    assert answer.status_code == 201
    cookies = answer.headers.get_list("set-cookie")
    assert [each.partition(";")[0] for each in cookies] == ["a=1", "b=2"]


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
            await asking(app).text(NOBODY, "/x")
        assert caught.value.status == 500
    late = PlainTextResponse("whole", background=BackgroundTask(bug))
    assert await asking(late).text(NOBODY, "/x") == "whole"


async def test_who_asks_no_more_ends_the_question() -> None:
    """A page that is given up leaves nothing running in the API."""
    asked, ended = asyncio.Event(), asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        asked.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    task = asyncio.create_task(asking(app).text(NOBODY, "/x"))
    await asked.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended.is_set()
