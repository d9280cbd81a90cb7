"""The small things that a page has hundreds of, drawn without a template: icons, chips, times.

What is said of an artifact goes into their texts escaped, as in templates.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from gettext import NullTranslations
from typing import Any

from markupsafe import Markup, escape

_together = Markup().join  # escapes what is no markup, with less ado than `%` does
_ICON = Markup('<svg class="i" aria-hidden="true"><use href="'), Markup("#"), Markup('"/></svg>')
_CHIP = Markup('<span class="chip ')
_COPY = Markup('<button class="copy" type="button" data-copy="'), Markup('" data-said="')
_LABEL = Markup('" aria-label="')
_TIME, _MOMENT = Markup('<time class="'), Markup('" datetime="')
_NEVER = Markup('<span class="muted">')
_TITLE, _END = Markup('" title="'), Markup('">')
_SPAN, _BUTTON, _OF_TIME = Markup("</span>"), Markup("</button>"), Markup("</time>")


class Drawing:
    """Draws in one language."""

    def __init__(
        self,
        texts: NullTranslations,
        icons: str,
        ago: Callable[[datetime | None], str],
        moment: Callable[[datetime | None], str],
    ) -> None:
        self._texts = texts
        self._file = icons
        self._icons: dict[str, Markup] = {}
        self._ago = ago
        self._moment = moment

    @property
    def names(self) -> Mapping[str, Any]:
        """What templates call these: functions, or filters where there are many of them."""
        return {"icon": self.icon, "chip": self.chip, "copyable": self.copyable, "when": self.when}

    def icon(self, name: str) -> Markup:
        """A sign, which says nothing that does not stand beside it."""
        found = self._icons.get(name)
        if found is None:  # names are the templates' own, so there are some dozens
            begin, between, end = _ICON
            found = self._icons[name] = _together((begin, self._file, between, name, end))
        return found

    def chip(
        self, text: object, tone: str = "plain", glyph: str | None = None, title: str | None = None
    ) -> Markup:
        """A short text in a tone."""
        sign = self.icon(glyph) if glyph else ""
        about = (_TITLE, title) if title else ()
        return _together((_CHIP, tone, *about, _END, sign, escape(text), _SPAN))

    def copyable(self, text: str, label: str) -> Markup:
        """A button that copies a text."""
        said = self._texts.gettext("Copied")
        begin, after = _COPY
        named = (_LABEL, label, _TITLE, label, _END)
        return _together((begin, text, after, said, *named, self.icon("copy"), _BUTTON))

    def when(self, value: datetime | None, cls: str = "num") -> Markup:
        """How long ago something was, and when exactly."""
        if not value:
            return _together((_NEVER, self._ago(None), _SPAN))
        exact = (_MOMENT, value.isoformat(), _TITLE, self._moment(value), _END)
        return _together((_TIME, cls, *exact, self._ago(value), _OF_TIME))
