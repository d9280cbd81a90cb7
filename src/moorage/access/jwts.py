"""Signed tokens of this installation, in classes that never stand for one another.

    header   alg, kid, typ (the token class), and nothing else
    iss aud  fixed per installation
    iat nbf exp jti

`kid` selects from our own ring; a header that brings a key along (`jwk`, `jku`, `x5c`, `x5u`) or
anything else is refused before its signature is looked at. (RFC 7519, RFC 8725)
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

from moorage.clock import Clock, SystemClock
from moorage.errors import Unauthenticated

ALGORITHM = "ES256"

LEEWAY = 60.0
"""Seconds by which the clocks of replicas may differ."""

MAX_LENGTH = 48 * 1024
"""Characters of a token; servers refuse longer headers anyway."""

BROKEN = (JoseError, ValueError, TypeError, LookupError, OverflowError, RecursionError)
"""What reading somebody's claims may raise."""


class UnknownKey(Unauthenticated):
    """The token was signed by a key that is not known here."""


@dataclass(frozen=True, slots=True)
class SigningKey:
    """One key pair."""

    kid: str
    private_key: bytes = field(repr=False)  # PKCS 8, PEM
    retires_at: float | None = None  # seconds since 1970; None: signs and verifies


@dataclass(frozen=True, slots=True)
class Issued:
    """A fresh token."""

    token: str = field(repr=False)
    issued_at: float  # seconds since 1970
    expires_in: int  # seconds


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


class Jwts:
    """Signs and opens tokens of one class."""

    def __init__(
        self,
        ring: KeyRing,
        typ: str,
        *,
        issuer: str,
        audience: str,
        longest: float,
        clock: Clock | None = None,
    ) -> None:
        """`longest` is the most seconds that a token of this class lives."""
        self._ring = ring
        self._typ = typ
        self._issuer = issuer
        self._audience = audience
        self._longest = longest
        self._clock = clock or SystemClock()

    def issue(self, claims: Mapping[str, Any], seconds: float) -> Issued:
        """A token that says `claims` for so long."""
        key, private = self._ring.signer()
        now = int(self._clock.now().timestamp())
        whole = {
            "iss": self._issuer,
            "aud": self._audience,
            "iat": now,
            "nbf": now - int(LEEWAY),
            "exp": now + int(seconds),
            "jti": secrets.token_hex(8),
            **claims,
        }
        header = {"alg": ALGORITHM, "kid": key.kid, "typ": self._typ}
        token = jwt.encode(header, whole, private, algorithms=[ALGORITHM])
        return Issued(token, now, int(seconds))

    def open(self, token: str) -> Mapping[str, Any]:
        """What the token says; raises Unauthenticated, UnknownKey among it."""
        if len(token) > MAX_LENGTH or not token.isascii():
            raise Unauthenticated("invalid token")
        header = peek(token)
        if header.keys() != {"alg", "kid", "typ"} or (
            header["alg"] != ALGORITHM or header["typ"] != self._typ
        ):
            raise Unauthenticated("invalid token")
        kid = header["kid"]
        now = self._clock.now().timestamp()
        key = self._ring.find(kid, now) if isinstance(kid, str) else None
        if key is None:
            raise UnknownKey("invalid token")
        try:
            claims = dict(jwt.decode(token, key, algorithms=[ALGORITHM]).claims)
            self._check(claims, now)
        except BROKEN as error:
            raise Unauthenticated("invalid token") from error
        return claims

    def _check(self, claims: Mapping[str, Any], now: float) -> None:
        if claims["iss"] != self._issuer or claims["aud"] != self._audience:
            raise ValueError("issued by or for somebody else")
        issued, expires, begins = (moment(claims[name]) for name in ("iat", "exp", "nbf"))
        if issued > now + LEEWAY or begins > now + LEEWAY:
            raise ValueError("from the future")
        if expires <= now - LEEWAY:
            raise ValueError("expired")
        if expires - issued > self._longest + LEEWAY:
            raise ValueError("lives longer than any token of ours")


def peek(token: str) -> Mapping[str, Any]:
    """The header of a token, before anything is known of it; raises Unauthenticated."""
    part = token.partition(".")[0]
    try:
        header = json.loads(binascii.a2b_base64(part.replace("-", "+").replace("_", "/") + "=="))
    except (ValueError, RecursionError) as error:
        raise Unauthenticated("invalid token") from error
    if not isinstance(header, dict):
        raise Unauthenticated("invalid token")
    return header


def moment(value: Any) -> float:
    """A claim that is a time, in seconds since 1970; raises TypeError."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
        raise TypeError("a time is a number")
    return float(value)
