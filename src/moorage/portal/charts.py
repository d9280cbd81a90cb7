"""Charts as data: bars of a period, and names in their order; drawn as SVG.

    Chart ─► Slot* ─► Part*      one slot a day or a week; its parts stand on each other
    Ranking ─► Rank*             a name, its share as a bar, its figures

The plot stretches to the page, so no text is inside of the SVG. What a bar says when the pointer is
on it, a table below the plot says to everybody.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date

from moorage.portal.drawing import escaped, marked
from moorage.portal.parts import Cell
from moorage.portal.rendering import filesize, thousands

PERIODS = (30, 90, 365)
"""Days that a chart may show."""
MOST_SLOTS = 92
HEIGHT = 100.0
STEP = 10.0
"""Units of the drawing: a slot is a step wide."""
_BAR = 8.0
_LEAST = 0.8
_NICE = (2, 4, 6, 8, 10, 20, 40, 60, 80, 100)


@dataclass(frozen=True, slots=True)
class Point:
    """The figures of one day, the lowest part first."""

    day: date
    values: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Part:
    """One bar of a slot; the tone is its place among the names."""

    tone: int
    y: float
    height: float


@dataclass(frozen=True, slots=True)
class Slot:
    """What stands over one place of the time line."""

    x: float
    label: str
    parts: Sequence[Part]
    texts: Sequence[str]
    said: str


@dataclass(frozen=True, slots=True)
class Chart:
    """A plot with its axes, and a table that says the same."""

    title: str
    figure: str
    """The one number above the plot."""
    note: str
    summary: str
    names: Sequence[str]
    """What the parts are, the lowest first."""
    slots: Sequence[Slot] = ()
    ys: Sequence[str] = ()
    """Labels of the axis, the highest first."""
    xs: Sequence[str] = ()
    empty: str = ""

    @property
    def width(self) -> float:
        """Of the drawing."""
        return len(self.slots) * STEP

    @marked
    def bars(self) -> str:
        """What stands in the drawing; each slot says its figures to the pointer."""
        return "".join([_bars(slot) for slot in self.slots])

    @marked
    def lines(self) -> str:
        """The body of the table, the last slot first."""
        return "".join([_line(slot) for slot in reversed(self.slots)])


def _bars(slot: Slot) -> str:
    parts = [
        f'<rect class="s{part.tone}" x="{slot.x + 1}" y="{part.y}" width="{_BAR}" '
        f'height="{part.height}"/>'
        for part in slot.parts
    ]
    hit = f'<rect class="hit" x="{slot.x}" width="{STEP}" height="{HEIGHT}"/>'
    return f"<g>{hit}{''.join(parts)}<title>{escaped(slot.said)}</title></g>"


def _line(slot: Slot) -> str:
    cells = [f'<td class="right num">{escaped(text)}</td>' for text in slot.texts]
    return f'<tr><th scope="row" class="num">{escaped(slot.label)}</th>{"".join(cells)}</tr>'


@dataclass(frozen=True, slots=True)
class Rank:
    """A name and what is counted for it."""

    name: Cell
    part: float
    """How long its bar is, 0 to 1."""
    texts: Sequence[str]


@dataclass(frozen=True, slots=True)
class Ranking:
    """Names, the one with the most first."""

    title: str
    columns: Sequence[str]
    ranks: Sequence[Rank]
    note: str
    empty: str


@dataclass(frozen=True, slots=True)
class Period:
    """One of the periods that can be shown."""

    label: str
    href: str
    current: bool


def by_week(points: Sequence[Point], merge: Callable[[Sequence[int]], int]) -> Sequence[Point]:
    """Weeks that end with the last day where days are too many; a part of the first is left out.

    `merge` makes the figure of a week of those of its days: their sum, or the last.
    """
    if len(points) <= MOST_SLOTS:
        return points
    weeks = [points[at : at + 7] for at in range(len(points) % 7, len(points), 7)]
    return [
        Point(
            week[0].day,
            tuple(merge(each) for each in zip(*(day.values for day in week), strict=True)),
        )
        for week in weeks
    ]


def draw(
    points: Sequence[Point], names: Sequence[str], *, size: bool
) -> tuple[Sequence[Slot], Sequence[str], Sequence[str]]:
    """Slots, labels of the upright axis and of the time line; `size`: the figures are bytes."""
    show = filesize if size else thousands
    most = max((sum(point.values) for point in points), default=0)
    top = ceiling(most, size=size)
    slots = []
    for place, point in enumerate(points):
        texts = [show(value) for value in point.values]
        said = ", ".join(
            f"{name} {text}" if len(names) > 1 else text
            for name, text in zip(names, texts, strict=True)
        )
        label = point.day.isoformat()
        slots.append(
            Slot(place * STEP, label, _parts(point.values, top), texts, f"{label}: {said}")
        )
    labels = [slot.label for slot in slots]
    xs = [labels[0], labels[len(labels) // 2], labels[-1]] if len(labels) > 2 else labels
    return slots, [show(top), show(top // 2), show(0)], xs


def _parts(values: Sequence[int], top: int) -> Sequence[Part]:
    parts, y = [], HEIGHT
    for tone, value in enumerate(values):
        if value:
            height = max(HEIGHT * value / top, _LEAST)
            y = max(y - height, 0.0)
            parts.append(Part(tone, round(y, 2), round(height, 2)))
    return parts


def ceiling(most: int, *, size: bool) -> int:
    """Where an axis ends that shows `most`: a round number whose half is one as well."""
    unit = 1
    while size and most > 1000 * unit:
        unit *= 1024
    scale = unit
    while True:
        for nice in _NICE:
            if nice * scale >= most:
                return nice * scale
        scale *= 100
