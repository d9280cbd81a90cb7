"""A page as a browser without scripts has it: where its links lead, and what its forms send."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html.parser import HTMLParser
from urllib.parse import urlencode, urljoin

TEXTS = ("text", "search", "email", "url", "textarea")
"""Kinds of fields that somebody writes anything into."""


@dataclass
class Control:
    """One field of a form, and what it sends when nobody touches it."""

    name: str
    kind: str
    value: str = ""
    sent: bool = True
    required: bool = False


@dataclass
class Sent:
    """A form of a page."""

    page: str
    method: str
    action: str
    controls: list[Control] = field(default_factory=list)
    buttons: list[tuple[str, str]] = field(default_factory=list)

    def names(self, *kinds: str) -> Sequence[str]:
        """Fields of these kinds."""
        return [each.name for each in self.controls if each.kind in kinds]

    def filled(self, button: tuple[str, str], said: Mapping[str, object]) -> dict[str, object]:
        """What is sent by a button with some fields changed; a field must be there for that."""
        known = {each.name for each in self.controls}
        assert said.keys() <= known, f"{self.page} has no {said.keys() - known}"
        kept: dict[str, list[str]] = {}
        for each in self.controls:
            if each.sent and each.name not in said:
                kept.setdefault(each.name, []).append(each.value)
        found: dict[str, object] = {**kept, **said}
        if button[0]:
            found[button[0]] = button[1]
        empty = [
            e.name for e in self.controls if e.required and found.get(e.name) in (None, [""], "")
        ]
        assert empty == [], f"a browser would not send {self.page} without {empty}"
        return found


class Document(HTMLParser):
    """Links and forms of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.page = page
        self.links: list[str] = []
        self.forms: list[Sent] = []
        self._form: Sent | None = None
        self._named: dict[str, Sent] = {}
        self._select: Control | None = None
        self._area: Control | None = None

    @classmethod
    def read(cls, page: str, text: str) -> "Document":
        """All of them."""
        found = cls(page)
        found.feed(text)
        found.close()
        return found

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Fields belong to the form around them, or to the one that they name."""
        has = {name: value or "" for name, value in attrs}
        if tag == "a" and not has.get("href", "#").startswith("#"):
            self.links.append(urljoin(self.page, has["href"]))
        elif tag == "form":
            action = urljoin(self.page, has.get("action") or self.page)
            self._form = Sent(self.page, has.get("method", "get").lower(), action)
            self.forms.append(self._form)
            self._named[has.get("id", "")] = self._form
        elif tag == "option" and self._select is not None:
            select = self._select
            if not select.sent or "selected" in has:  # the first one, unless another is chosen
                select.value, select.sent = has.get("value", ""), True
        elif tag in ("input", "select", "textarea", "button"):
            form_of = self._named.get(has["form"]) if "form" in has else self._form
            if form_of is not None and has.get("name") and "disabled" not in has:
                self._control(form_of, tag, has)

    def _control(self, form: Sent, tag: str, has: Mapping[str, str]) -> None:
        if tag == "button":
            form.buttons.append((has["name"], has.get("value", "")))
            return
        kind = has.get("type", "text") if tag == "input" else tag
        found = Control(has["name"], kind, has.get("value", ""), required="required" in has)
        if kind in ("checkbox", "radio"):
            found.sent = "checked" in has
        elif kind == "select":
            found.sent, self._select = False, found
        elif kind == "textarea":
            self._area = found
        form.controls.append(found)

    def handle_data(self, data: str) -> None:
        """The text in a large field."""
        if self._area is not None:
            self._area.value += data

    def handle_endtag(self, tag: str) -> None:
        """Forms do not nest."""
        if tag == "form":
            self._form = None
        elif tag == "select":
            self._select = None
        elif tag == "textarea":
            self._area = None

    def ways(self) -> list[str]:
        """Where links lead, and forms that only ask; of boxes, the first one is ticked."""
        found = list(self.links)
        for form in self.forms:
            if form.method != "get":
                continue
            first: dict[str, str] = {}
            for each in form.controls:
                first.setdefault(each.name, each.value)
            for name, value in form.buttons or [("", "")]:
                said = {**first, **({name: value} if name else {})}
                given = {key: text for key, text in said.items() if text}
                found.append(f"{form.action.partition('?')[0]}?{urlencode(given)}")
        return found


class Harmful(HTMLParser):
    """Collects what a page may not hold: pictures, code and style of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    @classmethod
    def found_in(cls, text: str) -> list[str]:
        """All of it in a page."""
        parser = cls()
        parser.feed(text)
        parser.close()
        return parser.found

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Scripts of our own are files."""
        names = dict(attrs)
        if tag in ("img", "iframe", "style", "object") or (tag == "script" and not names["src"]):
            self.found.append(tag)
        self.found += [name for name in names if name == "style" or re.match(r"on[a-z]", name)]
        for name in ("href", "src", "action"):
            if not (names.get(name) or "/").startswith(("/", "#", "?", "https://example")):
                self.found.append(f"{tag} {names[name]}")
