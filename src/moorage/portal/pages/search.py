"""Search: /harbor/search, and what the palette asks while somebody types.

    /harbor/search?q=api:1.4                   the first few of each kind
    /harbor/search?q=api:1.4&kind=artifacts    one kind, page by page

Projects and repositories are found by a part of the name, artifacts by a part of a tag or digest;
the API looks through everything that the visitor may see.
"""

import asyncio
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar
from urllib.parse import quote

from starlette.responses import JSONResponse, Response

from moorage.portal import parts
from moorage.portal.client import Listing, quoted
from moorage.portal.parts import Column, Crumb, Item, Row, Tab, Table, View
from moorage.portal.scope import PROJECTS
from moorage.portal.shapes.artifacts import FoundArtifact, Repository
from moorage.portal.shapes.projects import Project
from moorage.portal.shapes.shape import Shape
from moorage.portal.visits import Visit

T = TypeVar("T", bound=Shape)

SEARCH = "/harbor/search"
KINDS = ("projects", "repositories", "artifacts")
FIRST, COUNT = View(SEARCH, size=5), View(SEARCH, size=1)
"""What is asked of each kind where all are shown, and of the others where one is."""
MOST = 1000
"""Artifacts that the API counts."""
LONGEST = 255
_DIGEST = re.compile(r"(sha256|sha512):[0-9a-fA-F]*")


@dataclass(frozen=True, slots=True)
class Results:
    """A page of each kind."""

    projects: Listing[Project]
    repositories: Listing[Repository]
    artifacts: Listing[FoundArtifact]


async def search(visit: Visit) -> Response:
    """Everything that has the text in its name, tag or digest."""
    _ = visit.gettext
    q = visit.query.get("q", "").strip()[:LONGEST]
    kind = visit.query.get("kind", "")
    view = replace(visit.view("kind"), sort="")
    if not q:
        return await _page(visit, q, [], [_nothing(visit)])
    one = kind in KINDS
    found = await _results(visit, q, {kind: view} if one else dict.fromkeys(KINDS, FIRST))
    tables = {
        "projects": _projects(visit, found.projects, view),
        "repositories": _repositories(visit, found.repositories, view, named(q)[1]),
        "artifacts": _artifacts(visit, found.artifacts, view),
    }
    names = {"projects": _("Projects"), "repositories": _("Repositories")}
    names |= {"artifacts": _("Artifacts")}
    tabs = [Tab(_("All"), visit.here(q=q), not one)]
    tabs += [
        Tab(names[name], visit.here(q=q, kind=name), name == kind, table.total)
        for name, table in tables.items()
    ]
    if one:
        return await _page(visit, q, tabs, [tables[kind]])
    sections = []
    for name, table in tables.items():
        more = Item(_("Show all"), visit.here(q=q, kind=name), icon="chevron-right")
        more_than = table.total > len(table.rows)
        if table.rows:
            sections.append(replace(table, total=0, more=more if more_than else None))
    return await _page(visit, q, tabs, sections or [_nothing(visit)])


async def _page(visit: Visit, q: str, tabs: Sequence[Tab], sections: Sequence[object]) -> Response:
    _ = visit.gettext
    most = any(tab.count == MOST for tab in tabs)
    return await visit.render(
        "search.html",
        title=_("Search"),
        glyph="search",
        subtitle=_("There may be more than %(count)s: say more of it.", count=MOST) if most else "",
        crumbs=[Crumb(_("Search"))],
        tabs=tabs,
        q=q,
        sections=sections,
    )


async def palette(visit: Visit) -> Response:
    """The first few, as JSON for the palette."""
    q = visit.query.get("q", "").strip()[:LONGEST]
    found = await _results(visit, q, dict.fromkeys(KINDS, FIRST)) if q else None
    hits = _hits(visit, found, named(q)[1]) if found else []
    return JSONResponse(hits, headers={"Cache-Control": "no-store"})


def named(q: str) -> tuple[str, str]:
    """The name in a text that may be one, and the tag behind it."""
    if _DIGEST.fullmatch(q):
        return "", ""
    name, at, _digest = q.partition("@")
    before, colon, tag = name.rpartition(":")
    return (before, tag) if colon and not at and "/" not in tag else (name, "")


async def _results(visit: Visit, q: str, views: Mapping[str, View]) -> Results:
    """The asked pages, and how many there are of each kind."""
    q = await _without_host(visit, q)
    name, _tag = named(q)
    filters = {"q": f"name=~{quoted(name)}"}

    async def of(kind: str, shape: type[T], path: str, **query: Any) -> Listing[T]:
        if not query["q"].removeprefix("name=~"):
            return Listing([], 0)
        return await visit.page(shape, path, views.get(kind, COUNT), **query)

    return Results(
        *await asyncio.gather(
            of("projects", Project, "/projects", **filters, with_detail=True),
            of("repositories", Repository, "/repositories", **filters),
            of("artifacts", FoundArtifact, "/search/artifacts", q=q),
        )
    )


async def _without_host(visit: Visit, q: str) -> str:
    """What is pasted from a manifest begins with the name of this registry."""
    shell = await visit.shell()
    for host in (shell.info.registry_url, visit.host):
        if host and q.lower().startswith(f"{host.lower()}/"):
            return q[len(host) + 1 :]
    return q


def _nothing(visit: Visit) -> Table:
    _ = visit.gettext
    asked = visit.query.get("q", "").strip()
    return Table(
        _("Results"),
        (),
        (),
        0,
        View(SEARCH),
        _("Nothing found") if asked else _("What are you looking for?"),
        _("Give a part of the name of a project or repository, of a tag, or of a digest."),
        "search",
    )


def _projects(visit: Visit, found: Listing[Project], view: View) -> Table:
    _ = visit.gettext
    rows = [
        Row(
            [
                parts.link(each.name, _project(each), tone="folders"),
                parts.chips((_("Public"), "teal") if each.public else (_("Private"), "plain")),
                parts.number(each.repo_count),
            ]
        )
        for each in found.items
    ]
    columns = [Column(_("Project")), Column(_("Access")), Column(_("Repositories"), right=True)]
    return _table(visit, _("Projects"), columns, rows, found.total, view)


def _repositories(visit: Visit, found: Listing[Repository], view: View, tag: str) -> Table:
    _ = visit.gettext
    rows = [
        Row(
            [
                parts.link(each.name, _repository(each, tag), tone="package"),
                parts.number(each.artifact_count),
                parts.number(each.pull_count),
                parts.time(each.update_time),
            ]
        )
        for each in found.items
    ]
    columns = [
        Column(_("Repository")),
        Column(_("Artifacts"), right=True),
        Column(_("Pulls"), right=True),
        Column(_("Changed")),
    ]
    return _table(visit, _("Repositories"), columns, rows, found.total, view)


def _artifacts(visit: Visit, found: Listing[FoundArtifact], view: View) -> Table:
    _ = visit.gettext
    rows = [
        Row(
            [
                parts.link(_reference(each), _artifact(each), tone="box"),
                parts.code(each.digest),
                parts.text(each.type.capitalize()),
                parts.size(each.size),
                parts.time(each.push_time),
                parts.time(each.pull_time),
            ]
        )
        for each in found.items
    ]
    columns = [
        Column(_("Artifact")),
        Column(_("Digest")),
        Column(_("Type")),
        Column(_("Size"), right=True),
        Column(_("Pushed")),
        Column(_("Last pull")),
    ]
    return _table(visit, _("Artifacts"), columns, rows, found.total, view)


def _table(
    visit: Visit,
    caption: str,
    columns: Sequence[Column],
    rows: Sequence[Row],
    total: int,
    view: View,
) -> Table:
    _ = visit.gettext
    hint = _("Try a shorter text.")
    return Table(caption, columns, rows, total, view, _("Nothing found"), hint, "search")


def _hits(visit: Visit, found: Results, tag: str) -> list[dict[str, str]]:
    _ = visit.gettext
    hits = [(each.name, _project(each), _("Project")) for each in found.projects.items]
    hits += [
        (each.name, _repository(each, tag), _("Repository")) for each in found.repositories.items
    ]
    hits += [(_reference(each), _artifact(each), _("Artifact")) for each in found.artifacts.items]
    return [{"name": name, "href": href, "kind": kind} for name, href, kind in hits]


def _project(found: Project) -> str:
    return f"{PROJECTS}/{found.project_id}/repositories"


def _repository(found: Repository, tag: str = "") -> str:
    path = f"{PROJECTS}/{found.project_id}/repositories/{quote(found.short, safe='')}/artifacts-tab"
    return f"{path}?q={quote(tag)}" if tag else path


def _artifact(found: FoundArtifact) -> str:
    short = quote(found.repository_name.partition("/")[2], safe="")
    path = f"{PROJECTS}/{found.project_id}/repositories/{short}"
    return f"{path}/artifacts-tab/artifacts/{found.digest}"


def _reference(found: FoundArtifact) -> str:
    if found.tag:
        return f"{found.repository_name}:{found.tag}"
    return f"{found.repository_name}@{found.digest[:19]}…"


ROUTES = (
    (SEARCH, search, None),
    ("/harbor/palette", palette, None),
)
