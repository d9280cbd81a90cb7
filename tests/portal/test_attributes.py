"""What configurations say, under names that people know."""

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast

import pytest

from moorage.portal import parts
from moorage.portal.pages.attributes import attributes
from moorage.portal.parts import LONGEST_LINE, MOST_LINES
from moorage.portal.visits import Visit

VISIT = cast(Visit, SimpleNamespace(gettext=lambda text: text))


def said(found: dict[str, Any]) -> list[tuple[str, object]]:
    """Names and values as they are shown."""
    lines, _ = attributes(VISIT, found)
    return [(name, cell.value) for name, cell in lines]


def test_an_image_says_how_it_runs() -> None:
    """Lists and labels line by line; ports are names without a value, what is empty is left out."""
    inner: dict[str, Any] = {
        "Env": ["PATH=/bin", "MODE=fast"],
        "Labels": {"maintainer": "team", "bare": ""},
        "ExposedPorts": {"80/tcp": {}},
        "Cmd": None,
        "User": "",
        "OnBuild": [],
    }
    assert said({"os": "linux", "config": inner}) == [
        ("Operating system", "linux"),
        ("Environment", ["PATH=/bin", "MODE=fast"]),
        ("Ports", ["80/tcp"]),
        ("Labels of the image", ["maintainer=team", "bare"]),
    ]


def test_what_nobody_knows_is_called_as_it_calls_itself() -> None:
    """In words, as far as they can be seen."""
    found = {"appVersion": "1.2", "kubeVersion": ">=1.2", "some_thing": 3, "nested": {"a": 1}}
    assert said(found) == [
        ("Version of the application", "1.2"),
        ("Kube Version", ">=1.2"),
        ("Some thing", "3"),
    ]


@pytest.mark.parametrize(
    "text",
    ["yesterday", "0001-01-01T00:00:00Z", "0001-01-01T00:00:00+14:00", "2026-11-02T09:30:00"],
)
def test_a_time_that_is_none_stays_what_was_written(text: str) -> None:
    """Tools write a zero, and anybody anything."""
    assert said({"created": text}) == [("Created", text)]


def test_a_time_is_a_time() -> None:
    """Also with the nanoseconds that Go writes."""
    ((_, cell),), _ = attributes(VISIT, {"created": "2026-11-02T09:30:00.123456789Z"})
    assert cell.kind == "time"
    assert cell.value == datetime(2026, 11, 2, 9, 30, 0, 123456, UTC)


def test_who_pushes_does_not_decide_how_long_the_page_is() -> None:
    """Of each value so many characters are shown, and names are cut as well."""
    ((name, cell),), _ = attributes(VISIT, {"n" * 9999: "v" * 9999})
    assert len(name) == len(cell.value) == LONGEST_LINE
    assert sum(map(len, parts.each(["x" * 999] * 9999).value)) <= LONGEST_LINE


def test_only_what_a_page_shows_is_drawn() -> None:
    """Others wait for the process while it draws; how many lines there are is told all the same."""
    asked: list[str] = []

    def gettext(text: str) -> str:
        asked.append(text)
        return text

    visit = cast(Visit, SimpleNamespace(gettext=gettext))
    inner = dict.fromkeys(["Env", "os", *map(str, range(999))], "x")
    lines, count = attributes(visit, {"os": "linux", "author": "me", "config": inner})
    assert (len(lines), count) == (MOST_LINES, 1003)
    assert asked == ["Author", "Operating system"]
    values = iter(["x" * 999] * 9999)
    parts.each(values)
    assert len(list(values)) > 9000
