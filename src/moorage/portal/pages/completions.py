"""What a name in a form can be completed to, for a script: without one it is typed as it is.

GET /harbor/completions?of=members&with=user&q=ma  ─►  ["mara"]
"""

from collections.abc import Awaitable, Callable, Sequence

from starlette.responses import JSONResponse, Response

from moorage.portal.client import quoted, segment
from moorage.portal.parts import Completion
from moorage.portal.shapes.accounts import Group, User
from moorage.portal.shapes.artifacts import Repository
from moorage.portal.shapes.projects import Project
from moorage.portal.visits import Visit

MOST = 20
OIDC_GROUP = 3

_PATH = "/harbor/completions"
MEMBERS = Completion(f"{_PATH}?of=members", beside="kind")
PROJECTS = Completion(f"{_PATH}?of=projects")
REPOSITORIES = Completion(f"{_PATH}?of=repositories", beside="project")


async def completions(visit: Visit) -> Response:
    """Names that hold what is typed, the shortest first."""
    q, kind = visit.query.get("q", "")[:255], visit.query.get("of", "")
    names = (
        await _KINDS.get(kind, _nothing)(visit, q, visit.query.get("with", "")[:255]) if q else ()
    )
    said = sorted(set(names), key=lambda name: (len(name), name))
    return visit.with_cookies(JSONResponse(said, headers={"Cache-Control": "no-store"}))


async def _members(visit: Visit, q: str, kind: str) -> Sequence[str]:
    """Who there is of a kind; LDAP groups are known by their DN alone."""
    if kind == "user":
        found = await visit.all(User, "/users/search", username=q, page_size=MOST)
        return [each.username for each in found.items]
    if kind == str(OIDC_GROUP):
        groups = await visit.all(Group, "/usergroups/search", groupname=q, page_size=MOST)
        return [each.group_name for each in groups.items if each.group_type == OIDC_GROUP]
    return ()


async def _projects(visit: Visit, q: str, beside: str) -> Sequence[str]:
    found = await visit.all(Project, "/projects", name=q, page_size=MOST)
    return [each.name for each in found.items]


async def _repositories(visit: Visit, q: str, project: str) -> Sequence[str]:
    if not project:
        return ()
    path, name = f"/projects/{segment(project)}/repositories", f"name=~{quoted(q)}"
    found = await visit.unless_gone(visit.all(Repository, path, q=name, page_size=MOST))
    return [each.short for each in found.items] if found else ()


async def _nothing(visit: Visit, q: str, beside: str) -> Sequence[str]:
    return ()


_KINDS: dict[str, Callable[[Visit, str, str], Awaitable[Sequence[str]]]] = {
    "members": _members,
    "projects": _projects,
    "repositories": _repositories,
}

ROUTES = ((_PATH, completions, None),)
