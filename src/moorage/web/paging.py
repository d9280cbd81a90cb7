"""The query parameters of every list, as Harbor's clients write them.

q=name=~lib,public=true,size=[1~10],digest={a b},labels=(1 2)     see `parse_filters`
sort=name,-update_time                                            `-` is descending
page=1, page_size=10                                              at most 100

X-Total-Count: 42
Link: </api/v2.0/projects?page=1&page_size=10>; rel="prev" , <…&page=3…>; rel="next"
"""

import re
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, unquote_plus

from moorage.db.queries import AllOf, AnyOf, Exact, Fuzzy, Match, Page, Query, Range
from moorage.errors import Invalid

MAX_PAGE_SIZE = 100
MAX_PAGE = 10**9
MAX_LENGTH = 4096
"""Characters of a `q` or `sort` parameter."""
MAX_VALUES = 100
"""Values in one list of a `q` parameter."""

_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_CAMEL = re.compile(r"(?<=[a-z0-9])([A-Z])")
_SUFFIX = re.compile(r"__(icontains|in|gte|lte|gt|lt|exact)$")
_SAFE_IN_LINK = "=~[]{}()*,:/'!$@-._ "


def check_query_string(raw: bytes) -> None:
    """Raises Invalid for what no parser of query strings agrees on."""
    text = raw.decode("latin-1")
    if ";" in text:
        raise Invalid("invalid semicolon separator in query")
    if _BAD_ESCAPE.search(text):
        raise Invalid("invalid URL escape in query")
    try:
        decoded = unquote_plus(text, errors="strict")
    except UnicodeDecodeError as error:
        raise Invalid("the query is not UTF-8") from error
    if "\0" in decoded:
        raise Invalid("the query holds a NUL character")


def parse_filters(text: str) -> dict[str, Match]:
    """The `q` parameter, which may be escaped a second time, as matches by field name.

    Field names come out in snake case, without operator suffixes. Raises Invalid.
    """
    if len(text) > MAX_LENGTH:
        raise Invalid(f"q has at most {MAX_LENGTH} characters")
    if not text:
        return {}
    if not _BAD_ESCAPE.search(text):
        text = unquote(text, errors="replace")  # a plus stays: media types have one
    if "\0" in text:
        raise Invalid("q holds a NUL character")
    filters = {}
    for part in text.split(","):
        name, _, value = part.strip().partition("=")
        if not name or not value:
            raise Invalid(f"invalid query string: {part[:64]}")
        filters[field_name(name)] = parse_match(value)
    return filters


def parse_match(value: str) -> Match:
    """One value of `q`; raises Invalid."""
    if value.startswith("~"):
        return Fuzzy(value[1:])
    if value.startswith("["):
        low, tilde, high = _inside(value, "[]").partition("~")
        if not tilde or "~" in high:
            raise Invalid(f"invalid range: {value[:64]}")
        return Range(_item(low) or None, _item(high) or None)
    if value.startswith("{"):
        return AnyOf(_items(_inside(value, "{}")))
    if value.startswith("("):
        return AllOf(_items(_inside(value, "()")))
    return Exact(value.removeprefix("\\"))


def parse_sort(text: str) -> tuple[tuple[str, bool], ...]:
    """The `sort` parameter as (field, whether descending); raises Invalid."""
    if len(text) > MAX_LENGTH:
        raise Invalid(f"sort has at most {MAX_LENGTH} characters")
    parts = [part.strip() for part in text.split(",")]
    return tuple(
        (field_name(part.removeprefix("-")), part.startswith("-"))
        for part in parts
        if part.removeprefix("-")
    )


def field_name(text: str) -> str:
    """`updateTime`, `update_time` and `update_time__gte` all name the field `update_time`."""
    return _CAMEL.sub(r"_\1", _SUFFIX.sub("", text.strip())).lower()


def build_query(q: str, sort: str, page: int, page_size: int) -> Query:
    """The parameters of a list as a query; a page or size below 1 means the first, the largest."""
    return Query(
        filters=parse_filters(q),
        sort=parse_sort(sort),
        page=max(page, 1),
        size=page_size if page_size > 0 else MAX_PAGE_SIZE,
    )


def list_headers(path: str, query_string: str, query: Query, page: Page[Any]) -> dict[str, str]:
    """`X-Total-Count`, and `Link` when there is a page before or after this one."""
    headers = {"X-Total-Count": str(page.total)}
    links = []
    if query.page > 1:
        links.append(_link(path, query_string, query.page - 1, query.size, "prev"))
    if query.page * query.size < page.total:
        links.append(_link(path, query_string, query.page + 1, query.size, "next"))
    if links:
        headers["Link"] = " , ".join(links)
    return headers


def _link(path: str, query_string: str, page: int, size: int, relation: str) -> str:
    values = dict(parse_qsl(query_string, keep_blank_values=True))
    values.update(page=str(page), page_size=str(size))
    # Harbor prints the query unescaped; what would break the header stays escaped.
    query = "&".join(
        f"{quote(name, safe=_SAFE_IN_LINK)}={quote(value, safe=_SAFE_IN_LINK)}"
        for name, value in sorted(values.items())
    )
    return f'<{path}?{query}>; rel="{relation}"'


def _inside(value: str, brackets: str) -> str:
    if len(value) < 2 or not value.endswith(brackets[1]):
        raise Invalid(f"missing {brackets[1]} in {value[:64]}")
    return value[1:-1]


def _items(text: str) -> tuple[str, ...]:
    items = tuple(_item(part) for part in text.split())
    if not items or len(items) > MAX_VALUES:
        raise Invalid(f"a list holds 1 to {MAX_VALUES} values")
    return items


def _item(text: str) -> str:
    text = text.strip()
    if len(text) >= 2 and text[0] == text[-1] and text[0] in "'\"":
        return text[1:-1]
    return text
