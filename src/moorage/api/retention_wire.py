"""Tag retention on the wire: the schemas, what they are read as, and how they are printed."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, ClassVar

import orjson
from pydantic import Field

from moorage.api.wire import Text, Wire
from moorage.db.queries import LARGEST
from moorage.errors import Invalid
from moorage.jobs.records import PENDING, RUNNING, Execution, Task
from moorage.projects.selectors import Selector
from moorage.retention import Policy, Previewed, Rule, TagSelector
from moorage.retention.rules import count_of, untagged_of
from moorage.retention.templates import TEMPLATES

ALGORITHM, LEVEL, TRIGGER, ACTION = "or", "project", "Schedule", "retain"
_SCOPE = "repository"
_CODES = {PENDING: 0, RUNNING: 2}
"""Harbor's numbers of states; every other one has ended."""
_ENDED = 3


class RetentionRuleParamMetadata(Wire):
    """A parameter of a template."""

    type: str = ""
    unit: str = ""
    required: bool = False


class RetentionRuleMetadata(Wire):
    """A template."""

    rule_template: str = ""
    display_text: str = ""
    action: str = ""
    params: list[RetentionRuleParamMetadata] = Field(default_factory=list)


class RetentionSelectorMetadata(Wire):
    """What selectors there are."""

    display_text: str = ""
    kind: str = ""
    decorations: list[str] = Field(default_factory=list)


class RetentionMetadata(Wire):
    """What rules can be made of."""

    templates: list[RetentionRuleMetadata] = Field(default_factory=list)
    scope_selectors: list[RetentionSelectorMetadata] = Field(default_factory=list)
    tag_selectors: list[RetentionSelectorMetadata] = Field(default_factory=list)


class RetentionSelector(Wire):
    """A condition on the names of tags or repositories."""

    kind: Text = ""
    decoration: Text = ""
    pattern: Text = ""
    extras: Text = ""


class RetentionRule(Wire):
    """A rule; its id is its place in the policy."""

    kept: ClassVar[frozenset[str]] = frozenset({"params"})

    id: int = 0
    priority: Annotated[int, Field(ge=0, lt=2**31)] = 0
    disabled: bool = False
    action: Text = ""
    template: Text = ""
    params: dict[Text, Any] = Field(default_factory=dict)
    tag_selectors: list[RetentionSelector] = Field(default_factory=list)
    scope_selectors: dict[Text, list[RetentionSelector]] = Field(default_factory=dict)


class RetentionRuleTrigger(Wire):
    """When a policy is applied: settings.cron, with seconds and in UTC, may be empty."""

    kept: ClassVar[frozenset[str]] = frozenset({"settings", "references"})

    kind: Text = ""
    settings: dict[Text, Any] = Field(default_factory=dict)
    references: dict[Text, Any] = Field(default_factory=dict)


class RetentionPolicyScope(Wire):
    """The project of a policy."""

    level: Text = ""
    ref: int = 0


class RetentionPolicy(Wire):
    """A policy."""

    id: int = 0
    algorithm: Text = ""
    rules: list[RetentionRule] = Field(default_factory=list)
    trigger: RetentionRuleTrigger = Field(default_factory=RetentionRuleTrigger)
    scope: RetentionPolicyScope = Field(default_factory=RetentionPolicyScope)


class RetentionRun(Wire):
    """How to apply a policy now."""

    dry_run: bool = False


class RetentionAction(Wire):
    """What to do to an execution."""

    action: Text = ""


class RetentionExecution(Wire):
    """An application of a policy."""

    kept: ClassVar[frozenset[str]] = frozenset({"dry_run"})

    id: int = 0
    policy_id: int = 0
    start_time: datetime | None = None
    end_time: datetime | None = None
    status: str = ""
    trigger: str = ""
    dry_run: bool = False


class RetentionExecutionTask(Wire):
    """The part of an execution that is about one repository."""

    kept: ClassVar[frozenset[str]] = frozenset({"status_code", "total", "retained"})

    id: int = 0
    execution_id: int = 0
    repository: str = ""
    job_id: str = ""
    status: str = ""
    status_code: int = 0
    status_revision: int = 0
    start_time: datetime | None = None
    end_time: datetime | None = None
    total: int = 0
    retained: int = 0


class RetentionPreviewRule(Wire):
    """A rule that keeps an artifact."""

    kept: ClassVar[frozenset[str]] = frozenset({"id"})

    id: int = 0
    template: str = ""


class RetentionPreviewArtifact(Wire):
    """What would happen to one artifact."""

    kept: ClassVar[frozenset[str]] = frozenset({"retained"})

    repository: str = ""
    digest: str = ""
    tags: list[str] = Field(default_factory=list)
    push_time: datetime | None = None
    pull_time: datetime | None = None
    retained: bool = False
    reason: str = ""  # rule, immutable, index or accessory
    rules: list[RetentionPreviewRule] = Field(default_factory=list)


# --- reading and printing


def read_rules(body: RetentionPolicy) -> list[Rule]:
    """The rules of a body; raises Invalid."""
    if body.algorithm not in ("", ALGORITHM):
        raise Invalid(f"the algorithm of a retention policy is {ALGORITHM}")
    return [_rule(rule) for rule in body.rules]


def _rule(sent: RetentionRule) -> Rule:
    if sent.action not in ("", ACTION):
        raise Invalid(f"the action of a retention rule is {ACTION}")
    if sent.scope_selectors.keys() - {_SCOPE}:
        raise Invalid(f"scope_selectors holds one list, with the name {_SCOPE}")
    places = sent.scope_selectors.get(_SCOPE, ())
    return Rule(
        template=sent.template,
        count=count_of(sent.template, sent.params),
        repositories=tuple(_selector(each) for each in places),
        tags=tuple(TagSelector(_selector(s), untagged_of(s.extras)) for s in sent.tag_selectors),
        disabled=sent.disabled,
        priority=sent.priority,
    )


def _selector(sent: RetentionSelector) -> Selector:
    return Selector(sent.kind, sent.decoration, sent.pattern)


def read_cron(body: RetentionPolicy) -> str:
    """When to apply the policy; raises Invalid."""
    if body.trigger.kind not in ("", TRIGGER):
        raise Invalid(f"the trigger of a retention policy is {TRIGGER}")
    cron = body.trigger.settings.get("cron") or ""
    if not isinstance(cron, str):
        raise Invalid("settings.cron is a text")
    return cron.strip()


def read_project(scope: RetentionPolicyScope) -> int:
    """The project that a body names; raises Invalid."""
    if scope.level != LEVEL:
        raise Invalid(f"scope {scope.level[:64]} is not support")
    if not 0 < scope.ref <= LARGEST:
        raise Invalid(f"invalid Project id {scope.ref}")
    return scope.ref


def print_policy(policy: Policy) -> RetentionPolicy:
    """A policy."""
    return RetentionPolicy(
        id=policy.id,
        algorithm=ALGORITHM,
        rules=[_print_rule(place, rule) for place, rule in enumerate(policy.rules)],
        trigger=RetentionRuleTrigger(kind=TRIGGER, settings={"cron": policy.cron}),
        scope=RetentionPolicyScope(level=LEVEL, ref=policy.project_id),
    )


def _print_rule(place: int, rule: Rule) -> RetentionRule:
    return RetentionRule(
        id=place,
        priority=rule.priority,
        disabled=rule.disabled,
        action=ACTION,
        template=rule.template,
        params={rule.template: rule.count} if TEMPLATES[rule.template].unit else {},
        tag_selectors=[_print_selector(each.selector, each.untagged) for each in rule.tags],
        scope_selectors={_SCOPE: [_print_selector(each) for each in rule.repositories]},
    )


def _print_selector(selector: Selector, untagged: bool | None = None) -> RetentionSelector:
    return RetentionSelector(
        kind=selector.kind,
        decoration=selector.decoration,
        pattern=selector.pattern,
        extras="" if untagged is None else orjson.dumps({"untagged": untagged}).decode(),
    )


def print_execution(execution: Execution) -> RetentionExecution:
    """An application of a policy."""
    return RetentionExecution(
        id=execution.id,
        policy_id=execution.vendor_id,
        start_time=execution.created_at,
        end_time=execution.ended_at,
        status=execution.status,
        trigger=execution.trigger,
        dry_run=execution.extra["dry_run"],
    )


def print_task(task: Task) -> RetentionExecutionTask:
    """The part about one repository."""
    return RetentionExecutionTask(
        id=task.id,
        execution_id=task.execution_id,
        repository=task.extra["repository"],
        job_id=str(task.id),
        status=task.status,
        status_code=_CODES.get(task.status, _ENDED),
        status_revision=task.revision,
        start_time=task.started_at,
        end_time=task.ended_at,
        total=task.extra["total"],
        retained=task.extra["retained"],
    )


def print_previewed(each: Previewed, rules: Sequence[Rule]) -> RetentionPreviewArtifact:
    """What would happen to one artifact; `rules` are those of the body."""
    found, decision = each.decision.candidate, each.decision
    return RetentionPreviewArtifact(
        repository=each.repository,
        digest=found.digest,
        tags=list(found.tags),
        push_time=found.pushed,
        pull_time=found.pulled,
        retained=decision.retained,
        reason=decision.reason,
        rules=[
            RetentionPreviewRule(id=place, template=rules[place].template)
            for place in decision.rules
        ],
    )
