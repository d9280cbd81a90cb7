"""What an identity provider says (OpenID Connect Core 1.0).

metadata  ─► where its pages are, by its discovery document
exchange  ─► code and verifier (PKCE) for tokens
claims    ─► an ID token, verified: key, algorithm, issuer, audience, time, nonce
userinfo  ─► claims that the ID token leaves out, of the same subject
"""

import base64
import hmac
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from moorage.access.jwts import peek
from moorage.accounts.issuers import Issuers, json_object, link, secure
from moorage.accounts.oidc.settings import OidcSettings
from moorage.errors import Invalid, Unauthenticated
from moorage.outgoing import Guard

LEEWAY = 60.0
"""Seconds by which clocks may differ."""


@dataclass(frozen=True, slots=True)
class Metadata:
    """Where a provider does what."""

    issuer: str
    authorization: str
    token: str
    userinfo: str
    end_session: str
    basic: bool  # whether the token endpoint takes the client's secret by Basic


class Provider:
    """Asks identity providers; raises Unreachable, AddressRefused for any of it."""

    def __init__(
        self, guard: Guard, issuers: Issuers, *, now: Callable[[], float] = time.time
    ) -> None:
        self._guard = guard
        self._issuers = issuers
        self._now = now

    async def discover(self, issuer: str, *, verify: bool) -> Metadata:
        """Ask the provider anew; raises Invalid when it is none."""
        return _metadata(await self._issuers.discover(issuer, verify=verify))

    async def metadata(self, settings: OidcSettings) -> Metadata:
        """The same, remembered."""
        return _metadata(await self._issuers.document(settings.issuer, verify=settings.verify))

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
        return json_object(answer.content)

    async def claims(self, settings: OidcSettings, token: Any, nonce: str) -> dict[str, Any]:
        """What an ID token says; raises Unauthenticated unless all of it is right."""
        metadata = await self.metadata(settings)
        try:
            found = await self._issuers.claims(settings.issuer, token, verify=settings.verify)
            _check(found, metadata.issuer, settings.client_id, nonce, self._now())
        except (Unauthenticated, ValueError, TypeError, LookupError) as error:
            raise Unauthenticated("the provider's token is not valid; begin anew") from error
        return found

    async def presented(self, settings: OidcSettings, token: str) -> dict[str, Any]:
        """What an ID token says that somebody shows instead of signing in here.

        Raises Unauthenticated unless it is right, and made for our client: logout tokens and access
        tokens of the same provider, signed by the same keys, are none.
        """
        if str(peek(token).get("typ", "JWT")).upper() != "JWT":
            raise Unauthenticated("the token is no ID token")
        metadata = await self.metadata(settings)
        found = await self._issuers.claims(settings.issuer, token, verify=settings.verify)
        try:
            _check(found, metadata.issuer, settings.client_id, None, self._now())
        except (ValueError, TypeError, LookupError) as error:
            raise Unauthenticated("the token is not valid, or not for us") from error
        if "events" in found or str(found.get("typ", "ID")).upper() not in ("ID", "JWT"):
            raise Unauthenticated("the token is no ID token")
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
        found = json_object(answer.content)
        if found.get("sub") != subject:
            raise Unauthenticated("the provider tells of somebody else; begin anew")
        return found


def _metadata(found: Mapping[str, Any]) -> Metadata:
    """Raises Invalid."""
    methods = found.get("token_endpoint_auth_methods_supported", ["client_secret_basic"])
    return Metadata(
        issuer=str(found["issuer"]),
        authorization=_page(found, "authorization_endpoint"),
        token=_page(found, "token_endpoint"),
        userinfo=_page(found, "userinfo_endpoint", needed=False),
        end_session=_page(found, "end_session_endpoint", needed=False),
        basic=not isinstance(methods, list) or "client_secret_basic" in methods,
    )


def _page(found: Mapping[str, Any], name: str, *, needed: bool = True) -> str:
    """A page of the provider; raises Invalid for one that others could read along or change.

    Our secret and people's tokens go there. Only a provider without https has others without.
    """
    url = link(found, name, needed=needed)
    if url and secure(str(found["issuer"])) and not secure(url):
        raise Invalid(f"the issuer's {name} is no https:// URL")
    return url


def _check(
    claims: Mapping[str, Any], issuer: str, client_id: str, nonce: str | None, now: float
) -> None:
    """Raises ValueError, TypeError, LookupError; `nonce` is of a sign-in that was begun here."""
    audience = claims["aud"]
    audiences = audience if isinstance(audience, list) else [audience]
    if claims["iss"] != issuer or client_id not in audiences:
        raise ValueError("issued by or for somebody else")
    if claims.get("azp", client_id if len(audiences) == 1 else None) != client_id:
        raise ValueError("issued to somebody else")
    expires, issued = _number(claims["exp"]), _number(claims["iat"])
    if expires <= now - LEEWAY or issued > now + LEEWAY:
        raise ValueError("expired, or from the future")
    if nonce is not None and not hmac.compare_digest(str(claims["nonce"]).encode(), nonce.encode()):
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
