"""Search: /harbor/search, and what the palette asks while somebody types."""

import asyncio
import re
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote

from starlette.responses import JSONResponse, Response

from moorage.portal import parts
from moorage.portal.client import Problem, quoted
from moorage.portal.parts import Column, Crumb, Row, Table, View
from moorage.portal.scope import PROJECTS
from moorage.portal.shapes import Artifact, Found, Project
from moorage.portal.visits import Visit

_DIGEST = re.compile(r"(sha256:)?[0-9a-f]{6,64}")
MOST_PROJECTS = 30
"""Projects in which a tag or digest is looked for; each costs a call."""
PATIENCE = 8


@dataclass(frozen=True, slots=True)
class Hit:
    """Something that was found."""

    name: str
    href: str
    kind: str
    note: str = ""


async def search(visit: Visit) -> Response:
    """Everything that has the text in its name, tag or digest."""
    _ = visit.gettext
    q = visit.query.get("q", "").strip()[:255]
    hits = await _hits(visit, q, deep=True) if q else []
    rows = [
        Row(
            [parts.link(hit.name, hit.href), parts.chips((hit.kind, "plain")), parts.text(hit.note)]
        )
        for hit in hits
    ]
    table = Table(
        _("Results"),
        [Column(_("Name")), Column(_("Kind")), Column("")],
        rows,
        len(rows),
        View(visit.path, size=max(len(rows), 1)),
        _("Nothing found") if q else _("What are you looking for?"),
        _("Give a part of the name of a project or repository, a tag, or a digest."),
        "search",
    )
    return await visit.render(
        "search.html",
        title=_("Search"),
        glyph="search",
        crumbs=[Crumb(_("Search"))],
        q=q,
        sections=[table],
    )


async def palette(visit: Visit) -> Response:
    """The first few, as JSON for the palette."""
    q = visit.query.get("q", "").strip()[:255]
    hits = (await _hits(visit, q, deep=False))[:8] if q else []
    found = [{"name": hit.name, "href": hit.href, "kind": hit.kind} for hit in hits]
    return JSONResponse(found, headers={"Cache-Control": "no-store"})


async def _hits(visit: Visit, q: str, *, deep: bool) -> list[Hit]:
    _ = visit.gettext
    name, _colon, tag = q.partition(":") if not q.startswith("sha256:") else (q, "", "")
    name, _at, digest = name.partition("@")
    found = await visit.get(Found, "/search", q=name) if name else Found()
    hits = [
        Hit(
            each.name,
            f"{PROJECTS}/{each.project_id}/repositories",
            _("Project"),
            visit.ngettext("%(count)s repository", "%(count)s repositories", each.repo_count),
        )
        for each in found.project
    ]
    for each in found.repository:
        short = each.repository_name.partition("/")[2]
        href = f"{PROJECTS}/{each.project_id}/repositories/{quote(short, safe='')}/artifacts-tab"
        if tag:
            href += f"?q={quote(tag)}"
        note = visit.ngettext("%(count)s artifact", "%(count)s artifacts", each.artifact_count)
        hits.append(Hit(each.repository_name, href, _("Repository"), note))
    if deep:
        hits += await _in_projects(visit, q, tag, digest)
    return hits


async def _in_projects(visit: Visit, q: str, tag: str, digest: str) -> Sequence[Hit]:
    """Artifacts by tag or digest, in the projects that the visitor sees."""
    text = digest or tag or q
    if "/" in text or not text:
        return []
    projects = await visit.all(Project, "/projects", page_size=MOST_PROJECTS, with_detail=False)
    gate = asyncio.Semaphore(PATIENCE)

    async def one(project: Project) -> Sequence[Hit]:
        async with gate:
            wanted = [f"tags=~{quoted(text)}"]
            if _DIGEST.fullmatch(text):
                wanted.append(f"digest=~{quoted(text)},base=*")
            hits: list[Hit] = []
            for q in wanted:
                try:
                    path = f"/projects/{project.project_id}/artifacts"
                    listed = await visit.all(Artifact, path, q=q, page_size=10)
                except Problem:
                    continue
                hits += [_artifact(visit, project.project_id, each) for each in listed.items]
            return hits

    return [hit for hits in await asyncio.gather(*map(one, projects.items)) for hit in hits]


def _artifact(visit: Visit, project_id: int, found: Artifact) -> Hit:
    short = quote(found.repository_name.partition("/")[2], safe="")
    href = f"{PROJECTS}/{project_id}/repositories/{short}/artifacts-tab/artifacts/{found.digest}"
    tags = ", ".join(tag.name for tag in found.tags[:6])
    name = f"{found.repository_name}:{found.tags[0].name}" if found.tags else found.repository_name
    return Hit(name, href, visit.gettext("Artifact"), tags or found.digest[:19])


ROUTES = (
    ("/harbor/search", search, None),
    ("/harbor/palette", palette, None),
)
