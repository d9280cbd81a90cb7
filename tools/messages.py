"""Collect the texts of the portal, and compile their translations.

    python -m tools.messages            write locale/*/portal.po and portal.mo
    python -m tools.messages --check    say what is missing or stale; exit 1 when anything is

English stands in the code and has no catalogue. A translation that is missing stays empty in the
.po file until somebody writes it; nothing is guessed.
"""

import io
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from gettext import GNUTranslations
from pathlib import Path

from babel.messages.catalog import Catalog
from babel.messages.extract import extract_from_dir
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po

from moorage.portal import i18n

ROOT = Path(i18n.FOLDER).parent
METHODS = [("**.py", "python"), ("**/templates/**.html", "jinja2")]
OPTIONS = {"jinja2": {"trimmed": "true", "silent": "false"}}
KEYWORDS = {"_": None, "gettext": None, "N_": None, "ngettext": (1, 2)}


def texts() -> Iterator[str | tuple[str, ...]]:
    """Every text that the portal shows; a pair where there is a plural."""
    found = extract_from_dir(
        ROOT,
        METHODS,
        {"**/templates/**.html": OPTIONS["jinja2"]},
        keywords=KEYWORDS,
    )
    for _file, _line, message, _comments, _context in found:
        yield message if isinstance(message, str) else tuple(message)


def languages() -> Sequence[str]:
    """Those that have a catalogue."""
    return [code for code in i18n.LANGUAGES if code != "en"]


def file(language: str) -> Path:
    """Where the translations are written."""
    return i18n.FOLDER / language / "portal.po"


def read(language: str) -> Catalog:
    """The translations that there are."""
    if not file(language).exists():
        return Catalog(locale=language)
    with file(language).open("rb") as stream:
        return read_po(stream, locale=language)


def renewed(language: str) -> Catalog:
    """The catalogue with today's texts, and the translations that fit them."""
    known = read(language)
    made = Catalog(locale=language, project="Moorage", fuzzy=False)
    made.header_comment = f"# Texts of the portal: {i18n.LANGUAGES[language]}."
    for text in sorted(set(texts()), key=str):
        before = known.get(text if isinstance(text, str) else text[0])
        made.add(text, before.string if before is not None else "")
    return made


def missing(language: str) -> list[str]:
    """Texts without a translation."""
    catalogue = renewed(language)
    return [str(message.id) for message in catalogue if message.id and not _whole(message.string)]


def _whole(string: str | Sequence[str] | None) -> bool:
    return bool(string) if isinstance(string, str) else bool(string) and all(string or ())


def compiled(catalogue: Catalog) -> bytes:
    """The catalogue as gettext reads it; the same texts give the same bytes."""
    catalogue.creation_date = catalogue.revision_date = datetime(2026, 1, 1, tzinfo=UTC)
    buffer = io.BytesIO()
    write_mo(buffer, catalogue)
    return buffer.getvalue()


def stale(language: str) -> bool:
    """Whether the compiled file says something else than the written one."""
    made = file(language).with_suffix(".mo")
    if not made.exists():
        return True
    found = GNUTranslations(io.BytesIO(made.read_bytes()))
    for message in read(language):
        if message.id and isinstance(message.id, str):
            if message.string and found.gettext(message.id) != message.string:
                return True
        elif message.id and message.string and all(message.string):
            one, many = message.id[:2]
            if found.ngettext(one, many, 2) != message.string[-1]:
                return True
    return False


def write(language: str) -> None:
    """Write both files."""
    catalogue = renewed(language)
    file(language).parent.mkdir(parents=True, exist_ok=True)
    with file(language).open("wb") as stream:
        write_po(stream, catalogue, width=100, omit_header=True, no_location=True)
    file(language).with_suffix(".mo").write_bytes(compiled(read(language)))


def main() -> int:
    """Write or check every language."""
    if "--check" not in sys.argv:
        for language in languages():
            write(language)
    wrong = 0
    for language in languages():
        for text in missing(language):
            print(f"{language}: no translation of {text!r}")
            wrong = 1
        if stale(language):
            print(f"{language}: portal.mo is stale; run `make messages`")
            wrong = 1
    return wrong if "--check" in sys.argv else 0


if __name__ == "__main__":
    sys.exit(main())
