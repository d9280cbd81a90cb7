"""Checking the rules of a policy, and keeping them as JSON data."""

from collections.abc import Iterable, Mapping
from typing import Any

import orjson

from moorage.errors import Conflict, Invalid
from moorage.projects import selectors
from moorage.projects.selectors import OF_REPOSITORIES, OF_TAGS
from moorage.retention.records import Rule, Rules, TagSelector
from moorage.retention.templates import TEMPLATES

MAX_RULES = 15
"""Of one policy."""
MAX_COUNT = 32_766
"""Artifacts, or days, of one rule."""
MAX_SIZE = 64 << 10
"""Bytes of all rules of a policy as JSON: each execution keeps those that it applies."""


def count_of(template: str, parameters: Mapping[str, Any]) -> int:
    """The parameter of a template from a request; raises Invalid."""
    if template not in TEMPLATES:
        raise Invalid(f"unknown template {template[:64]!r}; use one of {', '.join(TEMPLATES)}")
    if not TEMPLATES[template].unit:
        return 0
    sent = parameters.get(template)
    if isinstance(sent, float) and sent.is_integer():
        sent = int(sent)
    if not isinstance(sent, int) or isinstance(sent, bool):
        raise Invalid(f"the template {template} needs a number with that name in params")
    if not 0 <= sent <= MAX_COUNT:
        raise Invalid(f"{template} is between 0 and {MAX_COUNT}")
    return sent


def untagged_of(extras: str) -> bool | None:
    """What the extras of a tag selector say of artifacts without tags; raises Invalid."""
    if not extras:
        return None
    try:
        said = orjson.loads(extras)
    except orjson.JSONDecodeError as error:
        raise Invalid('extras is JSON: {"untagged":true}') from error
    untagged = said.get("untagged") or False if isinstance(said, dict) else None
    if not isinstance(untagged, bool):
        raise Invalid('extras says {"untagged":true} or {"untagged":false}')
    return untagged


def check(rules: Iterable[Rule]) -> Rules:
    """Return `rules`; raises Invalid, and Conflict when two of them are the same."""
    found = tuple(rules)
    if len(found) > MAX_RULES:
        raise Invalid(f"only {MAX_RULES} rules are allowed at most")
    seen: dict[Any, int] = {}
    for place, rule in enumerate(found):
        selectors.check(rule.repositories, OF_REPOSITORIES, "scope_selectors")
        selectors.check((each.selector for each in rule.tags), OF_TAGS, "tag_selectors")
        if len(rule.tags) > selectors.MAX_SELECTORS:
            raise Invalid(f"tag_selectors holds at most {selectors.MAX_SELECTORS} selectors")
        same = _identity(rule)
        if same in seen:
            raise Conflict(f"rule {place} is conflict with rule {seen[same]}")
        seen[same] = place
    if len(orjson.dumps(dump(found))) > MAX_SIZE:
        raise Invalid(f"the rules of a policy have at most {MAX_SIZE} bytes")
    return found


def _identity(rule: Rule) -> Any:
    """What makes it another rule; the order of selectors does not."""
    places, tags = frozenset(rule.repositories), frozenset(rule.tags)
    return rule.template, rule.count, places, tags, rule.disabled


def dump(rules: Iterable[Rule]) -> list[dict[str, Any]]:
    """Rules as JSON data."""
    return [
        {
            "template": rule.template,
            "count": rule.count,
            "repositories": selectors.dump(rule.repositories),
            "tags": [
                {**selectors.dump([each.selector])[0], "untagged": each.untagged}
                for each in rule.tags
            ],
            "disabled": rule.disabled,
            "priority": rule.priority,
        }
        for rule in rules
    ]


def load(rows: Iterable[Any]) -> Rules:
    """The inverse of `dump`."""
    return tuple(
        Rule(
            template=row["template"],
            count=row["count"],
            repositories=selectors.load(row["repositories"]),
            tags=tuple(
                TagSelector(selectors.load([each])[0], each["untagged"]) for each in row["tags"]
            ),
            disabled=row["disabled"],
            priority=row["priority"],
        )
        for row in rows
    )
