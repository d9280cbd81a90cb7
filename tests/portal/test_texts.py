"""The portal's texts: none without a translation, none beside gettext; vendored files as listed."""

import ast
import hashlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from jinja2 import Environment
from tools import messages

from moorage.portal import assets, i18n, prose, rendering
from moorage.portal.visits import masked, unmasked

ALLOWED = {"Moorage", "Ctrl", "K", "Esc", "server", "host", "capabilities", "pull", "resolve"}
ALLOWED |= {"etc", "containerd", "certs", "d", "hosts", "toml"}
_WORD = re.compile(r"[A-Za-z]{1,}")
_ATTRIBUTE = re.compile(r'(?:title|aria-label|placeholder|alt)="([^"]*)"')


@pytest.mark.parametrize("language", messages.languages())
def test_every_text_is_translated(language: str) -> None:
    """`make messages` has collected all, and somebody wrote what it left empty."""
    assert messages.missing(language) == []
    assert not messages.stale(language)


def test_nothing_is_called_nothing() -> None:
    """In any language: a field that the API leaves empty is not the head of a catalogue."""
    assert {code: texts.gettext("") for code, texts in i18n.catalogues().items()} == dict.fromkeys(
        i18n.LANGUAGES, ""
    )


@pytest.mark.parametrize("file", sorted(rendering.FOLDER.glob("*.html")), ids=lambda f: f.name)
def test_templates_hold_no_bare_text(file: Path) -> None:
    """What people read goes through gettext."""
    source = file.read_text()
    plain = "".join(
        text for _, kind, text in Environment(trim_blocks=True).lex(source) if kind == "data"
    )
    said = [*_ATTRIBUTE.findall(plain), re.sub(r"<[^>]*>|&\w+;", " ", plain)]
    words = {word for text in said for word in _WORD.findall(text)}
    assert words - ALLOWED == set()


def test_no_text_hides_in_a_formatted_string() -> None:
    """Who collects the texts does not look into those."""
    for file in sorted(rendering.FOLDER.parent.rglob("*.py")):
        for formatted in ast.walk(ast.parse(file.read_text())):
            if isinstance(formatted, ast.JoinedStr):
                assert [*_texts_in(formatted)] == [], file


def _texts_in(code: ast.AST) -> Iterator[str]:
    for call in ast.walk(code):
        if isinstance(call, ast.Call):
            name = getattr(call.func, "id", getattr(call.func, "attr", ""))
            said = (each for each in call.args if isinstance(each, ast.Constant))
            yield from (str(each.value) for each in said if name in messages.KEYWORDS)


def test_placeholders_survive_translation() -> None:
    """A translation names the same values as the English text."""
    for language in messages.languages():
        for message in messages.read(language):
            if isinstance(message.id, str) and message.id:
                wanted = set(re.findall(r"%\((\w+)\)s", message.id))
                assert set(re.findall(r"%\((\w+)\)s", str(message.string))) == wanted


def test_a_language_is_chosen_by_wish() -> None:
    """The cookie goes first; then the header by its weights; English for all others."""
    assert i18n.choose("ko", "en") == "ko"
    assert i18n.choose("xx", "de, ko;q=0.8, en;q=0.9") == "en"
    assert i18n.choose("", "ko-KR") == "ko"
    assert i18n.choose("", "ko;q=x, fr") == "en"
    assert i18n.choose("", "") == "en"


def test_vendored_files_are_the_listed_ones() -> None:
    """Name, checksum and licence of each that others wrote."""
    listed = dict(
        re.findall(
            r"^([0-9a-f]{64})  (\S+)$", (assets.FOLDER / "VENDORED.txt").read_text(), re.MULTILINE
        )
    )
    found = {name: digest for digest, name in listed.items()}
    assert set(found) == {"vendor.js", "icons.svg", "inter.woff2"}
    for name, digest in found.items():
        assert hashlib.sha256((assets.FOLDER / name).read_bytes()).hexdigest() == digest, name


def test_markdown_does_nothing_but_show() -> None:
    """No scripts, no pictures from elsewhere, no addresses that run.

    GO-2025-3825, CVE-2025-32019.
    """
    hostile = (
        "# Title\n<script>alert(1)</script> <img src=x onerror=alert(1)>\n\n"
        "[a](javascript:alert(1)) ![p](https://evil.example/p.png) [b](https://example.com)\n\n"
        "| a | b |\n| - | - |\n| 1 | <b onclick=x>2</b> |\n"
    )
    html = str(prose.markdown(hostile))
    assert "<h1>Title</h1>" in html
    assert 'href="https://example.com"' in html
    for bad in ("<script", "<img", 'href="javascript', "<b "):
        assert bad not in html
    assert "<td>1</td>" in html


def test_a_token_is_masked_anew_each_time() -> None:
    """So that no two pages hold the same bytes; what was not masked is nothing."""
    assert masked("abc=") != masked("abc=")
    assert unmasked(masked("abc=")) == "abc="
    for bad in ("", "x", "====", "AAA", "\u00e9", "AAAA/"):
        assert unmasked(bad) == "" or unmasked(bad).isprintable()
