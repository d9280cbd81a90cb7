"""Artifacts of a repository: list, get, delete, accessories; and those of a whole project."""

from datetime import datetime
from typing import Annotated, Any, ClassVar

from fastapi import APIRouter, Header, Query, Request
from pydantic import Field
from starlette.responses import Response

from moorage.api.access import Api, Repository, Who, allowed, inside, inside_named, not_cached
from moorage.api.labels import LabelResp, render_label
from moorage.api.lists import PREFIX, Listed, Paged, created, listing, lists
from moorage.api.repositories import PATH as REPOSITORY
from moorage.api.tags import TagResp, render_tag
from moorage.api.wire import Json, Wire, reply, verbatim
from moorage.artifacts import entries
from moorage.artifacts.details import Wanted
from moorage.errors import Invalid
from moorage.oci.names import project_of, split_reference
from moorage.projects.records import ProjectRef

router = APIRouter(tags=["artifact"])
PATH = REPOSITORY + "/artifacts/{reference}"
ADDITIONS = PATH + "/additions"

REPORTS = (
    "application/vnd.security.vulnerability.report; version=1.1, "
    "application/vnd.scanner.adapter.vuln.report.harbor+json; version=1.0"
)
WithChild = Annotated[bool, Query(description="What is inside an index, with its size.")]
AcceptVulnerabilities = Annotated[str, Header(alias="X-Accept-Vulnerabilities")]


class Platform(Wire):
    """What an image runs on."""

    architecture: str = ""
    os: str = ""
    os_version: str = Field(default="", alias="os.version")
    os_features: list[str] = Field(default_factory=list, alias="os.features")
    variant: str = ""


class AccessoryResp(Wire):
    """An artifact that belongs to another one."""

    kept: ClassVar[frozenset[str]] = frozenset(
        {
            "artifact_id",
            "subject_artifact_digest",
            "subject_artifact_repo",
            "size",
            "digest",
            "type",
            "icon",
        }
    )
    id: int = 0
    artifact_id: int = 0
    subject_artifact_id: int = 0
    subject_artifact_digest: str = ""
    subject_artifact_repo: str = ""
    size: int = 0
    digest: str = ""
    type: str = ""
    icon: str = ""
    creation_time: datetime | None = None


class ChildResp(Wire):
    """What is inside an index. Ours, not Harbor's: there, one asks for each by its digest."""

    kept: ClassVar[frozenset[str]] = frozenset({"size"})
    type: str = ""
    size: int = 0
    pull_time: datetime | None = None
    accessories: list[AccessoryResp] = Field(default_factory=list)


class ReferenceResp(Wire):
    """A child of an index."""

    parent_id: int = 0
    child_id: int = 0
    child_digest: str = ""
    platform: Platform | None = None
    annotations: dict[str, str] = Field(default_factory=dict)
    urls: list[str] = Field(default_factory=list)
    child: ChildResp | None = None


class AdditionLink(Wire):
    """Where more is told of an artifact."""

    kept: ClassVar[frozenset[str]] = frozenset({"absolute"})
    href: str = ""
    absolute: bool = False


class SBOMOverview(Wire):
    """The state of the generated bill of materials."""

    scan_status: str = ""
    sbom_digest: str = ""


class ArtifactResp(Wire):
    """An artifact."""

    id: int = 0
    type: str = ""
    media_type: str = ""
    manifest_media_type: str = ""
    artifact_type: str = ""
    project_id: int = 0
    repository_id: int = 0
    repository_name: str = ""
    digest: str = ""
    size: int = 0
    icon: str = ""
    push_time: datetime | None = None
    pull_time: datetime | None = None
    extra_attrs: Json = None
    annotations: dict[str, str] = Field(default_factory=dict)
    references: list[ReferenceResp] = Field(default_factory=list)
    tags: list[TagResp] = Field(default_factory=list)
    addition_links: dict[str, AdditionLink] = Field(default_factory=dict)
    labels: list[LabelResp] = Field(default_factory=list)
    scan_overview: dict[str, Any] = Field(default_factory=dict)
    sbom_overview: SBOMOverview | None = None
    accessories: list[AccessoryResp] = Field(default_factory=list)
    inherited_accessories: list[AccessoryResp] | None = None
    attached: list[AccessoryResp] | None = Field(
        default=None, description="To its accessories, and to these in turn. Ours, not Harbor's."
    )


def render_accessory(accessory: entries.Accessory, repository: str) -> AccessoryResp:
    """An accessory as its clients read it."""
    return AccessoryResp(
        id=accessory.id,
        artifact_id=accessory.id,
        subject_artifact_id=accessory.subject_id,
        subject_artifact_digest=accessory.subject_digest,
        subject_artifact_repo=repository,
        size=accessory.size,
        digest=accessory.digest,
        type=accessory.type,
        icon=accessory.icon,
        creation_time=accessory.created_at,
    )


def _reference(reference: entries.Reference, repository: str) -> ReferenceResp:
    platform, child = reference.platform, reference.child
    return ReferenceResp(
        parent_id=reference.parent_id,
        child_id=reference.child_id,
        child_digest=reference.child_digest,
        platform=_platform(platform) if platform else None,
        child=_child(child, repository) if child else None,
    )


def _child(child: entries.Child, repository: str) -> ChildResp:
    return ChildResp(
        type=child.type,
        size=child.size,
        pull_time=child.pulled_at,
        accessories=[render_accessory(item, repository) for item in child.accessories],
    )


def _platform(platform: Any) -> Platform:
    """Whatever a manifest said, as far as it makes sense."""
    texts: dict[str, Any] = {
        name: value
        for name in ("architecture", "os", "os.version", "variant")
        if isinstance(value := platform.get(name), str)
    }
    features = platform.get("os.features")
    if isinstance(features, list):
        texts["os.features"] = [item for item in features if isinstance(item, str)]
    return Platform.model_validate(texts)


def _links(artifact: entries.Artifact) -> dict[str, AdditionLink]:
    """A slash in the name of a repository is escaped twice, as everywhere in this API."""
    project, _, name = artifact.repository_name.partition("/")
    path = PREFIX + ADDITIONS.format(
        project_name=project,
        repository_name=name.replace("/", "%252F"),
        reference=artifact.digest,
    )
    return {each: AdditionLink(href=f"{path}/{each}") for each in artifact.additions}


def render_artifact(
    artifact: entries.Artifact, *, with_tag: bool = True, with_accessory: bool = False
) -> ArtifactResp:
    """An artifact as its clients read it."""
    return ArtifactResp(
        id=artifact.id,
        type=artifact.type,
        media_type=artifact.config_media_type or artifact.media_type,
        manifest_media_type=artifact.media_type,
        artifact_type=artifact.artifact_type or artifact.config_media_type or artifact.media_type,
        project_id=artifact.project_id,
        repository_id=artifact.repository_id,
        repository_name=artifact.repository_name,
        digest=artifact.digest,
        size=artifact.total_size,
        icon=artifact.icon,
        push_time=artifact.pushed_at,
        pull_time=artifact.pulled_at,
        extra_attrs=verbatim(artifact.extra_attrs),
        annotations={k: v for k, v in artifact.annotations.items() if isinstance(v, str)},
        references=[_reference(item, artifact.repository_name) for item in artifact.references],
        tags=[render_tag(tag) for tag in artifact.tags] if with_tag else [],
        addition_links=_links(artifact) if artifact.additions else {},
        accessories=[
            render_accessory(item, artifact.repository_name)
            for item in (artifact.accessories if with_accessory else ())
        ],
        labels=[render_label(label) for label in artifact.labels],
        attached=None
        if artifact.attached is None
        else [render_accessory(item, artifact.repository_name) for item in artifact.attached],
    )


@router.get(REPOSITORY + "/artifacts", **lists(ArtifactResp))
async def list_artifacts(
    request: Request,
    api: Api,
    name: Repository,
    query: Listed,
    ref: Annotated[ProjectRef, inside_named("artifact", "list")],
    with_tag: bool = True,
    with_label: bool = False,
    with_scan_overview: bool = False,
    with_sbom_overview: bool = False,
    with_immutable_status: bool = False,
    with_accessory: bool = False,
    with_inherited_accessory: bool = False,
    with_child: WithChild = False,
    accept: AcceptVulnerabilities = REPORTS,
) -> Response:
    """The artifacts of a repository, the last pushed first."""
    wanted = Wanted(with_label, with_immutable_status, with_child)
    page = await api.catalogue.artifacts(query, repository=name, wanted=wanted)
    items = [
        render_artifact(item, with_tag=with_tag, with_accessory=with_accessory)
        for item in await api.attributes.fill(page.items)
    ]
    return listing(request, query, page, items)


@router.post(REPOSITORY + "/artifacts", status_code=201)
async def copy_artifact(
    request: Request,
    api: Api,
    who: Who,
    name: Repository,
    ref: Annotated[ProjectRef, inside_named("artifact", "create")],
    origin: Annotated[
        str,
        Query(alias="from", description="project/repository:tag or project/repository@digest."),
    ],
) -> Response:
    """Copy an artifact with its tags, children and accessories; no bytes move."""
    not_cached(ref)
    source, reference = split_reference(origin)
    project = await api.grants.project(project_of(source))
    await allowed(api, who, project, "artifact", "read")
    # Whoever has the copy can pull it: to read what is told of an artifact is not enough.
    await allowed(api, who, project, "repository", "pull")
    await api.copies.copy(who, source, reference, name)
    return created(request, reference)


@router.get(PATH, response_model=ArtifactResp)
async def get_artifact(
    api: Api,
    name: Repository,
    reference: str,
    query: Paged,
    ref: Annotated[ProjectRef, inside_named("artifact", "read")],
    with_tag: bool = True,
    with_label: bool = False,
    with_scan_overview: bool = False,
    with_sbom_overview: bool = False,
    with_accessory: bool = False,
    with_inherited_accessory: bool = False,
    with_signature: bool = False,
    with_immutable_status: bool = False,
    with_child: WithChild = False,
    with_attached: Annotated[
        bool, Query(description="What is attached to its accessories, and to that in turn.")
    ] = False,
    accept: AcceptVulnerabilities = REPORTS,
) -> Response:
    """One artifact by tag or digest."""
    wanted = Wanted(with_label, with_immutable_status, with_child, with_attached)
    found = await api.catalogue.artifact(name, reference, wanted)
    (artifact,) = await api.attributes.fill([found])
    return reply(render_artifact(artifact, with_tag=with_tag, with_accessory=with_accessory))


@router.delete(PATH)
async def delete_artifact(
    api: Api,
    who: Who,
    name: Repository,
    reference: str,
    ref: Annotated[ProjectRef, inside_named("artifact", "delete")],
) -> Response:
    """Delete an artifact, named by tag or digest, with all its tags."""
    artifact = await api.catalogue.artifact(name, reference)
    await api.manifests.delete(who, name, artifact.digest)
    return Response(status_code=200)


@router.get(PATH + "/accessories", **lists(AccessoryResp))
async def list_accessories(
    request: Request,
    api: Api,
    name: Repository,
    reference: str,
    query: Listed,
    ref: Annotated[ProjectRef, inside_named("accessory", "list")],
) -> Response:
    """Artifacts whose subject this one is."""
    page = await api.catalogue.accessories(name, reference, query)
    return listing(request, query, page, [render_accessory(item, name) for item in page.items])


@router.get(
    "/projects/{project_name_or_id}/artifacts", **{**lists(ArtifactResp), "tags": ["project"]}
)
async def list_artifacts_of_project(
    request: Request,
    api: Api,
    query: Listed,
    ref: Annotated[ProjectRef, inside("artifact", "list")],
    with_tag: bool = True,
    with_label: bool = False,
    with_scan_overview: bool = False,
    with_sbom_overview: bool = False,
    with_immutable_status: bool = False,
    with_accessory: bool = False,
    with_inherited_accessory: bool = False,
    latest_in_repository: Annotated[
        bool, Query(description="Needs exactly one of media_type and artifact_type in q.")
    ] = False,
    accept: AcceptVulnerabilities = REPORTS,
) -> Response:
    """The artifacts of all repositories of a project."""
    kinds = {"media_type", "artifact_type"} & query.filters.keys()
    if latest_in_repository and len(kinds) != 1:
        raise Invalid("latest_in_repository needs exactly one of media_type and artifact_type in q")
    page = await api.catalogue.artifacts(
        query,
        project_id=ref.id,
        latest_in_repository=latest_in_repository,
        wanted=Wanted(with_label, with_immutable_status),
    )
    items = [
        render_artifact(item, with_tag=with_tag, with_accessory=with_accessory)
        for item in await api.attributes.fill(page.items)
    ]
    return listing(request, query, page, items)
