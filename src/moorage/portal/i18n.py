"""Languages of the portal: gettext catalogues, and which one a visitor gets.

    cookie `lang` ─► else Accept-Language ─► else English

English stands in the code. `make messages` collects it into `locale/` and compiles what was
translated; a test fails while a text has no translation.
"""

from collections.abc import Mapping
from gettext import GNUTranslations, NullTranslations
from pathlib import Path

LANGUAGES: Mapping[str, str] = {"en": "English", "ko": "한국어"}
"""Code to its name in itself."""

COOKIE = "lang"
FOLDER = Path(__file__).parent / "locale"


def N_(text: str) -> str:
    """Mark a text that is translated where it is shown."""
    return text


class _Catalogue(GNUTranslations):
    """Translations; of an empty text gettext itself says who translated, and when."""

    def gettext(self, message: str) -> str:
        return super().gettext(message) if message else ""


def catalogues() -> Mapping[str, NullTranslations]:
    """Every language's texts."""
    found: dict[str, NullTranslations] = {}
    for code in LANGUAGES:
        file = FOLDER / code / "portal.mo"
        if file.exists():
            with file.open("rb") as stream:
                found[code] = _Catalogue(stream)
        else:
            found[code] = NullTranslations()
    return found


def choose(cookie: str, accepted: str) -> str:
    """The language for a cookie and an `Accept-Language` header, as long as either likes."""
    if cookie in LANGUAGES:
        return cookie
    wishes = []
    for place, part in enumerate(accepted[:1000].split(",")):
        name, _, quality = part.strip().partition(";q=")
        try:
            weight = float(quality) if quality else 1.0
        except ValueError:
            weight = 0.0
        wishes.append((-weight, place, name.partition("-")[0].lower()))
    return next((code for weight, _, code in sorted(wishes) if weight and code in LANGUAGES), "en")
