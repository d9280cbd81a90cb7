"""What every project may store, and does."""

import asyncio

from starlette.responses import Response

from moorage.portal import parts
from moorage.portal.amounts import written
from moorage.portal.client import Problem
from moorage.portal.parts import Column, Crumb, Field, Form, Item, Row, Stat, Table
from moorage.portal.rendering import filesize
from moorage.portal.scope import PROJECTS
from moorage.portal.shapes.installation import Setting
from moorage.portal.shapes.projects import Quota
from moorage.portal.shapes.shape import Shape
from moorage.portal.shapes.usage import Usage
from moorage.portal.visits import Visit


class Default(Shape):
    """The setting for new projects."""

    storage_per_project: Setting = Setting(value=-1)


async def quotas(visit: Visit) -> Response:
    """The quotas, the fullest first."""
    _ = visit.gettext
    view = visit.view(sort="-used.storage")
    found, usage, default = await asyncio.gather(
        visit.page(Quota, "/quotas", view),
        visit.get(Usage, "/usage", logical=False),
        visit.get(Default, "/configurations"),
    )
    rows = [
        Row(
            [
                parts.link(each.ref.name, f"{PROJECTS}/{each.ref.id}/repositories", tone="folders"),
                parts.text(each.ref.owner_name),
                parts.meter(each.used.storage, each.hard.storage),
            ],
            str(each.id),
            each.ref.name,
            [Item(_("Change"), visit.doing("edit", each.id))],
        )
        for each in found.items
    ]
    table = Table(
        _("Quotas"),
        [Column(_("Project")), Column(_("Owner")), Column(_("Storage"), "used.storage")],
        rows,
        found.total,
        view,
        _("No projects"),
        icon="gauge",
    )
    limit = int(default.storage_per_project.value or -1)
    stats = [
        Stat(_("Stored"), filesize(usage.physical), _("each object once")),
        Stat(_("Counted"), filesize(usage.unique), _("each object once in a project")),
        Stat(_("In the trash"), filesize(usage.trash)),
        Stat(_("New projects get"), filesize(limit) if limit > 0 else _("no limit")),
    ]
    return await visit.render(
        "page.html",
        title=_("Quotas"),
        glyph="gauge",
        crumbs=[Crumb(_("Quotas"))],
        actions=[Item(_("Default quota"), visit.doing("default"), icon="settings")],
        form=await _form(visit, limit),
        stats=stats,
        sections=[table],
    )


async def _form(visit: Visit, limit: int) -> Form | None:
    _ = visit.gettext
    do, chosen = visit.query.get("do"), visit.query.get("id", "")
    note = _("With its unit: 512 MiB, 1.5 GiB, 2 TiB. A number alone is GiB; -1 is no limit.")
    if do == "default":
        fields = [Field("limit", _("Storage of a new project"), "text", written(limit), note, True)]
        return Form("default", _("Default quota"), fields, _("Save"), cancel=visit.back)
    if do == "edit" and chosen.isdigit():
        quota = await visit.unless_gone(visit.get(Quota, f"/quotas/{chosen}"))
        if quota is None:
            return None
        fields = [Field("limit", _("Storage"), "text", written(quota.hard.storage), note, True)]
        title = _("Quota of %(name)s", name=quota.ref.name)
        return Form("edit", title, fields, _("Save"), cancel=visit.back, values={"id": chosen})
    return None


async def change(visit: Visit) -> Response:
    """Set a limit."""
    if visit.field("op") == "edit":
        size = visit.amount("limit")
        await visit.send("PUT", f"/quotas/{visit.integer('id')}", {"hard": {"storage": size}})
    elif visit.field("op") == "default":
        size = visit.amount("limit")
        await visit.send("PUT", "/configurations", {"storage_per_project": size})
    else:
        raise Problem(400, "BAD_REQUEST", visit.gettext("That is not known here."))
    return visit.done(visit.back, visit.gettext("Saved."))


ROUTES = (("/harbor/project-quotas", quotas, change),)
