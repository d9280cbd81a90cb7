"""Two artifacts side by side: layers, configuration, environment, labels and annotations."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from starlette.responses import Response

from moorage.portal import parts
from moorage.portal.client import Problem
from moorage.portal.pages.artifact import not_shown
from moorage.portal.parts import Choice, Crumb, Field
from moorage.portal.places import Place
from moorage.portal.shapes.artifacts import Artifact, Layer, Tag
from moorage.portal.visits import Visit


@dataclass(frozen=True)
class Difference:
    """A name and its value on either side; None where it is not there."""

    name: str
    left: str | None
    right: str | None


@dataclass(frozen=True)
class Side:
    """One of the two."""

    reference: str
    artifact: Artifact
    layers: Sequence[Layer]


async def show(visit: Visit, found: Place) -> Response:
    """The differences of `a` and `b`, which are tags or digests."""
    _ = visit.gettext
    names = [visit.query.get("a", "")[:255], visit.query.get("b", "")[:255]]
    tags, sides = await asyncio.gather(
        visit.all(Tag, f"{found.api}/tags", sort="-version", page_size=100),
        _sides(visit, found, names),
    )
    choices = [Choice(tag.name, tag.name) for tag in tags.items]
    fields = [
        Field("a", _("From"), value=names[0], required=True, choices=choices),
        Field("b", _("To"), value=names[1], required=True, choices=choices),
    ]
    return await visit.render(
        "compare.html",
        title=_("Compare"),
        glyph="git-compare",
        crumbs=found.crumbs(Crumb(_("Compare"))),
        place=found,
        fields=fields,
        sides=sides,
        **(_differences(visit, *sides) if sides else {}),
    )


async def _sides(visit: Visit, found: Place, names: Sequence[str]) -> Sequence[Side] | None:
    """Both, once they are named; None if one is not there."""
    if not all(names):
        return None
    try:
        return await asyncio.gather(*(_side(visit, found, name) for name in names))
    except Problem as problem:
        if problem.status not in (400, 404):
            raise
        visit.problem = problem  # the fields stay: one of them has a typo
        return None


async def _side(visit: Visit, found: Place, name: str) -> Side:
    api = found.artifact_api(name)
    artifact, layers = await asyncio.gather(
        visit.get(Artifact, api), visit.all(Layer, f"{api}/layers", with_shared=False)
    )
    return Side(name, artifact, [layer for layer in layers.items if layer.digest])


def _differences(visit: Visit, left: Side, right: Side) -> dict[str, Any]:
    had, has = ({layer.digest for layer in side.layers} for side in (left, right))
    layers = [(layer, "-") for layer in left.layers if layer.digest not in has]
    layers += [(layer, "+") for layer in right.layers if layer.digest not in had]
    kept = [layer for layer in right.layers if layer.digest in had]
    return {
        "layers": layers,
        "kept": kept,
        "size": right.artifact.size - left.artifact.size,
        "tables": [
            (name, *_compared(visit, *pair))
            for name, pair in (
                ("environment", (_environment(left.artifact), _environment(right.artifact))),
                ("config", (_config(left.artifact), _config(right.artifact))),
                ("labels", (_labels(left.artifact), _labels(right.artifact))),
                ("annotations", (left.artifact.annotations, right.artifact.annotations)),
            )
        ],
    }


def _compared(
    visit: Visit, left: Mapping[str, str], right: Mapping[str, str]
) -> tuple[Sequence[Difference], str]:
    """What differs, by name, as much of it as one page shows; and how much is left out."""
    names = sorted(name for name in {**left, **right} if left.get(name) != right.get(name))
    shown = names[: parts.MOST_LINES]
    found = [Difference(name, _cut(left.get(name)), _cut(right.get(name))) for name in shown]
    return found, not_shown(visit, len(names))


def _cut(value: str | None) -> str | None:
    return None if value is None else value[: parts.LONGEST_LINE]


def _inner(artifact: Artifact) -> Mapping[str, Any]:
    config = artifact.extra_attrs.get("config")
    return config if isinstance(config, dict) else {}


def _environment(artifact: Artifact) -> Mapping[str, str]:
    values = _inner(artifact).get("Env")
    if not isinstance(values, list):
        return {}
    pairs = (str(value).partition("=") for value in values)
    return {name: value for name, _, value in pairs}


def _config(artifact: Artifact) -> Mapping[str, str]:
    plain = {
        name: str(value)
        for name, value in artifact.extra_attrs.items()
        if isinstance(value, str | int)
    }
    inner = {
        name: " ".join(map(str, value)) if isinstance(value, list) else str(value)
        for name, value in _inner(artifact).items()
        if name not in ("Env", "Labels")
    }
    return {**plain, **inner}


def _labels(artifact: Artifact) -> Mapping[str, str]:
    values = _inner(artifact).get("Labels")
    return {str(k): str(v) for k, v in values.items()} if isinstance(values, dict) else {}
