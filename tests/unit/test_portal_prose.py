"""Markdown that was made to take the parser a minute: it takes nobody's time but its own."""

import asyncio
import threading
from time import thread_time

import pytest
from markupsafe import Markup

from moorage.portal import prose
from moorage.portal.prose import LONGEST, Prose, markdown

pytestmark = pytest.mark.anyio

SLOW = {
    "quotes within quotes": ">" * 20 + "a\n" + "b\n" * (LONGEST // 2),
    "brackets": "[" * LONGEST,
    "pictures": "![" * (LONGEST // 2),
    "tables": "a|b\n-|-\n" + "|\n" * (LONGEST // 2),
    "lists": "1. a\n" * (LONGEST // 5),
}


@pytest.mark.parametrize("name", SLOW)
def test_a_text_has_its_time_and_no_more(name: str) -> None:
    """Then it is shown as it was written; without that some of these take a minute."""
    text = SLOW[name]
    before = thread_time()
    found = markdown(text, seconds=0.05)
    assert thread_time() - before < 1
    assert found.startswith('<pre class="log"')
    assert len(found) >= len(text)


async def test_others_are_served_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    """The loop never waits for the parser: it goes on until it lets the parser end."""
    begun, go_on = threading.Event(), threading.Event()

    def held(text: str) -> Markup:
        begun.set()
        assert go_on.wait(60)
        return markdown(text, seconds=0.05)

    monkeypatch.setattr(prose, "markdown", held)
    making = asyncio.create_task(Prose().html(SLOW["brackets"]))
    assert await asyncio.to_thread(begun.wait, 60)
    assert not making.done()
    go_on.set()
    assert (await making).startswith("<pre")


async def test_who_comes_when_too_many_wait_gets_the_text(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those who left count until the thread is done with theirs."""
    monkeypatch.setattr(prose, "WAITING", 2)
    go_on = threading.Event()

    def held(text: str) -> Markup:
        assert go_on.wait(60)
        return markdown(text, seconds=0.1)

    monkeypatch.setattr(prose, "markdown", held)
    found = Prose()
    leaving = [asyncio.create_task(found.html(f"{n}{SLOW['brackets']}")) for n in range(2)]
    await asyncio.sleep(0)
    for task in leaving:
        task.cancel()
    await asyncio.gather(*leaving, return_exceptions=True)
    assert await found.html("**<b>**") == '<pre class="log" tabindex="0">**&lt;b&gt;**</pre>'
    go_on.set()
    await asyncio.get_running_loop().run_in_executor(found._thread, int)  # the last of its queue
    assert await found.html("**b**") == "<p><strong>b</strong></p>\n"


async def test_little_is_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    """A text is parsed once, and what was made of all of them has a bound."""
    parsed = []

    def counted(text: str) -> Markup:
        parsed.append(text)
        return markdown(text)

    monkeypatch.setattr(prose, "markdown", counted)
    monkeypatch.setattr(prose, "KEPT", 1000)
    found = Prose()
    for text in ("a", "a", "b" * 600, "c" * 600, "c" * 600):
        await found.html(text)
    assert [text[:1] for text in parsed] == ["a", "b", "c"]
    assert 0 < found._size <= 1000
    assert found._size == sum(map(len, found._known.values()))
