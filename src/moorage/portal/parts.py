"""What pages are put together from: tables, forms and their pieces. Data; templates draw them,
and `rows` what comes by the dozen.

Table ─► Column*, Row* ─► Cell*, Item*      sorted and paged by the URL
Form  ─► Field*                             posted to the page that shows it
Tab, Crumb, Action                          links
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from urllib.parse import urlencode

from markupsafe import Markup

PAGE_SIZES = (15, 25, 50, 100)
DEFAULT_SIZE = 15
MOST_LINES = 200
"""Names with a value each that one part of a page shows: who pushes decides how many there are."""
LONGEST_LINE = 4000
"""Characters of such a value."""


class Cell(NamedTuple):
    """One value: how it is drawn, what it is, and where it leads. A page may have six hundred."""

    kind: str
    value: Any = ""
    href: str = ""
    note: str = ""
    tone: str = ""


def text(value: object, note: object = "") -> Cell:
    """A text, and a smaller one below it."""
    return Cell("text", str(value), note=str(note))


def each(values: Iterable[str]) -> Cell:
    """Texts below each other, as many characters of them as one value may have."""
    lines, room = [], LONGEST_LINE
    for value in values:
        if room <= 0:
            break
        lines.append(value[:room])
        room -= len(value) + 1
    return Cell("each", lines)


def link(value: object, href: str, note: object = "", tone: str = "") -> Cell:
    """A text that leads somewhere; `tone` names an icon before it."""
    return Cell("link", str(value), href, str(note), tone)


def code(value: object) -> Cell:
    """Something for machines, with a button that copies it."""
    return Cell("code", str(value))


def number(value: int) -> Cell:
    """A count."""
    return Cell("number", value)


def size(value: int) -> Cell:
    """Bytes."""
    return Cell("size", value)


def time(value: object) -> Cell:
    """A moment, or never."""
    return Cell("time", value)


def chips(*values: tuple[str, str]) -> Cell:
    """Short texts, each with its tone."""
    return Cell("chips", values)


def meter(used: int, hard: int) -> Cell:
    """Bytes of a quota; `hard` is -1 for none."""
    return Cell("meter", (used, hard))


def progress(done: int, expected: int) -> Cell:
    """Bytes that were moved, of those that are known to come."""
    return Cell("progress", (done, expected))


def state(value: str) -> Cell:
    """The state of something that runs."""
    return Cell("state", value)


@dataclass(frozen=True, slots=True)
class Item:
    """One thing that can be done to a row: a link, or a form that is posted when `op` is set."""

    label: str
    href: str = ""
    op: str = ""
    icon: str = ""
    danger: bool = False
    values: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a table; `key` is what bulk actions name it by."""

    cells: Sequence[Cell]
    key: str = ""
    name: str = ""
    menu: Sequence[Item] = ()


@dataclass(frozen=True, slots=True)
class Column:
    """The head of a column; `sort` names the field of the API that it sorts by."""

    label: str
    sort: str = ""
    right: bool = False


@dataclass(frozen=True, slots=True)
class Choice:
    """One value that a filter can have."""

    value: str
    label: str


@dataclass(frozen=True, slots=True)
class Filter:
    """A field above a table that narrows it; without choices, a text."""

    name: str
    label: str
    value: str = ""
    choices: Sequence[Choice] = ()


@dataclass(frozen=True, slots=True)
class Table:
    """A page of a list."""

    caption: str
    columns: Sequence[Column]
    rows: Sequence[Row]
    total: int
    view: "View"
    empty: str
    hint: str = ""
    icon: str = "package"
    filters: Sequence[Filter] = ()
    more: Item | None = None
    """Where the rest of it is, when only the first rows are here."""
    bulk: Sequence[Item] = ()
    """What can be done to all chosen rows: links that get `id` for each."""


@dataclass(frozen=True, slots=True)
class Completion:
    """Where a script finds what a text can be completed to."""

    href: str
    beside: str = ""
    """The field of the form that what is found depends on."""


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a form."""

    name: str
    label: str
    kind: str = "text"
    value: Any = ""
    help: str = ""
    required: bool = False
    choices: Sequence[Choice] = ()
    """Of a select or checks; what a text can be completed to."""
    placeholder: str = ""
    disabled: bool = False
    beside: bool = False
    """Whether it says more of the field before, and stands in one line with it."""
    completes: Completion | None = None


@dataclass(frozen=True, slots=True)
class Form:
    """Something to fill in, or to confirm."""

    op: str
    title: str
    fields: Sequence[Field] = ()
    submit: str = ""
    note: str = ""
    danger: bool = False
    cancel: str = ""
    values: Mapping[str, str] = field(default_factory=dict)
    names: Sequence[str] = ()
    """What will be touched, shown as a list."""
    also: Sequence[Item] = ()
    """What else can be done with what is typed; the page comes again and says what came of it."""
    in_place: bool = False
    """Whether nothing but the outcome of these changes on the page."""

    def sends(self, op: str) -> bool:
        """Whether one of its buttons sends that."""
        return op in (self.op, *(each.op for each in self.also))


@dataclass(frozen=True, slots=True)
class Tab:
    """One view of a thing."""

    label: str
    href: str
    current: bool = False
    count: int | None = None


@dataclass(frozen=True, slots=True)
class Crumb:
    """One step of the way here."""

    label: str
    href: str = ""


@dataclass(frozen=True, slots=True)
class View:
    """What the URL says of a list: page, size, sort and filters; makes URLs that differ in one."""

    path: str
    page: int = 1
    size: int = DEFAULT_SIZE
    sort: str = ""
    kept: Mapping[str, str] = field(default_factory=dict)

    def url(self, **changes: object) -> str:
        """This view with changes; what is empty or the default is left out."""
        values = {
            **self.kept,
            "sort": self.sort,
            "page": self.page if self.page != 1 else "",
            "size": self.size if self.size != DEFAULT_SIZE else "",
            **changes,
        }
        said = [(name, str(value)) for name, value in values.items() if value not in ("", None)]
        return f"{self.path}?{urlencode(said)}" if said else self.path

    def sorted_by(self, name: str) -> str:
        """The same list by another column, or the other way round."""
        return self.url(sort=f"-{name}" if self.sort == name else name, page="")

    def turned(self, page: int) -> str:
        """Another page."""
        return self.url(page=page if page > 1 else "")

    @property
    def ascending(self) -> bool:
        return not self.sort.startswith("-")

    @property
    def column(self) -> str:
        """What the list is sorted by."""
        return self.sort.lstrip("-")


@dataclass(frozen=True, slots=True)
class Fact:
    """A name and a value."""

    label: str
    cell: Cell


@dataclass(frozen=True, slots=True)
class Facts:
    """What there is to know of one thing."""

    title: str
    facts: Sequence[Fact]


@dataclass(frozen=True, slots=True)
class Stat:
    """A figure at the head of a page."""

    label: str
    value: str
    note: str = ""
    part: float | None = None
    """How full a bar below it is, 0 to 1."""
    bars: Sequence[int] = ()


@dataclass(frozen=True, slots=True)
class Document:
    """A text that somebody wrote: shown as it is, or as the HTML that was made of it."""

    title: str
    text: str
    html: Markup | None = None
    empty: str = ""


@dataclass(frozen=True, slots=True)
class Links:
    """Ways on."""

    title: str
    items: Sequence[Item]


@dataclass(frozen=True, slots=True)
class Once:
    """A secret that is shown once."""

    title: str
    name: str
    value: str
    note: str
    commands: Sequence[str] = ()
