"""The search that judges histories: it finds what no order explains, and nothing else."""

from itertools import permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.faults.registers import Op, explain, minimal, step


def op(kind: str, value: str | None, invoke: float, complete: float | None, number: int = 0) -> Op:
    """One operation."""
    return Op(kind, value, invoke, complete, number or int(invoke * 100))


def possible(ops: list[Op]) -> bool:
    """The same question, answered by trying every order of every choice."""
    certain = [each for each in ops if each.complete is not None]
    for size in range(len(certain), len(ops) + 1):
        for order in permutations(ops, size):
            if set(certain) <= set(order) and _in_time(order) and _fits(order):
                return True
    return False


def _in_time(order: tuple[Op, ...]) -> bool:
    return not any(
        later.complete is not None and later.complete < earlier.invoke
        for number, earlier in enumerate(order)
        for later in order[number + 1 :]
    )


def _fits(order: tuple[Op, ...]) -> bool:
    state: str | None = None
    for each in order:
        fits, state = step(each, state)
        if not fits:
            return False
    return True


@st.composite
def histories(draw: st.DrawFn) -> list[Op]:
    """Up to five operations whose times are all different."""
    count = draw(st.integers(1, 5))
    times = draw(st.permutations(range(2 * count)))
    found = []
    for number in range(count):
        begin, end = sorted(times[2 * number : 2 * number + 2])
        kind = draw(st.sampled_from(["write", "write", "read", "read", "clear", "took"]))
        value = draw(st.sampled_from(["a", "b"] if kind == "write" else ["a", "b", None]))
        unknown = kind != "read" and draw(st.booleans())
        found.append(Op(kind, value, float(begin), None if unknown else float(end), number))
    return found


@settings(max_examples=400, deadline=None)
@given(histories())
def test_the_search_agrees_with_trying_everything(ops: list[Op]) -> None:
    """Every history of five operations, known and unknown ones."""
    assert (explain(ops) == []) == possible(ops)


@pytest.mark.parametrize(
    "wrong",
    [
        # acknowledged, and not seen by a later read
        [op("write", "a", 1, 2), op("read", None, 3, 4)],
        # an older value after a newer one was seen
        [op("write", "a", 1, 2), op("write", "b", 3, 9), op("read", "b", 4, 5), op("read", "a", 6, 7)],  # noqa: E501
        # deleted, and back again
        [op("write", "a", 1, 2), op("took", None, 3, 4), op("read", "a", 5, 6)],
        # what nobody ever wrote
        [op("write", "a", 1, None), op("read", "b", 3, 4)],
        # a lost write that was seen, and then not any more
        [op("write", "a", 1, None), op("read", "a", 2, 3), op("read", None, 4, 5)],
    ],
)  # fmt: skip
def test_bugs_are_found(wrong: list[Op]) -> None:
    """The least of the history that shows it ends with the read that fits nowhere."""
    failed = explain(wrong)
    assert failed
    assert minimal(wrong, failed)[-1] == wrong[-1]


@pytest.mark.parametrize(
    "right",
    [
        [op("write", "a", 1, None), op("read", None, 3, 4), op("read", "a", 5, 6)],
        [op("write", "a", 1, 4), op("write", "b", 2, 5), op("read", "a", 6, 7)],
        [op("write", "a", 1, 2), op("clear", "a", 3, None), op("read", "a", 5, 6)],
        [op("write", "a", 1, 2), op("clear", "b", 3, 4), op("read", "a", 5, 6)],
    ],
)
def test_what_may_be_is_no_bug(right: list[Op]) -> None:
    """A lost request may be done late or never, and what is at the same time has any order."""
    assert explain(right) == []
