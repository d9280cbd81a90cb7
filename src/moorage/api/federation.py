"""Federation rules of robot accounts: /robots/{robot_id}/federation-rules. Ours, not Harbor's."""

from datetime import datetime
from typing import Annotated, Any, ClassVar

from fastapi import APIRouter, Path, Request
from pydantic import Field
from starlette.responses import Response

from moorage.access.principals import Principal
from moorage.accounts import federation
from moorage.accounts.federation import judge
from moorage.accounts.federation.rules import DEFAULT_LIFETIME, MAX_RULES, RuleValues
from moorage.api.access import Api, InPerson, Signed, in_system
from moorage.api.lists import Listed, created, listing, lists
from moorage.api.robots import RobotId, hidden, readable_robot
from moorage.api.wire import Json, Text, Wire, reply
from moorage.db.queries import LARGEST, Query

router = APIRouter(tags=["federation"])
PATH = "/robots/{robot_id}/federation-rules"
RuleId = Annotated[int, Path(ge=0, le=LARGEST)]


class ClaimRule(Wire):
    """What one claim of the token has to be."""

    claim: Text = Field(default="", description="A name, or a JSON pointer: /a.b/c")
    kind: Text = Field(default="exact", description="exact, doublestar or regex")
    pattern: Text = ""


class FederationRuleReq(Wire):
    """What a rule says."""

    name: Text = ""
    issuer: Text = Field(default="", description="As the tokens say it in iss.")
    audience: Text = Field(default="", description="What the tokens have to be made for (aud).")
    claims: Annotated[list[ClaimRule], Field(max_length=1000)] = Field(default_factory=list)
    jwks: Json = Field(
        default=None, description="The issuer's keys, of one that cannot be asked for them."
    )
    lifetime: int | None = Field(
        default=None,
        description=f"Seconds of what is lent; {DEFAULT_LIFETIME} if left out.",
    )
    disable: bool = False


class FederationRuleResp(Wire):
    """A rule."""

    kept: ClassVar[frozenset[str]] = frozenset({"disable"})
    id: int = 0
    name: str = ""
    robot_id: int = 0
    robot: str = ""
    project_id: int | None = None
    issuer: str = ""
    audience: str = ""
    claims: list[ClaimRule] = Field(default_factory=list)
    jwks: Json = None
    lifetime: int = 0
    disable: bool = False
    creation_time: datetime | None = None
    update_time: datetime | None = None


class TriedClaims(Wire):
    """The claims of a token, as a job shows them; the token itself is not needed."""

    claims: Json = None


class VerdictResp(Wire):
    """What a rule thinks of them."""

    kept: ClassVar[frozenset[str]] = frozenset({"lends"})
    id: int = 0
    name: str = ""
    lends: bool = False
    reasons: list[str] = Field(default_factory=list)


def _rule(rule: federation.Rule) -> FederationRuleResp:
    return FederationRuleResp(
        id=rule.id,
        name=rule.name,
        robot_id=rule.robot_id,
        robot=rule.robot,
        project_id=rule.project_id,
        issuer=rule.issuer,
        audience=rule.audience,
        claims=[
            ClaimRule(claim=item.claim, kind=item.kind, pattern=item.pattern)
            for item in rule.constraints
        ],
        jwks=rule.jwks,
        lifetime=rule.lifetime,
        disable=rule.disabled,
        creation_time=rule.created_at,
        update_time=rule.updated_at,
    )


def _values(body: FederationRuleReq) -> RuleValues:
    constraints = (federation.Constraint(c.claim, c.kind, c.pattern) for c in body.claims)
    return RuleValues(
        name=body.name,
        issuer=body.issuer,
        audience=body.audience,
        constraints=tuple(constraints),
        jwks=body.jwks,
        lifetime=body.lifetime,
        disabled=body.disable,
    )


@router.get("/federation-rules", **lists(FederationRuleResp))
async def list_all_federation_rules(
    request: Request,
    api: Api,
    query: Listed,
    _: Annotated[Principal, in_system("robot", "list")],
) -> Response:
    """Every rule of the installation."""
    page = await api.federation_rules.list(query)
    return listing(request, query, page, [_rule(rule) for rule in page.items])


@router.get(PATH, **lists(FederationRuleResp))
async def list_federation_rules(
    request: Request, api: Api, who: Signed, robot_id: RobotId, query: Listed
) -> Response:
    """The rules of a robot account, for whoever may read it."""
    await readable_robot(api, who, robot_id)
    page = await api.federation_rules.list(query, robot_id)
    return listing(request, query, page, [_rule(rule) for rule in page.items])


@router.post(PATH, status_code=201)
async def create_federation_rule(
    request: Request, api: Api, who: InPerson, robot_id: RobotId, body: FederationRuleReq
) -> Response:
    """Let tokens of an issuer open the robot account."""
    rule_id = await hidden(who, api.federation_rules.create(who, robot_id, _values(body)))
    return created(request, rule_id)


@router.post(PATH + "/try", response_model=list[VerdictResp])
async def try_federation_rules(
    api: Api, who: Signed, robot_id: RobotId, body: TriedClaims
) -> Response:
    """Which rules of the robot account would take these claims, and why not; lends nothing."""
    await readable_robot(api, who, robot_id)
    page = await api.federation_rules.list(Query(size=MAX_RULES), robot_id)
    claims: Any = body.claims if isinstance(body.claims, dict) else {}
    verdicts = await judge(page.items, claims)
    return reply(
        [
            VerdictResp(id=v.rule.id, name=v.rule.name, lends=v.lends, reasons=list(v.reasons))
            for v in verdicts
        ]
    )


@router.get(PATH + "/{rule_id}", response_model=FederationRuleResp)
async def get_federation_rule(
    api: Api, who: Signed, robot_id: RobotId, rule_id: RuleId
) -> Response:
    """One rule of a robot account."""
    await readable_robot(api, who, robot_id)
    return reply(_rule(await api.federation_rules.get(robot_id, rule_id)))


@router.put(PATH + "/{rule_id}")
async def update_federation_rule(
    api: Api, who: InPerson, robot_id: RobotId, rule_id: RuleId, body: FederationRuleReq
) -> Response:
    """Say all of a rule anew; what it lent ends."""
    work = api.federation_rules.update(who, robot_id, rule_id, _values(body))
    await hidden(who, work)
    return Response(status_code=200)


@router.delete(PATH + "/{rule_id}")
async def delete_federation_rule(
    api: Api, who: Signed, robot_id: RobotId, rule_id: RuleId
) -> Response:
    """Forget a rule; what it lent ends."""
    await hidden(who, api.federation_rules.delete(who, robot_id, rule_id))
    return Response(status_code=200)
