"""How values and errors become answers."""

from datetime import UTC, datetime
from typing import ClassVar

import pytest
from pydantic import Field, ValidationError
from tests.api.world import World

from moorage import errors
from moorage.api import problems
from moorage.api.paths import canonical, repository_name
from moorage.api.wire import Text, Wire, render
from moorage.errors import Invalid, MoorageError

pytestmark = pytest.mark.anyio


class Sample(Wire):
    """One field of every kind."""

    kept: ClassVar[frozenset[str]] = frozenset({"count"})
    text: str = ""
    number: int = 0
    count: int = 0
    pointer: bool | None = None
    items: list[str] = Field(default_factory=list)
    table: dict[str, str] = Field(default_factory=dict)
    moment: datetime | None = None
    inner: "Sample | None" = None
    dotted: str = Field(default="", alias="a.b")


class Stored(Wire):
    """What a client sends and a database keeps."""

    text: Text = ""


def test_zeros_are_printed_as_go_swagger_prints_them() -> None:
    """Omitted, null, kept or of the year 1, by the kind of the field."""
    assert render(Sample()) == {"count": 0, "items": None, "moment": "0001-01-01T00:00:00.000Z"}


def test_values_are_printed() -> None:
    """Times with milliseconds in UTC, aliases as their clients know them."""
    moment = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
    sample = Sample(text="x", pointer=False, items=["a"], moment=moment, inner=Sample())
    sample.dotted = "y"
    assert render(sample) == {
        "text": "x",
        "count": 0,
        "pointer": False,
        "items": ["a"],
        "moment": "2026-01-02T03:04:05.678Z",
        "inner": render(Sample()),
        "a.b": "y",
    }


@pytest.mark.parametrize("text", ["a\0b", "a\ud800b", "\udfff"])
def test_what_no_database_stores_is_no_text(text: str) -> None:
    """NUL and halves of surrogate pairs, which JSON can say and UTF-8 cannot."""
    with pytest.raises(ValidationError):
        Stored(text=text)
    assert Stored(text="\U0001f600").text == "\U0001f600"


def leaves(kind: type[MoorageError]) -> list[type[MoorageError]]:
    """Every class of the tree; what a face makes for itself, it answers itself."""
    own = [child for child in kind.__subclasses__() if child.__module__ == errors.__name__]
    return [kind, *(leaf for child in own for leaf in leaves(child))]


@pytest.mark.parametrize("kind", leaves(MoorageError)[1:])
def test_every_error_has_an_answer(kind: type[MoorageError]) -> None:
    """A class that no row covers would end as a 500."""
    found = problems.status_of(kind)
    assert found is not None
    assert 400 <= found[0] < 600


def test_an_error_is_compact_json() -> None:
    """A client of Harbor compares the text."""
    answer = problems.render(errors.NotFound("gone"))
    assert answer.body == b'{"errors":[{"code":"NOT_FOUND","message":"gone"}]}'
    assert answer.headers["Content-Type"] == "application/json; charset=utf-8"
    assert problems.render(errors.DatabaseUnavailable()).headers["Retry-After"]


@pytest.mark.parametrize(
    ("raw", "path"),
    [
        ("/a/b", "/a/b"),
        ("//a///b/", "/a/b"),
        ("/r/a%252Fb/x", "/r/a%2Fb/x"),
        ("/r/a%2Fb/x", "/r/a%2Fb/x"),
        ("/r/a%252fb", "/r/a%2Fb"),
        ("/r/%2e%2e", "/r/.."),
        ("/r/100%25", "/r/100%25"),
        ("/r/%zz", "/r/%25zz"),
    ],
)
def test_paths_are_decided_once(raw: str, path: str) -> None:
    """A slash inside a segment stays inside it."""
    assert canonical(raw) == path


@pytest.mark.parametrize("raw", ["/a%00", "/a%2500", "/a%ff", "/" + "a" * 9000])
def test_paths_that_cannot_be_are_refused(raw: str) -> None:
    """Before they are routed."""
    with pytest.raises(Invalid):
        canonical(raw)


def test_a_segment_is_the_name_again() -> None:
    """What `canonical` kept inside a segment."""
    assert repository_name("a%2Fb") == "a/b"
    assert repository_name("%252F") == "%2F"


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/api/v2.0/nothing", 404),
        ("PATCH", "/api/v2.0/projects", 405),
        ("GET", "/api/v2.0//projects//", 200),
        ("GET", "/api/v2.0/projects/%E2%82%AC", 401),
        ("GET", "/api/v2.0/projects/a%0d%0aSet-Cookie:x", 401),
        ("GET", "/api/v2.0/projects/..%2f..%2fetc", 401),
    ],
)
async def test_odd_requests(world: World, method: str, path: str, status: int) -> None:
    """Get the right answer in the common form, and never a 500."""
    answer = await world.raw(method, path)
    assert answer.status_code == status
    if status >= 400:
        assert answer.json()["errors"][0]["code"]


async def test_a_body_without_its_type_is_refused(world: World) -> None:
    """What curl sends by itself; the message says what to add."""
    kind = {"Content-Type": "application/x-www-form-urlencoded"}
    answer = await world.call(
        "sysadmin", "POST", "/projects", content=b'{"project_name": "x"}', headers=kind
    )
    assert answer.status_code == 422
    assert "Content-Type: application/json" in answer.json()["errors"][0]["message"]


async def test_a_large_body_is_refused(world: World) -> None:
    """No request of this API is large."""
    body = {"project_name": "x" * (2 << 20)}
    assert (await world.call("sysadmin", "POST", "/projects", json=body)).status_code == 413


async def test_a_bug_tells_the_client_nothing(world: World) -> None:
    """The log gets the traceback, the client a code."""

    async def broken() -> dict[str, str]:
        raise RuntimeError("secret detail")

    world.health.check = broken  # type: ignore[method-assign]
    answer = await world.raw("GET", "/api/v2.0/health", raise_app_exceptions=False)
    assert answer.status_code == 500
    assert answer.text == '{"errors":[{"code":"UNKNOWN","message":"internal server error"}]}'


async def test_the_document_of_the_api_is_served(world: World) -> None:
    """With every route of this application below the prefix."""
    document = (await world.call("", "GET", "/openapi.json")).json()
    assert "/api/v2.0/projects/{project_name_or_id}" in document["paths"]
    assert "/api/version" in document["paths"]
