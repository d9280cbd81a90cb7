"""Patterns by which rules name repositories and tags. Matching takes time linear in the name.

    kind        pattern                      says
    doublestar  release-*, team/**, {a,b}-?  as shells write names of files; Harbor's kind
    regex       v\\d+\\.\\d+(-rc\\d+)?           RE2's syntax, of the whole name
    semver      >=1.2 <2, ^1.2 || ~2.4       a range of versions; other names never match

    compile("doublestar", "release-*").matches("release-7")

Whoever may write a rule may write any pattern: none of them can slow down a push or fill the
memory. So nothing here backtracks, and the size of what is compiled is bounded.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol

import re2

from moorage.errors import Invalid
from moorage.patterns import doublestar, versions

DOUBLESTAR = "doublestar"
REGEX = "regex"
SEMVER = "semver"

MAX_LENGTH = 1024
"""Characters of one pattern."""
MEMORY = 1 << 20
"""Bytes that one compiled pattern may use, what it remembers between calls too."""
_KEPT = 256  # compiled patterns


class Pattern(Protocol):
    """A compiled pattern."""

    def matches(self, name: str) -> bool:
        """Whether the whole of `name` is what the pattern says."""


@lru_cache(maxsize=_KEPT)
def compile(kind: str, pattern: str, memory: int = MEMORY) -> Pattern:
    """The pattern, ready to match; raises Invalid, which says what is wrong with it.

    What may use less `memory` is also compiled and matched sooner.
    """
    if kind not in _COMPILERS:
        raise Invalid(f"unknown kind of pattern {kind[:64]!r}; use one of {', '.join(_COMPILERS)}")
    if not pattern:
        raise Invalid("a pattern is not empty; ** matches everything")
    if len(pattern) > MAX_LENGTH:
        raise Invalid(f"a pattern has at most {MAX_LENGTH} characters")
    try:
        pattern.encode()
        return _COMPILERS[kind](pattern, memory)
    except ValueError as error:
        raise Invalid(f"the {kind} pattern {pattern[:64]!r} is not valid: {error}") from error


@dataclass(frozen=True, slots=True)
class _Expression:
    """One of RE2: an automaton, whatever was written."""

    program: Any

    def matches(self, name: str) -> bool:
        return self.program.fullmatch(name) is not None


@dataclass(frozen=True, slots=True)
class _Versions:
    range: versions.Range

    def matches(self, name: str) -> bool:
        version = versions.parse(name)
        return version is not None and self.range.holds(version)


def _expression(text: str, memory: int) -> Pattern:
    options = re2.Options()
    options.log_errors = False
    options.never_capture = True
    options.max_mem = memory
    try:
        return _Expression(re2.compile(text, options))
    except re2.error as error:
        (said,) = error.args
        told = said.decode(errors="replace") if isinstance(said, bytes) else str(said)
        raise ValueError(told) from error


_COMPILERS: Mapping[str, Callable[[str, int], Pattern]] = {
    DOUBLESTAR: lambda pattern, memory: _expression(doublestar.translate(pattern), memory),
    REGEX: _expression,
    SEMVER: lambda pattern, _: _Versions(versions.parse_range(pattern)),
}
KINDS = tuple(_COMPILERS)
"""Every kind there is."""
