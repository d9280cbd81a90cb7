"""The small things that a page has hundreds of, drawn without a template: icons, chips, times.

What is said of an artifact goes into their texts escaped, as in templates.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from gettext import NullTranslations
from typing import Any, Protocol

from markupsafe import Markup, escape

from moorage.portal.i18n import N_
from moorage.portal.shapes import Label

_ATTACHED = {
    "signature.cosign": N_("Cosign"),
    "signature.notation": N_("Notation"),
    "sbom.harbor": N_("SBOM"),
    "subject.accessory": N_("Attached"),
    "accelerator.nydus": "Nydus",
}
"""What artifacts are called that belong to another one, by type."""


class Typed(Protocol):
    """Something with a type."""

    @property
    def type(self) -> str: ...


class Drawing:
    """Draws in one language."""

    def __init__(
        self,
        texts: NullTranslations,
        icons: str,
        ago: Callable[[datetime | None], str],
        moment: Callable[[datetime | None], str],
    ) -> None:
        self._file = icons
        self._icons: dict[str, Markup] = {}
        self._ago = ago
        self._moment = moment
        self._never = drawn('<span class="muted">', escape(ago(None)), "</span>")
        self._copied = escape(texts.gettext("Copied"))
        self._attached = {kind: texts.gettext(name) for kind, name in _ATTACHED.items()}

    @property
    def names(self) -> Mapping[str, Any]:
        """What templates call these: functions, or filters where there are many of them."""
        own = (self.icon, self.chip, self.copyable, self.when, self.attached)
        return {each.__name__: each for each in own}

    @property
    def pure(self) -> Mapping[str, Callable[..., str]]:
        """Those that say the same at any time."""
        return {each.__name__: each for each in (self.icon, self.chip, self.copyable)}

    def icon(self, name: str) -> Markup:
        """A sign, which says nothing that does not stand beside it."""
        found = self._icons.get(name)
        if found is None:  # names are the templates' own, so there are some dozens
            begin = '<svg class="i" aria-hidden="true"><use href="'
            of_file = f"{escape(self._file)}#{escape(name)}"
            found = self._icons[name] = drawn(begin, of_file, '"/></svg>')
        return found

    def chip(
        self, text: object, tone: str = "plain", glyph: str | None = None, title: str | None = None
    ) -> Markup:
        """A short text in a tone."""
        sign = self.icon(glyph) if glyph else ""
        about = f'" title="{escape(title)}' if title else ""
        begin = f'<span class="chip {escape(tone)}{about}">'
        return drawn(begin, sign, escape(text), "</span>")

    def copyable(self, text: str, label: str) -> Markup:
        """A button that copies a text."""
        said = escape(label)
        begin = f'<button class="copy" type="button" data-copy="{escape(text)}" data-said="'
        named = f'{self._copied}" aria-label="{said}" title="{said}">'
        return drawn(begin, named, self.icon("copy"), "</button>")

    def when(self, value: datetime | None, cls: str = "num") -> Markup:
        """How long ago something was, and when exactly."""
        if not value:
            return self._never
        begin = f'<time class="{escape(cls)}" datetime="{value.isoformat()}" title="'
        return drawn(begin, self._moment(value), '">', escape(self._ago(value)), "</time>")

    def labels(self, labels: Iterable[Label]) -> Markup:
        """The labels of an artifact: those of everybody in another tone than its project's."""
        return drawn(*(self._label(each) for each in labels))

    def _label(self, label: Label) -> Markup:
        tone = "violet" if label.scope == "g" else "teal"
        return self.chip(label.name, tone, "tag", label.description)

    def platforms(self, names: Sequence[str]) -> Markup:
        """What an artifact runs on: the first, and how many others."""
        more, about = "", ""
        if len(names) > 1:
            more = f'<span class="more">+{len(names) - 1}</span>'
            about = f' title="{escape(", ".join(names))}"'
        return drawn(f'<span class="platforms"{about}>', escape(names[0]), more, "</span>")

    def attached(self, accessories: Iterable[Typed]) -> Markup:
        """What kinds of artifacts belong to another one."""
        kinds = dict.fromkeys(each.type for each in accessories)
        return drawn(*(self._kind(each) for each in kinds))

    def _kind(self, kind: str) -> Markup:
        signs = kind.startswith("signature")
        tone, glyph = ("signed", "badge-check") if signs else ("plain", "file-text")
        return self.chip(self._attached.get(kind, kind), tone, glyph)


def drawn(*pieces: str) -> Markup:
    """Pieces of which each is markup or escaped."""
    return Markup("".join(pieces))  # noqa: S704  # what `escape` let through, and our own
