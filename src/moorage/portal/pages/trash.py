"""The trash of a project: what was deleted and can still come back."""

from starlette.responses import Response

from moorage.portal import parts
from moorage.portal.client import repository_path
from moorage.portal.parts import Column, Item, Row, Table
from moorage.portal.scope import PROJECTS, scope
from moorage.portal.shapes.artifacts import Restored, Trashed
from moorage.portal.visits import Visit


async def trash(visit: Visit) -> Response:
    """Deleted artifacts."""
    here = await scope(visit)
    _ = visit.gettext
    view = visit.view()
    found = await visit.page(Trashed, f"{here.named}/trash", view)
    rows = [
        Row(
            [
                parts.text(each.repository_name),
                parts.code(each.digest),
                parts.chips(*((tag, "tagchip") for tag in each.tags[:6])),
                parts.time(each.deleted_at),
                parts.text(each.deleted_by),
                parts.time(each.expires_at),
            ],
            str(each.id),
            each.digest[:19],
            [
                Item(
                    _("Restore"),
                    op="restore",
                    icon="rotate-cw",
                    values={"repository": each.repository_name, "digest": each.digest},
                )
            ],
        )
        for each in found.items
    ]
    table = Table(
        _("Trash"),
        [
            Column(_("Repository")),
            Column(_("Digest")),
            Column(_("Tags")),
            Column(_("Deleted")),
            Column(_("By")),
            Column(_("Gone for good")),
        ],
        rows,
        found.total,
        view,
        _("The trash is empty"),
        _("Deleted artifacts stay here for a while, and can be restored with their tags."),
        "trash-2",
    )
    return await visit.render("page.html", **here.head("trash"), sections=[table])


async def restore(visit: Visit) -> Response:
    """Bring one back."""
    await scope(visit)
    path = repository_path(visit.field("repository"))
    back = await visit.made(Restored, f"{path}/trash/{visit.field('digest')}/restore", None)
    tags = ", ".join(back.tags[:6])
    _ = visit.gettext
    return visit.done(visit.back, _("Restored: %(tags)s", tags=tags) if tags else _("Restored."))


ROUTES = ((PROJECTS + "/{project}/trash", trash, restore),)
