"""The tags of a repository and the layers of an artifact. Ours, not Harbor's."""

from typing import Annotated, ClassVar

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from moorage.api.access import Api, Repository, Who, allowed, inside_named
from moorage.api.artifacts import PATH as ARTIFACT
from moorage.api.artifacts import ArtifactResp, render_artifact
from moorage.api.lists import Listed, listing, lists
from moorage.api.repositories import PATH as REPOSITORY
from moorage.api.tags import TagResp, told
from moorage.api.wire import Wire, reply
from moorage.artifacts.details import Wanted
from moorage.artifacts.layers import Layer
from moorage.artifacts.tagnames import Named
from moorage.projects.records import ProjectRef

router = APIRouter(tags=["artifact"])

WITH_ARTIFACT = (
    "What they point at, with its tags, labels, accessories and children: "
    "each artifact with the first of its tags on this page."
)


class NamedTagResp(TagResp):
    """A tag and what it points at."""

    digest: str = ""
    artifact: ArtifactResp | None = None


class LayerResp(Wire):
    """A layer, or a step of the build that made none."""

    kept: ClassVar[frozenset[str]] = frozenset({"size", "shared"})
    digest: str = ""
    media_type: str = ""
    size: int = 0
    command: str = ""
    created: str = ""
    shared: int = 0


def _named(found: Named, artifacts: dict[int, ArtifactResp]) -> NamedTagResp:
    artifact = artifacts.pop(found.tag.artifact_id, None)  # once: it may be large, its tags many
    return NamedTagResp(**told(found.tag), digest=found.digest, artifact=artifact)


def _layer(layer: Layer) -> LayerResp:
    return LayerResp(
        digest=layer.digest,
        media_type=layer.media_type,
        size=layer.size,
        command=layer.command,
        created=layer.created,
        shared=layer.shared,
    )


@router.get(REPOSITORY + "/tags", **lists(NamedTagResp))
async def list_repository_tags(
    request: Request,
    api: Api,
    who: Who,
    name: Repository,
    query: Listed,
    ref: Annotated[ProjectRef, inside_named("tag", "list")],
    with_immutable_status: bool = False,
    with_artifact: Annotated[bool, Query(description=WITH_ARTIFACT)] = False,
) -> Response:
    """The tags of a repository; sort=-version puts the newest version of SemVer first."""
    if with_artifact:
        await allowed(api, who, ref, "artifact", "list")
        # A tag may lead to what the list leaves out: a signature, say.
        await allowed(api, who, ref, "artifact", "read")
    page = await api.tag_names.list(
        name,
        query,
        immutable=with_immutable_status,
        artifacts=Wanted(labels=True, children=True) if with_artifact else None,
    )
    held = {each.artifact.id: each.artifact for each in page.items if each.artifact}
    filled = await api.attributes.fill(list(held.values()))
    artifacts = {each.id: render_artifact(each, with_accessory=True) for each in filled}
    return listing(request, query, page, [_named(each, artifacts) for each in page.items])


@router.get(ARTIFACT + "/layers", response_model=list[LayerResp])
async def list_layers(
    api: Api,
    name: Repository,
    reference: str,
    ref: Annotated[ProjectRef, inside_named("artifact", "read")],
    with_shared: Annotated[
        bool,
        Query(description="How many other artifacts hold each; takes a look at all of them."),
    ] = True,
) -> Response:
    """Size, command and sharing of the layers of an artifact, the lowest first."""
    found = await api.layers.of(name, reference, shared=with_shared)
    return reply([_layer(each) for each in found])
