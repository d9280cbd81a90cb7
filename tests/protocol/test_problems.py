"""The tables that `/v2` is made of."""

import pytest

from moorage import errors
from moorage.distribution.problems import INTERNAL, PROBLEMS, body_of, problem_of
from moorage.distribution.routes import ROUTES, Route, Target, parse

SPECIFIED = {
    "BLOB_UNKNOWN", "BLOB_UPLOAD_INVALID", "BLOB_UPLOAD_UNKNOWN", "DIGEST_INVALID",
    "MANIFEST_BLOB_UNKNOWN", "MANIFEST_INVALID", "MANIFEST_UNKNOWN", "NAME_INVALID",
    "NAME_UNKNOWN", "SIZE_INVALID", "UNAUTHORIZED", "DENIED", "UNSUPPORTED", "TOOMANYREQUESTS",
}  # fmt: skip
BORROWED = {"TAG_INVALID", "PAGINATION_NUMBER_INVALID", "CONFLICT", "PRECONDITION", "UNAVAILABLE"}


def leaves(cls: type[errors.MoorageError]) -> list[type[errors.MoorageError]]:
    """Every class without subclasses, of those in `moorage.errors`."""
    below = [sub for sub in cls.__subclasses__() if sub.__module__ == errors.__name__]
    return [leaf for sub in below for leaf in leaves(sub)] or [cls]


@pytest.mark.parametrize("leaf", leaves(errors.MoorageError))
def test_every_error_has_an_answer(leaf: type[errors.MoorageError]) -> None:
    """No failure that the domain can name becomes a 500."""
    problem = problem_of(leaf())
    assert problem is not INTERNAL
    assert problem.code in SPECIFIED | BORROWED
    assert (problem.status < 500) == (not issubclass(leaf, errors.Unavailable))


def test_anything_else_is_internal() -> None:
    """What nobody named tells nothing."""
    assert problem_of(ValueError("secret")) is INTERNAL


def test_the_table_has_no_line_twice() -> None:
    """A subclass that is answered as its base needs no line, unless it says so for the reader."""
    assert all(issubclass(cls, errors.MoorageError) for cls in PROBLEMS)


def test_bodies() -> None:
    """Detail is there when there is any; what JSON cannot hold is text."""
    assert body_of("X", "m") == b'{"errors":[{"code":"X","message":"m"}]}'
    assert body_of("X", "m", {"a": {1}}).endswith(b'"detail":{"a":"{1}"}}]}')


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("/v2", Target("base")),
        ("/v2/", Target("base")),
        ("/v2/_catalog", Target("catalog")),
        ("/v2/a/b/manifests/c", Target("manifest", "a/b", "c")),
        ("/v2/a/b/c/d/blobs/x", Target("blob", "a/b/c/d", "x")),
        ("/v2/a/b/blobs/uploads", Target("uploads", "a/b")),
        ("/v2/a/b/blobs/uploads/", Target("uploads", "a/b")),
        ("/v2/a/b/blobs/uploads/id", Target("upload", "a/b", "id")),
        ("/v2/a/b/tags/list", Target("tags", "a/b")),
        ("/v2/a/b/referrers/x", Target("referrers", "a/b", "x")),
        ("/v2/a/manifests/manifests/x", Target("manifest", "a/manifests", "x")),
        ("/v2/a/blobs/uploads/blobs/x", Target("blob", "a/blobs/uploads", "x")),
        ("/v2/a/blobs/uploads/manifests/x", Target("manifest", "a/blobs/uploads", "x")),
        ("/v2/a/tags/list/tags/list", Target("tags", "a/tags/list")),
        ("/v2/a/tags/manifests/list", Target("manifest", "a/tags", "list")),
        ("/v2x", None),
        ("/v1/", None),
        ("/v2/a/b", None),
    ],
)
def test_paths(path: str, target: Target | None) -> None:
    """Read from the end, so that names may hold the words of the endpoints."""
    assert parse(path.encode()) == target


@pytest.mark.parametrize("route", ROUTES, ids=lambda r: f"{r.method} {r.path}")
def test_the_table_and_the_parser_agree(route: Route) -> None:
    """Every documented path leads to the endpoint of its line."""
    path = route.path.replace("<name>", "a/b")
    for place in ("<reference>", "<digest>", "<session>"):
        path = path.replace(place, "x")
    target = parse(path.encode())
    assert target is not None
    assert target.endpoint == route.endpoint
