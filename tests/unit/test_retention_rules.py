"""What rules keep: every template, every selector, and any rules against a plain model."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.retention import on_tags, rule

from moorage.errors import Conflict, Invalid
from moorage.projects.selectors import Selector
from moorage.retention.evaluation import covering, decide
from moorage.retention.records import Candidate, Rule, TagSelector
from moorage.retention.rules import (
    MAX_COUNT,
    MAX_RULES,
    check,
    count_of,
    dump,
    load,
    untagged_of,
)
from moorage.retention.templates import TEMPLATES

AT = datetime(2026, 6, 1, tzinfo=UTC)


def artifact(
    number: int,
    *tags: str,
    pushed: float = 0,
    pulled: float | None = None,
    depth: int = 0,
    indexes: tuple[int, ...] = (),
    tied: bool = False,
) -> Candidate:
    """One that was pushed and pulled so many days ago."""
    return Candidate(
        id=number,
        digest=f"sha256:{number:064}",
        kind="IMAGE",
        tags=tags,
        labels=(),
        created=AT - timedelta(days=pushed),
        pushed=AT - timedelta(days=pushed),
        pulled=None if pulled is None else AT - timedelta(days=pulled),
        depth=depth,
        indexes=indexes,
        tied=tied,
    )


def kept(
    rules: Sequence[Rule], candidates: Sequence[Candidate], immutable: Sequence[str] = ()
) -> set[int]:
    """Ids of what stays in the repository `app`."""
    decisions = decide(covering(tuple(rules), "app"), candidates, immutable, AT)
    return {each.candidate.id for each in decisions if each.retained}


SIX = [
    artifact(1, "v1", pushed=60, pulled=1),
    artifact(2, "v2", pushed=50),
    artifact(3, "v3", "latest", pushed=40, pulled=30),
    artifact(4, "dev", pushed=5, pulled=4),
    artifact(5, pushed=2),
    artifact(6, "v6", pushed=1),
]


@pytest.mark.parametrize(
    ("template", "count", "expected"),
    [
        ("latestPushedK", 2, {5, 6}),
        ("latestPushedK", 0, set()),
        ("latestPushedK", 99, {1, 2, 3, 4, 5, 6}),
        ("latestPulledN", 2, {1, 4}),
        ("latestPulledN", 4, {1, 4, 3, 6}),  # what was never pulled comes last, the newest first
        ("latestActiveK", 2, {1, 6}),
        ("nDaysSinceLastPush", 5, {4, 5, 6}),
        ("nDaysSinceLastPush", 0, set()),
        ("nDaysSinceLastPull", 4, {1, 4}),  # a push is no pull
        ("nDaysSinceLastPull", MAX_COUNT, {1, 3, 4}),
        ("lastXDays", 2, {5, 6}),
        ("always", 0, {1, 2, 3, 4, 5, 6}),
        ("nothing", 0, set()),
    ],
)
def test_a_template_keeps(template: str, count: int, expected: set[int]) -> None:
    assert kept([rule(template, count)], SIX) == expected


@pytest.mark.parametrize(
    ("selectors", "expected"),
    [
        ([on_tags("v*")], {1, 2, 3, 5, 6}),  # what has no tag is in, as in Harbor
        ([on_tags("v*", untagged=True)], {1, 2, 3, 5, 6}),
        ([on_tags("v*", untagged=False)], {1, 2, 3, 6}),
        ([on_tags("v*", decoration="excludes")], {3, 4, 5}),  # `latest` is another tag of 3
        ([on_tags("v*", untagged=False, decoration="excludes")], {3, 4, 5}),
        ([on_tags("v*", untagged=True, decoration="excludes")], {3, 4}),
        ([on_tags("v*"), on_tags("latest", decoration="excludes")], {1, 2, 3, 5, 6}),
        ([on_tags("v[1-2]", untagged=False, kind="regex")], {1, 2}),
        ([on_tags("nothing-like-it", untagged=False)], set()),
    ],
)
def test_selectors_of_tags_say_what_a_rule_is_about(
    selectors: list[TagSelector], expected: set[int]
) -> None:
    assert kept([rule("always", 0, *selectors)], SIX) == expected


def test_a_range_of_versions_selects_tags() -> None:
    found = [artifact(1, "1.2.3"), artifact(2, "v2.0.0"), artifact(3, "latest"), artifact(4)]
    assert kept([rule("always", 0, on_tags(">=2", False, kind="semver"))], found) == {2}


def test_the_latest_are_counted_among_what_the_selectors_select() -> None:
    assert kept([rule("latestPushedK", 2, on_tags("v*", untagged=False))], SIX) == {3, 6}


def test_one_rule_that_keeps_is_enough_and_every_one_is_told() -> None:
    rules = (
        rule("latestPushedK", 1),
        rule("always", 0, disabled=True),
        rule("nothing"),
        rule("nDaysSinceLastPull", 4),
        rule("always", 0, on_tags("v6", untagged=False)),
    )
    decisions = decide(covering(rules, "app"), SIX, (), AT)
    assert {each.candidate.id: each.rules for each in decisions if each.retained} == {
        1: (3,),
        4: (3,),
        6: (0, 4),
    }


@pytest.mark.parametrize(
    "rules",
    [
        [],
        [rule("nothing", disabled=True)],
        [rule("nothing", places="other/**")],
        [rule("nothing", places="app", decoration="repoExcludes")],
    ],
)
def test_without_an_enabled_rule_about_the_repository_all_stays(rules: list[Rule]) -> None:
    assert kept(rules, SIX) == {1, 2, 3, 4, 5, 6}


def test_an_immutable_tag_keeps_its_artifact_with_all_its_tags() -> None:
    assert kept([rule("nothing")], SIX, ["latest", "v6"]) == {3, 6}


def test_what_an_index_that_stays_names_stays_and_goes_with_it_else() -> None:
    found = [
        artifact(1, "amd64", indexes=(3,)),
        artifact(2, "arm64", indexes=(3, 4)),
        artifact(3, "multi", depth=1, indexes=(4,)),
        artifact(4, "outer", depth=2),
    ]
    assert kept([rule("always", 0, on_tags("outer"))], found) == {2, 3, 4, 1}
    assert kept([rule("always", 0, on_tags("multi"))], found) == {1, 2, 3}
    assert kept([rule("nothing")], found) == set()
    assert kept([rule("nothing")], [artifact(1, "v1", indexes=(9,))]) == {1}  # 9 is no candidate


def test_what_cosign_tied_to_a_manifest_stays_and_counts_for_nothing() -> None:
    found = [*SIX, artifact(7, "sha256-x.sig", tied=True)]
    assert kept([rule("latestPushedK", 1)], found) == {6, 7}


# --- any rules


PATTERNS = ("**", "v*", "v1", "{v1,v2}", "x")
TAGS = ("v1", "v2", "v3", "dev", "latest")


def _matches(pattern: str, tag: str) -> bool:
    wanted: dict[str, Any] = {
        "**": lambda: True,
        "v*": lambda: tag.startswith("v"),
        "v1": lambda: tag == "v1",
        "{v1,v2}": lambda: tag in ("v1", "v2"),
        "x": lambda: tag == "x",
    }
    return bool(wanted[pattern]())


def _selected(each: Candidate, rule: Rule) -> bool:
    for wanted in rule.tags:
        matching = wanted.selector.decoration == "matches"
        if not each.tags:
            said = matching if wanted.untagged is None else wanted.untagged
            fine = said if matching else not said
        else:
            hits = [_matches(wanted.selector.pattern, tag) == matching for tag in each.tags]
            fine = True in hits
        if not fine:
            return False
    return True


def _model(rules: Sequence[Rule], found: Sequence[Candidate], immutable: set[str]) -> set[int]:
    """Slow and plain: for each artifact and rule, how many others come before it."""
    active = [each for each in rules if not each.disabled]
    if not active:
        return {each.id for each in found}
    stays = set()
    for each in found:
        if immutable & set(each.tags):
            stays.add(each.id)
        for one in active:
            among = [other for other in found if _selected(other, one)]
            if each not in among:
                continue
            old = (AT - each.pushed).days
            read = None if each.pulled is None else (AT - each.pulled).days
            never = datetime(1, 1, 1, tzinfo=UTC)
            before = {
                "latestPushedK": [o for o in among if (o.pushed, o.id) > (each.pushed, each.id)],
                "latestPulledN": [
                    o
                    for o in among
                    if (o.pulled or never, o.pushed, o.id)
                    > (each.pulled or never, each.pushed, each.id)
                ],
                "latestActiveK": [
                    o
                    for o in among
                    if (max(o.pulled or never, o.pushed), o.id)
                    > (max(each.pulled or never, each.pushed), each.id)
                ],
            }
            if (
                one.template == "always"
                or (one.template in before and len(before[one.template]) < one.count)
                or (one.template in ("nDaysSinceLastPush", "lastXDays") and old <= one.count)
                or (one.template == "nDaysSinceLastPull" and read is not None and read <= one.count)
            ):
                stays.add(each.id)
    return stays


_SELECTORS = st.builds(
    lambda decoration, pattern, untagged: TagSelector(
        Selector("doublestar", decoration, pattern), untagged
    ),
    st.sampled_from(("matches", "excludes")),
    st.sampled_from(PATTERNS),
    st.sampled_from((None, True, False)),
)
_RULES = st.builds(
    lambda template, count, tags, disabled: rule(template, count, *tags, disabled=disabled),
    st.sampled_from(sorted(TEMPLATES)),
    st.integers(0, 4),
    st.lists(_SELECTORS, min_size=1, max_size=3),
    st.booleans(),
)
_CONTENT = st.lists(
    st.tuples(
        st.lists(st.sampled_from(TAGS), max_size=3, unique=True),
        st.integers(0, 5),
        st.one_of(st.none(), st.integers(0, 5)),
    ),
    max_size=8,
)


@settings(max_examples=300, deadline=None)
@given(
    rules=st.lists(_RULES, max_size=4),
    content=_CONTENT,
    immutable=st.sets(st.sampled_from(TAGS), max_size=1),
)
def test_any_rules_keep_what_a_plain_model_says(
    rules: list[Rule], content: list[Any], immutable: set[str]
) -> None:
    found = [
        artifact(number, *tags, pushed=pushed, pulled=pulled)
        for number, (tags, pushed, pulled) in enumerate(content)
    ]
    assert kept(rules, found, sorted(immutable)) == _model(rules, found, immutable)


@given(st.lists(_RULES, max_size=5, unique_by=str))
def test_rules_are_the_same_after_they_were_kept(rules: list[Rule]) -> None:
    assert load(dump(rules)) == tuple(rules)


# --- what is refused


@pytest.mark.parametrize("sent", [None, "5", True, -1, 1.5, MAX_COUNT + 1, float("inf"), [1]])
def test_a_count_is_a_number_within_bounds(sent: Any) -> None:
    with pytest.raises(Invalid):
        count_of("latestPushedK", {"latestPushedK": sent})


def test_a_count_is_named_as_its_template() -> None:
    assert count_of("latestPushedK", {"latestPushedK": 7.0, "latestPulledN": 1}) == 7
    assert count_of("always", {"always": "of no meaning"}) == 0
    with pytest.raises(Invalid):
        count_of("latestPushedK", {"nDaysSinceLastPush": 7})
    with pytest.raises(Invalid):
        count_of("latest", {})


def test_extras_say_whether_untagged_ones_are_meant() -> None:
    said = ('{"untagged":true}', '{"untagged":false}', "{}", "")
    assert [untagged_of(each) for each in said] == [True, False, False, None]
    for wrong in ("x", "[]", '{"untagged":1}', '{"untagged":"yes"}', "null"):
        with pytest.raises(Invalid):
            untagged_of(wrong)


def test_a_policy_has_a_bounded_number_of_different_rules_of_bounded_size() -> None:
    many = [rule("latestPushedK", number) for number in range(MAX_RULES + 1)]
    assert len(check(many[:-1])) == MAX_RULES
    with pytest.raises(Invalid, match="15 rules"):
        check(many)
    one, other = on_tags("a"), on_tags("b")
    with pytest.raises(Conflict):
        check([rule("always", 0, one, other), rule("always", 0, other, one, priority=3)])
    check([rule("always"), rule("always", disabled=True), rule("latestPushedK", 1)])
    with pytest.raises(Invalid, match="bytes"):
        check(
            [
                rule("always", 0, *(on_tags(f"{n}{i}" + "x" * 1000) for i in range(8)))
                for n in "abcdefghi"
            ]
        )
    for wrong in (
        Rule("always", 0, (), (on_tags(),)),
        Rule("always", 0, rule().repositories, ()),
        rule("always", 0, on_tags("[")),
        rule("always", 0, on_tags(decoration="repoMatches")),
        rule("always", decoration="matches"),
        rule("always", 0, *(on_tags(str(n)) for n in range(9))),
    ):
        with pytest.raises(Invalid):
            check([wrong])
