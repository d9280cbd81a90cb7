"""The steps of a sign-in with a browser, and the accounts that come of it.

    begin ─► a row of what only this browser may finish; the provider's page
    finish ─► the row goes (once); code for tokens; who is it?
                 identity known ──────────────────► SignedIn
                 new, accounts made by themselves ─► SignedIn
                 new, a name is to be chosen ──────► Onboarding ─ onboard(name) ─► SignedIn

Who somebody is, issuer and subject say. A name is only what others see: one that is taken is
refused, whoever asks for it. The row is encrypted, and found by the cookie of the browser that
began, so another browser cannot finish, and another replica can.
"""

import base64
import hashlib
import hmac
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import orjson
from sqlalchemy import delete, func, select

from moorage import patterns
from moorage.access.principals import Principal
from moorage.access.secretbox import CannotOpen, SecretBox
from moorage.accounts import groups, users
from moorage.accounts.attempts import network
from moorage.accounts.oidc.provider import Provider
from moorage.accounts.oidc.settings import MODE, OidcSettings
from moorage.accounts.records import OIDC, Login
from moorage.accounts.standing import ADMINISTERS
from moorage.db.engine import Database
from moorage.db.tables import identities, pending_sign_ins
from moorage.db.tables import users as user_table
from moorage.db.transactions import Tx
from moorage.db.types import from_now, now
from moorage.errors import Denied, Invalid, TooManyRequests, Unauthenticated
from moorage.settings import Current

KIND = "oidc"
SECONDS = 900.0
"""How long a sign-in may take."""
MOST = 100
"""Sign-ins from one network (/24 of IPv4, /56 of IPv6) that are begun and not finished."""
NAMES = ("preferred_username", "name", "email", "sub")
"""Claims that may hold a name, the best first."""

_PURPOSE = "pending sign-in"


@dataclass(frozen=True, slots=True)
class Began:
    """Where the browser goes, and the cookie that it keeps meanwhile."""

    url: str
    cookie: str


@dataclass(frozen=True, slots=True)
class SignedIn:
    """Who signed in, and where the browser wanted to go."""

    login: Login
    target: str


@dataclass(frozen=True, slots=True)
class Onboarding:
    """Somebody new chooses a name."""

    cookie: str
    username: str  # a proposal
    target: str


@dataclass(frozen=True, slots=True)
class _Person:
    issuer: str
    subject: str
    username: str
    realname: str
    email: str
    groups: list[str]
    admin: bool


class OidcAccounts:
    """People of the provider as users; raises Unreachable while it does not answer."""

    def __init__(self, db: Database, settings: Current, provider: Provider, box: SecretBox) -> None:
        self._db = db
        self._settings = settings
        self._provider = provider
        self._box = box

    async def begin(self, redirect_uri: str, target: str, address: str = "") -> Began:
        """Begin a sign-in of somebody at that address.

        Raises Denied unless the mode is OpenID Connect, TooManyRequests when too many from there
        were begun and not finished.
        """
        settings = await self._current()
        metadata = await self._provider.metadata(settings)
        state, nonce, verifier = (secrets.token_urlsafe(32) for _ in range(3))
        digest = hashlib.sha256(verifier.encode()).digest()
        cookie = await self._keep(
            {
                "state": state,
                "nonce": nonce,
                "verifier": verifier,
                "redirect_uri": redirect_uri,
                "target": target,
                "issuer": settings.issuer,
            },
            network(address, v4=24, v6=56),
        )
        asked = {
            **settings.extra,
            "response_type": "code",
            "client_id": settings.client_id,
            "redirect_uri": redirect_uri,
            "scope": " ".join(settings.scopes),
            "state": state,
            "nonce": nonce,
            "code_challenge": base64.urlsafe_b64encode(digest).rstrip(b"=").decode(),
            "code_challenge_method": "S256",
        }
        joint = "&" if "?" in metadata.authorization else "?"
        return Began(f"{metadata.authorization}{joint}{urlencode(asked)}", cookie)

    async def finish(self, cookie: str, state: str, code: str) -> SignedIn | Onboarding:
        """The provider sent the browser back; raises Unauthenticated, Denied, Conflict."""
        settings = await self._current()
        kept = await self._db.run(self._take, cookie)
        same = hmac.compare_digest(str(kept.get("state", "")).encode(), state.encode())
        if not state or not same or kept.get("issuer") != settings.issuer or not code:
            raise Unauthenticated("the sign-in was not begun here, or not in this browser")
        tokens = await self._provider.exchange(
            settings, code, kept["verifier"], kept["redirect_uri"]
        )
        claims = await self._provider.claims(settings, tokens.get("id_token"), kept["nonce"])
        if any(
            name and name not in claims for name in (settings.user_claim, settings.groups_claim)
        ):
            token = tokens.get("access_token")
            more = await self._provider.userinfo(settings, token, claims["sub"])
            claims = {**more, **claims}
        person = _person(claims, settings)
        login = await self._db.run(_sign_in, person)
        if login is None and settings.auto_onboard:
            prefix = (await self._settings.current()).robot_name_prefix
            login = await self._db.run(_make, person, person.username, prefix)
        if login is not None:
            return SignedIn(login, kept["target"])
        again = await self._keep(
            {"person": _dump(person), "target": kept["target"], "issuer": settings.issuer}
        )
        return Onboarding(again, person.username, kept["target"])

    async def onboard(self, cookie: str, username: str) -> SignedIn:
        """Make the account under that name.

        Raises Denied, Unauthenticated, Invalid, and Conflict for a name that is taken: the browser
        may try another one.
        """
        settings = await self._current()
        prefix = (await self._settings.current()).robot_name_prefix

        async def step(tx: Tx) -> SignedIn:
            kept = await self._take(tx, cookie)
            if "person" not in kept or kept.get("issuer") != settings.issuer:
                raise Unauthenticated("sign in first")
            person = _Person(**kept["person"])
            login = await _sign_in(tx, person) or await _make(tx, person, username, prefix)
            return SignedIn(login, kept["target"])

        return await self._db.run(step)

    async def end_session(self, back: str) -> str:
        """The provider's page that ends its session too; "" when it has none, or need not."""
        values = await self._settings.current()
        if values.auth_mode != MODE or not values.oidc_logout:
            return ""
        settings = OidcSettings.of(values)
        metadata = await self._provider.metadata(settings)
        if not metadata.end_session:
            return ""
        said = {"client_id": settings.client_id, "post_logout_redirect_uri": back}
        joint = "&" if "?" in metadata.end_session else "?"
        return f"{metadata.end_session}{joint}{urlencode(said)}"

    async def tidy(self) -> int:
        """Forget what nobody finished. Returns how many there were."""

        async def step(tx: Tx) -> int:
            over = delete(pending_sign_ins).where(pending_sign_ins.c.expires_at <= now())
            return int((await tx.execute(over)).rowcount)

        return await self._db.run(step)

    async def _current(self) -> OidcSettings:
        values = await self._settings.current()
        if values.auth_mode != MODE:
            raise Denied(f"the auth mode is {values.auth_mode}, not {MODE}")
        return OidcSettings.of(values)

    async def _keep(self, data: Mapping[str, Any], place: str = "") -> str:
        """Write a row for somebody at that network; returns the cookie that finds it."""
        cookie = secrets.token_urlsafe(32)
        row = {
            "digest": _digest(cookie),
            "data": self._box.seal(orjson.dumps(data), _PURPOSE),
            "network": place or None,
            "expires_at": from_now(SECONDS),
        }

        async def step(tx: Tx) -> None:
            if place:
                await _require_few(tx, place)
            await tx.execute(pending_sign_ins.insert().values(row))

        await self._db.run(step)
        return cookie

    async def _take(self, tx: Tx, cookie: str) -> Mapping[str, Any]:
        """Step: the row of the cookie, which is gone with this transaction."""
        taken = delete(pending_sign_ins).where(
            pending_sign_ins.c.digest == _digest(cookie), pending_sign_ins.c.expires_at > now()
        )
        row = (await tx.execute(taken.returning(pending_sign_ins.c.data))).one_or_none()
        if row is None:
            raise Unauthenticated("the sign-in took too long, or was finished; begin anew")
        try:
            return dict(orjson.loads(self._box.open(row.data, _PURPOSE)))
        except CannotOpen as error:
            raise Unauthenticated("the sign-in was begun under another key") from error


async def _require_few(tx: Tx, place: str) -> None:
    """Step: raises TooManyRequests; nobody shall fill the table by asking for the first page."""
    query = select(func.count()).where(
        pending_sign_ins.c.network == place, pending_sign_ins.c.expires_at > now()
    )
    if (await tx.execute(query)).scalar_one() >= MOST:
        raise TooManyRequests(
            "too many sign-ins were begun from this network and not finished; try again later",
            detail={"seconds": 60},
        )


async def _sign_in(tx: Tx, person: _Person) -> Login | None:
    """Step: the account of somebody who is known, with the groups of today."""
    query = select(identities.c.user_id).where(
        identities.c.kind == KIND,
        identities.c.issuer == person.issuer,
        identities.c.subject == person.subject,
    )
    user_id = (await tx.execute(query)).scalar_one_or_none()
    if user_id is None:
        return None
    known = await groups.known(tx, OIDC, {name: name for name in person.groups})
    await groups.belong(tx, int(user_id), known, admin=person.admin)
    found = await tx.execute(
        select(user_table.c.username, user_table.c.revision, ADMINISTERS).where(
            user_table.c.id == user_id
        )
    )
    row = found.one()
    principal = Principal("user", int(user_id), row.username, sysadmin=bool(row.administers))
    return Login(principal, row.revision)


async def _make(tx: Tx, person: _Person, username: str, prefix: str) -> Login:
    """Step: the account of somebody new; raises Invalid, Conflict."""
    values = {"username": users.check_name(username, prefix), "realname": person.realname}
    try:
        email = users.check_email(person.email)
    except Invalid:
        email = ""
    taken = select(user_table.c.id).where(user_table.c.email == email)
    if email and (await tx.execute(taken)).first() is None:
        values["email"] = email
    user_id = await users.insert(tx, Principal("user", name=username), values)
    row = {
        "user_id": user_id,
        "kind": KIND,
        "issuer": person.issuer,
        "subject": person.subject,
    }
    await tx.execute(identities.insert().values(row))
    login = await _sign_in(tx, person)
    assert login is not None
    return login


def _person(claims: Mapping[str, Any], settings: OidcSettings) -> _Person:
    """Who the claims tell of; raises Denied when what the operator asks for is not there."""
    wanted = (settings.user_claim,) if settings.user_claim else NAMES
    username = next((text for name in wanted if (text := _text(claims, name))), "")
    if not username:
        raise Denied(f"the provider does not tell the claim {wanted[0]}; ask an administrator")
    said = claims.get(settings.groups_claim) if settings.groups_claim else None
    listed = [said] if isinstance(said, str) else said if isinstance(said, list) else []
    named = [name for name in listed if isinstance(name, str) and _is_name(name)]
    kept = named
    if settings.group_filter:
        pattern = patterns.compile(patterns.REGEX, settings.group_filter)
        kept = [name for name in named if pattern.matches(name)]
    return _Person(
        issuer=str(claims["iss"])[:512],
        subject=str(claims["sub"]),
        username=username.replace(" ", "_"),
        realname=_text(claims, "name"),
        email=_text(claims, "email"),
        groups=sorted(set(kept))[: groups.MOST],
        admin=bool(settings.admin_group) and settings.admin_group in named,
    )


def _is_name(text: str) -> bool:
    return 1 <= len(text) <= groups.MAX_NAME and text.isprintable()


def _text(claims: Mapping[str, Any], name: str) -> str:
    value = claims.get(name)
    return value if isinstance(value, str) and len(value) <= 255 and value.isprintable() else ""


def _dump(person: _Person) -> dict[str, Any]:
    return {name: getattr(person, name) for name in _Person.__dataclass_fields__}


def _digest(cookie: str) -> str:
    return hashlib.sha256(cookie.encode("utf-8", "surrogatepass")).hexdigest()
