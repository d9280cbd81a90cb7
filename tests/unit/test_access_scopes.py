"""What clients ask the token service for."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moorage.access.scopes import MAX_SCOPES, Scope, parse_scope, parse_scopes
from moorage.oci.names import check_repository


def test_a_repository_with_actions() -> None:
    """The usual form."""
    scope = parse_scope("repository:library/nginx:pull,push")
    assert scope == Scope("repository", "library/nginx", frozenset({"pull", "push"}))


def test_the_catalog() -> None:
    """Clients ask for it by a scope, too."""
    assert parse_scope("registry:catalog:*") == Scope("registry", "catalog", frozenset("*"))


def test_several_scopes_repeated_or_joined_by_spaces() -> None:
    """Both forms may come mixed; the same repository twice is one scope."""
    scopes = parse_scopes(["repository:a/b:pull repository:c/d:pull", "repository:a/b:push"])
    assert scopes == [
        Scope("repository", "a/b", frozenset({"pull", "push"})),
        Scope("repository", "c/d", frozenset({"pull"})),
    ]


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":",
        "::",
        "repository",
        "repository:a/b",
        "repository::pull",
        "repository:a:pull",
        "repository:A/b:pull",
        "repository:a/../b:pull",
        "repository:a//b:pull",
        "repository:/a/b:pull",
        "repository:a/b/:pull",
        "repository:a%2fb/c:pull",
        "repository:a/b\x00:pull",
        "repository:a/b\n:pull",
        "repository:host:5000/a/b:pull",
        "repository:" + "a/" * 150 + "b:pull",
        "repository:*:pull",
        "repository(plugin):a/b:pull",
        "registry:other:*",
        "project:a/b:pull",
    ],
)
def test_what_is_no_scope_opens_nothing(text: str) -> None:
    """Neither an error nor a right comes from it."""
    assert parse_scope(text) is None


def test_the_number_of_scopes_is_bounded() -> None:
    """More than a client ever needs are left out."""
    many = " ".join(f"repository:a/b{n}:pull" for n in range(MAX_SCOPES * 3))
    assert len(parse_scopes([many])) == MAX_SCOPES


@given(st.lists(st.text(max_size=80), max_size=5))
def test_any_text_is_read_without_an_error(values: list[str]) -> None:
    """Hostile parameters leave nothing but valid names."""
    for scope in parse_scopes(values):
        assert scope.type == "registry" or check_repository(scope.name)


@given(
    st.text(alphabet="ab/.:-%A ", max_size=12).map(lambda name: f"repository:{name}:pull"),
)
def test_a_name_comes_out_as_it_went_in_or_not_at_all(text: str) -> None:
    """No part of a name is repaired, folded or cut."""
    scope = parse_scope(text)
    assert scope is None or f"repository:{scope.name}:pull" == text
