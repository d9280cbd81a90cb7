"""The small things that a page has hundreds of, drawn without a template: icons, chips, times.

What is said of an artifact goes into their texts escaped, as in templates. They are markup in plain
strings, of which larger ones are put together; only what templates get is marked as such.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import wraps
from gettext import NullTranslations
from typing import ParamSpec, Protocol

from markupsafe import Markup, escape

from moorage.portal.i18n import N_
from moorage.portal.shapes.artifacts import Label

P = ParamSpec("P")

_ATTACHED = {
    "signature.cosign": N_("Cosign"),
    "signature.notation": N_("Notation"),
    "sbom.harbor": N_("SBOM"),
    "subject.accessory": N_("Attached"),
    "accelerator.nydus": "Nydus",
}
"""What artifacts are called that belong to another one, by type."""

_SPECIAL = re.compile("[&<>\"']").search


def escaped(value: object) -> str:
    """A value as a text that can stand in markup, as `escape` has it.

    That makes an object of each text; most texts of a page are fine as they are.
    """
    text = value if isinstance(value, str) else str(value)
    return str(escape(text)) if _SPECIAL(text) else text


def marked(draw: Callable[P, str]) -> Callable[P, Markup]:
    """The same for templates, which escape what is not known to be markup."""

    @wraps(draw)
    def drawn(*args: P.args, **kwargs: P.kwargs) -> Markup:
        return Markup(draw(*args, **kwargs))  # noqa: S704  # what `escaped` let through, and ours

    return drawn


class Typed(Protocol):
    """Something with a type."""

    @property
    def type(self) -> str: ...


class Drawing:
    """Draws in one language."""

    def __init__(
        self, texts: NullTranslations, icons: str, ago: Callable[[datetime | None], str]
    ) -> None:
        self._file = escaped(icons)
        self._icons: dict[str, str] = {}
        self._ago = ago
        self._never = f'<span class="muted">{escaped(ago(None))}</span>'
        self._copied = escaped(texts.gettext("Copied"))
        self._attached = {kind: texts.gettext(name) for kind, name in _ATTACHED.items()}

    @property
    def names(self) -> Mapping[str, Callable[..., Markup]]:
        """What templates call all of these."""
        own = (self.when, self.attached, self.bar)
        return {**self.pure, **{each.__name__: marked(each) for each in own}}

    @property
    def pure(self) -> Mapping[str, Callable[..., Markup]]:
        """Those that say the same at any time."""
        own = (self.icon, self.chip, self.copyable)
        return {each.__name__: marked(each) for each in own}

    def icon(self, name: str) -> str:
        """A sign, which says nothing that does not stand beside it."""
        found = self._icons.get(name)
        if found is None:  # names are the templates' own, so there are some dozens
            file = f"{self._file}#{escaped(name)}"
            found = self._icons[name] = (
                f'<svg class="i" aria-hidden="true"><use href="{file}"/></svg>'
            )
        return found

    def chip(
        self, text: object, tone: str = "plain", glyph: str | None = None, title: str | None = None
    ) -> str:
        """A short text in a tone."""
        sign = self.icon(glyph) if glyph else ""
        about = f'" title="{escaped(title)}' if title else ""
        return f'<span class="chip {escaped(tone)}{about}">{sign}{escaped(text)}</span>'

    def copyable(self, text: str, label: str) -> str:
        """A button that copies a text."""
        said = escaped(label)
        return (
            f'<button class="copy" type="button" data-copy="{escaped(text)}" data-said="'
            f'{self._copied}" aria-label="{said}" title="{said}">{self.icon("copy")}</button>'
        )

    def when(self, value: datetime | None, cls: str = "num") -> str:
        """How long ago something was, and when exactly."""
        if value is None:
            return self._never
        time, ago = value.astimezone(UTC).isoformat(), escaped(self._ago(value))
        exact = f'datetime="{time}" title="{time[:10]} {time[11:19]} UTC"'
        return f'<time class="{escaped(cls)}" {exact}>{ago}</time>'

    def bar(self, part: float, label: str, *, warns: bool = True) -> str:
        """How full something is, 0 to 1; it warns when it is nearly so."""
        tone = "" if not warns or part < 0.7 else " warn" if part < 0.9 else " full"
        return (
            f'<svg class="meter{tone}" viewBox="0 0 120 6" preserveAspectRatio="none" role="img" '
            f'aria-label="{escaped(label)}"><rect class="track" width="120" height="6" rx="2"/>'
            f'<rect class="fill" width="{120 * min(part, 1):.1f}" height="6" rx="2"/></svg>'
        )

    def labels(self, labels: Iterable[Label]) -> str:
        """The labels of an artifact: those of everybody in another tone than its project's."""
        return "".join(
            self.chip(each.name, "violet" if each.scope == "g" else "teal", "tag", each.description)
            for each in labels
        )

    def platforms(self, names: Sequence[str]) -> str:
        """What an artifact runs on: the first, and how many others."""
        more, about = "", ""
        if len(names) > 1:
            more = f'<span class="more">+{len(names) - 1}</span>'
            about = f' title="{escaped(", ".join(names))}"'
        return f'<span class="platforms"{about}>{escaped(names[0])}{more}</span>'

    def attached(self, accessories: Iterable[Typed]) -> str:
        """What kinds of artifacts belong to another one."""
        return "".join(
            self._kind(kind) for kind in dict.fromkeys(each.type for each in accessories)
        )

    def _kind(self, kind: str) -> str:
        signs = kind.startswith("signature")
        tone, glyph = ("signed", "badge-check") if signs else ("plain", "file-text")
        return self.chip(self._attached.get(kind, kind), tone, glyph)
