"""The templates of rules: what each keeps of the artifacts that a rule selects.

    template             parameter   keeps
    latestPushedK        count       those that were pushed last
    latestPulledN        count       those that were pulled last; what never was comes after them
    latestActiveK        count       those that were pushed or pulled last
    nDaysSinceLastPush   days        what was pushed in the last days
    nDaysSinceLastPull   days        what was pulled in the last days
    lastXDays            days        what was pushed in the last days
    always               -           everything
    nothing              -           nothing: what no other rule keeps goes

What was never pulled counts as that and not as pulled when it was pushed, as in Harbor: a policy
that comes from there keeps the same artifacts here, and none takes the place of one in use.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from heapq import nlargest
from typing import Any

from moorage.retention.records import Candidate

Keep = Callable[[Iterable[Candidate], int, datetime], Iterable[Candidate]]
"""Of these, with the parameter, at that moment."""

COUNT, DAYS = "COUNT", "DAYS"
_NEVER = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Template:
    """One kind of rule."""

    text: str  # as portals show it
    unit: str  # of its parameter; empty: it has none
    keep: Keep
    shown: bool = True  # whether portals offer it


def _pushed(candidate: Candidate) -> tuple[Any, ...]:
    return candidate.pushed, candidate.id


def _pulled(candidate: Candidate) -> tuple[Any, ...]:
    return candidate.pulled or _NEVER, candidate.pushed, candidate.id


def _active(candidate: Candidate) -> tuple[Any, ...]:
    return max(candidate.pushed, candidate.pulled or _NEVER), candidate.id


def _latest(key: Callable[[Candidate], tuple[Any, ...]]) -> Keep:
    return lambda candidates, count, at: nlargest(count, candidates, key=key)


def _within(moment: Callable[[Candidate], datetime | None]) -> Keep:
    def keep(candidates: Iterable[Candidate], days: int, at: datetime) -> Iterable[Candidate]:
        since = at - timedelta(days=days)
        return (each for each in candidates if (moment(each) or _NEVER) >= since)

    return keep


TEMPLATES: Mapping[str, Template] = {
    "latestPushedK": Template("the most recently pushed # artifacts", COUNT, _latest(_pushed)),
    "latestPulledN": Template("the most recently pulled # artifacts", COUNT, _latest(_pulled)),
    "nDaysSinceLastPush": Template(
        "pushed within the last # days", DAYS, _within(lambda each: each.pushed)
    ),
    "nDaysSinceLastPull": Template(
        "pulled within the last # days", DAYS, _within(lambda each: each.pulled)
    ),
    "always": Template("always", "", lambda candidates, count, at: candidates),
    "latestActiveK": Template(
        "the most recently active # artifacts", COUNT, _latest(_active), shown=False
    ),
    "lastXDays": Template(
        "the artifacts from the last # days", DAYS, _within(lambda each: each.pushed), shown=False
    ),
    "nothing": Template("none", "", lambda candidates, count, at: (), shown=False),
}
"""Every template by its name, which is that of its parameter as well."""
