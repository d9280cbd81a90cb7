"""How kinds of registries list their repositories."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode, urlsplit

from moorage.errors import Invalid, Unreachable
from moorage.remotes.lists import Names

if TYPE_CHECKING:
    from moorage.remotes.reading import Reading

PAGE_BYTES = 4 << 20
MOST_PAGES = 1000
HUB_API = "https://hub.docker.com"


async def generic(remote: "Reading", beginning: str) -> Sequence[str]:
    """What `/v2/_catalog` lists."""
    return [name for name in await remote.catalog() if name.startswith(beginning)]


async def hub(remote: "Reading", beginning: str) -> Sequence[str]:
    """Docker Hub, whose catalog is closed, lists one namespace at a time."""
    namespace = _namespace(remote, beginning)
    base = remote.endpoint.url if _tested(remote) else HUB_API
    url = f"{base}/v2/repositories/{quote(namespace)}/?page_size=100"
    names = Names(remote.endpoint.host)
    for _ in range(MOST_PAGES):
        _, document = await remote.json("GET", url, PAGE_BYTES)
        names.page(_below(namespace, _rows(remote, document, "results")))
        following = document.get("next")
        if not isinstance(following, str) or not following.startswith(f"{base}/"):
            break
        url = following
    return names.below(beginning)


async def quay(remote: "Reading", beginning: str) -> Sequence[str]:
    """Quay lists one namespace at a time."""
    namespace = _namespace(remote, beginning)
    names = Names(remote.endpoint.host)
    token = ""
    for _ in range(MOST_PAGES):
        query = {"namespace": namespace, "public": "true"}
        if token:
            query["next_page"] = token
        url = remote.url(f"/api/v1/repository?{urlencode(query)}")
        _, document = await remote.json("GET", url, PAGE_BYTES)
        names.page(_below(namespace, _rows(remote, document, "repositories")))
        token = str(document.get("next_page") or "")
        if not token:
            break
    return names.below(beginning)


async def gitlab(remote: "Reading", beginning: str) -> Sequence[str]:
    """GitLab lists the repositories of a project, and the projects of a group."""
    group = _namespace(remote, beginning)
    parts = urlsplit(remote.endpoint.url)
    host = parts.netloc.removeprefix("registry.")
    api = f"{parts.scheme}://{host}/api/v4/groups/{quote(group, safe='')}/registry/repositories"
    headers = {}
    if remote.endpoint.password and _same_site(remote.endpoint.url, api):
        headers["private-token"] = remote.endpoint.password
    names = Names(remote.endpoint.host)
    for page in range(1, MOST_PAGES):
        _, rows = await remote.json(
            "GET", f"{api}?per_page=100&page={page}", PAGE_BYTES, headers=headers
        )
        if not isinstance(rows, list) or not rows:
            break
        names.page(row.get("path") for row in rows if isinstance(row, dict))
    return names.below(beginning)


def _namespace(remote: "Reading", beginning: str) -> str:
    namespace, slash, _ = beginning.partition("/")
    if not slash or not namespace:
        raise Invalid(
            f"{remote.endpoint.host} lists repositories by namespace: "
            "let the filter of names begin with one, as in library/**"
        )
    return namespace


def _below(namespace: str, rows: list[dict[str, Any]]) -> list[str]:
    return [f"{namespace}/{row['name']}" for row in rows if isinstance(row.get("name"), str)]


def _rows(remote: "Reading", document: Any, key: str) -> list[dict[str, Any]]:
    found = document.get(key) if isinstance(document, dict) else None
    if not isinstance(found, list):
        raise Unreachable(f"{remote.endpoint.host} answers with no list of repositories")
    return [row for row in found if isinstance(row, dict)]


def _tested(remote: "Reading") -> bool:
    """A mirror of the hub answers for itself."""
    host = urlsplit(remote.endpoint.url).hostname or ""
    return host != "docker.io" and not host.endswith(".docker.io")


def _same_site(registry: str, api: str) -> bool:
    """Whether the API is that of the host whose registry this is, over the same scheme."""
    one, two = urlsplit(registry), urlsplit(api)
    return one.scheme == two.scheme and one.netloc in (two.netloc, f"registry.{two.netloc}")
