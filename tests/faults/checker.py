"""What a history says of the invariants that depend on the order of things.

    I1   an image that was acknowledged and not deleted is there        presence of each digest
    I2   each tag of a repository is a register                         one search a tag
    I8   a tag that may not change does not
    I11  no read sees an older tag than an earlier read did             follows from I2
    I9   errors of the server happen while something fails              `Window`

Every pull at the end of a run, on every replica, is a read of these registers like any other.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from tests.faults.history import FAIL, OK, UNKNOWN, Record
from tests.faults.registers import Op, TooWide, explain, minimal
from tests.faults.world import FROZEN, USUAL

PRESENT = "there"
Key = tuple[str, str]  # repository; tag or digest

TRACKED = (*USUAL, FROZEN)


@dataclass
class Violation:
    """One invariant that does not hold, and the least of the history that shows it."""

    invariant: str
    what: str
    key: Key | None = None
    records: Sequence[Record] = ()

    def __str__(self) -> str:
        lines = [f"{self.invariant}: {self.what}"]
        for each in self.records:
            end = "open" if each.outcome == UNKNOWN else f"{each.complete:.3f}"
            told = f"{each.client} {each.op} {dict(each.args)} via {each.via}"
            answer = f"{each.outcome} {each.status} {each.value}"
            lines.append(f"    {each.id} {each.invoke:.3f}-{end} {told} = {answer}")
        return "\n".join(lines)


@dataclass
class _Keys:
    tags: dict[Key, list[Op]] = field(default_factory=lambda: defaultdict(list))
    images: dict[Key, list[Op]] = field(default_factory=lambda: defaultdict(list))


def check(records: Sequence[Record]) -> list[Violation]:
    """All violations that a history shows."""
    by_id = {record.id: record for record in records}
    keys = _registers(records)
    found: list[Violation] = []
    for invariant, registers in (("I2", keys.tags), ("I1", keys.images)):
        for key, ops in sorted(registers.items()):
            found += _explained(invariant, key, ops, by_id)
    found += _frozen(records)
    return found


def _explained(
    invariant: str, key: Key, ops: Sequence[Op], by_id: dict[int, Record]
) -> Iterator[Violation]:
    try:
        failed = explain(ops)
    except TooWide as error:
        yield Violation("checker", f"{key[0]} {key[1]}: {error}", key)
        return
    if failed:
        least = minimal(ops, failed)
        what = f"no order explains what was seen of {key[0]} {key[1]}"
        yield Violation(invariant, what, key, [by_id[op.id] for op in least])


def _registers(records: Sequence[Record]) -> _Keys:
    """The operations on each tag and on the presence of each digest."""
    keys = _Keys()
    subjects: dict[Key, list[str]] = defaultdict(list)
    pointed: dict[Key, set[str]] = defaultdict(set)
    for record in records:
        if record.op == "put":
            repo, tag, digest = (record.args[name] for name in ("repo", "tag", "digest"))
            if record.args["subject"] and digest not in subjects[repo, record.args["subject"]]:
                subjects[repo, record.args["subject"]].append(digest)
            if tag:
                pointed[repo, digest].add(tag)
    for record in records:
        repo = record.args.get("repo", "")
        if record.outcome == FAIL or repo not in TRACKED:
            continue
        end = record.complete if record.outcome == OK else None
        _place(keys, record, end, subjects, pointed)
    return keys


def _place(
    keys: _Keys,
    record: Record,
    end: float | None,
    subjects: dict[Key, list[str]],
    pointed: dict[Key, set[str]],
) -> None:
    repo = record.args["repo"]
    tag, digest = record.args.get("tag", ""), record.args.get("digest", "")

    def op(kind: str, value: str | None) -> Op:
        return Op(kind, value, record.invoke, end, record.id)

    if record.op == "put":
        keys.images[repo, digest].append(op("write", PRESENT))
        if tag:
            keys.tags[repo, tag].append(op("write", digest))
    elif record.op in ("look", "pull") and end is not None:
        if tag:
            keys.tags[repo, tag].append(op("read", record.value))
        if digest or record.value:
            there = PRESENT if record.value else None
            keys.images[repo, digest or record.value or ""].append(op("read", there))
    elif record.op == "delete tag":
        missing = record.status == 404
        keys.tags[repo, tag].append(op(*_delete(end, missing=missing)))
    elif record.op == "delete":
        missing = record.status == 404
        keys.images[repo, digest].append(op(*_delete(end, missing=missing)))
        for gone in _fall(repo, digest, subjects):
            if gone != digest:
                keys.images[repo, gone].append(_falling(op, missing=missing and end is not None))
            for name in sorted(pointed[repo, gone]):
                if not (missing and end is not None):
                    keys.tags[repo, name].append(op("clear", gone))


def _delete(end: float | None, *, missing: bool) -> tuple[str, str | None]:
    """What a delete is, seen from what it deletes."""
    if end is None:
        return "clear", None
    return ("read", None) if missing else ("took", None)


def _falling(op: object, *, missing: bool) -> Op:
    # A subject that was not there takes nothing with it: said as a clear of what it never holds.
    made: Op = op("clear", "nothing" if missing else None)  # type: ignore[operator]
    return made


def _fall(repo: str, digest: str, subjects: dict[Key, list[str]]) -> Iterator[str]:
    """What goes with a digest: itself, what refers to it, and so on."""
    yield digest
    for other in subjects.get((repo, digest), []):
        yield from _fall(repo, other, subjects)


def _frozen(records: Iterable[Record]) -> Iterator[Violation]:
    """I8: no second image was ever acknowledged under a tag that may not change."""
    first: dict[str, Record] = {}
    for record in records:
        if record.op == "put" and record.outcome == OK and record.args["repo"] == FROZEN:
            tag = record.args["tag"]
            other = first.setdefault(tag, record)
            if other.args["digest"] != record.args["digest"]:
                what = f"{FROZEN}:{tag} was changed"
                yield Violation("I8", what, (FROZEN, tag), [other, record])


# --- I9


@dataclass
class Window:
    """A time in which something failed. Seconds of the history's clock."""

    id: str
    says: str
    begin: float
    struck: float = 0.0  # when the nemesis had done it: a standby is promoted, a process is gone
    heal: float = float("inf")
    ready: float | None = None  # seconds from the heal until all processes were ready
    clean: float | None = None  # seconds from the heal until the end of the last error
    harmless: bool = False
    failures: int = 0


SETTLING = 30.0  # seconds after a heal in which errors may go on
READY = 10.0  # seconds after a heal until all processes should be ready


def failed(record: Record) -> bool:
    """Whether a client got no answer, or one that blames the server."""
    return record.outcome == UNKNOWN and (record.status >= 500 or record.status == 0)


def judge_errors(records: Iterable[Record], windows: Sequence[Window]) -> list[Violation]:
    """Errors outside of windows, of windows in which there may be none, and late recoveries."""
    found: list[Violation] = []
    for record in records:
        if not failed(record):
            continue
        end = record.complete or record.invoke
        near = [w for w in windows if w.begin <= end and record.invoke <= w.heal + SETTLING]
        for window in near[-1:]:
            window.failures += 1
            if end > window.heal:
                window.clean = max(window.clean or 0.0, end - window.heal)
        # A window before may still be settling; only what fails in a harmless one alone counts.
        if not near or all(w.harmless for w in near):
            if near and record.via != "nginx":
                continue  # who talks to one process alone sees it go
            names = ", ".join(window.id for window in near) or "nothing"
            found.append(Violation("I9", f"an error while {names} failed", None, [record]))
    return found


def during(records: Iterable[Record], windows: Iterable[Window]) -> list[Record]:
    """Requests that were sent while one of these nemeses was at work."""
    spans = [(window.begin, window.heal) for window in windows]
    return [each for each in records if any(a <= each.invoke <= b for a, b in spans)]


def in_a_row(records: Iterable[Record]) -> int:
    """How often at most nginx failed one client with the same request, one time after the other."""
    last: dict[str, tuple[str, int]] = {}
    worst = 0
    for each in records:
        if each.via == "nginx":
            same = f"{each.op} {sorted(each.args.items())}"
            before, count = last.get(each.client, ("", 0))
            count = (count if before == same else 0) + 1 if failed(each) else 0
            last[each.client] = same, count
            worst = max(worst, count)
    return worst
