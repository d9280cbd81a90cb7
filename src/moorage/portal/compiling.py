"""Templates as they are compiled: what every page says alike is drawn there, once a language.

{{ _("Sign out") }}  ─► 로그아웃              a text without anything to fill in
{{ icon("lock") }}   ─► <svg class="i" …>     a function of its own words alone
"""

from collections.abc import Callable, Mapping
from gettext import NullTranslations
from typing import Any

from jinja2 import Environment, nodes
from jinja2.visitor import NodeTransformer
from markupsafe import Markup

Pure = Mapping[str, Callable[..., str]]
"""Functions by name whose answer depends on their arguments alone; no template has such a name."""


class Compiling(Environment):
    """An environment that calls pure functions of constants when it compiles."""

    def __init__(self, pure: Pure, **options: Any) -> None:
        super().__init__(**options)
        self.pure = pure
        self.globals |= pure

    def _generate(
        self,
        source: nodes.Template,
        name: str | None,
        filename: str | None,
        defer_init: bool = False,
    ) -> str:
        settled = _Settling(self).visit(source)
        return super()._generate(settled, name, filename, defer_init)


class _Settling(NodeTransformer):
    def __init__(self, environment: Compiling) -> None:
        self._environment = environment

    def visit_Call(self, node: nodes.Call) -> nodes.Node:
        self.generic_visit(node)
        called = node.node.name if isinstance(node.node, nodes.Name) else ""
        if called not in self._environment.pure or node.dyn_args or node.dyn_kwargs:
            return node
        try:
            words = [each.as_const() for each in node.args]
            named = dict(each.as_const() for each in node.kwargs)
        except nodes.Impossible:
            return node
        found = nodes.Const(self._environment.pure[called](*words, **named), lineno=node.lineno)
        return found.set_environment(self._environment)


def texts_of(texts: NullTranslations) -> Pure:
    """gettext as templates call it: what is filled in is escaped, the text itself is ours."""

    def gettext(text: str, /, **values: Any) -> str:
        return Markup(texts.gettext(text)) % values  # noqa: S704  # of the catalogue

    def ngettext(one: str, many: str, num: int, /, **values: Any) -> str:
        found = Markup(texts.ngettext(one, many, num))  # noqa: S704  # of the catalogue
        return found % {"num": num, **values}

    return {"_": gettext, "ngettext": ngettext}
