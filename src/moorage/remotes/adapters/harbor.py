"""Harbor, and whatever answers like it: this server does too."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

import orjson

from moorage.errors import Denied, Invalid, NotFound, Unreachable
from moorage.remotes.lists import MOST_PAGES, Names

if TYPE_CHECKING:
    from moorage.remotes.reading import Reading

API = "/api/v2.0"
PAGE, PAGE_BYTES = 100, 4 << 20


async def ping(remote: "Reading") -> None:
    """Whether it is a Harbor, and knows the account."""
    answer, _ = await remote.text("GET", remote.url(f"{API}/ping"), 1 << 16, again=False)
    if not remote.endpoint.password:
        return
    try:
        await _call(remote, "GET", f"{API}/projects?page_size=1", again=False)
        answer = await remote.ask("GET", remote.url("/v2/"), again=False)
        await answer.aclose()
    except Denied:
        raise Denied(f"{remote.endpoint.host} does not know the account") from None


async def catalog(remote: "Reading", beginning: str) -> Sequence[str]:
    """The repositories that the account may see."""
    query = {"page_size": str(PAGE), "sort": "name"}
    project, slash, _ = beginning.partition("/")
    if slash:
        path = f"{API}/projects/{quote(project, safe='')}/repositories"
    else:
        path = f"{API}/repositories"
    names = Names(remote.endpoint.host)
    for page in range(1, MOST_PAGES):
        try:
            rows = await _call(remote, "GET", f"{path}?{urlencode({**query, 'page': page})}")
        except (NotFound, Denied):
            if slash and page == 1:
                return []
            raise
        if rows is None:
            break
        if not isinstance(rows, list):
            raise Unreachable(f"{remote.endpoint.host} answers with no list of repositories")
        names.page(row.get("name") for row in rows if isinstance(row, dict))
        if len(rows) < PAGE:
            break
    return names.below(beginning)


async def has_project(remote: "Reading", repository: str) -> bool:
    """Whether the project of a repository is there."""
    query = urlencode({"project_name": repository.partition("/")[0]})
    try:
        answer = await remote.ask("HEAD", remote.url(f"{API}/projects?{query}"))
    except NotFound:
        return False
    await answer.aclose()
    return True


async def ensure(remote: "Reading", repository: str) -> None:
    """Make the project of a repository, private, unless it is there."""
    if await has_project(remote, repository):
        return
    body = {"project_name": repository.partition("/")[0], "metadata": {"public": "false"}}
    answer = await remote.ask(
        "POST",
        remote.url(f"{API}/projects"),
        headers={"content-type": "application/json"},
        content=orjson.dumps(body),
        expect=(201, 409),
    )
    await answer.aclose()


async def delete_tag(remote: "Reading", repository: str, tag: str) -> None:
    """Take a tag away; its artifact stays."""
    project, _, name = repository.partition("/")
    escaped = quote(quote(name, safe=""), safe="")
    path = f"{API}/projects/{project}/repositories/{escaped}/artifacts/{tag}/tags/{tag}"
    answer = await remote.ask("DELETE", remote.url(path))
    await answer.aclose()


async def _call(remote: "Reading", method: str, path: str, *, again: bool = True) -> Any:
    try:
        _, document = await remote.json(method, remote.url(path), PAGE_BYTES, again=again)
    except Unreachable as error:
        if "JSON" in error.message:
            raise Invalid(f"{remote.endpoint.host} is no Harbor") from None
        raise
    return document
