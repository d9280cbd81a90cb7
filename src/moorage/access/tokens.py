"""Tokens of the registry: `/service/token` issues them, `/v2` verifies them.

sub      the account's name, for logs; rights never hang on it
who      [kind, id, revision, via]: the account as it was, and what it was lent by, if it was;
         another revision has other rights
access   [{type, name, actions, project: [id, created]}]: `project` is the very project that
         the rights were taken from, so a project made anew under the name is another one
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from moorage.access.jwts import BROKEN, Issued, Jwts, KeyRing, moment
from moorage.access.principals import Principal
from moorage.clock import Clock, SystemClock
from moorage.errors import Unauthenticated

REGISTRY_TYPE = "registry-access+jwt"
"""`typ` of this class."""


@dataclass(frozen=True, slots=True)
class Right:
    """What a token allows in one repository."""

    actions: frozenset[str]
    project: tuple[int, float] | None = None  # id, and when it was made


@dataclass(frozen=True, slots=True)
class Verified:
    """What a valid token says."""

    principal: Principal
    revision: int
    access: Mapping[str, Right]
    expires_at: float


class Tokens:
    """Issues and verifies tokens of the registry."""

    def __init__(
        self,
        ring: KeyRing,
        *,
        issuer: str,
        audience: str,
        lifetime: float,
        clock: Clock | None = None,
    ) -> None:
        """`lifetime` in seconds."""
        self._lifetime = lifetime
        self._clock = clock or SystemClock()
        self._jwts = Jwts(
            ring, REGISTRY_TYPE, issuer=issuer, audience=audience, longest=lifetime, clock=clock
        )

    def issue(
        self,
        principal: Principal,
        access: Mapping[str, Right],
        *,
        revision: int = 0,
        lifetime: float | None = None,
        until: float | None = None,
    ) -> Issued:
        """A token with which `principal` may do `access` (repository → right).

        `lifetime` in seconds goes before that of the class. It does not live longer than `until`,
        in seconds since 1970.
        """
        seconds = self._lifetime if lifetime is None else lifetime
        if until is not None:
            seconds = max(0.0, min(seconds, until - self._clock.now().timestamp()))
        claims = {
            "sub": principal.name,
            "who": who_claim(principal, revision),
            "access": [
                {
                    "type": "repository",
                    "name": name,
                    "actions": sorted(right.actions),
                    **({"project": list(right.project)} if right.project else {}),
                }
                for name, right in access.items()
            ],
        }
        return self._jwts.issue(claims, seconds)

    def verify(self, token: str) -> Verified:
        """What the token says; raises Unauthenticated, UnknownKey among it."""
        claims = self._jwts.open(token)
        try:
            principal, revision = who(claims)
            return Verified(principal, revision, _access(claims), moment(claims["exp"]))
        except BROKEN as error:
            raise Unauthenticated("invalid token") from error


def who_claim(principal: Principal, revision: int) -> list[Any]:
    """An account as it is at this moment."""
    via = [principal.via] if principal.via else []
    return [principal.kind, principal.id, revision, *via]


def who(claims: Mapping[str, Any]) -> tuple[Principal, int]:
    """The account of a token and its revision; raises one of BROKEN.

    Never a system administrator: what the bearer may do stands in the token, or is asked for.
    """
    kind, number, revision, *via = claims["who"]
    if kind not in ("anonymous", "user", "robot") or type(number) is not int:
        raise ValueError("nobody we know")
    principal = Principal(kind, number, str(claims["sub"]), via=str(via[0]) if via else "")
    return principal, int(revision)


def _access(claims: Mapping[str, Any]) -> Mapping[str, Right]:
    access = {}
    for entry in claims["access"]:
        if entry["type"] != "repository":
            continue
        project = entry.get("project")
        access[str(entry["name"])] = Right(
            frozenset(map(str, entry["actions"])),
            (int(project[0]), float(project[1])) if project else None,
        )
    return access
