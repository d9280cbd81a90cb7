"""Paging, sorting and filtering: what every list does."""

from contextlib import suppress

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.api.world import World
from tests.support.statements import statements

from moorage.db.queries import AllOf, AnyOf, Exact, Fuzzy, Page, Query, Range
from moorage.errors import Invalid
from moorage.web.paging import (
    build_query,
    check_query_string,
    list_headers,
    parse_filters,
    parse_sort,
)

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", {}),
        ("name=lib", {"name": Exact("lib")}),
        ("name=~lib,public=true", {"name": Fuzzy("lib"), "public": Exact("true")}),
        ("size=[1~10]", {"size": Range("1", "10")}),
        ("size=[1~]", {"size": Range("1", None)}),
        ("size=[~10]", {"size": Range(None, "10")}),
        ("tag={a b c}", {"tag": AnyOf(("a", "b", "c"))}),
        ("tag={'a' \"b\"}", {"tag": AnyOf(("a", "b"))}),
        ("labels=(1 2)", {"labels": AllOf(("1", "2"))}),
        ("name=\\~lib", {"name": Exact("~lib")}),
        ("updateTime=x", {"update_time": Exact("x")}),
        ("update_time__gte=x", {"update_time": Exact("x")}),
        ("tags%3Dnil", {"tags": Exact("nil")}),
        ("name=a%3Db", {"name": Exact("a=b")}),
        ("name=100%", {"name": Exact("100%")}),
    ],
)
def test_the_grammar_of_q(text: str, expected: object) -> None:
    """As in Harbor's documentation of the parameter."""
    assert parse_filters(text) == expected


@pytest.mark.parametrize(
    "text", ["name", "=x", "name=", "a=[1]", "a=[1~2", "a=[1~2~3]", "a={1", "a={}", "a=x,", "a=\0"]
)
def test_what_is_not_of_the_grammar(text: str) -> None:
    """Is an error, never a guess."""
    with pytest.raises(Invalid):
        parse_filters(text)


def test_sort_names_fields_with_their_direction() -> None:
    """A minus sign is descending."""
    assert parse_sort("name,-updateTime,,-") == (("name", False), ("update_time", True))


@pytest.mark.parametrize("raw", [b"a;b", b"q=%zz", b"q=%", b"q=%00", b"q=%ff"])
def test_query_strings_that_parsers_disagree_on(raw: bytes) -> None:
    """Are refused before anything reads them."""
    with pytest.raises(Invalid):
        check_query_string(raw)


@given(st.text(max_size=60))
def test_no_text_breaks_the_grammar(text: str) -> None:
    """Whatever a client sends is either a query or Invalid."""
    with suppress(Invalid):
        build_query(text, text, 1, 10)


def test_links_lead_to_both_neighbours() -> None:
    """With the rest of the query, unescaped as Harbor prints it."""
    headers = list_headers("/p", "q=name%3D~a&page=2", Query(page=2, size=10), Page([], 25))
    assert headers["X-Total-Count"] == "25"
    assert headers["Link"] == (
        '</p?page=1&page_size=10&q=name=~a>; rel="prev" , '
        '</p?page=3&page_size=10&q=name=~a>; rel="next"'
    )


@given(st.binary(max_size=40))
def test_a_link_never_breaks_its_header(raw: bytes) -> None:
    """No line break, no closing bracket and nothing beyond ASCII comes through."""
    headers = list_headers("/p", raw.decode("latin-1"), Query(page=2, size=1), Page([], 9))
    text = headers["Link"]
    assert text.isascii()
    assert text.isprintable()
    assert text.count(">") == 2


async def test_a_list_has_ten_items_and_its_neighbours(world: World) -> None:
    """Defaults, the total and both links, until the last page."""
    for number in range(12):
        await world.call("stranger", "POST", "/projects", json={"project_name": f"p{number:02}"})
    first = await world.call("stranger", "GET", "/projects", params={"q": "name=~p"})
    assert len(first.json()) == 10
    assert first.headers["X-Total-Count"] == "13"
    assert 'rel="next"' in first.headers["Link"]
    assert 'rel="prev"' not in first.headers["Link"]
    link = first.headers["Link"].partition(">")[0].removeprefix("<")
    async with world.client("stranger") as client:
        second = await client.get("http://test" + link)
    assert len(second.json()) == 3
    assert 'rel="next"' not in second.headers["Link"]
    names = [p["name"] for p in first.json() + second.json()]
    assert names == sorted(names)
    reverse = await world.call("stranger", "GET", "/projects", params={"sort": "-name"})
    assert reverse.json()[0]["name"] == "p11"


PARAMETERS: list[tuple[dict[str, str], int]] = [
    ({"page_size": "100"}, 200),
    ({"page_size": "101"}, 422),
    ({"page_size": "x"}, 422),
    ({"page": "x"}, 422),
    ({"page": "0", "page_size": "0"}, 200),
    ({"page": "-5", "page_size": "-1"}, 200),
    ({"page": "", "page_size": ""}, 200),  # how clients print a null
    ({"page": "999999999"}, 200),
    ({"page": "9" * 40}, 422),
    ({"q": "name"}, 400),
    ({"q": "a=[1"}, 400),
    ({"q": "x" * 5000}, 400),
    ({"q": "project_id=999999999999999999999999"}, 200),
    ({"q": "creation_time=[yesterday~]"}, 200),
    ({"q": "creation_time=[0001-01-01T00:00:00+23:59~]"}, 200),
    ({"q": "creation_time=9999-12-31T23:59:59-23:59"}, 200),
    ({"q": "password=~a,secret=~b,unknown=1"}, 200),
    ({"q": "public=[false~true]"}, 200),
    ({"sort": "password,-secret,name;drop"}, 200),
]


async def test_parameters_of_a_list(world: World) -> None:
    """Too large is a 422, ill formed a 400; unknown fields are ignored."""
    paths = ("/repositories", "/projects/team/members", "/projects/team/trash")
    for params, status in PARAMETERS:
        answer = await world.call("sysadmin", "GET", "/projects", params=params)
        assert answer.status_code == status, params
        for path in paths:
            answer = await world.call("sysadmin", "GET", path, params=params)
            assert answer.status_code in (200, status), (path, params)


@pytest.mark.parametrize("path", ["/projects?q=a;b", "/projects?q=%zz", "/projects?q=%00"])
async def test_a_broken_query_string_is_a_bad_request(world: World, path: str) -> None:
    """400 before anything is asked."""
    assert (await world.raw("GET", f"/api/v2.0{path}")).status_code == 400


async def test_no_filter_of_a_client_breaks_a_list(world: World) -> None:
    """Any q and any sort give a page or a 400, on every column of every kind.

    GO-2024-2916, GHSA-rh89-vvrg-fg64.
    """
    await world.content.push_image("open/app", "v1")
    fields = st.sampled_from(
        ["id", "name", "public", "creation_time", "tags", "type", "digest", "size", "labels", "x"]
    )
    values = st.one_of(
        st.text(max_size=12).filter(lambda text: "\0" not in text),
        st.integers().map(str),
        st.sampled_from(["[1~2]", "{a b}", "(1 2)", "~%_\\", "*", "nil", "[~]", "2026-01-01"]),
    )
    found = []

    @settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.lists(st.tuples(fields, values), max_size=3))
    def collect(parts: list[tuple[str, str]]) -> None:
        found.append(",".join(f"{name}={value}" for name, value in parts))

    collect()
    for q in found:
        for path in ("/projects", "/repositories", "/projects/open/artifacts"):
            answer = await world.call("", "GET", path, params={"q": q, "sort": q})
            assert answer.status_code in (200, 400), (q, answer.text)


@pytest.mark.parametrize("page", [1, 2, 3])
async def test_a_list_is_counted_only_where_its_page_does_not_tell(world: World, page: int) -> None:
    """Three of anything on pages of two: the first is full, the last ends it, behind it is none."""
    for name in ("a", "b", "c"):
        await world.content.push_image(f"team/{name}", "v1")
    for name in ("v2", "v3"):
        await world.content.push_image("team/a", name, name.encode())
    team = "/projects/team"
    for path in (
        "/projects",
        f"{team}/repositories",
        f"{team}/repositories/a/artifacts",
        f"{team}/repositories/a/tags",
    ):
        params = {"page": str(page), "page_size": "2"}
        with statements() as seen:
            answer = await world.call("sysadmin", "GET", path, params=params)
        assert len(answer.json()) == (2, 1, 0)[page - 1], path
        assert answer.headers["x-total-count"] == "3", path
        counted = [each for each in seen if each.startswith("SELECT count(")]
        assert bool(counted) == (page != 2), path
