"""The rows of a table, and what can be done to one of them, drawn without a template.

☐  team   3 repositories   ▬▬▬▭ 12 / 20 GiB   2 days ago   ⋯  Quota…
                                                              Delete
"""

from collections.abc import Callable, Sequence

from moorage.portal.drawing import Drawing, escaped
from moorage.portal.parts import Cell, Item, Row, Table


class Rows:
    """Draws in one language."""

    def __init__(
        self, drawing: Drawing, gettext: Callable[[str], str], cell: Callable[[Cell], str]
    ) -> None:
        self._drawing = drawing
        self._cell = cell
        self._choose = escaped(gettext("Choose %(name)s"))
        self._actions = escaped(gettext("Actions for %(name)s"))
        self._dots = drawing.icon("ellipsis")

    def rows(self, table: Table, target: str, csrf: str, *, live: bool) -> str:
        """All of a page; each has an id where the page changes while it is looked at."""
        menus = any(row.menu for row in table.rows)
        begins = ['<td class="right">' if column.right else "<td>" for column in table.columns]
        name = escaped(target)
        return "".join(
            f'<tr data-row tabindex="-1"{_id(name, row) if live else ""}>'
            f"{self._check(name, row) if table.bulk else ''}{self._cells(row, begins)}"
            f"{self._menu(row, csrf) if menus else ''}</tr>\n"
            for row in table.rows
        )

    def item(self, item: Item, csrf: str, cls: str = "", *, room: bool = False) -> str:
        """A link, or a button that posts; with `room` for the signs of others beside it."""
        sign = self._drawing.icon(item.icon) if item.icon else '<span class="i"></span>' * room
        look = f"{escaped(cls)}{' danger' if item.danger else ''}"
        label = f"{sign}{escaped(item.label)}"
        if not item.op:
            return f'<a class="{look}" href="{escaped(item.href)}">{label}</a>'
        action = f' action="{escaped(item.href)}"' if item.href else ""
        values = "".join(_hidden(name, value) for name, value in item.values.items())
        button = f'<button class="{look}" name="op" value="{escaped(item.op)}">{label}</button>'
        return f'<form method="post"{action}>{_hidden("csrf", csrf)}{values}{button}</form>'

    def _check(self, target: str, row: Row) -> str:
        return (
            f'<td class="w-check"><input type="checkbox" form="bulk-{target}" name="id" '
            f'value="{escaped(row.key)}" data-check '
            f'aria-label="{self._choose % {"name": escaped(row.name)}}"></td>'
        )

    def _cells(self, row: Row, begins: Sequence[str]) -> str:
        cells = zip(begins, row.cells, strict=True)
        return "".join([f"{begin}{self._cell(cell)}</td>" for begin, cell in cells])

    def _menu(self, row: Row, csrf: str) -> str:
        """What opens by a button with dots."""
        if not row.menu:
            return '<td class="w-menu"></td>'
        room = any(item.icon for item in row.menu)
        inside = "".join([self.item(item, csrf, room=room) for item in row.menu])
        label = self._actions % {"name": escaped(row.name)}
        return (
            '<td class="w-menu"><details class="menu"><summary class="btn ghost icon-only small" '
            f'aria-label="{label}">{self._dots}</summary>'
            f'<div class="sheet">{inside}</div></details></td>'
        )


def _id(target: str, row: Row) -> str:
    return f' id="{target}-{escaped(row.key)}"' if row.key else ""


def _hidden(name: str, value: object) -> str:
    return f'<input type="hidden" name="{escaped(name)}" value="{escaped(value)}">'
