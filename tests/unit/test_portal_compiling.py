"""Templates of the portal as they are compiled: what is known then is drawn then, and escaped."""

from gettext import NullTranslations

from jinja2 import DictLoader, StrictUndefined
from markupsafe import Markup, escape

from moorage.portal.compiling import Compiling, texts_of


class Catalogue(NullTranslations):
    """Says everything more loudly."""

    def gettext(self, message: str) -> str:
        return f"{message}!"


def compiling(**templates: str) -> tuple[Compiling, list[str]]:
    """An environment, and what was drawn in it."""
    drawn: list[str] = []

    def chip(text: str, tone: str = "plain") -> Markup:
        drawn.append(text)
        return Markup(f"<i class={tone}>{escape(text)}</i>")

    def raw(text: str) -> str:
        return text

    pure = {**texts_of(Catalogue()), "chip": chip, "raw": raw}
    loader = DictLoader(templates)
    return Compiling(pure, loader=loader, autoescape=True, undefined=StrictUndefined), drawn


def test_what_a_template_says_alike_is_drawn_once() -> None:
    """However often the page is shown; what depends on the page is drawn with it."""
    source = '{{ chip("a&b") }}{{ chip(_("x"), tone="red") }}{{ chip(name) }}'
    environment, drawn = compiling(page=source)
    page = environment.get_template("page")
    assert drawn == ["a&b", "x!"]
    for name in ("<1>", "<2>"):
        said = f"<i class=plain>a&amp;b</i><i class=red>x!</i><i class=plain>{escape(name)}</i>"
        assert page.render(name=name) == said
    assert drawn == ["a&b", "x!", "<1>", "<2>"]


def test_what_is_no_markup_is_escaped_when_drawn_early() -> None:
    """A function that says a plain text says nothing else because it is asked before."""
    environment, _ = compiling(page='{{ raw("<b>") }}{{ raw(name) }}')
    assert environment.get_template("page").render(name="<b>") == "&lt;b&gt;&lt;b&gt;"


def test_texts_are_filled_with_what_is_escaped() -> None:
    """The catalogue is ours; names are not. A percent sign alone is written twice, as ever."""
    source = '{{ _("<%(name)s>", name=name) }} {{ _("100 %%") }} {{ ngettext("%(num)s", "", 1) }}'
    environment, _ = compiling(page=source)
    assert environment.get_template("page").render(name="<b>") == "<&lt;b&gt;>! 100 %! 1"
