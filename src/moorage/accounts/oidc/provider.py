"""What an identity provider says (OpenID Connect Core 1.0 and Discovery 1.0).

    discovery ─► where its pages and keys are; its issuer has to be the one that was asked
    exchange  ─► code and verifier (PKCE) for tokens
    claims    ─► an ID token, verified: key, algorithm, issuer, audience, time, nonce
    userinfo  ─► claims that the ID token leaves out, of the same subject

What it answered is kept for some minutes. A key that is not known is looked for again, but not more
often than every half minute, so that nobody makes this server hammer the provider.
"""

import base64
import hmac
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import orjson
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from moorage.accounts.oidc.settings import OidcSettings
from moorage.errors import Invalid, Unauthenticated, Unreachable
from moorage.outgoing import Guard

ALGORITHMS = [f"{kind}{bits}" for kind in ("RS", "PS", "ES") for bits in (256, 384, 512)]
ALGORITHMS += ["EdDSA", "Ed25519"]
"""Signatures only: a MAC under the provider's public key proves nothing."""
KEEP = 600.0
"""Seconds for which discovery and keys are kept."""
LOOK_AGAIN = 30.0
"""Seconds between two looks for a key that is not known."""
LEEWAY = 60.0
"""Seconds by which clocks may differ."""
MAX_TOKEN = 64 << 10
_KEPT = 8  # providers: an operator tries some


@dataclass(frozen=True, slots=True)
class Metadata:
    """Where a provider does what."""

    issuer: str
    authorization: str
    token: str
    jwks: str
    userinfo: str
    end_session: str
    basic: bool  # whether the token endpoint takes the client's secret by Basic


@dataclass(slots=True)
class _Known:
    metadata: Metadata
    until: float
    keys: KeySet | None = None
    looked: float = 0.0


class Provider:
    """Asks identity providers; raises Unreachable, AddressRefused for any of it."""

    def __init__(
        self,
        guard: Guard,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._guard = guard
        self._monotonic = monotonic
        self._now = now
        self._known: dict[tuple[str, bool], _Known] = {}

    async def discover(self, issuer: str, *, verify: bool) -> Metadata:
        """Ask the provider anew; raises Invalid when it is none."""
        url = f"{issuer}/.well-known/openid-configuration"
        found = await self._get(url, verify=verify)
        said = str(found.get("issuer", ""))
        if said.rstrip("/") != issuer:
            raise Invalid("the provider calls itself by another issuer than oidc_endpoint")
        methods = found.get("token_endpoint_auth_methods_supported", ["client_secret_basic"])
        metadata = Metadata(
            issuer=said,
            authorization=_url(found, "authorization_endpoint"),
            token=_url(found, "token_endpoint"),
            jwks=_url(found, "jwks_uri"),
            userinfo=_url(found, "userinfo_endpoint", needed=False),
            end_session=_url(found, "end_session_endpoint", needed=False),
            basic=not isinstance(methods, list) or "client_secret_basic" in methods,
        )
        while len(self._known) >= _KEPT:
            del self._known[next(iter(self._known))]
        self._known[issuer, verify] = _Known(metadata, self._monotonic() + KEEP)
        return metadata

    async def metadata(self, settings: OidcSettings) -> Metadata:
        """The same, remembered."""
        return (await self._entry(settings)).metadata

    async def exchange(
        self, settings: OidcSettings, code: str, verifier: str, redirect_uri: str
    ) -> Mapping[str, Any]:
        """Tokens for a code; raises Unauthenticated when the provider refuses it."""
        metadata = await self.metadata(settings)
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": redirect_uri,
            "code_verifier": verifier,
            "client_id": settings.client_id,
        }
        headers = {}
        if settings.client_secret and metadata.basic:
            headers["authorization"] = _basic(settings)
        elif settings.client_secret:
            form["client_secret"] = settings.client_secret
        async with self._guard.client(verify=settings.verify) as client:
            answer = await client.post(metadata.token, data=form, headers=headers)
        if answer.status_code != 200:
            raise Unauthenticated("the provider does not accept the sign-in; begin anew")
        return _object(answer.content)

    async def claims(self, settings: OidcSettings, token: Any, nonce: str) -> dict[str, Any]:
        """What an ID token says; raises Unauthenticated unless all of it is right."""
        refused = Unauthenticated("the provider's token is not valid; begin anew")
        if not isinstance(token, str) or len(token) > MAX_TOKEN or not token.isascii():
            raise refused
        entry = await self._entry(settings)
        try:
            try:
                found = await self._decode(settings, entry, token, fresh=False)
            except (JoseError, ValueError):  # perhaps of a key that is new
                found = await self._decode(settings, entry, token, fresh=True)
            _check(found, entry.metadata.issuer, settings.client_id, nonce, self._now())
        except (JoseError, ValueError, TypeError, LookupError, RecursionError) as error:
            raise refused from error
        return found

    async def userinfo(
        self, settings: OidcSettings, access_token: Any, subject: str
    ) -> Mapping[str, Any]:
        """More claims of the same subject; none when the provider has no such page."""
        metadata = await self.metadata(settings)
        if not metadata.userinfo or not isinstance(access_token, str):
            return {}
        async with self._guard.client(verify=settings.verify) as client:
            headers = {"authorization": f"Bearer {access_token}"}
            answer = await client.get(metadata.userinfo, headers=headers)
        if answer.status_code != 200:
            raise Unauthenticated("the provider does not tell who signed in; begin anew")
        found = _object(answer.content)
        if found.get("sub") != subject:
            raise Unauthenticated("the provider tells of somebody else; begin anew")
        return found

    async def _entry(self, settings: OidcSettings) -> _Known:
        key = settings.issuer, settings.verify
        entry = self._known.get(key)
        if entry is None or self._monotonic() >= entry.until:
            await self.discover(settings.issuer, verify=settings.verify)
            entry = self._known[key]
        return entry

    async def _decode(
        self, settings: OidcSettings, entry: _Known, token: str, *, fresh: bool
    ) -> dict[str, Any]:
        moment = self._monotonic()
        if entry.keys is None or (fresh and moment - entry.looked >= LOOK_AGAIN):
            entry.looked = moment
            found = await self._get(entry.metadata.jwks, verify=settings.verify)
            entry.keys = KeySet.import_key_set({"keys": _signing(found.get("keys"))})
        return dict(jwt.decode(token, entry.keys, algorithms=ALGORITHMS).claims)

    async def _get(self, url: str, *, verify: bool) -> Mapping[str, Any]:
        async with self._guard.client(verify=verify) as client:
            answer = await client.get(url, headers={"accept": "application/json"})
        if answer.status_code != 200:
            raise Unreachable(f"the provider answers with status {answer.status_code}")
        return _object(answer.content)


def _check(claims: Mapping[str, Any], issuer: str, client_id: str, nonce: str, now: float) -> None:
    """Raises ValueError, TypeError, LookupError."""
    audience = claims["aud"]
    audiences = audience if isinstance(audience, list) else [audience]
    if claims["iss"] != issuer or client_id not in audiences:
        raise ValueError("issued by or for somebody else")
    if claims.get("azp", client_id if len(audiences) == 1 else None) != client_id:
        raise ValueError("issued to somebody else")
    expires, issued = _number(claims["exp"]), _number(claims["iat"])
    if expires <= now - LEEWAY or issued > now + LEEWAY:
        raise ValueError("expired, or from the future")
    if not hmac.compare_digest(str(claims["nonce"]).encode(), nonce.encode()):
        raise ValueError("of another sign-in")
    subject = claims["sub"]
    if not isinstance(subject, str) or not 1 <= len(subject) <= 255 or not subject.isascii():
        raise ValueError("of nobody")


def _basic(settings: OidcSettings) -> str:
    pair = f"{quote(settings.client_id, safe='')}:{quote(settings.client_secret, safe='')}"
    return f"Basic {base64.b64encode(pair.encode()).decode()}"


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError("a time is a number")
    return float(value)


def _signing(keys: Any) -> list[Any]:
    """The keys that sign; others, and kinds that are not known, are left out."""
    if not isinstance(keys, list):
        raise Unreachable("the provider's keys are not a key set")
    return [
        key
        for key in keys[:100]
        if isinstance(key, dict)
        and key.get("use", "sig") == "sig"
        and key.get("kty") in ("RSA", "EC", "OKP")
    ]


def _object(content: bytes) -> dict[str, Any]:
    try:
        found = orjson.loads(content)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise Unreachable("the provider does not answer with a JSON object")
    return found


def _url(found: Mapping[str, Any], name: str, *, needed: bool = True) -> str:
    value = found.get(name, "")
    if isinstance(value, str) and value.startswith(("https://", "http://")):
        return value
    if needed:
        raise Invalid(f"the provider's discovery document has no {name}")
    return ""
