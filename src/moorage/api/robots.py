"""Robot accounts: /robots. The domain decides who may give which rights.

What was lent makes and changes none: a robot account would outlive the loan.
"""

from collections.abc import Awaitable, Iterable
from datetime import datetime
from typing import Annotated, ClassVar, Literal, TypeVar, cast

from fastapi import APIRouter, Path, Request
from pydantic import Field
from starlette.responses import Response

from moorage.access.principals import Principal
from moorage.accounts import records
from moorage.api.access import Api, InPerson, Signed, allowed, refusal
from moorage.api.lists import Listed, address, listing, lists
from moorage.api.services import Services
from moorage.api.wire import Text, Wire, reply
from moorage.db.queries import LARGEST, Exact, Query
from moorage.errors import Invalid, NotFound

router = APIRouter(tags=["robot"])
RobotId = Annotated[int, Path(ge=0, le=LARGEST)]
Level = Literal["system", "project"]
T = TypeVar("T")


class Access(Wire):
    """One pair."""

    resource: Text = ""
    action: Text = ""
    effect: Text = ""


class RobotPermission(Wire):
    """Pairs in one scope."""

    kind: Text = ""
    namespace: Text = ""
    access: Annotated[list[Access], Field(max_length=1000)] = Field(default_factory=list)


Permissions = Annotated[list[RobotPermission], Field(max_length=1000)]


class RobotResp(Wire):
    """A robot account, without its secret."""

    kept: ClassVar[frozenset[str]] = frozenset({"editable", "disable"})
    id: int = 0
    name: str = ""
    description: str = ""
    secret: str = ""
    level: str = ""
    duration: int | None = None
    editable: bool = False
    disable: bool = False
    expires_at: int = 0
    permissions: Permissions = Field(default_factory=list)
    creator_type: str = ""
    creator_ref: int = 0
    creation_time: datetime | None = None
    update_time: datetime | None = None


class RobotCreate(Wire):
    """A new robot account."""

    name: Text = ""
    description: Text = ""
    secret: Text = ""
    level: Text = ""
    disable: bool = False
    duration: int | None = Field(default=None, description="Days; -1 for ever.")
    permissions: Permissions = Field(default_factory=list)


class RobotUpdate(Wire):
    """What may change; what is left out stays."""

    name: Text | None = None
    level: Text | None = None
    description: Text | None = None
    disable: bool | None = None
    duration: int | None = None
    permissions: Permissions | None = None


class RobotCreated(Wire):
    """A new robot account with its secret, which is shown this once."""

    id: int = 0
    name: str = ""
    secret: str = ""
    creation_time: datetime | None = None
    expires_at: int = 0


class RobotSec(Wire):
    """A secret; empty to have one made."""

    secret: Text = ""


def _expiry(robot: records.Robot) -> int:
    return int(robot.expires_at.timestamp()) if robot.expires_at else -1


def _robot(robot: records.Robot) -> RobotResp:
    kind, _, creator = robot.creator.partition(":")
    return RobotResp(
        id=robot.id,
        name=robot.name,
        description=robot.description,
        level=robot.level,
        duration=robot.duration,
        editable=True,
        disable=robot.disabled,
        expires_at=_expiry(robot),
        permissions=to_wire(robot.permissions),
        creator_type="robot" if kind == "robot" else "local",
        creator_ref=int(creator) if creator.isdigit() else 0,
        creation_time=robot.created_at,
        update_time=robot.updated_at,
    )


def to_wire(permissions: Iterable[records.Permission]) -> list[RobotPermission]:
    """Rights as the API shows them."""
    return [
        RobotPermission(
            kind=permission.kind,
            namespace=permission.namespace,
            access=[Access(resource=r, action=a) for r, a in sorted(permission.access)],
        )
        for permission in permissions
    ]


def from_wire(wanted: list[RobotPermission]) -> list[records.Permission]:
    """Rights as the domain takes them; raises Invalid."""
    if any(access.effect not in ("", "allow") for item in wanted for access in item.access):
        raise Invalid("a permission can only allow")
    return [
        records.Permission(
            cast(Level, item.kind),  # checked by the domain
            item.namespace,
            frozenset((access.resource, access.action) for access in item.access),
        )
        for item in wanted
    ]


async def hidden(who: Principal, work: Awaitable[T]) -> T:
    """What is missing is told to administrators only: to others it looks forbidden."""
    try:
        return await work
    except NotFound as error:
        if who.sysadmin:
            raise
        raise refusal(who) from error


async def readable_robot(api: Services, who: Principal, robot_id: int) -> records.Robot:
    """The robot account, when the caller may read it; raises what the caller shall see."""
    robot = await hidden(who, api.robots.get(robot_id))
    await _require(api, who, robot.project_id, "read")
    return robot


async def _require(api: Services, who: Principal, project_id: int | None, action: str) -> None:
    if project_id is not None:
        await allowed(api, who, await api.grants.project_by_id(project_id), "robot", action)
    elif ("robot", action) not in await api.grants.system(who):
        raise refusal(who)


@router.get("/robots", **lists(RobotResp))
async def list_robots(request: Request, api: Api, who: Signed, query: Listed) -> Response:
    """Robot accounts of the system; with q=Level=project,ProjectID=1 those of a project."""
    query, project_id = _scope(query)
    await _require(api, who, project_id, "list")
    page = await api.robots.list(query)
    return listing(request, query, page, [_robot(robot) for robot in page.items])


def _scope(query: Query) -> tuple[Query, int | None]:
    """The query within one scope, and the id of its project."""
    level = query.filters.get("level", Exact("system"))
    if level == Exact("system"):
        return query.with_filter("level", level), None
    if level != Exact("project"):
        raise Invalid("bad request error level input")
    project = query.filters.get("project_id")
    if not isinstance(project, Exact) or not (
        project.value.isascii() and project.value.isdigit() and len(project.value) < 19
    ):
        raise Invalid("must with project ID when to query project robots")
    return query, int(project.value)


@router.post("/robots", status_code=201, response_model=RobotCreated)
async def create_robot(request: Request, api: Api, who: InPerson, body: RobotCreate) -> Response:
    """Make a robot account."""
    if body.level not in ("system", "project"):
        raise Invalid(f"bad request error level input: {body.level[:64]}")
    made = await hidden(
        who,
        api.robots.create(
            who,
            name=body.name,
            level=cast(Level, body.level),
            permissions=from_wire(body.permissions),
            duration=body.duration,
            description=body.description,
            disabled=body.disable,
            secret=body.secret or None,
        ),
    )
    return reply(
        RobotCreated(
            id=made.robot.id,
            name=made.robot.name,
            secret=made.secret,
            creation_time=made.robot.created_at,
            expires_at=_expiry(made.robot),
        ),
        status=201,
        headers={"Location": f"{address(request)}/{made.robot.id}"},
    )


@router.get("/robots/{robot_id}", response_model=RobotResp)
async def get_robot(api: Api, who: Signed, robot_id: RobotId) -> Response:
    """One robot account."""
    return reply(_robot(await readable_robot(api, who, robot_id)))


@router.put("/robots/{robot_id}")
async def update_robot(api: Api, who: InPerson, robot_id: RobotId, body: RobotUpdate) -> Response:
    """Change a robot account; its name and level stay."""
    robot = await readable_robot(api, who, robot_id)
    if body.name not in (None, robot.name) or body.level not in (None, robot.level):
        raise Invalid("cannot update the level or name of robot")
    work = api.robots.update(
        who,
        robot_id,
        description=body.description,
        disabled=body.disable,
        duration=body.duration,
        permissions=None if body.permissions is None else from_wire(body.permissions),
    )
    await hidden(who, work)
    return Response(status_code=200)


@router.patch("/robots/{robot_id}", response_model=RobotSec)
async def refresh_secret(api: Api, who: InPerson, robot_id: RobotId, body: RobotSec) -> Response:
    """Set a secret; one that was made here is shown this once."""
    secret = await hidden(who, api.robots.refresh(who, robot_id, body.secret or None))
    return reply(RobotSec(secret="" if body.secret else secret))


@router.delete("/robots/{robot_id}")
async def delete_robot(api: Api, who: Signed, robot_id: RobotId) -> Response:
    """Delete a robot account."""
    await hidden(who, api.robots.delete(who, robot_id))
    return Response(status_code=200)
