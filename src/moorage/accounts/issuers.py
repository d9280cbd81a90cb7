"""Whose tokens we believe: what an issuer publishes, and whether a token is signed by it.

    discovery ─► the issuer calls itself by the name that was asked for ─► where its keys are
    keys      ─► kept for some minutes; a key that is not known is looked for again, but not more
                 often than every half minute, so that nobody makes this server hammer the issuer
    signature ─► by one of these keys and an algorithm of ours; what the token's own header says
                 of keys (`jwk`, `jku`, `x5u`) is never followed

(OpenID Connect Discovery 1.0; RFC 7517; RFC 8725)
"""

import asyncio
import binascii
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import orjson
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from moorage.errors import Invalid, MoorageError, Unauthenticated, Unreachable
from moorage.outgoing import Guard

ALGORITHMS = [f"{kind}{bits}" for kind in ("RS", "PS", "ES") for bits in (256, 384, 512)]
ALGORITHMS += ["EdDSA", "Ed25519"]
"""Signatures only: a MAC under the issuer's public key proves nothing."""
KEEP = 600.0
"""Seconds for which discovery and keys are kept."""
LOOK_AGAIN = 30.0
"""Seconds between two looks for a key that is not known."""
TRY_AGAIN = 5.0
"""Seconds for which an issuer that did not answer is not asked again."""
MAX_TOKEN = 64 << 10
"""Characters."""
MAX_KEYS = 100
MAX_RSA_BITS = 4096
"""A longer key, or a large exponent, would make every look at a signature slow."""
_KEPT = 64  # issuers
_LOCAL = ("localhost", "127.0.0.1", "::1")

_BROKEN = (JoseError, ValueError, TypeError, LookupError, RecursionError)


@dataclass(slots=True)
class _Entry:
    """What is known of one issuer; one request at a time asks it."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    document: Mapping[str, Any] | None = None
    until: float = 0.0
    keys: KeySet | None = None
    looked: float = 0.0
    failure: MoorageError | None = None
    failed: float = 0.0


class Issuers:
    """Asks issuers; raises Unreachable, AddressRefused for any of it."""

    def __init__(
        self,
        guard: Guard,
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._guard = guard
        self._monotonic = monotonic
        self._known: OrderedDict[tuple[str, bool], _Entry] = OrderedDict()

    async def discover(self, issuer: str, *, verify: bool = True) -> Mapping[str, Any]:
        """Ask the issuer anew; raises Invalid when it is none."""
        entry = self._entry(issuer, verify)
        async with entry.lock:
            return await self._discover(entry, issuer, verify)

    async def document(self, issuer: str, *, verify: bool = True) -> Mapping[str, Any]:
        """The same, remembered; what failed a moment ago is not tried again."""
        return await self._document(self._entry(issuer, verify), issuer, verify)

    async def claims(self, issuer: str, token: str, *, verify: bool = True) -> dict[str, Any]:
        """What a token says that is signed by the issuer; nothing of it is checked.

        Raises Unauthenticated when it is not signed so.
        """
        entry = self._entry(issuer, verify)
        document = await self._document(entry, issuer, verify)
        try:
            return signed(token, await self._keys(entry, document, verify, fresh=False))
        except Unauthenticated:  # perhaps of a key that is new
            return signed(token, await self._keys(entry, document, verify, fresh=True))

    def _entry(self, issuer: str, verify: bool) -> _Entry:
        entry = self._known.get((issuer, verify))
        if entry is None:
            while len(self._known) >= _KEPT:
                self._known.popitem(last=False)
            entry = self._known[issuer, verify] = _Entry()
        self._known.move_to_end((issuer, verify))
        return entry

    async def _document(self, entry: _Entry, issuer: str, verify: bool) -> Mapping[str, Any]:
        async with entry.lock:
            if entry.document is not None and self._monotonic() < entry.until:
                return entry.document
            with self._remembering(entry):
                return await self._discover(entry, issuer, verify)

    @contextmanager
    def _remembering(self, entry: _Entry) -> Iterator[None]:
        """Do not ask again what failed a moment ago; the entry's lock is held."""
        if entry.failure is not None and self._monotonic() < entry.failed + TRY_AGAIN:
            raise entry.failure.with_traceback(None)
        try:
            yield
        except MoorageError as failure:
            entry.failure, entry.failed = failure, self._monotonic()
            raise

    async def _discover(self, entry: _Entry, issuer: str, verify: bool) -> Mapping[str, Any]:
        url = f"{issuer.rstrip('/')}/.well-known/openid-configuration"
        found = await self._get(url, verify=verify)
        if str(found.get("issuer", "")).rstrip("/") != issuer.rstrip("/"):
            raise Invalid("the issuer calls itself by another name than the one it is asked by")
        entry.document, entry.keys, entry.failure = found, None, None
        entry.until = self._monotonic() + KEEP
        return found

    async def _keys(
        self, entry: _Entry, document: Mapping[str, Any], verify: bool, *, fresh: bool
    ) -> KeySet:
        async with entry.lock:
            moment = self._monotonic()
            if entry.keys is None or (fresh and moment - entry.looked >= LOOK_AGAIN):
                with self._remembering(entry):
                    entry.looked = moment
                    found = await self._get(_jwks_uri(document), verify=verify)
                    entry.keys = key_set(found)
            return entry.keys

    async def _get(self, url: str, *, verify: bool) -> Mapping[str, Any]:
        async with self._guard.client(verify=verify) as client:
            answer = await client.get(url, headers={"accept": "application/json"})
        if answer.status_code != 200:
            raise Unreachable(f"the issuer answers with status {answer.status_code}")
        return json_object(answer.content)


def signed(token: Any, keys: KeySet) -> dict[str, Any]:
    """What a token says that one of the keys signed; raises Unauthenticated."""
    refused = Unauthenticated("the token is not signed by its issuer")
    if not isinstance(token, str) or len(token) > MAX_TOKEN or not token.isascii():
        raise refused
    try:
        return dict(jwt.decode(token, keys, algorithms=ALGORITHMS).claims)
    except _BROKEN as error:
        raise refused from error


def key_set(found: Mapping[str, Any]) -> KeySet:
    """The keys of a document that sign; others, and kinds that are not known, are left out.

    Raises Unreachable.
    """
    keys = found.get("keys")
    if not isinstance(keys, list):
        raise Unreachable("the issuer's keys are not a key set")
    chosen = [
        key
        for key in keys[:MAX_KEYS]
        if isinstance(key, dict)
        and key.get("use", "sig") == "sig"
        and key.get("kty") in ("RSA", "EC", "OKP")
        and quick(key)
    ]
    if not chosen:
        raise Unreachable("there is no key that signs")
    try:
        return KeySet.import_key_set({"keys": chosen})
    except _BROKEN as error:
        raise Unreachable("the issuer's keys are not valid") from error


def quick(key: Mapping[str, Any]) -> bool:
    """Whether a signature of the key is quickly checked: of RSA keys, size and exponent say it."""
    if key.get("kty") != "RSA":
        return True
    try:
        n, e = _number(key["n"]), _number(key["e"])
    except (LookupError, TypeError, ValueError, AttributeError):
        return False
    return n.bit_length() <= MAX_RSA_BITS and e in (65537, 3)


def secure(url: str) -> bool:
    """Whether nobody on the way can change what the URL answers: https, or this machine."""
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError:
        return False
    return bool(host) and (parts.scheme == "https" or (parts.scheme == "http" and host in _LOCAL))


def _jwks_uri(document: Mapping[str, Any]) -> str:
    """Where the keys are; raises Invalid. Only a provider without https names others without."""
    uri = link(document, "jwks_uri")
    if secure(str(document["issuer"])) and not secure(uri):
        raise Invalid("the issuer's jwks_uri is no https:// URL")
    return uri


def _number(text: str) -> int:
    return int.from_bytes(binascii.a2b_base64(text.replace("-", "+").replace("_", "/") + "=="))


def json_object(content: bytes) -> dict[str, Any]:
    """A JSON object of its text; raises Unreachable."""
    try:
        found = orjson.loads(content)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise Unreachable("the issuer does not answer with a JSON object")
    return found


def link(document: Mapping[str, Any], name: str, *, needed: bool = True) -> str:
    """A page that a discovery document names, or ""; raises Invalid for one that is needed."""
    value = document.get(name, "")
    if isinstance(value, str) and value.startswith(("https://", "http://")):
        return value
    if needed:
        raise Invalid(f"the issuer's discovery document has no {name}")
    return ""
