"""What is in a repository: tags first, by version, or artifact by artifact."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from urllib.parse import quote, urlencode

from starlette.responses import RedirectResponse, Response

from moorage.portal.client import Problem, quoted
from moorage.portal.lines import Line
from moorage.portal.pages import artifact, compare, glance, usage
from moorage.portal.pages.bulk import Bulk, carried_out
from moorage.portal.parts import (
    DEFAULT_SIZE,
    Choice,
    Column,
    Crumb,
    Field,
    Filter,
    Form,
    Item,
    Stat,
    Tab,
    View,
)
from moorage.portal.places import COMPARE, INFO, USAGE, Place, place
from moorage.portal.scope import PROJECTS
from moorage.portal.shapes.artifacts import Artifact, Label, NamedTag
from moorage.portal.visits import Visit

TYPES = ("IMAGE", "CHART", "CNAB", "WASM", "SBOM", "MODEL")
LABELLING = ("label", "unlabel")


async def show(visit: Visit) -> Response:
    """The page of the path: the repository's own, or that of one of its artifacts."""
    found = await place(visit)
    if found.reference:
        return await artifact.show(visit, found)
    if found.tagged:
        return await usage.tag(visit, found)
    if found.tab == USAGE:
        return await usage.repository(visit, found)
    if found.tab == INFO:
        return await description(visit, found)
    if found.tab == COMPARE:
        return await compare.show(visit, found)
    return await artifacts(visit, found)


async def post(visit: Visit) -> Response:
    """The form of the same page."""
    found = await place(visit)
    if found.reference:
        return await artifact.post(visit, found)
    if found.tab == INFO:
        await visit.send("PUT", found.api, {"description": visit.raw("description")})
        return visit.done(visit.path, visit.gettext("Saved."))
    return await act(visit, found)


async def artifacts(visit: Visit, found: Place) -> Response:
    """The list."""
    chosen = visit.query.getlist("id")
    if visit.query.get("do") == "compare" and len(chosen) == 2:
        said = urlencode({"a": chosen[0], "b": chosen[1]})
        return RedirectResponse(f"{found.path}/{COMPARE}?{said}", 303)
    by_artifact = visit.query.get("view") == "artifacts"
    view = visit.view(
        "view", "type", "tagged", "label", sort="-push_time" if by_artifact else "-version"
    )
    listed = _by_artifact(visit, found, view) if by_artifact else _by_tag(visit, found, view)
    (lines, total), labels, figures = await asyncio.gather(
        listed, _labels(visit, found), _figures(visit, found, view)
    )
    narrowed = view.kept.keys() - {"view"}
    return await visit.render(
        "artifacts.html",
        **found.head(found.tab),
        view=view,
        figures=figures,
        lines=lines,
        total=total,
        by_artifact=by_artifact,
        views=_views(visit, view, by_artifact=by_artifact),
        narrowed=narrowed,
        clear=view.url(**dict.fromkeys(narrowed, ""), page=""),
        columns=_columns(visit, by_artifact=by_artifact),
        filters=_filters(visit, view, labels, by_artifact=by_artifact),
        bulk=_bulk(visit, found, by_artifact=by_artifact),
        newest=lines[0].key if lines else "TAG",
        form=_confirm(visit, found, chosen, labels),
    )


def _views(visit: Visit, view: View, *, by_artifact: bool) -> Sequence[Tab]:
    """Tags or artifacts: each has its own orders and filters, and its own that can be done."""
    _ = visit.gettext
    said = {"q": view.kept.get("q", ""), "size": visit.kept.get("size", "")}
    return [
        Tab(_("By tag"), visit.here(**said), not by_artifact),
        Tab(_("By artifact"), visit.here(view="artifacts", **said), by_artifact),
    ]


def _columns(visit: Visit, *, by_artifact: bool) -> Sequence[Column]:
    _ = visit.gettext
    first = Column(_("Tags")) if by_artifact else Column(_("Tag"), "version")
    return [
        first,
        Column(_("Digest"), "digest" if by_artifact else ""),
        Column(_("Platforms")),
        Column(_("Size"), "size" if by_artifact else "", right=True),
        Column(_("Attached")),
        Column(_("Pushed"), "push_time"),
        Column(_("Last pull"), "pull_time"),
    ]


def _filters(
    visit: Visit, view: View, labels: Sequence[Label], *, by_artifact: bool
) -> Sequence[Filter]:
    _ = visit.gettext
    filters = [Filter("q", _("Filter by tag"), view.kept.get("q", ""))]
    if not by_artifact:
        return filters
    every = Choice("", _("All"))
    tagged = [every, Choice("*", _("Tagged")), Choice("nil", _("Untagged"))]
    kinds = [every, *(Choice(kind, kind.capitalize()) for kind in TYPES)]
    filters += [
        Filter("tagged", _("Tags"), view.kept.get("tagged", ""), tagged),
        Filter("type", _("Type"), view.kept.get("type", ""), kinds),
    ]
    if labels:
        choices = [every, *(Choice(str(each.id), each.name) for each in labels)]
        filters.append(Filter("label", _("Label"), view.kept.get("label", ""), choices))
    return filters


def _bulk(visit: Visit, found: Place, *, by_artifact: bool) -> Sequence[Item]:
    _ = visit.gettext
    items = [Item(_("Compare"), op="compare", icon="git-compare")]
    items.append(Item(_("Copy to…"), op="copy", icon="copy"))
    if found.here.may("artifact-label", "create"):
        items.append(Item(_("Labels"), op="label", icon="tag"))
    if found.here.may("tag", "delete") and not by_artifact:
        items.append(Item(_("Remove tags"), op="untag", icon="tag", danger=True))
    if found.here.may("artifact", "delete"):
        items.append(Item(_("Delete artifacts"), op="delete", icon="trash-2", danger=True))
    return items


def _confirm(
    visit: Visit, found: Place, chosen: Sequence[str], labels: Sequence[Label]
) -> Form | None:
    """Ask before anything is done to what was chosen."""
    do = _doing(visit)
    chosen = chosen or visit.fields("id")
    _ = visit.gettext
    fields = [Field("id", "", "hidden", each) for each in chosen]
    cancel = visit.back
    if not chosen:
        return None
    if do == "untag":
        title = visit.ngettext("Remove a tag?", "Remove %(count)s tags?", len(chosen))
        note = _("The artifacts stay, and can still be pulled by digest.")
        return Form("untag", title, fields, _("Remove"), note, True, cancel, names=chosen)
    if do == "delete":
        title = visit.ngettext("Delete an artifact?", "Delete %(count)s artifacts?", len(chosen))
        note = _("Each goes with all its tags to the trash, from where it can be restored.")
        return Form("delete", title, fields, _("Delete"), note, True, cancel, names=chosen)
    if do == "copy":
        title = visit.ngettext("Copy an artifact", "Copy %(count)s artifacts", len(chosen))
        fields += artifact.target_fields(visit, found)
        return Form(
            "copy",
            title,
            fields,
            _("Copy"),
            artifact.what_is_copied(visit),
            False,
            cancel,
            names=chosen,
        )
    if do in LABELLING:
        return _label_form(visit, labels, fields, chosen, cancel)
    return None


def _label_form(
    visit: Visit,
    labels: Sequence[Label],
    fields: Sequence[Field],
    chosen: Sequence[str],
    cancel: str,
) -> Form | None:
    _ = visit.gettext
    title = visit.ngettext("Label of an artifact", "Label of %(count)s artifacts", len(chosen))
    if not labels:
        note = _("Neither this project nor the installation has a label yet.")
        return Form("none", title, (), _("Make one"), note, cancel=cancel, names=chosen)
    choices = [Choice(str(each.id), each.name) for each in labels]
    choose = Field("label", _("Label"), "select", choices[0].value, choices=choices)
    off = Item(_("Take it off"), op="unlabel")
    return Form(
        "label",
        title,
        [*fields, choose],
        _("Put it on"),
        "",
        False,
        cancel,
        names=chosen,
        also=[off],
    )


async def act(visit: Visit, found: Place) -> Response:
    """Do to each of the chosen what was asked."""
    op, names = visit.field("op"), visit.fields("id")
    _ = visit.gettext
    if op == "none":
        return visit.done(f"{found.here.path}/labels?do=new")
    titles = {
        "untag": _("Remove tags"),
        "delete": _("Delete artifacts"),
        "copy": _("Copy artifacts"),
        "label": _("Put a label on"),
        "unlabel": _("Take a label off"),
    }
    if op not in titles:
        raise Problem(400, "BAD_REQUEST", _("That is not known here."))
    work = _works(visit, found)[op]
    if len(names) == 1:
        said = {
            "untag": _("The tag is removed."),
            "delete": _("The artifact is deleted."),
            "copy": _("The artifact is copied."),
        }
        await work(names[0])
        return visit.done(visit.back, said.get(op, _("Saved.")))
    crumbs = found.crumbs(Crumb(titles[op]))
    return await carried_out(visit, Bulk(op, titles[op], names, work, crumbs))


def _works(visit: Visit, found: Place) -> Mapping[str, Callable[[str], Awaitable[str]]]:
    """What is done to one artifact, by a tag or its digest."""
    gone: list[str] = []

    async def untag(name: str) -> str:
        await visit.send("DELETE", f"{found.artifact_api(name)}/tags/{quote(name, safe='')}")
        return ""

    async def delete(name: str) -> str:
        try:
            await visit.send("DELETE", found.artifact_api(name))
        except Problem as problem:
            if problem.status != 404 or not gone:
                raise
            return visit.gettext("went with another one of these")  # two tags of one artifact
        gone.append(name)
        return ""

    async def label(name: str) -> str:
        number = visit.integer("label")
        try:
            await visit.send("POST", f"{found.artifact_api(name)}/labels", {"id": number})
        except Problem as problem:
            if problem.status != 409:
                raise
            return visit.gettext("had it already")
        return ""

    async def unlabel(name: str) -> str:
        path = f"{found.artifact_api(name)}/labels/{visit.integer('label')}"
        try:
            await visit.send("DELETE", path)
        except Problem as problem:
            if problem.status != 404:
                raise
            return visit.gettext("did not have it")
        return ""

    async def copy(name: str) -> str:
        return await artifact.copied(visit, found, name)

    return {"untag": untag, "delete": delete, "label": label, "unlabel": unlabel, "copy": copy}


# --- lists


async def _by_tag(visit: Visit, found: Place, view: View) -> tuple[Sequence[Line], int]:
    q = view.kept.get("q", "")
    tags = await visit.page(
        NamedTag,
        f"{found.api}/tags",
        view,
        q=f"name=~{quoted(q)}" if q else "",
        with_immutable_status=True,
        with_artifact=True,
    )
    held = {tag.artifact.id: tag.artifact for tag in tags.items if tag.artifact}
    return [Line(tag.name, held.get(tag.artifact_id), tag) for tag in tags.items], tags.total


async def _by_artifact(visit: Visit, found: Place, view: View) -> tuple[Sequence[Line], int]:
    kept, parts = view.kept, []
    if kept.get("q"):
        text = quoted(kept["q"])
        parts.append(f"digest=~{text}" if kept["q"].startswith("sha256:") else f"tags=~{text}")
    elif kept.get("tagged") in ("*", "nil"):
        parts.append(f"tags={kept['tagged']}")
    if kept.get("type") in TYPES:
        parts.append(f"type={kept['type']}")
    if kept.get("label", "").isdigit():
        parts.append(f"labels=({kept['label']})")
    listed = await visit.page(
        Artifact, f"{found.api}/artifacts", view, q=",".join(parts), **artifact.EVERYTHING
    )
    return [Line(each.digest, each) for each in listed.items], listed.total


async def _figures(visit: Visit, found: Place, view: View) -> Sequence[Stat]:
    """What stands above the list where it begins: whoever does anything there has seen them."""
    turned = view.page > 1 or view.size != DEFAULT_SIZE
    if turned or view.kept.keys() - {"view"} or _doing(visit):
        return ()
    return await glance.figures(visit, found)


async def _labels(visit: Visit, found: Place) -> Sequence[Label]:
    """Labels that artifacts here may carry, where the page offers them."""
    offered = visit.query.get("view") == "artifacts" or _doing(visit) in LABELLING
    return await artifact.labels_of(visit, found) if offered else ()


def _doing(visit: Visit) -> str:
    """What is about to be done to what was chosen."""
    return visit.query.get("do", "") or visit.field("op")


async def description(visit: Visit, found: Place) -> Response:
    """What the repository is, in Markdown."""
    repository = await found.repository()
    _ = visit.gettext
    form = None
    text = repository.description if repository else ""
    may = found.here.may("repository", "update")
    if may and (visit.query.get("do") == "edit" or visit.problem is not None):
        form = Form(
            "describe",
            _("Description"),
            [Field("description", _("Markdown"), "textarea", text)],
            _("Save"),
            cancel=visit.path,
        )
    prose = await visit.prose(text) if text else None
    head = found.head(INFO)
    return await visit.render("description.html", **head, form=form, prose=prose, may=may)


ROUTES = ((PROJECTS + "/{project}/repositories/{rest:path}", show, post),)
