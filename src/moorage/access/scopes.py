"""What a client asks the token service for: `scope=repository:library/nginx:pull,push`.

Several scopes come as repeated parameters, joined by spaces, or both. The name may hold colons
(a host with a port), so the type ends at the first colon and the actions begin after the last
(distribution-spec token scope grammar). What no grammar allows is left out, never an error: the
token then simply opens nothing.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from moorage.errors import NameInvalid
from moorage.oci.names import check_repository

MAX_SCOPES = 64
"""Scopes of one request; a client asks for one, or two when it mounts."""
MAX_LENGTH = 512
"""Characters of one scope."""


@dataclass(frozen=True, slots=True)
class Scope:
    """One resource with the actions that a client wants on it."""

    type: str  # "repository" or "registry"
    name: str
    actions: frozenset[str]


def parse_scope(text: str) -> Scope | None:
    """One scope, or None when it is none."""
    if len(text) > MAX_LENGTH:
        return None
    kind, _, rest = text.partition(":")
    name, colon, actions = rest.rpartition(":")
    if not colon:
        return None
    if kind == "repository":
        try:
            check_repository(name)
        except NameInvalid:
            return None
    elif (kind, name) != ("registry", "catalog"):
        return None
    return Scope(kind, name, frozenset(filter(None, actions.split(","))))


def parse_scopes(values: Iterable[str]) -> list[Scope]:
    """The valid scopes in the values of all `scope` parameters, each resource once."""
    merged: dict[tuple[str, str], Scope] = {}
    for text in (part for value in values for part in value.split(" ")):
        scope = parse_scope(text)
        if scope is None:
            continue
        key = (scope.type, scope.name)
        if key in merged:
            scope = Scope(scope.type, scope.name, scope.actions | merged[key].actions)
        elif len(merged) == MAX_SCOPES:
            break
        merged[key] = scope
    return list(merged.values())
