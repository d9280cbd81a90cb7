"""The small things that a page has hundreds of, drawn without a template: icons, chips, times.

What is said of an artifact goes into their texts escaped, as in templates.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from gettext import NullTranslations
from typing import Any

from markupsafe import Markup

_ICON = Markup('<svg class="i" aria-hidden="true"><use href="%s#%s"/></svg>')
_CHIP = Markup('<span class="chip %s">%s%s</span>')
_TITLED = Markup('<span class="chip %s" title="%s">%s%s</span>')
_COPY = Markup(
    '<button class="copy" type="button" data-copy="%s" data-said="%s" aria-label="%s" title="%s">'
    "%s</button>"
)
_TIME = Markup('<time class="%s" datetime="%s" title="%s">%s</time>')
_NEVER = Markup('<span class="muted">%s</span>')


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
            found = self._icons[name] = _ICON % (self._file, name)
        return found

    def chip(
        self, text: object, tone: str = "plain", glyph: str | None = None, title: str | None = None
    ) -> Markup:
        """A short text in a tone."""
        sign = self.icon(glyph) if glyph else ""
        return _TITLED % (tone, title, sign, text) if title else _CHIP % (tone, sign, text)

    def copyable(self, text: str, label: str) -> Markup:
        """A button that copies a text."""
        said = self._texts.gettext("Copied")
        return _COPY % (text, said, label, label, self.icon("copy"))

    def when(self, value: datetime | None, cls: str = "num") -> Markup:
        """How long ago something was, and when exactly."""
        if not value:
            return _NEVER % (self._ago(None),)
        return _TIME % (cls, value.isoformat(), self._moment(value), self._ago(value))
