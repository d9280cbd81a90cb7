"""Rules of retention and immutability, and what they would do."""

from typing import Any

from pydantic import Field

from moorage.portal.shapes.shape import Moment, Shape


class Selector(Shape):
    """A condition on names."""

    kind: str = ""
    decoration: str = ""
    pattern: str = ""
    extras: str = ""


class Rule(Shape):
    """A rule of retention or immutability."""

    id: int = 0
    disabled: bool = False
    action: str = ""
    template: str = ""
    params: dict[str, Any] = Field(default_factory=dict)
    tag_selectors: list[Selector] = Field(default_factory=list)
    scope_selectors: dict[str, list[Selector]] = Field(default_factory=dict)


class Trigger(Shape):
    """When a policy is applied."""

    kind: str = ""
    settings: dict[str, Any] = Field(default_factory=dict)


class Retention(Shape):
    """The retention policy of a project."""

    id: int = 0
    rules: list[Rule] = Field(default_factory=list)
    trigger: Trigger = Trigger()


class Previewed(Shape):
    """What would happen to an artifact."""

    repository: str = ""
    digest: str = ""
    tags: list[str] = Field(default_factory=list)
    push_time: Moment = None
    pull_time: Moment = None
    retained: bool = False
    reason: str = ""
