"""The outermost layers of every request: the caller's address and the request's id."""

import re
import secrets
from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address
from itertools import count

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from moorage.telemetry.logs import REQUEST_ID

FORM = re.compile(rb"[A-Za-z0-9._:/+=-]{1,128}")
"""An id that is taken from the client; any other is replaced."""

Network = IPv4Network | IPv6Network
TOLD = "moorage.told"
"""In a scope whose address a trusted proxy told."""


class RequestIds:
    """Echoes a well-formed `X-Request-Id` or makes one, and puts it on every log line."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        # An id has to be unique and need not be secret: the kernel is asked once.
        self._prefix = secrets.token_hex(6)
        self._numbers = count(1)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        known = b""
        for name, value in scope["headers"]:
            if name == b"x-request-id" and FORM.fullmatch(value):
                known = value
                break
        if not known:
            known = f"{self._prefix}{next(self._numbers):08x}".encode()
        header = (b"x-request-id", known)

        async def tagged(message: Message) -> None:
            if message["type"] == "http.response.start":
                # A new message: faces may send one that they keep for the next request.
                message = {**message, "headers": [*message["headers"], header]}
            await send(message)

        before = REQUEST_ID.set(known.decode())
        try:
            await self._app(scope, receive, tagged)
        finally:
            REQUEST_ID.reset(before)


class Forwarded:
    """Believes `X-Forwarded-For` and `X-Forwarded-Proto` of trusted proxies, and of nobody else."""

    def __init__(self, app: ASGIApp, *, trusted: Sequence[Network]) -> None:
        self._app = app
        self._trusted = tuple(trusted)
        self._peers: dict[str, bool] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._trusted and scope["type"] == "http":
            client = scope.get("client")
            if client and self._peer(client[0]):
                scope = self._told(scope, client[0])
        await self._app(scope, receive, send)

    def _told(self, scope: Scope, peer: str) -> Scope:
        """The request as the proxy says that it came in; of repeated headers all count."""
        proto, chain = b"", []
        for name, value in scope["headers"]:
            if name == b"x-forwarded-proto":
                proto = value.rsplit(b",", 1)[-1].strip().lower()
            elif name == b"x-forwarded-for":
                chain += value.decode("latin-1").split(",")
        scope = {**scope, "client": (self._origin(chain, peer), 0), TOLD: True}
        if proto in (b"http", b"https"):
            scope["scheme"] = proto.decode()
        return scope

    def _origin(self, chain: list[str], peer: str) -> str:
        """The nearest address that is none of our proxies; nothing further left can be believed."""
        for part in reversed(chain):
            address = part.strip()
            try:
                ip_address(address)
            except ValueError:
                return peer
            if not self._trusts(address):
                return address
            peer = address
        return peer

    def _peer(self, address: str) -> bool:
        """Whether the other end of a connection is a proxy; proxies are few, so remembered."""
        known = self._peers.get(address)
        if known is None:
            known = self._trusts(address)
            if len(self._peers) < 1024:
                self._peers[address] = known
        return known

    def _trusts(self, text: str) -> bool:
        try:
            address = ip_address(text)
        except ValueError:
            return False
        if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        return any(address in network for network in self._trusted)
