"""The repositories of a project."""

from urllib.parse import quote

from starlette.responses import Response

from moorage.portal import parts
from moorage.portal.client import quoted, segment
from moorage.portal.pages.bulk import Bulk, carried_out
from moorage.portal.parts import Column, Crumb, Field, Filter, Form, Item, Row, Table
from moorage.portal.scope import PROJECTS, Scope, scope
from moorage.portal.shapes.artifacts import Repository
from moorage.portal.visits import Visit


async def repositories(visit: Visit) -> Response:
    """The repositories of the project."""
    here = await scope(visit)
    _ = visit.gettext
    view = visit.view(sort="name")
    q = view.kept.get("q", "")
    found = await visit.page(
        Repository, f"{here.named}/repositories", view, q=f"name=~{quoted(q)}" if q else ""
    )
    rows = [_row(here, each) for each in found.items]
    cached = here.project.registry_id != 0
    table = Table(
        _("Repositories"),
        [
            Column(_("Name"), "name"),
            Column(_("Artifacts"), right=True),
            Column(_("Pulls"), "pull_count", right=True),
            Column(_("Changed"), "update_time"),
        ],
        rows,
        found.total,
        view,
        _("Nothing was pulled yet") if cached else _("Nothing was pushed yet"),
        _("What is pulled through this project is kept here.")
        if cached
        else _("Push an image, a chart or any other artifact to make a repository."),
        filters=[Filter("q", _("Filter by name"), q)],
        bulk=[Item(_("Delete"), op="delete", icon="trash-2", danger=True)]
        if here.may("repository", "delete") and rows
        else (),
    )
    form = _form(visit, here)
    return await visit.render(
        "repositories.html", **here.head("repositories"), here=here, form=form, sections=[table]
    )


def _row(here: Scope, repository: Repository) -> Row:
    name = repository.short
    return Row(
        [
            parts.link(name, f"{here.path}/repositories/{quote(name, safe='')}", tone="package"),
            parts.number(repository.artifact_count),
            parts.number(repository.pull_count),
            parts.time(repository.update_time),
        ],
        key=name,
        name=name,
    )


def _form(visit: Visit, here: Scope) -> Form | None:
    """Whether those that were chosen shall be deleted."""
    _ = visit.gettext
    chosen = visit.query.getlist("id") if here.may("repository", "delete") else []
    if not chosen or visit.query.get("do") != "delete":
        return None
    return Form(
        "delete",
        visit.ngettext("Delete a repository?", "Delete %(count)s repositories?", len(chosen)),
        [Field("id", "", "hidden", name) for name in chosen],
        _("Delete"),
        _("All artifacts in it go to the trash, from where they can be restored for a while."),
        danger=True,
        cancel=visit.back,
        names=[f"{here.project.name}/{name}" for name in chosen],
    )


async def delete_repositories(visit: Visit) -> Response:
    """Delete the repositories that were chosen."""
    here = await scope(visit)
    names = visit.fields("id")
    _ = visit.gettext

    async def delete(name: str) -> str:
        await visit.send("DELETE", f"{here.named}/repositories/{segment(name)}")
        return ""

    if len(names) == 1:
        await delete(names[0])
        return visit.done(visit.back, _("The repository is deleted."))
    title = _("Delete repositories")
    crumbs = here.crumbs(Crumb(title))
    return await carried_out(visit, Bulk("delete", title, names, delete, crumbs))


ROUTES = ((PROJECTS + "/{project}/repositories", repositories, delete_repositories),)
