"""Templates, the filters they use, and the headers of every page.

Nothing that a user or an artifact said is ever marked as safe, but what `prose` let pass.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache, partial
from gettext import NullTranslations
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from moorage.portal import i18n, parts
from moorage.portal.amounts import UNITS
from moorage.portal.assets import Assets
from moorage.portal.cells import Cells, Figure
from moorage.portal.compiling import Compiling, texts_of
from moorage.portal.drawing import Drawing, marked
from moorage.portal.i18n import N_
from moorage.portal.lines import Lines
from moorage.portal.prose import Prose
from moorage.portal.rows import Rows

FOLDER = Path(__file__).parent / "templates"

CSP = (
    "default-src 'self'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "font-src 'self'; connect-src 'self'; object-src 'none'; base-uri 'none'; "
    "form-action 'self'; frame-ancestors 'none'"
)
HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": CSP,
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}


class Templates:
    """One environment a language, over the same files."""

    def __init__(self, assets: Assets) -> None:
        self.texts: Mapping[str, NullTranslations] = i18n.catalogues()
        self.prose = Prose()
        self._environments = {
            code: _environment(texts, assets) for code, texts in self.texts.items()
        }

    def render(self, language: str, template: str, context: Mapping[str, Any]) -> str:
        """A page; every template knows the macros, which know the page."""
        environment = self._environments[language]
        macros = environment.get_template("macros.html").make_module(dict(context))
        return environment.get_template(template).render({**vars(macros), **context})


def _environment(texts: NullTranslations, assets: Assets) -> Environment:
    drawing = Drawing(texts, assets.url("icons.svg"), partial(ago, texts))
    found = Compiling(
        {**texts_of(texts), **drawing.pure, "asset": assets.url},
        loader=FileSystemLoader(FOLDER),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
        auto_reload=False,
    )
    found.filters |= {"filesize": filesize, "thousands": thousands, "short": short_digest}
    figures: Mapping[str, Figure] = {
        "number": thousands,
        "size": filesize,
        "until": partial(until, texts),
    }
    cells = Cells(drawing, texts.gettext, short_digest, figures)
    rows = Rows(drawing, texts.gettext, cells.cell)
    lines = Lines(drawing, texts.gettext, short_digest, filesize)
    for draw in (cells.cell, rows.rows, lines.lines):
        found.filters[draw.__name__] = marked(draw)
    found.globals |= drawing.names
    found.globals |= {"item": marked(rows.item), "parts": parts, "languages": i18n.LANGUAGES}
    return found


def filesize(size: int | float) -> str:
    """Bytes as people say them."""
    value = float(size)
    for unit in UNITS:
        if abs(value) < 1024 or unit == "TiB":
            return f"{value:.0f} {unit}" if unit in ("B", "KiB") else f"{value:.1f} {unit}"
        value /= 1024
    raise AssertionError("unreachable")


def thousands(value: int) -> str:
    """A count with thin gaps."""
    return f"{value:,}"


def moment(value: datetime | None) -> str:
    """The exact time."""
    return f"{value.astimezone(UTC).isoformat(' ', 'seconds')[:19]} UTC" if value else ""


def ago(texts: NullTranslations, value: datetime | None) -> str:
    """How long ago that was."""
    if value is None:
        return texts.gettext("never")
    seconds = (datetime.now(UTC) - value).total_seconds()
    if 0 <= seconds < 60:
        return texts.gettext("just now")
    length = abs(seconds)
    place = next(place for place, span in enumerate(_SPANS) if length >= span[0])
    return _told(texts, place, max(1, int(length // _SPANS[place][1])), seconds < 0)


def until(texts: NullTranslations, seconds_since_1970: int) -> str:
    """When something ends, of which the API says seconds since 1970 or -1."""
    if seconds_since_1970 <= 0:
        return texts.gettext("never")
    return ago(texts, datetime.fromtimestamp(seconds_since_1970, UTC))


_SPANS = (
    (2 * 86400, 86400, N_("%(num)s day"), N_("%(num)s days")),
    (3600, 3600, N_("%(num)s hour"), N_("%(num)s hours")),
    (0, 60, N_("%(num)s minute"), N_("%(num)s minutes")),
)
"""From how many seconds on, how many one of them is, and what it is called."""


@lru_cache(maxsize=4096)
def _told(texts: NullTranslations, place: int, count: int, ahead: bool) -> str:
    """A page says the same few over and over."""
    _, _, one, many = _SPANS[place]
    time = texts.gettext(one if count == 1 else many) % {"num": count}
    told = texts.gettext("in %(time)s") if ahead else texts.gettext("%(time)s ago")
    return told % {"time": time}


def short_digest(digest: str) -> str:
    """The first letters of a digest, enough to tell two apart."""
    return digest.partition(":")[2][:12] or digest[:12]
