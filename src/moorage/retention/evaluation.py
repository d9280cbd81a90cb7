"""Deciding what stays: no I/O, and the same answer for a preview, a dry run and a run."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime

from moorage.retention.records import (
    ACCESSORY,
    IMMUTABLE,
    INDEX,
    RULE,
    UNRULED,
    Candidate,
    Decision,
    Rule,
    Rules,
)
from moorage.retention.templates import TEMPLATES

Covering = Mapping[int, Rule]
"""Rules by their places in the policy."""


def covering(rules: Rules, repository: str) -> Covering:
    """The enabled rules that are about a repository, which is named without its project."""
    return {place: rule for place, rule in enumerate(rules) if rule.covers(repository)}


def decide(
    rules: Covering, candidates: Sequence[Candidate], immutable: Collection[str], at: datetime
) -> list[Decision]:
    """What happens to each of the candidates of one repository.

    `rules` are about it, `immutable` are its tags that do not go. Without any rule all stays.
    """
    own = [each for each in candidates if not each.tied]
    kept = _kept(rules, own, at)
    doomed: dict[int, Candidate] = {}
    reasons: dict[int, str] = {}
    for each in candidates:
        if each.tied:
            reasons[each.id] = ACCESSORY
        elif not rules:
            reasons[each.id] = UNRULED
        elif each.id in kept:
            reasons[each.id] = RULE
        elif any(tag in immutable for tag in each.tags):
            reasons[each.id] = IMMUTABLE
        else:
            doomed[each.id] = each
    # An index comes before what it names.
    for each in sorted(doomed.values(), key=lambda each: -each.depth):
        if any(index not in doomed for index in each.indexes):
            del doomed[each.id]
            reasons[each.id] = INDEX
    return [Decision(each, reasons.get(each.id, ""), kept.get(each.id, ())) for each in candidates]


def _kept(
    rules: Covering, candidates: Sequence[Candidate], at: datetime
) -> Mapping[int, tuple[int, ...]]:
    """The places of the rules that keep it, by the id of a candidate that one does."""
    found: dict[int, tuple[int, ...]] = {}
    known: dict[tuple[int, ...], tuple[int, ...]] = {}  # there are few: 100,000 share them
    for place, rule in rules.items():
        selected = [each for each in candidates if rule.selects(each.tags)]
        for each in TEMPLATES[rule.template].keep(selected, rule.count, at):
            places = (*found.get(each.id, ()), place)
            found[each.id] = known.setdefault(places, places)
    return found
