"""Projects: /harbor/projects and what belongs to one as a whole."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from starlette.responses import RedirectResponse, Response

from moorage.portal import parts
from moorage.portal.client import Listing, Problem, quoted
from moorage.portal.pages import first
from moorage.portal.pages.caches import cache_fields, cache_metadata, new_cache
from moorage.portal.pages.project_fields import limit_field, name_field, public_field
from moorage.portal.parts import (
    Choice,
    Column,
    Crumb,
    Fact,
    Facts,
    Field,
    Filter,
    Form,
    Item,
    Row,
    Stat,
    Table,
)
from moorage.portal.rendering import filesize, thousands
from moorage.portal.scope import PROJECTS, ROLES, Scope, scope
from moorage.portal.shapes.accounts import Secret
from moorage.portal.shapes.installation import Statistics
from moorage.portal.shapes.projects import Project, Summary
from moorage.portal.shapes.usage import Usage
from moorage.portal.visits import Shell, Visit


async def projects(visit: Visit) -> Response:
    """Every project that the visitor may see."""
    return await _listed(visit)


async def _listed(visit: Visit, secret: Secret | None = None, pushed_to: str = "") -> Response:
    """The list; `secret` is a token that was made for the first push to `pushed_to`."""
    _ = visit.gettext
    shell = await visit.shell()
    view = visit.view("public", "type", sort="name")
    asked = visit.page(Project, "/projects", view, q=_narrowed(view), with_detail=True)
    found, counts = await asyncio.gather(asked, _counts(visit))
    may = _may_create(shell)
    form = None
    if may and visit.query.get("do") == "new":
        form = _new(visit, admin=shell.admin)
    elif shell.admin and visit.query.get("do") == "proxy":
        form = await new_cache(visit)
    actions = [Item(_("New project"), f"{PROJECTS}?do=new", icon="plus")] if may else []
    if shell.admin:
        cache = Item(_("New proxy cache"), f"{PROJECTS}?do=proxy", icon="download")
        actions.insert(0, cache)
    begin = None
    if counts is not None and (secret or not counts.total_repo_count) and form is None:
        begin = first.panel(visit, shell, found.items, may_create=may)
        if secret:
            begin = first.filled(visit, shell, begin, secret, pushed_to)
    return await visit.render(
        "projects.html",
        title=_("Projects"),
        glyph="folders",
        crumbs=[Crumb(_("Projects"))],
        actions=actions,
        form=form,
        first=begin,
        empty=counts is not None and not counts.total_repo_count,
        live=visit.here(live="1") if begin or (shell.user and "live" in visit.query) else False,
        stats=_statistics(visit, shell, counts) if counts and found.total else (),
        sections=[_table(visit, view, found)],
    )


def _may_create(shell: Shell) -> bool:
    return shell.admin or (
        shell.user is not None and shell.info.project_creation_restriction == "everyone"
    )


def _narrowed(view: parts.View) -> str:
    """The filters as the API's `q`."""
    said = []
    if view.kept.get("q"):
        said.append(f"name=~{quoted(view.kept['q'])}")
    if view.kept.get("public") in ("true", "false"):
        said.append(f"public={view.kept['public']}")
    if view.kept.get("type") in ("normal", "cache"):
        said.append(f"proxy={str(view.kept['type'] == 'cache').lower()}")
    return ",".join(said)


def _table(visit: Visit, view: parts.View, found: Listing[Project]) -> Table:
    _ = visit.gettext
    rows = [
        Row(
            [
                parts.link(each.name, f"{PROJECTS}/{each.project_id}/repositories", tone="folders"),
                parts.chips(
                    (_("Public"), "teal") if each.public else (_("Private"), "plain"),
                ),
                parts.chips(
                    (_("Proxy cache"), "violet") if each.registry_id else (_("Normal"), "plain"),
                ),
                parts.text(_(ROLES[each.current_user_role_id]))
                if each.current_user_role_id in ROLES
                else parts.text(""),
                parts.number(each.repo_count),
                parts.text(each.owner_name),
                parts.time(each.creation_time),
            ],
            name=each.name,
        )
        for each in found.items
    ]
    every = Choice("", _("All"))
    access = [every, Choice("true", _("Public")), Choice("false", _("Private"))]
    kinds = [every, Choice("normal", _("Normal")), Choice("cache", _("Proxy cache"))]
    return Table(
        _("Projects"),
        [
            Column(_("Name"), "name"),
            Column(_("Access")),
            Column(_("Type")),
            Column(_("Your role")),
            Column(_("Repositories"), right=True),
            Column(_("Owner")),
            Column(_("Created"), "creation_time"),
        ],
        rows,
        found.total,
        view,
        _("No project yet"),
        _("A project holds repositories, and says who may push to them and pull from them."),
        "folders",
        filters=[
            Filter("q", _("Filter by name"), view.kept.get("q", "")),
            Filter("public", _("Access"), view.kept.get("public", ""), access),
            Filter("type", _("Type"), view.kept.get("type", ""), kinds),
        ],
    )


async def _counts(visit: Visit) -> Statistics | None:
    """How much there is; nobody in particular is not told."""
    shell = await visit.shell()
    return None if shell.user is None else await visit.get(Statistics, "/statistics")


def _statistics(visit: Visit, shell: Shell, found: Statistics) -> Sequence[Stat]:
    _ = visit.gettext
    stats = [
        Stat(
            _("Projects"),
            thousands(found.total_project_count),
            _("%(count)s public", count=found.public_project_count),
        ),
        Stat(_("Repositories"), thousands(found.total_repo_count)),
    ]
    if shell.admin:
        stats.append(Stat(_("Storage"), filesize(found.total_storage_consumption)))
    return stats


def _new(visit: Visit, *, admin: bool) -> Form:
    _ = visit.gettext
    fields = [name_field(visit), public_field(visit)]
    if admin:
        fields.append(limit_field(visit))
    return Form("create", _("New project"), fields, _("Create"), cancel=PROJECTS)


async def create(visit: Visit) -> Response:
    """Make a project, or what the first push needs."""
    if visit.field("op") == "first-push":
        shell = await visit.shell()
        secret, name = await first.made(visit, may_create=_may_create(shell))
        return await _listed(visit, secret, name)
    name = visit.field("name")
    metadata = {"public": str(visit.checked("public")).lower()}
    body: dict[str, object] = {"project_name": name, "metadata": metadata}
    if visit.field("op") == "create-cache":
        body["registry_id"] = visit.integer("registry")
        if not body["registry_id"]:
            message = visit.gettext("Register the other registry first.")
            raise Problem(400, "BAD_REQUEST", message)
        metadata |= cache_metadata(visit)
    if visit.field("limit"):
        body["storage_limit"] = visit.amount("limit")
    answer = await visit.send("POST", "/projects", body)
    made = answer.headers.get("location", "").rpartition("/")[2]
    return visit.done(f"{PROJECTS}/{made}/repositories")


async def project(visit: Visit) -> Response:
    """The project's first page."""
    return RedirectResponse(f"{PROJECTS}/{visit.params['project']}/repositories", 303)


async def summary(visit: Visit) -> Response:
    """What the project is and holds."""
    here = await scope(visit)
    _ = visit.gettext
    asked = visit.get(Summary, f"{here.api}/summary")
    found, usage = await asyncio.gather(asked, _usage(visit, here))
    stats = [Stat(_("Repositories"), thousands(found.repo_count))]
    if found.quota is not None:
        used, hard = found.quota.used.storage, found.quota.hard.storage
        part = used / hard if hard > 0 else None
        note = _("of %(size)s", size=filesize(hard)) if hard > 0 else _("no limit")
        stats.append(Stat(_("Storage"), filesize(used), note, part))
    if usage is not None:
        stats.append(
            Stat(
                _("Only in this project"),
                filesize(usage.physical),
                _("%(size)s shared with others", size=filesize(usage.shared)),
            )
        )
    counts = (
        (1, found.project_admin_count),
        (4, found.maintainer_count),
        (2, found.developer_count),
        (3, found.guest_count),
        (5, found.limited_guest_count),
    )
    sections = [
        Facts(
            _("Project"),
            [
                Fact(_("Name"), parts.text(here.project.name)),
                Fact(_("Id"), parts.text(here.project.project_id)),
                Fact(_("Owner"), parts.text(here.project.owner_name)),
                Fact(_("Created"), parts.time(here.project.creation_time)),
            ],
        )
    ]
    if found.registry is not None:
        cached = Fact(_("Cache of"), parts.text(found.registry.name))
        sections[0] = replace(sections[0], facts=[*sections[0].facts, cached])
    if here.may("member", "list"):
        facts = [Fact(_(ROLES[role]), parts.number(count)) for role, count in counts]
        sections.append(Facts(_("Members"), facts))
    return await visit.render("page.html", **here.head("summary"), stats=stats, sections=sections)


async def _usage(visit: Visit, here: Scope) -> Usage | None:
    return await visit.get(Usage, f"{here.api}/usage") if here.may("quota", "read") else None


async def settings(visit: Visit) -> Response:
    """What the project's administrators decide."""
    here = await scope(visit)
    _ = visit.gettext
    fields = [public_field(visit, public=here.project.public)]
    if here.project.registry_id:
        fields += cache_fields(visit, here.project.metadata)
    form = Form("save", _("Settings"), fields, _("Save"))
    danger = Form(
        "delete",
        _("Delete this project"),
        [Field("name", _("Type the name of the project"), required=True)],
        _("Delete"),
        _("A project can be deleted when it holds no repository. This cannot be undone."),
        danger=True,
    )
    sections = [danger] if here.may("project", "delete") else []
    return await visit.render("page.html", **here.head("configs"), form=form, sections=sections)


async def change(visit: Visit) -> Response:
    """Save the settings, or delete the project."""
    here = await scope(visit)
    if visit.field("op") == "delete":
        if visit.field("name") != here.project.name:
            message = visit.gettext("That is not the name of this project.")
            raise Problem(400, "BAD_REQUEST", message)
        await visit.send("DELETE", here.api)
        said = visit.gettext("%(name)s is deleted.", name=here.project.name)
        return visit.done(PROJECTS, said)
    metadata = {"public": str(visit.checked("public")).lower()}
    if here.project.registry_id:
        metadata |= cache_metadata(visit)
    await visit.send("PUT", here.api, {"metadata": metadata})
    return visit.done(visit.path, visit.gettext("Saved."))


ROUTES = (
    (PROJECTS, projects, create),
    (PROJECTS + "/{project}", project, None),
    (PROJECTS + "/{project}/summary", summary, None),
    (PROJECTS + "/{project}/configs", settings, change),
)
