"""Selectors: what the rules of a project are about.

    decoration     accepts
    matches        tags that the pattern matches
    excludes       all other tags
    repoMatches    repositories, by their names within the project
    repoExcludes   all other repositories

Several selectors of one rule have to accept all together.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from moorage import patterns
from moorage.errors import Invalid

OF_TAGS = ("matches", "excludes")
OF_REPOSITORIES = ("repoMatches", "repoExcludes")
MAX_SELECTORS = 8
"""Of each sort in one rule."""

_EXCLUDING = frozenset({"excludes", "repoExcludes"})


@dataclass(frozen=True, slots=True, order=True)
class Selector:
    """One condition on a name."""

    kind: str  # of the pattern
    decoration: str
    pattern: str

    def accepts(self, name: str) -> bool:
        """Whether the condition holds for a tag, or for a repository without its project."""
        matched = patterns.compile(self.kind, self.pattern).matches(name)
        return matched != (self.decoration in _EXCLUDING)


Selectors = tuple[Selector, ...]


def check(selectors: Iterable[Selector], decorations: Sequence[str], where: str) -> Selectors:
    """Return `selectors`, each of one of the `decorations`; raises Invalid, which names `where`."""
    found = tuple(dict.fromkeys(selectors))
    if not found:
        raise Invalid(f"{where} needs a selector")
    if len(found) > MAX_SELECTORS:
        raise Invalid(f"{where} holds at most {MAX_SELECTORS} selectors")
    for selector in found:
        if selector.decoration not in decorations:
            raise Invalid(f"{where}: a decoration is one of {', '.join(decorations)}")
        try:
            patterns.compile(selector.kind, selector.pattern)
        except Invalid as error:
            raise Invalid(f"{where}: {error.message}") from error
    return found


def accept(selectors: Iterable[Selector], name: str) -> bool:
    """Whether all of them do."""
    return all(selector.accepts(name) for selector in selectors)


def dump(selectors: Iterable[Selector]) -> list[dict[str, str]]:
    """Selectors as JSON data."""
    return [{"kind": s.kind, "decoration": s.decoration, "pattern": s.pattern} for s in selectors]


def load(rows: Iterable[Any]) -> Selectors:
    """The inverse of `dump`."""
    return tuple(Selector(row["kind"], row["decoration"], row["pattern"]) for row in rows)
