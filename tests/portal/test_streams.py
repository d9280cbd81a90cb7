"""Streams of the portal: what they send, when they end, and how many somebody may hold."""

from collections.abc import AsyncIterator, Callable
from types import SimpleNamespace
from typing import Any

import pytest
from starlette.responses import HTMLResponse, RedirectResponse, Response, StreamingResponse

from moorage.portal import streams
from moorage.portal.streams import Streams

pytestmark = pytest.mark.anyio


def visit(session: str = "", address: str = "192.0.2.1") -> Any:
    """Somebody who asks for a stream."""
    cookies = {"sid": session} if session else {}
    return SimpleNamespace(
        visitor=SimpleNamespace(address=address), request=SimpleNamespace(cookies=cookies)
    )


def page(text: str, status: int = 200) -> Response:
    """A page with a live part."""
    return HTMLResponse(f"<html><!--live-->{text}<!--/live--></html>", status)


def looking(*answers: Response) -> Callable[[], Any]:
    """What the page is at one look after the other; the last of them ends the stream."""
    left = [*answers, RedirectResponse("/account/sign-in", 303)]

    async def look() -> Response:
        return left.pop(0)

    return look


async def told(answer: Response) -> list[str]:
    """The events of a stream to its end."""
    assert isinstance(answer, StreamingResponse)
    return [str(event) async for event in answer.body_iterator]


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "STREAM_SECONDS", 0.0)


async def test_a_change_is_told_and_nothing_twice() -> None:
    """The first event is the state as it is; a token that is masked anew is no change."""
    one = '<p>1</p><input name="csrf" value="a">'
    found = await told(
        Streams(lambda: False).follow(
            visit(), looking(page(one), page(one.replace('"a"', '"b"')), page("2\n3"))
        )
    )
    assert found == [
        "retry: 1000\n\n",
        f"data: {one}\n\n",
        ": nothing new\n\n",
        "data: 2\ndata: 3\n\n",
    ]


async def test_a_moment_without_the_api_ends_no_stream() -> None:
    """A replica of it died: the next look reaches another one. A refusal is the end."""
    away = Response("the API does not answer\n", 502)
    found = await told(
        Streams(lambda: False).follow(visit(), looking(away, page("1"), away, page("2")))
    )
    assert [event for event in found if event.startswith("data")] == ["data: 1\n\n", "data: 2\n\n"]
    assert await told(Streams(lambda: False).follow(visit(), looking())) == ["retry: 1000\n\n"]
    assert await told(Streams(lambda: True).follow(visit(), looking(page("1")))) == [
        "retry: 1000\n\n"
    ]


async def opened(found: Streams, who: Any) -> AsyncIterator[Any]:
    """A stream that somebody reads from."""

    async def look() -> Response:
        return page("1")

    answer = found.follow(who, look)
    assert isinstance(answer, StreamingResponse), answer.status_code
    events = answer.body_iterator
    await anext(aiter(events))
    return aiter(events)


async def test_nobody_holds_any_number_of_streams(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a session, and of an address that makes sessions up; what ends makes room."""
    monkeypatch.setattr(streams, "OF_A_SESSION", 2)
    monkeypatch.setattr(streams, "OF_AN_ADDRESS", 3)
    found = Streams(lambda: False)
    held = [await opened(found, visit("mara")) for _ in range(2)]
    refused = found.follow(visit("mara"), looking())
    assert (refused.status_code, refused.headers["retry-after"]) == (429, "30")
    held.append(await opened(found, visit("made-up")))
    assert found.follow(visit("another"), looking()).status_code == 429
    assert found.follow(visit(), looking()).status_code == 429
    elsewhere = await opened(found, visit("mara-2", "192.0.2.2"))
    await held.pop(0).aclose()  # type: ignore[attr-defined]  # a generator
    held.append(await opened(found, visit("mara")))
    for each in [*held, elsewhere]:
        await each.aclose()  # type: ignore[attr-defined]  # a generator
    assert not found._open
