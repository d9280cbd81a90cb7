"""What the claims of a token have to be.

    claim                        names
    repository                   a claim by its name
    /kubernetes.io/namespace     one inside others, by a JSON pointer (RFC 6901)

    kind         pattern             matches
    exact        acme/shop           the same text
    doublestar   acme/**             as names of repositories
    regex        refs/heads/(a|b)    RE2, of the whole text

Numbers and booleans count as JSON writes them. Of a list, one item has to match.

Whoever makes a rule writes its patterns, and anybody may send a token that they are tried on. So
they are few and small, and see the first characters of a claim only.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from moorage import patterns
from moorage.errors import Invalid

EXACT = "exact"
KINDS = (EXACT, patterns.DOUBLESTAR, patterns.REGEX)
MAX_CONSTRAINTS, MAX_PATTERNS = 20, 5
"""Claims that a rule names, and how many of them by a pattern."""
MAX_TEXT = 1024
"""Characters of a claim, all items of a list together, that a pattern is tried on."""
MAX_NAME = 255

_MEMORY = 64 << 10  # bytes of one compiled pattern
_ELSEWHERE = frozenset({"iss", "aud", "exp", "iat", "nbf", "jti"})
_ANYTHING = ("q7Zk0", "w8/x-3:y_1", "refs/heads/p5")  # no honest pattern takes all of them


@dataclass(frozen=True, slots=True)
class Constraint:
    """One claim and what it has to be."""

    claim: str
    kind: str
    pattern: str

    def holds(self, claims: Mapping[str, Any]) -> bool:
        """Whether a token with these claims is one that is meant."""
        left = MAX_TEXT
        for text in texts(claims, self.claim):
            left -= len(text)
            if (self.kind == EXACT or left >= 0) and self._matches(text):
                return True
        return False

    def _matches(self, text: str) -> bool:
        return text == self.pattern if self.kind == EXACT else self.compiled().matches(text)

    def compiled(self) -> patterns.Pattern:
        """The pattern, of one that is not exact; raises Invalid."""
        return patterns.compile(self.kind, self.pattern, _MEMORY)

    def narrows(self) -> bool:
        """Whether there is anything that it does not take."""
        return not all(self._matches(text) for text in _ANYTHING)


def check(constraints: Sequence[Constraint]) -> None:
    """Raises Invalid for what cannot be, and for constraints that let everybody in."""
    if not constraints or len(constraints) > MAX_CONSTRAINTS:
        raise Invalid(f"a rule names 1 to {MAX_CONSTRAINTS} claims")
    for constraint in constraints:
        if not 1 <= len(constraint.claim) <= MAX_NAME or not constraint.claim.isprintable():
            raise Invalid("the name of a claim is 1 to 255 printable characters")
        if constraint.claim.removeprefix("/") in _ELSEWHERE:
            raise Invalid(f"{constraint.claim} is checked by the rule itself; name another claim")
        if constraint.kind not in KINDS:
            raise Invalid(f"unknown kind of pattern; use one of {', '.join(KINDS)}")
        if not 1 <= len(constraint.pattern) <= patterns.MAX_LENGTH:
            raise Invalid(f"a pattern has 1 to {patterns.MAX_LENGTH} characters")
        if constraint.kind != EXACT:
            constraint.compiled()
    if sum(constraint.kind != EXACT for constraint in constraints) > MAX_PATTERNS:
        raise Invalid(f"a rule names at most {MAX_PATTERNS} claims by a pattern")
    if not any(constraint.narrows() for constraint in constraints):
        raise Invalid("these claims let in everybody whom the issuer knows; name who is meant")


def texts(claims: Mapping[str, Any], name: str) -> list[str]:
    """The values of a claim as texts; none when it is not there."""
    value: Any = claims
    for part in _path(name):
        if not isinstance(value, Mapping) or part not in value:
            return []
        value = value[part]
    items = value if isinstance(value, list) else [value]
    return [text for text in map(_text, items) if text is not None]


def _path(name: str) -> list[str]:
    if not name.startswith("/"):
        return [name]
    return [part.replace("~1", "/").replace("~0", "~") for part in name[1:].split("/")]


def _text(value: Any) -> str | None:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return value
    return str(value) if isinstance(value, int) else None
