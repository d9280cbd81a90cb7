"""The values of tables, drawn without a template: a page of a hundred rows has six hundred."""

from collections.abc import Callable, Mapping
from typing import Any

from moorage.portal.drawing import Drawing, escaped
from moorage.portal.i18n import N_
from moorage.portal.parts import Cell

Figure = Callable[[Any], str]

_STATES = {
    "Success": (N_("Done"), "signed", "check"),
    "Error": (N_("Failed"), "red", "triangle-alert"),
    "Stopped": (N_("Stopped"), "amber", None),
    "Running": (N_("Running"), "teal", "loader-circle"),
    "Pending": (N_("Waiting"), "violet", "clock"),
    "Scheduled": (N_("Scheduled"), "violet", None),
}
"""What states of the API are called, and look like."""


class Cells:
    """Draws in one language; `figures` writes numbers by the kind of cell, `size` among them."""

    def __init__(
        self,
        drawing: Drawing,
        gettext: Callable[[str], str],
        short: Callable[[str], str],
        figures: Mapping[str, Figure],
    ) -> None:
        self._drawing = drawing
        self._short = short
        self._copy = gettext("Copy")
        self._used, self._done = gettext("%(part)s %% used"), gettext("%(part)s %% done")
        self._unlimited = escaped(gettext("no limit"))
        self._figures = figures
        self._states = {
            state: drawing.chip(gettext(name), tone, glyph)
            for state, (name, tone, glyph) in _STATES.items()
        }
        self._kinds: Mapping[str, Callable[[Cell], str]] = {
            "link": self._link,
            "code": self._code,
            "each": self._each,
            "time": lambda cell: drawing.when(cell.value),
            "chips": self._chips,
            "state": self._state,
            "meter": self._meter,
            "progress": self._progress,
            **dict.fromkeys(figures, self._figure),
        }

    def cell(self, cell: Cell) -> str:
        """A value as its kind looks; one of no kind that is known is a text."""
        return self._kinds.get(cell.kind, self._text)(cell)

    def _text(self, cell: Cell) -> str:
        value = escaped(cell.value)
        return f'<span class="cut" title="{value}">{value}</span>{_under(cell)}'

    def _each(self, cell: Cell) -> str:
        return "".join([f'<span class="one">{escaped(value)}</span>' for value in cell.value])

    def _link(self, cell: Cell) -> str:
        lead = f'<span class="lead">{self._drawing.icon(cell.tone)}</span>' if cell.tone else ""
        link = f'<a class="name" href="{escaped(cell.href)}">{escaped(cell.value)}</a>'
        return f"{lead}{link}{_under(cell)}"

    def _code(self, cell: Cell) -> str:
        if not cell.value:
            return ""
        value = escaped(cell.value)
        shown = escaped(self._short(cell.value)) if cell.value.startswith("sha") else value
        copy = self._drawing.copyable(cell.value, self._copy)
        return f'<span class="digest"><code title="{value}">{shown}</code>{copy}</span>'

    def _figure(self, cell: Cell) -> str:
        return f'<span class="num">{self._said(cell.kind, cell.value)}</span>'

    def _chips(self, cell: Cell) -> str:
        chips = "".join([self._drawing.chip(text, tone) for text, tone in cell.value])
        return f'<span class="chips">{chips}</span>'

    def _state(self, cell: Cell) -> str:
        return self._states.get(cell.value) or self._drawing.chip(cell.value)

    def _meter(self, cell: Cell) -> str:
        """What is used of a quota."""
        used, hard = cell.value
        if hard <= 0:
            said = self._said("size", used)
            return f'<span class="num">{said}</span> <small>{self._unlimited}</small>'
        bar = self._drawing.bar(used / hard, self._used % {"part": round(100 * used / hard)})
        return self._quota(bar, used, hard)

    def _progress(self, cell: Cell) -> str:
        """What is done of what is expected."""
        done, expected = cell.value
        part = done / expected if expected else 0
        bar = self._drawing.bar(part, self._done % {"part": round(100 * part)}, warns=False)
        return self._quota(bar, done, expected)

    def _quota(self, bar: str, some: int, whole: int) -> str:
        of = f"{self._said('size', some)} / {self._said('size', whole)}"
        return f'<span class="quota">{bar}<small>{of}</small></span>'

    def _said(self, kind: str, value: Any) -> str:
        return escaped(self._figures[kind](value))


def _under(cell: Cell) -> str:
    return f'<small class="under">{escaped(cell.note)}</small>' if cell.note else ""
