"""Whether what was seen of one register can be explained by one order of what was done to it.

The search is Wing and Gong's in the form that Lowe gave it: the events are passed in the order of
time, and all states are kept in which the register can be, each with the open operations that must
have been done to get there. An operation has to be done between its two events; one of which
nobody knows whether it was done may be done at any later time, or never.

    Write(v)     the register holds v
    Read(v)      it holds v; None: nothing
    Clear(v)     it holds nothing any more, if it held v; None: whatever it held
    Took()       as Clear(None), and it did hold something
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

LIMIT = 2_000_000
"""States of one moment after which a search is given up as too wide: some gigabytes."""


@dataclass(frozen=True)
class Op:
    """One operation on the register."""

    kind: str
    value: str | None
    invoke: float
    complete: float | None  # None: nobody knows whether it was done
    id: int  # of its record


class TooWide(Exception):
    """So much is open at once that the search would not end."""


State = tuple[str | None, frozenset[int]]


def step(op: Op, state: str | None) -> tuple[bool, str | None]:
    """Whether an operation is possible in a state, and what it leaves."""
    if op.kind == "write":
        return True, op.value
    if op.kind == "read":
        return state == op.value, state
    if op.kind == "clear":
        return True, None if op.value in (None, state) else state
    assert op.kind == "took", op.kind
    return state is not None, None


def explain(ops: Sequence[Op], initial: str | None = None) -> list[Op]:
    """Nothing when there is such an order, else the operations up to the one that fits nowhere."""
    events: list[tuple[float, int, Op]] = []
    for op in ops:
        events.append((op.invoke, 0, op))
        if op.complete is not None:
            events.append((op.complete, 1, op))
    events.sort(key=lambda event: (event[0], event[1]))
    states: set[State] = {(initial, frozenset())}
    pending: dict[int, Op] = {}
    for _, ends, op in events:
        if not ends:
            pending[op.id] = op
            continue
        states = _through(states, pending, op)
        if not states:
            return [other for other in ops if other.invoke <= (op.complete or 0)]
        del pending[op.id]
    return []


def _through(states: set[State], pending: dict[int, Op], op: Op) -> set[State]:
    """The states after `op` was certainly done, with what else may have been done before it."""
    passed: set[State] = set()
    seen = set(states)
    waiting = list(states)
    while waiting:
        value, done = waiting.pop()
        if op.id in done:
            passed.add((value, done - {op.id}))
            continue
        for other in pending.values():
            if other.id in done:
                continue
            possible, after = step(other, value)
            # What need not have been done, and changes nothing, is as good as never done.
            if not possible or (after == value and other.complete is None):
                continue
            found = (after, done | {other.id})
            if found not in seen:
                seen.add(found)
                waiting.append(found)
        if len(seen) > LIMIT:
            raise TooWide(f"{len(pending)} operations are open at once")
    return _least(passed, pending)


def _least(states: set[State], pending: dict[int, Op]) -> set[State]:
    """Without those that differ from another one only by having used up what may still be done.

    That holds for operations that need not have been done: not for those with an answer to come.
    """
    free = {op.id for op in pending.values() if op.complete is None}
    by_value: dict[tuple[str | None, frozenset[int]], list[frozenset[int]]] = {}
    for value, done in sorted(states, key=lambda state: len(state[1])):
        kept = by_value.setdefault((value, done - free), [])
        if not any(other <= done & free for other in kept):
            kept.append(done & free)
    return {(value, must | used) for (value, must), all_of in by_value.items() for used in all_of}


def minimal(ops: Iterable[Op], failed: Sequence[Op]) -> list[Op]:
    """The fewest operations of a failure that still fit no order, for people to read.

    Writes and clears are kept wherever leaving one out would make a right history look wrong.
    """
    kept = list(failed)
    last = kept[-1] if kept else None
    for op in list(kept):
        if op is last or op.kind != "read":
            continue
        fewer = [other for other in kept if other is not op]
        if explain(fewer):
            kept = fewer
    return kept
