"""Headers that were made to be slow to read: none takes more than a moment, whoever sends it."""

from time import thread_time

import httpx2
import pytest

from moorage.distribution.conditional import UNSATISFIABLE, byte_range
from moorage.outgoing import Guard
from moorage.remotes import Endpoint, Remote
from moorage.remotes.auth import challenges

LONG = 60_000
"""Characters: as much as the head of a request, and most answers of other servers, may have."""
MOMENT = 0.5
"""Seconds of the processor; what grows with the square takes minutes."""


@pytest.mark.parametrize("between", [" ", "\t", "1", "-", " 1", "- "])
def test_a_range_is_read_in_a_moment(between: str) -> None:
    """Anybody may send one who may pull from a public project."""
    before = thread_time()
    for text in (f"bytes={between * LONG}x", f"bytes=0{between * LONG}x", f"bytes={between}"):
        byte_range(text[: LONG + 8], 100)
    assert thread_time() - before < MOMENT


def test_spaces_around_a_range_do_not_matter() -> None:
    """RFC 9110 has none; some clients send them."""
    assert byte_range("bytes= 1 - 3 ", 10) == (1, 4)
    assert byte_range("bytes=  -3", 10) == (7, 10)
    assert byte_range("bytes=  ", 10) == UNSATISFIABLE


@pytest.mark.parametrize("between", ["a", '\\"', '"\\"', "a= ", 'a="\\"', "basic ", "\\", 'a="'])
def test_a_challenge_is_read_in_a_moment(between: str) -> None:
    """Of a registry that lies: its answer to one request would stop all others here."""
    before = thread_time()
    challenges([f'Bearer "{between * LONG}'[:LONG], f"Bearer {between * LONG}"[:LONG]])
    challenges([f'Bearer realm="{between * 4000}'[:4000]])
    assert thread_time() - before < MOMENT


def test_a_challenge_behind_one_that_ends_nowhere_is_none() -> None:
    """Nor does one that is too long hide those before it."""
    (found,) = challenges(['Bearer realm="https://a/t", x="y', "Basic " + "x" * LONG])
    assert (found.scheme, found.parameters) == ("bearer", {"realm": "https://a/t"})


@pytest.mark.parametrize("between", ["<", "<a>;", "<a", "<a>;rel=", "<a>; rel", " "])
def test_a_link_is_read_in_a_moment(between: str) -> None:
    """It leads nowhere, where it is none."""
    remote = Remote(Guard(), Endpoint("docker-registry", "https://registry.example"))
    before = thread_time()
    for length in (8000, LONG):
        answer = httpx2.Response(200, headers={"link": f"<a>{between * length}"[:length]})
        assert remote.following("https://registry.example/v2/_catalog", answer) is None
    assert thread_time() - before < MOMENT
