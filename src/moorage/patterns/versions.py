"""Versions as semver.org orders them, and ranges of them as npm writes them.

    1.2.3  v1.2.3-rc.1  1.2.3_build5     versions; a tag has no plus, so _ may stand for it
    >=1.2 <2     1.2 or later, and before 2
    ^1.2.3       at least that, with the same leftmost number that is not zero
    ~1.2.3       at least that, with the same first two numbers
    1.2  1.2.x  1.2.*                    any patch
    1.2 - 1.4    from the one to the other, both included
    ^1.2 || ^3   one or the other

A pre-release is in a range only when the range names a pre-release of the very same version:
`>=1.2` does not hold 1.3.0-rc1, `>=1.3.0-rc1` does.
"""

import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache

_NUMBER = r"0|[1-9][0-9]*"
_WORDS = r"[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*"
_VERSION = re.compile(
    rf"v?({_NUMBER})\.({_NUMBER})\.({_NUMBER})(?:-({_WORDS}))?(?:[+_]{_WORDS})?", re.ASCII
)
_PLACE = rf"{_NUMBER}|[xX*]"
_PARTIAL = re.compile(
    rf"v?({_PLACE})(?:\.({_PLACE})(?:\.({_PLACE})(?:-({_WORDS}))?(?:[+_]{_WORDS})?)?)?", re.ASCII
)
_TERM = re.compile(r"(\^|~|>=|<=|>|<|=)?[ ]*([^ ,<>=^~|]+)")
_SEPARATORS = re.compile(r"[ ,]*")

Triple = tuple[int, int, int]
_Word = tuple[int, int, str]  # numbers come before words
_RELEASE: tuple[_Word, ...] = ((2, 0, ""),)  # it comes behind all its pre-releases


@dataclass(frozen=True, slots=True, order=True)
class Version:
    """A version; `pre` orders its pre-releases."""

    numbers: Triple
    pre: tuple[_Word, ...] = _RELEASE

    @property
    def released(self) -> bool:
        """Whether it is no pre-release."""
        return self.pre == _RELEASE


@lru_cache(1 << 14)  # lists in their order parse all tags of a repository, again and again
def parse(name: str) -> Version | None:
    """The version that a tag is, all three numbers of it; None when it is none."""
    found = _VERSION.fullmatch(name)
    if found is None:
        return None
    pre = _pre(found[4])
    return None if pre is None else Version(_triple(found[1], found[2], found[3]), pre)


def _pre(text: str | None) -> tuple[_Word, ...] | None:
    """Words between dots; None when a number among them begins with a zero."""
    if text is None:
        return _RELEASE
    words = text.split(".")
    if any(word.isdigit() and len(word) > 1 and word[0] == "0" for word in words):
        return None
    return tuple((0, int(word), "") if word.isdigit() else (1, 0, word) for word in words)


def _triple(*numbers: str) -> Triple:
    first, second, third = (int(number) for number in numbers)
    return first, second, third


# --- ranges

_TESTS: Mapping[str, Callable[[Version, Version], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
    "=": operator.eq,
}
Bound = tuple[str, Version]


@dataclass(frozen=True, slots=True)
class Range:
    """Alternatives, each with bounds that all have to hold."""

    alternatives: tuple[tuple[Bound, ...], ...]

    def holds(self, version: Version) -> bool:
        """Whether the version is in the range."""
        return any(_within(version, bounds) for bounds in self.alternatives)


def _within(version: Version, bounds: tuple[Bound, ...]) -> bool:
    if not all(_TESTS[test](version, bound) for test, bound in bounds):
        return False
    return version.released or any(
        not bound.released and bound.numbers == version.numbers for _, bound in bounds
    )


def parse_range(text: str) -> Range:
    """Read a range; raises ValueError, which says what is wrong."""
    return Range(tuple(_alternative(part.strip()) for part in text.split("||")))


def _alternative(text: str) -> tuple[Bound, ...]:
    if not text:
        raise ValueError("a range is empty; * holds every version")
    low, dash, high = text.partition(" - ")
    if dash:
        return *_bounds(">=", _partial(low.strip())), *_bounds("<=", _partial(high.strip()))
    bounds: list[Bound] = []
    at = 0
    while at < len(text):
        term = _TERM.match(text, at)
        if term is None:
            raise ValueError(f"{text[at : at + 16]!r} is no version")
        bounds += _bounds(term[1] or "=", _partial(term[2]))
        at = _separated(text, term.end())
    return tuple(bounds)


def _separated(text: str, at: int) -> int:
    found = _SEPARATORS.match(text, at)
    return found.end() if found else at


@dataclass(frozen=True, slots=True)
class _Partial:
    """A version of which the last numbers may be left open."""

    given: tuple[int, ...]
    pre: tuple[_Word, ...] = _RELEASE

    @property
    def first(self) -> Version:
        """The lowest that it stands for."""
        return Version(_filled(self.given), self.pre)

    def behind(self, places: int) -> Version:
        """The first version that differs in the first `places` numbers and comes behind."""
        kept = self.given[:places]
        return Version(_filled((*kept[:-1], kept[-1] + 1)))


def _filled(numbers: tuple[int, ...]) -> Triple:
    first, second, third = (*numbers, 0, 0, 0)[:3]
    return first, second, third


def _partial(text: str) -> _Partial:
    found = _PARTIAL.fullmatch(text)
    pre = _pre(found[4]) if found else None
    if found is None or pre is None:
        raise ValueError(f"{text[:32]!r} is no version")
    given: list[int] = []
    for place in found.group(1, 2, 3):
        if place is None or place in "xX*":
            break
        given.append(int(place))
    if len(given) < 3 and pre != _RELEASE:
        raise ValueError(f"{text[:32]!r}: a pre-release is one of a whole version")
    return _Partial(tuple(given), pre)


def _bounds(test: str, version: _Partial) -> tuple[Bound, ...]:
    given = version.given
    whole = len(given) == 3
    if not given:
        if test in "<>":
            raise ValueError(f"no version is {test} every other")
        return ((">=", Version((0, 0, 0))),)
    low: Bound = (">=", version.first)
    if test == "^":
        leading = next((n for n, number in enumerate(given) if number), len(given) - 1)
        return low, ("<", version.behind(leading + 1))
    if test == "~":
        return low, ("<", version.behind(min(len(given), 2)))
    if whole or test in (">=", "<"):
        return ((test, version.first),)
    behind = version.behind(len(given))
    if test == ">":
        return ((">=", behind),)
    if test == "<=":
        return (("<", behind),)
    return low, ("<", behind)
