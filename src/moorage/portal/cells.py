"""The values of tables, drawn without a template: a page of a hundred rows has six hundred.

Bars are not among them: there are a few, and templates draw those elsewhere too.
"""

from collections.abc import Callable, Mapping
from typing import Any

from markupsafe import Markup, escape

from moorage.portal.drawing import Drawing, drawn
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
    """Draws in one language; `figures` writes numbers by the kind of cell."""

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
        self._figures = figures
        self._states = {
            state: drawing.chip(gettext(name), tone, glyph)
            for state, (name, tone, glyph) in _STATES.items()
        }
        self._kinds: Mapping[str, Callable[[Cell], Markup]] = {
            "link": self._link,
            "code": self._code,
            "time": lambda cell: drawing.when(cell.value),
            "chips": self._chips,
            "state": self._state,
            **dict.fromkeys(figures, self._figure),
        }

    def cell(self, cell: Cell) -> Markup:
        """A value as its kind looks; one of no kind that is known is a text."""
        return self._kinds.get(cell.kind, self._text)(cell)

    def _text(self, cell: Cell) -> Markup:
        value = escape(cell.value)
        return drawn(f'<span class="cut" title="{value}">{value}</span>', _under(cell))

    def _link(self, cell: Cell) -> Markup:
        lead = f'<span class="lead">{self._drawing.icon(cell.tone)}</span>' if cell.tone else ""
        link = f'<a class="name" href="{escape(cell.href)}">{escape(cell.value)}</a>'
        return drawn(lead, link, _under(cell))

    def _code(self, cell: Cell) -> Markup:
        if not cell.value:
            return Markup()
        shown = self._short(cell.value) if cell.value.startswith("sha") else cell.value
        begin = f'<span class="digest"><code title="{escape(cell.value)}">{escape(shown)}</code>'
        return drawn(begin, self._drawing.copyable(cell.value, self._copy), "</span>")

    def _figure(self, cell: Cell) -> Markup:
        figure = escape(self._figures[cell.kind](cell.value))
        return drawn('<span class="num">', figure, "</span>")

    def _chips(self, cell: Cell) -> Markup:
        chips = (self._drawing.chip(text, tone) for text, tone in cell.value)
        return drawn('<span class="chips">', *chips, "</span>")

    def _state(self, cell: Cell) -> Markup:
        return self._states.get(cell.value) or self._drawing.chip(cell.value)


def _under(cell: Cell) -> str:
    return f'<small class="under">{escape(cell.note)}</small>' if cell.note else ""
