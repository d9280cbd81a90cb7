"""What the portal draws without templates: whatever somebody said of it stays a text."""

from datetime import UTC, datetime, timedelta, timezone
from gettext import NullTranslations
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markupsafe import Markup, escape

from moorage.portal import parts
from moorage.portal.cells import Cells
from moorage.portal.drawing import Drawing, escaped, marked
from moorage.portal.lines import Line, Lines
from moorage.portal.parts import Cell, Column, Item, Row, Table, View
from moorage.portal.rows import Rows
from moorage.portal.shapes.artifacts import (
    Accessory,
    Artifact,
    Child,
    Inside,
    Label,
    NamedTag,
    Platform,
    Tag,
)

HARM = "\"'><b id=harm>%(name)s&amp;"
TEXTS = NullTranslations()
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def ago(value: datetime | None) -> str:
    return "ago" if value else "never"


DRAWING = Drawing(TEXTS, "/static/icons.svg", ago)
CELLS = Cells(DRAWING, TEXTS.gettext, lambda text: text[:9], {"number": str, "size": str})
ROWS = Rows(DRAWING, TEXTS.gettext, CELLS.cell)
LINES = Lines(DRAWING, TEXTS.gettext, lambda text: text[:9], str)


class Seen(HTMLParser):
    """What a browser makes of it: elements, values of attributes, texts."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[str] = []
        self.values: list[str] = []
        self.texts: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(tag)
        self.values += [value for _, value in attrs if value]

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def harmless(page: str) -> Seen:
    """Nothing of `HARM` became an element, and it arrives as it was said."""
    seen = Seen(page)
    assert "b" not in seen.elements, page
    assert "harm" not in seen.values, page
    assert "&amp;amp;amp" not in page
    return seen


@given(st.text(st.sampled_from("ab&<>\"'%;#3é\u2028\x00")) | st.text())
def test_escaped_is_what_templates_make_of_it(text: str) -> None:
    """With or without something to escape; markup stays markup, and numbers are written."""
    assert escaped(text) == str(escape(text))
    assert type(escaped(text)) is str
    assert escaped(Markup(text)) == text
    assert escaped(17) == "17"


def test_templates_get_markup() -> None:
    """And anything else they would escape."""
    for name, draw in DRAWING.names.items():
        assert draw.__name__ == name
    assert isinstance(DRAWING.names["icon"]("lock"), Markup)
    assert isinstance(marked(lambda: "<i>")(), Markup)


def test_nothing_that_is_drawn_alone_is_more_than_a_text() -> None:
    """Whatever argument of it somebody chose."""
    kinds = [Accessory(type=HARM), Accessory(type="signature.cosign")]
    for page in (
        DRAWING.chip(HARM, HARM, "tag", HARM),
        DRAWING.copyable(HARM, HARM),
        DRAWING.when(NOW, HARM),
        DRAWING.bar(0.5, HARM),
        DRAWING.labels([Label(name=HARM, description=HARM, scope="g")]),
        DRAWING.platforms([HARM, HARM]),
        DRAWING.attached(kinds),
        DRAWING.icon(HARM),
    ):
        harmless(page)
    assert harmless(DRAWING.copyable(HARM, "x")).values[2] == HARM


@pytest.mark.parametrize(
    "cell",
    [
        parts.text(HARM, HARM),
        parts.link(HARM, HARM, HARM, "tag"),
        parts.code(HARM),
        parts.code("sha256:" + HARM),
        parts.chips((HARM, HARM)),
        parts.state(HARM),
        Cell("unknown", HARM),
        Cell("number", HARM),
    ],
)
def test_a_cell_holds_what_it_says(cell: Cell) -> None:
    """As a text, however it is drawn."""
    seen = harmless(CELLS.cell(cell))
    assert any(HARM[:9] in said for said in [*seen.texts, *seen.values])


def test_bars_say_how_full_they_are() -> None:
    """In colour when nearly so; without a limit there is none, and too much fills it."""
    assert "meter warn" in CELLS.cell(parts.meter(70, 100))
    full = CELLS.cell(parts.meter(300, 100))
    assert "meter full" in full
    assert 'width="120.0"' in full
    assert "300% used" in full.replace(" %", "%")
    assert 'class="meter"' in CELLS.cell(parts.progress(95, 100))
    assert 'width="0.0"' in CELLS.cell(parts.progress(0, 0))
    assert "svg" not in CELLS.cell(parts.meter(5, -1))
    assert "no limit" in CELLS.cell(parts.meter(5, -1))


def test_times_are_told_in_utc() -> None:
    """Wherever the API is."""
    east = NOW.astimezone(timezone(timedelta(hours=9)))
    assert DRAWING.when(east) == DRAWING.when(NOW)
    assert 'title="2026-01-02 03:04:05 UTC"' in DRAWING.when(NOW)
    assert "never" in DRAWING.when(None)


def test_a_row_holds_what_it_says() -> None:
    """Its key, its name and what can be done to it, a form among that with all it sends."""
    items = [Item(HARM, HARM), Item(HARM, HARM, HARM, "tag", True, {HARM: HARM})]
    row = Row([parts.text(HARM), parts.number(3)], HARM, HARM, items)
    table = Table("", [Column(""), Column("", right=True)], [row, Row(row.cells)], 2, View("/"), "")
    page = ROWS.rows(table, "list-1", HARM, live=True)
    seen = harmless(page)
    assert f"list-1-{HARM}" in seen.values
    assert f"Actions for {HARM}" in seen.values
    assert seen.values.count("csrf") == 1
    assert page.count("<tr") == 2
    assert page.count('<td class="right">') == 2
    assert page.count("<details") == 1
    assert "list-1" not in ROWS.rows(table, "list-1", "", live=False)


def test_rows_can_be_chosen_where_something_is_done_to_many() -> None:
    """By their keys, each under its name."""
    row = Row([parts.text("x")], HARM, HARM)
    bulk = [Item("Delete", op="delete")]
    table = Table("", [Column("")], [row], 1, View("/"), "", bulk=bulk)
    seen = harmless(ROWS.rows(table, "list-1", "", live=False))
    assert {HARM, f"Choose {HARM}", "bulk-list-1"} <= set(seen.values)


def test_a_line_holds_what_it_says() -> None:
    """The name of a tag, all that stands in its artifact, and what is inside that."""
    inside = Inside(type=HARM, size=3, accessories=[Accessory(type=HARM)])
    child = Child(child_digest=HARM, platform=Platform(os=HARM), child=inside)
    one = Artifact(
        digest=HARM,
        type=HARM,
        references=[child],
        tags=[Tag(name=HARM), *(Tag(name=f"{HARM}{n}") for n in range(5))],
        labels=[Label(name=HARM, description=HARM)],
        accessories=[Accessory(type=HARM)],
    )
    tag = NamedTag(name=HARM, digest=HARM, push_time=NOW, immutable=True)
    lines = [Line(HARM, one, tag), Line(HARM, one), Line(HARM, None, tag), Line("x", Artifact())]
    seen = harmless(LINES.lines(lines, f"/harbor/{HARM}"))
    assert seen.elements.count("tbody") == len(lines)
    assert f"Choose {HARM}" in seen.values
    assert f"/harbor/{HARM}/artifacts/{HARM}" in seen.values
    assert f"/harbor/{HARM}/depth/{HARM}/artifacts/{HARM}" in seen.values
