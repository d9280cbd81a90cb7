"""The parameters and headers of every list."""

from typing import Annotated, Any, TypeVar
from urllib.parse import quote

from fastapi import Depends, Query, Request
from pydantic import BeforeValidator
from starlette.responses import Response

from moorage.api.wire import reply
from moorage.db.queries import Page
from moorage.db.queries import Query as ListQuery
from moorage.web.paging import MAX_PAGE, MAX_PAGE_SIZE, build_query, list_headers

T = TypeVar("T")

PREFIX = "/api/v2.0"
"""What every path of this API begins with."""


def _or(default: int) -> BeforeValidator:
    """A parameter without a value is not there: clients print their null so."""
    return BeforeValidator(lambda sent: default if sent == "" else sent)


PageNumber = Annotated[
    int, _or(1), Query(le=MAX_PAGE, ge=-MAX_PAGE, description="The first page is 1.")
]
PageSize = Annotated[
    int,
    _or(10),
    Query(le=MAX_PAGE_SIZE, ge=-MAX_PAGE, description="Items of one page, at most 100."),
]
Filter = Annotated[str, Query(description="k=v, k=~v, k=[min~max], k={a b}, k=(a b), by commas.")]
Sort = Annotated[str, Query(description="Fields by commas, the largest first with a minus sign.")]


async def _full(
    q: Filter = "", sort: Sort = "", page: PageNumber = 1, page_size: PageSize = 10
) -> ListQuery:
    return build_query(q, sort, page, page_size)


async def _plain(page: PageNumber = 1, page_size: PageSize = 10) -> ListQuery:
    return build_query("", "", page, page_size)


async def _sorted(sort: Sort = "", page: PageNumber = 1, page_size: PageSize = 10) -> ListQuery:
    return build_query("", sort, page, page_size)


Listed = Annotated[ListQuery, Depends(_full)]
"""q, sort, page and page_size."""
Paged = Annotated[ListQuery, Depends(_plain)]
"""page and page_size."""
Sorted = Annotated[ListQuery, Depends(_sorted)]
"""sort, page and page_size."""

LIST_HEADERS: dict[str, Any] = {
    "X-Total-Count": {"description": "Items on all pages.", "schema": {"type": "integer"}},
    "Link": {"description": "The pages before and after.", "schema": {"type": "string"}},
}


def listing(request: Request, query: ListQuery, page: Page[T], items: list[Any]) -> Response:
    """One page with its headers."""
    path = address(request)
    text = request.scope["query_string"].decode("latin-1")
    return reply(items, headers=list_headers(path, text, query, page))


def lists(schema: Any) -> dict[str, Any]:
    """Arguments of a route whose answer is a list of `schema`."""
    return {"response_model": list[schema], "responses": {200: {"headers": LIST_HEADERS}}}


def address(request: Request) -> str:
    """The path of the request, fit for a header."""
    return quote(request.scope["path"], safe="/%:@!$'()*,=~+-._")


def created(request: Request, identifier: object) -> Response:
    """201 without a body; the new thing is below the path of the request."""
    return Response(status_code=201, headers={"Location": f"{address(request)}/{identifier}"})
