"""One artifact: overview, tags, layers, what is attached to it, and what it brings along."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from starlette.responses import Response

from moorage.portal import parts
from moorage.portal.client import Problem, plain, repository_path
from moorage.portal.pages import completions, usage
from moorage.portal.pages.attributes import Line, attributes
from moorage.portal.parts import Crumb, Fact, Facts, Field, Form, Item, Tab
from moorage.portal.places import Place
from moorage.portal.rendering import short_digest
from moorage.portal.shapes.artifacts import Accessory, Artifact, Dependency, File, Label, Layer
from moorage.portal.visits import Visit

EVERYTHING = dict.fromkeys(
    ("with_label", "with_accessory", "with_immutable_status", "with_child"), True
)
DEEPEST = 4
"""Levels of attached artifacts that are shown: a signature of an SBOM of an image."""
MOST_ATTACHED = 100
"""Artifacts that are shown of those that are attached to one."""
_LONGEST = 512 << 10


@dataclass(frozen=True)
class Branch:
    """An attached artifact and what is attached to it in turn."""

    accessory: Accessory
    branches: "Sequence[Branch]"


async def show(visit: Visit, found: Place) -> Response:
    """The view of the artifact that the URL asks for."""
    tab = visit.query.get("tab", "overview")
    labels: Sequence[Label] = ()
    if tab == "overview":
        one, labels = await asyncio.gather(_artifact(visit, found), labels_of(visit, found))
    else:
        one = await _artifact(visit, found, attached=tab == "referrers")
    known = _tabs(visit, found, one, tab)
    if tab not in {name for name, _ in known}:
        tab, labels = "overview", await labels_of(visit, found)
    context = await _TABS.get(tab, _addition)(visit, found, one)
    title = one.tags[0].name if one.tags else short_digest(one.digest)
    carried = {label.id for label in one.labels}
    return await visit.render(
        "artifact.html",
        title=title,
        glyph="layers" if one.references else "box",
        crumbs=found.crumbs(Crumb(title)),
        tabs=[each for _, each in known],
        place=found,
        one=one,
        tab=tab,
        free=[label for label in labels if label.id not in carried],
        form=_form(visit, found, one),
        actions=_actions(visit, found),
        **context,
    )


async def _artifact(visit: Visit, found: Place, *, attached: bool = False) -> Artifact:
    more = {**EVERYTHING, "with_attached": True} if attached else EVERYTHING
    return await visit.get(Artifact, found.artifact_api(found.reference), **more)


async def labels_of(visit: Visit, found: Place) -> Sequence[Label]:
    """Labels that artifacts of the project may carry: its own and those of everybody."""
    if not found.here.may("artifact-label", "create"):
        return ()
    project = found.here.project.project_id
    every = await visit.every(Label, "/labels", scope="p", project_id=project, with_global=True)
    return sorted(every, key=lambda label: label.scope == "g")  # each of the two by name


def _tabs(visit: Visit, found: Place, one: Artifact, current: str) -> Sequence[tuple[str, Tab]]:
    _ = visit.gettext
    names = [
        ("overview", _("Overview"), None),
        ("tags", _("Tags"), len(one.tags)),
    ]
    names += [("children", _("Platforms"), len(one.references))] if one.references else []
    names += [("layers", _("Layers"), None)] if not one.references else []
    names += [("referrers", _("Attached"), len(one.accessories)), ("usage", _("Usage"), None)]
    labels = {
        "readme.md": _("Readme"),
        "values.yaml": _("Values"),
        "dependencies": _("Dependencies"),
        "license": _("Licence"),
        "files": _("Files"),
        "sbom": _("Bill of materials"),
    }
    names += [(each, labels[each], None) for each in labels if each in one.addition_links]
    return [
        (name, Tab(label, visit.here(tab=name if name != "overview" else ""), name == current, n))
        for name, label, n in names
    ]


def _actions(visit: Visit, found: Place) -> Sequence[Item]:
    _ = visit.gettext
    items = []
    if found.here.may("artifact", "delete"):
        items.append(Item(_("Delete"), visit.here(do="delete"), icon="trash-2", danger=True))
    items.append(Item(_("Copy to…"), visit.here(do="copy"), icon="copy"))
    if found.here.may("tag", "create"):
        items.append(Item(_("Add a tag"), visit.here(do="tag"), icon="tag"))
    return items


def _form(visit: Visit, found: Place, one: Artifact) -> Form | None:
    _ = visit.gettext
    do = visit.query.get("do", "") or (visit.field("op") if visit.problem else "")
    if do == "tag":
        fields = [Field("name", _("Tag"), required=True)]
        return Form("tag", _("Add a tag"), fields, _("Add"), cancel=visit.path)
    if do == "copy":
        fields, note = target_fields(visit, found), what_is_copied(visit)
        return Form("copy", _("Copy to another place"), fields, _("Copy"), note, cancel=visit.path)
    if do == "delete":
        names = [f"{found.full}:{tag.name}" for tag in one.tags]
        note = _("It goes with all its tags to the trash, from where it can be restored.")
        title = _("Delete this artifact?")
        shown = [*names, f"{found.full}@{one.digest}"]
        return Form("delete", title, (), _("Delete"), note, True, visit.path, names=shown)
    return None


async def post(visit: Visit, found: Place) -> Response:
    """Tags, labels, copies and deletes."""
    op, api = visit.field("op"), found.artifact_api(found.reference)
    _ = visit.gettext
    if op == "tag":
        await visit.send("POST", f"{api}/tags", {"name": visit.field("name")})
        return visit.done(visit.here(tab="tags"), _("The tag is added."))
    if op == "untag":
        one = await visit.get(Artifact, api)  # by its digest: the tag in the path may be that one
        await visit.send("DELETE", f"{api}/tags/{visit.field('name')}")
        return visit.done(f"{found.artifact(one.digest)}?tab=tags", _("The tag is removed."))
    if op == "label":
        await visit.send("POST", f"{api}/labels", {"id": visit.integer("label")})
        return visit.done(visit.path)
    if op == "unlabel":
        await visit.send("DELETE", f"{api}/labels/{visit.integer('label')}")
        return visit.done(visit.path)
    if op == "copy":
        target = await copied(visit, found, found.reference)
        return visit.done(visit.path, _("Copied to %(target)s.", target=target))
    if op == "delete":
        await visit.send("DELETE", api)
        return visit.done(found.list, _("The artifact is deleted."))
    raise Problem(400, "BAD_REQUEST", _("That is not known here."))


def target_fields(visit: Visit, found: Place) -> list[Field]:
    """Where a copy goes."""
    _ = visit.gettext
    return [
        Field(
            "project",
            _("Project"),
            value=found.here.project.name,
            required=True,
            completes=completions.PROJECTS,
        ),
        Field(
            "repository",
            _("Repository"),
            value=found.name,
            required=True,
            completes=completions.REPOSITORIES,
        ),
    ]


def what_is_copied(visit: Visit) -> str:
    """More than the artifact."""
    return visit.gettext("Tags, platforms and whatever is attached come along; no bytes move.")


async def copied(visit: Visit, found: Place, reference: str) -> str:
    """Copy an artifact to where the form says; that place. Raises Problem."""
    target = f"{visit.field('project')}/{visit.field('repository')}"
    separator = "@" if ":" in reference else ":"
    origin = f"{found.full}{separator}{reference}"
    await visit.send("POST", f"{repository_path(target)}/artifacts", None, **{"from": origin})
    return target


# --- views


async def _overview(visit: Visit, found: Place, one: Artifact) -> dict[str, Any]:
    _ = visit.gettext
    facts = [
        Fact(_("Digest"), parts.code(one.digest)),
        Fact(_("Type"), parts.text(one.type.capitalize())),
        Fact(_("Size"), parts.size(one.size)),
        Fact(_("Pushed"), parts.time(one.push_time)),
        Fact(_("Last pull"), parts.time(one.pull_time)),
        Fact(_("Media type"), parts.text(one.manifest_media_type)),
    ]
    if one.platforms:
        facts.insert(2, Fact(_("Platforms"), parts.text(", ".join(one.platforms))))
    sections: list[object] = [Facts(_("Artifact"), facts)]
    lines, count = attributes(visit, one.extra_attrs)
    if lines:
        sections.append(Facts(_("Configuration"), _said(visit, lines, count)))
    if one.annotations:
        lines = [
            (name[: parts.LONGEST_LINE], parts.text(value[: parts.LONGEST_LINE]))
            for name, value in sorted(one.annotations.items())[: parts.MOST_LINES]
        ]
        sections.append(Facts(_("Annotations"), _said(visit, lines, len(one.annotations))))
    return {"sections": sections}


def _said(visit: Visit, lines: Sequence[Line], count: int) -> list[Fact]:
    """What somebody pushed, as much of it as one page shows of so many lines."""
    found = [Fact(name, cell) for name, cell in lines]
    more = not_shown(visit, count)
    return [*found, Fact("…", parts.text(more))] if more else found


def not_shown(visit: Visit, count: int) -> str:
    """How many of so many lines are left out; empty when none is."""
    more = count - parts.MOST_LINES
    if more <= 0:
        return ""
    return visit.ngettext("%(count)s more is not shown", "%(count)s more are not shown", more)


async def _as_it_is(visit: Visit, found: Place, one: Artifact) -> dict[str, Any]:
    """A view of what is known already."""
    return {}


async def _layers(visit: Visit, found: Place, one: Artifact) -> dict[str, Any]:
    layers = (await visit.all(Layer, f"{found.artifact_api(one.digest)}/layers")).items
    total = sum(layer.size for layer in layers)
    at, bars = 0.0, []
    for layer in layers:
        width = 1000 * layer.size / total if total else 0.0
        if layer.size:
            bars.append((round(at, 1), round(max(width - 1, 0.5), 1)))
        at += width
    return {
        "layers": layers,
        "total": total,
        "shared": sum(layer.size for layer in layers if layer.shared),
        "bars": bars,
    }


async def _referrers(visit: Visit, found: Place, one: Artifact) -> dict[str, Any]:
    listed: dict[str, list[Accessory]] = {}
    for each in sorted((*one.accessories, *one.attached), key=lambda each: -each.id):
        listed.setdefault(each.subject_artifact_digest, []).append(each)
    return {"branches": _grown(listed, one.digest, DEEPEST)}


def _grown(listed: Mapping[str, Sequence[Accessory]], digest: str, depth: int) -> Sequence[Branch]:
    """The newest of what is attached: whoever pushes decides how much there is, not we."""
    found = listed.get(digest, ())[:MOST_ATTACHED] if depth else ()
    return [Branch(each, _grown(listed, each.digest, depth - 1)) for each in found]


async def _usage(visit: Visit, found: Place, one: Artifact) -> dict[str, Any]:
    return await usage.artifact(visit, found, one.digest)


async def _addition(visit: Visit, found: Place, one: Artifact) -> dict[str, Any]:
    """A document of the artifact: text, or Markdown, never HTML."""
    name, _ = visit.query["tab"], visit.gettext
    api = f"{found.artifact_api(one.digest)}/additions/{name}"
    if name in ("files", "dependencies"):
        answer = await visit.api.ask(visit.visitor, "GET", "/api/v2.0" + api)
        return {name: _listed(name, plain(answer.content))}
    text = await visit.text(api)
    html = await visit.prose(text) if name == "readme.md" else None
    document = parts.Document(name, text[:_LONGEST], html, _("This document is empty."))
    return {"sections": [document]}


def _listed(name: str, found: Any) -> Sequence[Dependency] | Sequence[tuple[int, File]]:
    if not isinstance(found, list):
        return []
    if name == "dependencies":
        return [Dependency.model_validate(each) for each in found if isinstance(each, dict)]
    return list(_files(found, 0))


def _files(found: list[Any], depth: int) -> Sequence[tuple[int, File]]:
    lines: list[tuple[int, File]] = []
    for each in found:
        if isinstance(each, dict) and depth < 16:
            lines.append((depth, File.model_validate(each)))
            inner = each.get("children")
            lines += _files(inner, depth + 1) if isinstance(inner, list) else ()
    return lines


_TABS = {
    "overview": _overview,
    "tags": _as_it_is,
    "children": _as_it_is,
    "layers": _layers,
    "referrers": _referrers,
    "usage": _usage,
}
