"""Labels: /labels. `scope` is `g` for global ones and `p` for those of a project.

    scope  list, q                      read, create, update, delete
    g      whoever is signed in         the pair in the system scope
    p      label:list in the project    the pair in the project

Everybody may choose among the global labels; managing them is for administrators, and for robot
accounts of the system.
"""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Path, Query, Request
from pydantic import Field
from starlette.responses import Response

from moorage.access.principals import Principal
from moorage.api.access import Api, Signed, Who, allowed, refusal
from moorage.api.lists import Listed, created, listing, lists
from moorage.api.services import Services
from moorage.api.wire import Text, Wire, reply
from moorage.db.queries import LARGEST, Fuzzy
from moorage.errors import Invalid, NotFound
from moorage.projects import records

router = APIRouter(tags=["label"])
LabelId = Annotated[int, Path(ge=0, le=LARGEST, description="The id of the label.")]


class LabelReq(Wire):
    """A label as a client describes it; scope and project cannot change later."""

    name: Text = ""
    description: Text = ""
    color: Text = ""
    scope: Text = ""
    project_id: Annotated[int, Field(ge=0, le=LARGEST)] = 0


class LabelResp(Wire):
    """A label."""

    id: int = 0
    name: str = ""
    description: str = ""
    color: str = ""
    scope: str = ""
    project_id: int = 0
    creation_time: datetime | None = None
    update_time: datetime | None = None


def render_label(label: records.Label) -> LabelResp:
    """A label as its clients read it."""
    return LabelResp(
        id=label.id,
        name=label.name,
        description=label.description,
        color=label.color,
        scope="g" if label.project_id is None else "p",
        project_id=label.project_id or 0,
        creation_time=label.created_at,
        update_time=label.updated_at,
    )


def _project(scope: str, project_id: int) -> int | None:
    """The project of a scope, None for the global one; raises Invalid."""
    if scope == "g":
        return None
    if scope != "p":
        raise Invalid("scope is g for global labels or p for the labels of a project")
    if not project_id:
        raise Invalid("scope p needs project_id, the id of the project")
    return project_id


async def _require(api: Services, who: Principal, project_id: int | None, action: str) -> None:
    if project_id is not None:
        await allowed(api, who, await api.grants.project_by_id(project_id), "label", action)
    elif ("label", action) not in await api.grants.system(who):
        raise refusal(who)


async def _label(api: Services, who: Principal, label_id: int, action: str) -> records.Label:
    """The label, when the caller may do that with it."""
    try:
        label = await api.labels.get(label_id)
    except NotFound as error:
        raise refusal(who) if who.kind == "anonymous" else error from None
    await _require(api, who, label.project_id, action)
    return label


@router.get("/labels", **lists(LabelResp))
async def list_labels(
    request: Request,
    api: Api,
    who: Who,
    query: Listed,
    name: Annotated[str, Query(description="Part of the label's name.")] = "",
    scope: Annotated[str, Query(description="g: global, p: of a project.")] = "",
    project_id: Annotated[
        int, Query(ge=0, le=LARGEST, description="The project's id, with scope p.")
    ] = 0,
    with_global: Annotated[
        bool, Query(description="The global labels as well, with scope p.")
    ] = False,
) -> Response:
    """The labels of one scope, by name."""
    project = _project(scope, project_id)
    if project is not None:
        await _require(api, who, project, "list")
    if who.kind == "anonymous" and (project is None or with_global):
        raise refusal(who)
    if name:
        query = query.with_filter("name", Fuzzy(name))
    page = await api.labels.list(project, query, everybodys=with_global)
    return listing(request, query, page, [render_label(label) for label in page.items])


@router.post("/labels", status_code=201)
async def create_label(request: Request, api: Api, who: Signed, body: LabelReq) -> Response:
    """Make a label."""
    project = _project(body.scope, body.project_id)
    await _require(api, who, project, "create")
    label_id = await api.labels.create(
        who, project, body.name, description=body.description, color=body.color
    )
    return created(request, label_id)


@router.get("/labels/{label_id}", response_model=LabelResp)
async def get_label_by_id(api: Api, who: Who, label_id: LabelId) -> Response:
    """One label."""
    return reply(render_label(await _label(api, who, label_id, "read")))


@router.put("/labels/{label_id}")
async def update_label(api: Api, who: Who, label_id: LabelId, body: LabelReq) -> Response:
    """Replace name, description and color; artifacts that carry the label keep it."""
    await _label(api, who, label_id, "update")
    await api.labels.change(
        who, label_id, body.name, description=body.description, color=body.color
    )
    return Response(status_code=200)


@router.delete("/labels/{label_id}")
async def delete_label(api: Api, who: Who, label_id: LabelId) -> Response:
    """Delete a label, and take it off every artifact."""
    await _label(api, who, label_id, "delete")
    await api.labels.delete(who, label_id)
    return Response(status_code=200)
