"""Values that cross the border of `retention`; rows stay inside."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from moorage.projects import selectors
from moorage.projects.selectors import Selector, Selectors

MATCHES = "matches"


@dataclass(frozen=True, slots=True)
class TagSelector:
    """A condition on the tags of an artifact.

    One tag that fulfils it is enough. An artifact without tags fulfils it unless `untagged` says
    otherwise: whether the pattern, which is matched or excluded, stands for those as well.
    """

    selector: Selector
    untagged: bool | None = None  # None: it was not said

    def accepts(self, tags: Sequence[str]) -> bool:
        """Whether the condition holds for an artifact with these tags."""
        if tags:
            return any(self.selector.accepts(tag) for tag in tags)
        if self.untagged is None:
            return True
        return self.untagged == (self.selector.decoration == MATCHES)


@dataclass(frozen=True, slots=True)
class Rule:
    """What one rule keeps."""

    template: str  # a name in `templates.TEMPLATES`
    count: int  # of artifacts or of days; 0 when the template has none
    repositories: Selectors
    tags: tuple[TagSelector, ...]
    disabled: bool = False
    priority: int = 0  # for lists only: one rule that keeps is enough

    def covers(self, repository: str) -> bool:
        """Whether the rule is about a repository, which is named without its project."""
        return not self.disabled and selectors.accept(self.repositories, repository)

    def selects(self, tags: Sequence[str]) -> bool:
        """Whether the rule is about artifacts with these tags."""
        return all(selector.accepts(tags) for selector in self.tags)


Rules = tuple[Rule, ...]


@dataclass(frozen=True, slots=True)
class Policy:
    """The rules of a project, and when they are applied."""

    id: int
    project_id: int
    rules: Rules
    cron: str  # empty: only when somebody asks for it


@dataclass(frozen=True, slots=True)
class Candidate:
    """An artifact that stays or goes."""

    id: int
    digest: str
    kind: str  # its type, as IMAGE
    tags: tuple[str, ...]
    labels: tuple[str, ...]
    created: datetime  # when it was pushed first
    pushed: datetime  # when it, or a tag to it, was pushed last
    pulled: datetime | None  # the same of pulls; None: never
    depth: int  # indexes below it
    indexes: tuple[int, ...] = ()  # ids of those that name it
    mark: int = 0  # of its tags, see `candidates.mark`
    tied: bool = False  # a tag of cosign ties it to another manifest that is there


RULE, IMMUTABLE, INDEX, ACCESSORY = "rule", "immutable", "index", "accessory"
"""What keeps an artifact: a rule, a rule of immutable tags, an index that stays and names it, or
the manifest that it belongs to."""
UNRULED = "no rule"
"""No rule is about its repository."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What happens to a candidate."""

    candidate: Candidate
    reason: str  # what keeps it; empty: it goes
    rules: tuple[int, ...] = ()  # places of those that keep it, in their policy

    @property
    def retained(self) -> bool:
        """Whether it stays."""
        return bool(self.reason)
