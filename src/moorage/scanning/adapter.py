"""What the adapter of a scanner says of itself, by the pluggable scanner API."""

import asyncio
import base64
import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from moorage.errors import AddressRefused, Unreachable
from moorage.outgoing import Guard
from moorage.scanning.registrations import Registration

PATH = "/api/v1/metadata"
SECONDS = 5.0
KEEP = 30.0
"""Seconds for which an answer, or that there was none, is remembered."""
AT_ONCE = 10


@dataclass(frozen=True, slots=True)
class Capability:
    """One kind of report: vulnerability or sbom."""

    type: str
    consumes: tuple[str, ...]  # media types
    produces: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Metadata:
    """An adapter, as it describes itself."""

    name: str
    vendor: str
    version: str
    capabilities: tuple[Capability, ...] = ()
    properties: Mapping[str, str] = field(default_factory=dict)

    def supports(self, kind: str) -> bool:
        """Whether it makes reports of that kind."""
        return any(each.type == kind for each in self.capabilities)


class Adapter:
    """Asks adapters; `credential` opens what a registration keeps encrypted."""

    def __init__(
        self,
        guard: Guard,
        credential: Callable[[Registration], str],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._guard = guard
        self._credential = credential
        self._monotonic = monotonic
        self._known: dict[tuple[str, Any], tuple[Metadata | None, float]] = {}
        self._turns = asyncio.Semaphore(AT_ONCE)

    async def metadata(self, registration: Registration) -> Metadata:
        """Raises Unreachable, AddressRefused."""
        return await self.ask(
            registration.url,
            registration.auth,
            self._credential(registration),
            verify=not registration.skip_cert_verify,
        )

    async def ask(self, url: str, auth: str, credential: str, *, verify: bool) -> Metadata:
        """The same of an adapter that is not registered yet."""
        headers = {"accept": "application/json", **_authorization(auth, credential)}
        async with (
            self._turns,
            self._guard.client(verify=verify, seconds=SECONDS, headers=headers) as client,
        ):
            answer = await client.get(url + PATH)
        if answer.status_code != 200:
            raise Unreachable(f"the scanner answers with status {answer.status_code}")
        return _metadata(answer.content)

    async def known(self, registrations: Sequence[Registration]) -> list[Metadata | None]:
        """What the adapters said, asked at the same time; None for one that does not answer."""
        return list(await asyncio.gather(*(self._remembered(each) for each in registrations)))

    async def _remembered(self, registration: Registration) -> Metadata | None:
        key = registration.uuid, registration.updated_at
        entry = self._known.get(key)
        if entry is not None and self._monotonic() < entry[1]:
            return entry[0]
        found = None
        with contextlib.suppress(Unreachable, AddressRefused):
            found = await self.metadata(registration)
        while len(self._known) >= 1000:
            del self._known[next(iter(self._known))]
        self._known[key] = found, self._monotonic() + KEEP
        return found


def _authorization(auth: str, credential: str) -> dict[str, str]:
    if not auth or not credential:
        return {}
    if auth == "Basic":
        return {"authorization": f"Basic {base64.b64encode(credential.encode()).decode()}"}
    if auth == "Bearer":
        return {"authorization": f"Bearer {credential}"}
    return {"x-scanneradapter-api-key": credential}


def _metadata(content: bytes) -> Metadata:
    """Raises Unreachable for what is no such document."""
    try:
        found = orjson.loads(content)
        scanner = found["scanner"]
        return Metadata(
            name=_text(scanner["name"]),
            vendor=_text(scanner.get("vendor", "")),
            version=_text(scanner.get("version", "")),
            capabilities=tuple(_capability(each) for each in found["capabilities"][:20]),
            properties={
                _text(name): _text(value)
                for name, value in list((found.get("properties") or {}).items())[:100]
            },
        )
    except (ValueError, TypeError, LookupError, AttributeError):
        raise Unreachable("what answers there is no adapter of a scanner") from None


def _capability(said: Mapping[str, Any]) -> Capability:
    return Capability(
        type=_text(said.get("type") or "vulnerability"),
        consumes=tuple(map(_text, (said.get("consumes_mime_types") or ())[:100])),
        produces=tuple(map(_text, (said.get("produces_mime_types") or ())[:100])),
    )


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("no text")
    return value[:1024]
