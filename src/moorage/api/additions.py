"""Additions of an artifact: /additions/{addition}."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter
from starlette.responses import Response, StreamingResponse

from moorage.api.access import Api, Repository, inside_named
from moorage.api.artifacts import ADDITIONS, REPORTS, AcceptVulnerabilities
from moorage.api.wire import reply
from moorage.projects.records import ProjectRef

router = APIRouter(tags=["artifact"])

Addition = Literal[
    "build_history", "values.yaml", "readme.md", "dependencies", "sbom", "license", "files"
]
DOCUMENT: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The document; its type is that of the addition.",
        "content": {"*/*": {"schema": {}}},
    }
}


@router.get(ADDITIONS + "/vulnerabilities", response_model=dict[str, object])
async def get_vulnerabilities(
    api: Api,
    name: Repository,
    reference: str,
    ref: Annotated[ProjectRef, inside_named("artifact-addition", "read")],
    accept: AcceptVulnerabilities = REPORTS,
) -> Response:
    """Reports of scanners by their media type; there are none without a scanner."""
    await api.catalogue.artifact(name, reference)
    return reply({})


@router.get(ADDITIONS + "/{addition}", responses=DOCUMENT, response_class=Response)
async def get_addition(
    api: Api,
    name: Repository,
    reference: str,
    addition: Addition,
    ref: Annotated[ProjectRef, inside_named("artifact-addition", "read")],
) -> Response:
    """Build history, a file of a chart or model, or a bill of materials."""
    found = await api.additions.read(name, reference, addition)
    # Somebody pushed it: no browser may take it for anything else than it is said to be.
    headers = {"Content-Length": str(found.size), "X-Content-Type-Options": "nosniff"}
    return StreamingResponse(found.pieces, media_type=found.content_type, headers=headers)
