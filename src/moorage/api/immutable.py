"""Rules that keep tags as they are: /projects/{p}/immutabletagrules."""

from collections.abc import Iterable
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request
from pydantic import Field
from starlette.responses import Response

from moorage.api.access import Api, Signed, inside
from moorage.api.lists import Listed, created, listing, lists
from moorage.api.wire import Text, Wire
from moorage.db.queries import LARGEST
from moorage.errors import Invalid
from moorage.projects import records
from moorage.projects.records import ProjectRef
from moorage.projects.selectors import Selector

router = APIRouter(tags=["immutable"])
PATH = "/projects/{project_name_or_id}/immutabletagrules"
RuleId = Annotated[
    int, Path(alias="immutable_rule_id", ge=0, le=LARGEST, description="The id of the rule.")
]

ACTION = "immutable"
TEMPLATE = "immutable_template"
_SCOPE = "repository"


class ImmutableSelector(Wire):
    """A condition on the names of tags or repositories."""

    kind: Text = ""
    decoration: Text = ""
    pattern: Text = ""
    extras: Text = ""  # of no meaning here


class ImmutableRule(Wire):
    """A rule."""

    id: int = 0
    priority: Annotated[int, Field(ge=0, lt=2**31)] = 0
    disabled: bool = False
    action: Text = ""
    template: Text = ""
    params: dict[str, Any] = Field(default_factory=dict)
    tag_selectors: list[ImmutableSelector] = Field(default_factory=list)
    scope_selectors: dict[Text, list[ImmutableSelector]] = Field(default_factory=dict)


def _selectors(body: ImmutableRule) -> tuple[list[Selector], list[Selector]]:
    """Those of repositories and those of tags; raises Invalid."""
    for name, wanted, sent in (
        ("action", ACTION, body.action),
        ("template", TEMPLATE, body.template),
    ):
        if sent not in ("", wanted):
            raise Invalid(f"the {name} of an immutable tag rule is {wanted}")
    if body.scope_selectors.keys() - {_SCOPE}:
        raise Invalid(f"scope_selectors holds one list, with the name {_SCOPE}")
    return _read(body.scope_selectors.get(_SCOPE, ())), _read(body.tag_selectors)


def _read(sent: Iterable[ImmutableSelector]) -> list[Selector]:
    return [Selector(each.kind, each.decoration, each.pattern) for each in sent]


def _printed(selectors: Iterable[Selector]) -> list[ImmutableSelector]:
    return [
        ImmutableSelector(kind=each.kind, decoration=each.decoration, pattern=each.pattern)
        for each in selectors
    ]


def _rule(rule: records.ImmutableRule) -> ImmutableRule:
    return ImmutableRule(
        id=rule.id,
        priority=rule.priority,
        disabled=rule.disabled,
        action=ACTION,
        template=TEMPLATE,
        tag_selectors=_printed(rule.tags),
        scope_selectors={_SCOPE: _printed(rule.repositories)},
    )


@router.get(PATH, **lists(ImmutableRule))
async def list_immutable_rules(
    request: Request,
    api: Api,
    query: Listed,
    ref: Annotated[ProjectRef, inside("immutable-tag", "list")],
) -> Response:
    """The rules of a project, the oldest first."""
    page = await api.immutable_rules.list(ref.id, query)
    return listing(request, query, page, [_rule(rule) for rule in page.items])


@router.post(PATH, status_code=201)
async def create_immutable_rule(
    request: Request,
    api: Api,
    who: Signed,
    body: ImmutableRule,
    ref: Annotated[ProjectRef, inside("immutable-tag", "create")],
) -> Response:
    """Keep tags as they are from now on."""
    repositories, tags = _selectors(body)
    rule_id = await api.immutable_rules.create(
        who, ref.id, repositories, tags, disabled=body.disabled, priority=body.priority
    )
    return created(request, rule_id)


@router.put(PATH + "/{immutable_rule_id}")
async def update_immutable_rule(
    api: Api,
    who: Signed,
    rule_id: RuleId,
    body: ImmutableRule,
    ref: Annotated[ProjectRef, inside("immutable-tag", "update")],
) -> Response:
    """Replace a rule; a body without selectors only disables or enables it."""
    repositories, tags = _selectors(body)
    if not repositories and not tags:
        await api.immutable_rules.switch(who, ref.id, rule_id, disabled=body.disabled)
    else:
        await api.immutable_rules.change(
            who,
            ref.id,
            rule_id,
            repositories,
            tags,
            disabled=body.disabled,
            priority=body.priority,
        )
    return Response(status_code=200)


@router.delete(PATH + "/{immutable_rule_id}")
async def delete_immutable_rule(
    api: Api,
    who: Signed,
    rule_id: RuleId,
    ref: Annotated[ProjectRef, inside("immutable-tag", "delete")],
) -> Response:
    """Let the tags go that only this rule kept."""
    await api.immutable_rules.delete(who, ref.id, rule_id)
    return Response(status_code=200)
