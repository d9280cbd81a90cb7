"""Credentials for one registry: sent to it, and to nobody else.

    401 Basic                              the name and the password, to this origin only
    anything else for nobody               the same, once: it may show the account more
    401 Bearer realm on this origin        they buy a token there
               realm of a known service    the same: the kind of registry names its hosts
               realm anywhere else         never: only a token for nobody is asked for there

A registry that was taken over, or one that lies, so learns no more than what it was given.
"""

import asyncio
import base64
import re
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Any
from urllib.parse import urlsplit
from weakref import WeakValueDictionary

import httpx2
import orjson

from moorage.errors import Denied, Unreachable
from moorage.remotes.records import Endpoint, origin

ANSWER = 1 << 20
"""Bytes of a token service's answer."""
SHORTEST, MARGIN = 60.0, 15.0
"""Seconds that a token lives which does not say so, and before whose end it is not used."""
MOST = 256
"""Tokens that are kept."""
LATER = frozenset({429, 500, 502, 503, 504})
"""Statuses that say nothing of the request itself: it may be answered otherwise later."""
REFRESHED = "00000000-0000-0000-0000-000000000000"
"""The user name of Azure's refresh tokens."""

LONGEST = 4096
"""Characters of the challenges of one answer that are read: the other side writes them, and a look
for what is not there takes a time that grows with their square."""

_CHALLENGE = re.compile(r"\b(basic|bearer)\b", re.IGNORECASE)
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*(?:"|\\?$)')
_PARAMETER = re.compile(r'\b([a-z_]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))', re.IGNORECASE)

Login = Callable[[Endpoint], Awaitable[tuple[str, str, float]]]
"""Buys a name and a password that live some seconds with the registered ones."""


@dataclass(frozen=True, slots=True)
class Challenge:
    """What a 401 asks for."""

    scheme: str  # basic or bearer
    parameters: Mapping[str, str] = field(default_factory=dict)


def challenges(headers: Sequence[str]) -> list[Challenge]:
    """Every challenge of `WWW-Authenticate` headers that is known here."""
    found = []
    left = LONGEST
    for text in headers:
        left -= len(text)
        if left < 0:
            break
        plain = _QUOTED.sub(lambda quoted: "-" * len(quoted[0]), text)
        marks = list(_CHALLENGE.finditer(plain))
        for mark, after in zip_longest(marks, marks[1:]):
            said = text[mark.end() : after.start() if after else len(text)]
            parameters = {
                name.lower(): quoted or bare for name, quoted, bare in _PARAMETER.findall(said)
            }
            found.append(Challenge(mark[1].lower(), parameters))
    return found


class Authorizer:
    """Authorization headers for one registry."""

    def __init__(
        self,
        endpoint: Endpoint,
        http: httpx2.AsyncClient,
        *,
        basic: bool = False,
        realms: Sequence[str] = (),
        login: Login | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`basic`: send the password at once. `realms`: ends of hosts that may be sent it too."""
        self._endpoint = endpoint
        self._http = http
        self._basic = basic and bool(endpoint.password)
        self._realms = tuple(realms)
        self._login = login
        self._monotonic = monotonic
        self._bearer: Mapping[str, str] | None = None
        self._tokens: dict[tuple[str, ...], tuple[str, float]] = {}
        self._bought: tuple[str, str, float] | None = None
        self._introducing = asyncio.Lock()
        self._introduced = False
        self._turns: WeakValueDictionary[tuple[str, ...], asyncio.Lock] = WeakValueDictionary()

    async def header(self, scopes: Sequence[str] | None) -> str | None:
        """The header of a request, as far as it is known what the registry wants.

        Without `scopes` no token fits: the request is none of the distribution API.
        """
        if self._bearer is not None and scopes is not None:
            return f"Bearer {await self._token(tuple(scopes))}"
        if self._basic:
            return await self._password()
        return None

    async def learn(
        self, headers: Sequence[str], scopes: Sequence[str] | None, refused: str | None
    ) -> bool:
        """Take in a 401; whether it makes sense to ask again.

        `refused` is the header of the request. Many may have gone out before the first answer
        came: what another one has learned since is not thrown away.
        """
        found = challenges(headers)
        bearer = next((each for each in found if each.scheme == "bearer"), None)
        if bearer is not None and bearer.parameters.get("realm") and scopes is not None:
            known = self._tokens.get(tuple(scopes))
            if known is not None and refused == f"Bearer {known[0]}":
                del self._tokens[tuple(scopes)]
            self._bearer = bearer.parameters
            return True
        if any(each.scheme == "basic" for each in found) and self._endpoint.password:
            stale = self._bought is not None and refused == _basic(*self._bought[:2])
            if stale:
                self._bought = None
            self._basic, self._bearer = True, None
            return stale or not (refused or "").startswith("Basic ")
        return False

    @property
    def hidden(self) -> bool:
        """Whether the registry might answer otherwise to a request that did not say who asks."""
        known = self._basic or self._bearer is not None
        told = known or not self._introduced
        return told and bool(self._endpoint.password) and self._login is None

    async def introduce(self, base: str, scopes: Sequence[str]) -> None:
        """Say who asks to a registry that answered without asking.

        It may answer anybody, and show others less: then it takes the password, or asks for it.
        Raises Denied where it does not know the account, Unreachable where it does not say.
        """
        async with self._introducing:
            if self._introduced or self._basic or self._bearer is not None:
                return
            said = {"authorization": await self._password()}
            request = self._http.build_request("GET", f"{base}/v2/", headers=said)
            answer = await self._http.send(request, stream=True)
            await answer.aclose()
            if answer.status_code in LATER:
                raise Unreachable(f"{self._endpoint.host}: no sign-in, {answer.status_code}")
            if answer.status_code == 401:
                wanted = answer.headers.get_list("www-authenticate")
                if not await self.learn(wanted, scopes, said["authorization"]):
                    raise Denied(f"{self._endpoint.host} does not know the account")
            self._basic = self._basic or answer.status_code == 200
            self._introduced = True

    async def _password(self) -> str:
        return _basic(*await self._credentials())

    async def _credentials(self) -> tuple[str, str]:
        if self._login is None:
            return self._endpoint.username, self._endpoint.password
        if self._bought is None or self._bought[2] <= self._monotonic():
            username, password, seconds = await self._login(self._endpoint)
            self._bought = username, password, self._monotonic() + seconds - MARGIN
        return self._bought[:2]

    async def _token(self, scopes: tuple[str, ...]) -> str:
        turn = self._turns.setdefault(scopes, asyncio.Lock())
        async with turn:  # who wants the same waits for the one that is being bought
            known = self._tokens.get(scopes)
            if known is not None and known[1] > self._monotonic():
                return known[0]
            return await self._new_token(scopes)

    async def _new_token(self, scopes: tuple[str, ...]) -> str:
        assert self._bearer is not None
        realm = self._bearer["realm"]
        answer = await self._buy(realm, scopes)
        if answer.status_code != 200:
            await answer.aclose()
            if answer.status_code in LATER:
                raise Unreachable(f"{urlsplit(realm).netloc}: no token, {answer.status_code}")
            raise Denied(
                f"{urlsplit(realm).netloc} gives no token for {self._endpoint.host}: "
                f"it answers {answer.status_code}" + self._withheld(realm)
            )
        body = await bounded(answer, ANSWER)
        try:
            document = orjson.loads(body)
            token = document.get("token") or document.get("access_token")
            seconds = float(document.get("expires_in") or SHORTEST)
        except (orjson.JSONDecodeError, AttributeError, TypeError, ValueError):
            token, seconds = None, 0.0
        if not isinstance(token, str) or not token.isascii() or not token.isprintable():
            raise Unreachable(f"{urlsplit(realm).netloc} answers without a token")
        while len(self._tokens) >= MOST:
            del self._tokens[next(iter(self._tokens))]
        self._tokens[scopes] = token, self._monotonic() + max(seconds - MARGIN, 1.0)
        return token

    async def _buy(self, realm: str, scopes: Sequence[str]) -> httpx2.Response:
        parameters: list[tuple[str, Any]] = [("scope", each) for each in scopes]
        assert self._bearer is not None
        if service := self._bearer.get("service"):
            parameters.append(("service", service))
        trusted = self._trusts(realm)
        if trusted and self._endpoint.username == REFRESHED:
            body = {
                "grant_type": "refresh_token",
                "refresh_token": self._endpoint.password,
                "service": self._bearer.get("service", ""),
                "scope": " ".join(scopes),
            }
            exchange = realm.rsplit("/", 1)[0] + "/token"
            request = self._http.build_request("POST", exchange, data=body)
        else:
            headers = {}
            if trusted and self._endpoint.password:
                headers["authorization"] = await self._password()
                parameters.append(("account", self._endpoint.username))
            request = self._http.build_request("GET", realm, params=parameters, headers=headers)
        return await self._http.send(request, stream=True)

    def _trusts(self, realm: str) -> bool:
        """Whether the credentials were given for that host too; never in the clear beside TLS."""
        if origin(realm) == origin(self._endpoint.url):
            return True
        parts = urlsplit(realm)
        host = parts.hostname or ""
        return parts.scheme == "https" and any(
            host == each or (each.startswith(".") and host.endswith(each)) for each in self._realms
        )

    def _withheld(self, realm: str) -> str:
        if not self._endpoint.password or self._trusts(realm):
            return ""
        return (
            "; the credentials were given for another server and are not sent there: "
            "an operator may list the host in the setting remotes.token_hosts"
        )


def _basic(username: str, password: str) -> str:
    pair = base64.b64encode(f"{username}:{password}".encode()).decode()
    return f"Basic {pair}"


async def bounded(answer: httpx2.Response, limit: int) -> bytes:
    """The body of an answer of at most `limit` bytes; raises Unreachable."""
    found = bytearray()
    try:
        async for part in answer.aiter_raw():
            found += part
            if len(found) > limit:
                raise Unreachable(f"{answer.request.url.host}: its answer is too long")
    finally:
        await answer.aclose()
    return bytes(found)
