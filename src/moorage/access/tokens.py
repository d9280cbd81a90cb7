"""Signed tokens of the registry: `/service/token` issues them, `/v2` verifies them.

    header   alg, kid, typ (the token class), and nothing else
    iss aud  fixed per installation
    sub      the account's name, for logs; rights never hang on it
    iat nbf exp jti
    who      [kind, id, revision]: the account as it was; another revision has other rights
    access   [{type, name, actions, project: [id, created]}]: `project` is the very project that
             the rights were taken from, so a project made anew under the name is another one

`kid` selects from our own ring; a header that brings a key along (`jwk`, `jku`, `x5c`, `x5u`) or
anything else is refused before its signature is looked at.
"""

import binascii
import json
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import isfinite
from typing import Any

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey

from moorage.access.principals import Principal
from moorage.clock import Clock, SystemClock
from moorage.errors import Unauthenticated

ALGORITHM = "ES256"
REGISTRY_TYPE = "registry-access+jwt"
"""`typ` of the one token class there is."""

LEEWAY = 60.0
"""Seconds by which the clocks of replicas may differ."""

MAX_LENGTH = 48 * 1024
"""Characters of a token; servers refuse longer headers anyway."""


_BAD = (JoseError, ValueError, TypeError, LookupError, OverflowError, RecursionError)


class UnknownKey(Unauthenticated):
    """The token was signed by a key that is not known here."""


@dataclass(frozen=True, slots=True)
class SigningKey:
    """One key pair."""

    kid: str
    private_key: bytes = field(repr=False)  # PKCS 8, PEM
    retires_at: float | None = None  # seconds since 1970; None: signs and verifies


@dataclass(frozen=True, slots=True)
class Right:
    """What a token allows in one repository."""

    actions: frozenset[str]
    project: tuple[int, float] | None = None  # id, and when it was made


@dataclass(frozen=True, slots=True)
class Issued:
    """A fresh token."""

    token: str = field(repr=False)
    issued_at: float  # seconds since 1970
    expires_in: int  # seconds


@dataclass(frozen=True, slots=True)
class Verified:
    """What a valid token says."""

    principal: Principal
    revision: int
    access: Mapping[str, Right]
    expires_at: float


class KeyRing:
    """The keys that this process knows; filled from the database by `accounts.keys`."""

    def __init__(self, keys: Iterable[SigningKey] = ()) -> None:
        self._keys: dict[str, tuple[SigningKey, ECKey]] = {}
        self._signer: tuple[SigningKey, ECKey] | None = None
        self.replace(keys)

    def replace(self, keys: Iterable[SigningKey]) -> None:
        """Know exactly these keys; the first that does not retire signs."""
        before = self._keys
        self._keys = {}
        self._signer = None
        for key in keys:
            known = before.get(key.kid)
            entry = (key, known[1] if known else ECKey.import_key(key.private_key))
            self._keys[key.kid] = entry
            if key.retires_at is None and self._signer is None:
                self._signer = entry

    def signer(self) -> tuple[SigningKey, ECKey]:
        """The key that signs; raises LookupError before the ring was filled."""
        if self._signer is None:
            raise LookupError("no signing key")
        return self._signer

    def find(self, kid: str, now: float) -> ECKey | None:
        """The key of that id, unless it has retired."""
        found = self._keys.get(kid)
        if found is None or (found[0].retires_at is not None and found[0].retires_at <= now):
            return None
        return found[1]


class Tokens:
    """Issues and verifies tokens of one class."""

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
        self._ring = ring
        self._issuer = issuer
        self._audience = audience
        self._lifetime = int(lifetime)
        self._clock = clock or SystemClock()

    def issue(
        self,
        principal: Principal,
        access: Mapping[str, Right],
        *,
        revision: int = 0,
        lifetime: float | None = None,
    ) -> Issued:
        """A token with which `principal` may do `access` (repository → right).

        `lifetime` in seconds goes before that of the class.
        """
        key, private = self._ring.signer()
        now = int(self._clock.now().timestamp())
        seconds = self._lifetime if lifetime is None else int(lifetime)
        claims = {
            "iss": self._issuer,
            "aud": self._audience,
            "sub": principal.name,
            "iat": now,
            "nbf": now - int(LEEWAY),
            "exp": now + seconds,
            "jti": secrets.token_hex(8),
            "who": [principal.kind, principal.id, revision],
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
        header = {"alg": ALGORITHM, "kid": key.kid, "typ": REGISTRY_TYPE}
        token = jwt.encode(header, claims, private, algorithms=[ALGORITHM])
        return Issued(token, now, seconds)

    def verify(self, token: str) -> Verified:
        """What the token says; raises Unauthenticated, UnknownKey among it."""
        if len(token) > MAX_LENGTH or not token.isascii():
            raise Unauthenticated("invalid token")
        header = _header(token)
        if header.keys() != {"alg", "kid", "typ"} or (
            header["alg"] != ALGORITHM or header["typ"] != REGISTRY_TYPE
        ):
            raise Unauthenticated("invalid token")
        kid = header["kid"]
        now = self._clock.now().timestamp()
        key = self._ring.find(kid, now) if isinstance(kid, str) else None
        if key is None:
            raise UnknownKey("invalid token")
        try:
            claims = jwt.decode(token, key, algorithms=[ALGORITHM]).claims
            self._check(claims, now)
            return _verified(claims)
        except (
            JoseError,
            ValueError,
            TypeError,
            LookupError,
            OverflowError,
            RecursionError,
        ) as error:
            raise Unauthenticated("invalid token") from error

    def _check(self, claims: Mapping[str, Any], now: float) -> None:
        if claims["iss"] != self._issuer or claims["aud"] != self._audience:
            raise ValueError("issued by or for somebody else")
        issued, expires, begins = (_time(claims[name]) for name in ("iat", "exp", "nbf"))
        if issued > now + LEEWAY or begins > now + LEEWAY:
            raise ValueError("from the future")
        if expires <= now - LEEWAY:
            raise ValueError("expired")
        if expires - issued > self._lifetime + LEEWAY:
            raise ValueError("lives longer than any token of ours")


def _header(token: str) -> Mapping[str, Any]:
    part = token.partition(".")[0]
    try:
        header = json.loads(binascii.a2b_base64(part.replace("-", "+").replace("_", "/") + "=="))
    except (ValueError, RecursionError) as error:
        raise Unauthenticated("invalid token") from error
    if not isinstance(header, dict):
        raise Unauthenticated("invalid token")
    return header


def _time(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
        raise TypeError("a time is a number")
    return float(value)


def _verified(claims: Mapping[str, Any]) -> Verified:
    kind, number, revision = claims["who"]
    if kind not in ("anonymous", "user", "robot") or type(number) is not int:
        raise ValueError("nobody we know")
    access = {}
    for entry in claims["access"]:
        if entry["type"] != "repository":
            continue
        project = entry.get("project")
        access[str(entry["name"])] = Right(
            frozenset(map(str, entry["actions"])),
            (int(project[0]), float(project[1])) if project else None,
        )
    # A token never makes a system administrator: what it may do stands in `access`.
    principal = Principal(kind, number, str(claims["sub"]))
    return Verified(principal, int(revision), access, _time(claims["exp"]))
