"""The way out.

    name ─► resolve ─► allowed? ── no ─► AddressRefused
                          │ yes
                          ▼
            connect to that very address, TLS under the name

A second look-up could answer something else, so there is none. Redirects are not followed, proxies
of the environment are not used, and what another server sends is bounded in bytes and time.

With a proxy of the settings HTTP goes to that one, which looks the name up anew:

    name ─► known here? ── no ─► of private networks? ── yes ─► AddressRefused
                │ yes                     │ no
                ▼                         ▼
            all allowed? ── yes ─► the proxy, TLS under the name through it
                │ no
                ▼
            AddressRefused
"""

import asyncio
import socket
import ssl
from collections.abc import Sequence
from functools import cached_property
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import httpx2

from moorage.config.outgoing import ProxyAddress, literal
from moorage.errors import AddressRefused, Invalid, Unreachable
from moorage.outgoing.addresses import EVERYWHERE, Network, allowed
from moorage.outgoing.connections import greeted
from moorage.outgoing.lookups import Lookups
from moorage.outgoing.proxies import HttpProxies, Silent, check_spelling, check_unknown
from moorage.outgoing.transport import Transport

CONNECT_SECONDS = 5.0
RESOLVE_SECONDS = 5.0
PROXIED_SECONDS = 2.0
"""For the look-up of a name that the proxy can look up as well."""
REQUEST_SECONDS = 15.0
"""For a request and its whole answer."""
ANSWER_BYTES = 1 << 20
CONTEXTS = 256
"""Sets of authorities that are kept ready."""
_NO_PUBLIC = (
    "{} has no public address; an operator may list its network in the setting outgoing.allow"
)


class Guard:
    """Connects to other servers, to public addresses and those of the networks `allow`."""

    def __init__(
        self,
        allow: Sequence[Network] = (),
        ca_file: Path | None = None,
        proxies: HttpProxies | None = None,
    ) -> None:
        self._allow = tuple(allow)
        self._ca_file = ca_file
        self._proxies = proxies or HttpProxies()
        self._lookups = Lookups()
        self._silent = Silent()
        self._contexts: dict[tuple[bool, str], ssl.SSLContext] = {}

    async def addresses(
        self, host: str, port: int, *, datagrams: bool = False
    ) -> list[tuple[int, Any]]:
        """(family, socket address) of a host, allowed ones only.

        Raises AddressRefused when none is allowed, Unreachable when there is none.
        """
        kind = socket.SOCK_DGRAM if datagrams else socket.SOCK_STREAM
        try:
            async with asyncio.timeout(RESOLVE_SECONDS):
                found = await self._lookups.addresses(host, port, kind)
        except TimeoutError:
            raise Unreachable(f"{host} cannot be looked up: no answer in time") from None
        except (OSError, UnicodeError) as error:
            late = isinstance(error, socket.gaierror) and error.errno == socket.EAI_AGAIN
            why = "the name server does not answer" if late else "no such host"
            raise Unreachable(f"{host} cannot be looked up: {why}") from None
        kept = [
            (int(family), address)
            for family, _, _, _, address in found
            if self._allowed(str(address[0]))
        ]
        if not kept:
            raise AddressRefused(_NO_PUBLIC.format(host))
        return kept

    def _allowed(self, address: str) -> bool:
        return allowed(ip_address(address.partition("%")[0]), self._allow)

    def proxy(self, scheme: str, host: str, port: int) -> ProxyAddress | None:
        """The proxy for a URL, None where it goes out directly."""
        return self._proxies.of(scheme, host, port)

    async def admit(self, host: str, port: int) -> None:
        """Raises AddressRefused for what a proxy must not be asked for; Unreachable.

        A name that has no answer here is left to the proxy: behind one there may be no name server
        that knows the Internet. That one of them is silent costs a request in a minute some time.
        """
        host = host.lower()
        check_spelling(host)
        if literal(host) is not None:
            if not self._allowed(host):
                raise AddressRefused(_NO_PUBLIC.format(host))
            return
        found = None
        if host not in self._silent:
            try:
                async with asyncio.timeout(PROXIED_SECONDS):
                    found = await self._lookups.addresses(host, port, socket.SOCK_STREAM)
            except TimeoutError:
                self._silent.add(host)
            except (OSError, UnicodeError):
                found = None
        if not found:
            check_unknown(host, self._allow)
        elif not all(self._allowed(str(address[0])) for _, _, _, _, address in found):
            raise AddressRefused(_NO_PUBLIC.format(host))

    @cached_property
    def operators(self) -> "Guard":
        """The way to a proxy, which is the operator's choice and inside as a rule."""
        return Guard(EVERYWHERE, self._ca_file)

    async def greet_proxies(self) -> list[str]:
        """Each proxy, which answered and takes our account. Raises Unreachable."""
        for scheme, proxy in self._proxies.by_scheme.items():
            await greeted(self.operators, proxy, scheme)
        return [f"{proxy} for {name}://" for name, proxy in self._proxies.by_scheme.items()]

    async def connect(
        self, host: str, port: int, *, tls: bool = False, verify: bool = True
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A stream to the first address that answers; raises AddressRefused, Unreachable."""
        secured: dict[str, Any] = {}
        if tls:
            secured = {"ssl": self.tls(verify=verify), "server_hostname": host}
        why: OSError | None = None
        for _, address in await self.addresses(host, port):
            try:
                async with asyncio.timeout(CONNECT_SECONDS):
                    return await asyncio.open_connection(address[0], address[1], **secured)
            except OSError as error:  # TimeoutError is one
                why = error
        raise Unreachable(f"{host}:{port}: {reason(why)}") from why

    def client(
        self,
        *,
        verify: bool = True,
        seconds: float = REQUEST_SECONDS,
        limit: int = ANSWER_BYTES,
        **options: Any,
    ) -> httpx2.AsyncClient:
        """An HTTP client over this guard; `options` are those of `httpx2.AsyncClient`.

        An answer may have `limit` bytes and take `seconds`. Its requests raise AddressRefused and
        Unreachable, also for an answer that is too long, too slow or compressed.
        """
        transport = Transport(self, self.tls(verify=verify), seconds, limit)
        headers = {"accept-encoding": "identity", **options.pop("headers", {})}
        return httpx2.AsyncClient(
            transport=transport,
            headers=headers,
            trust_env=False,
            follow_redirects=False,
            timeout=seconds,
            **options,
        )

    def streaming(
        self, *, verify: bool = True, ca: str = "", idle: float = REQUEST_SECONDS, **options: Any
    ) -> httpx2.AsyncClient:
        """As `client`, for answers of any length: only a pause of `idle` seconds ends one.

        `ca` are the authorities to trust in place of all others, PEM. Whoever reads an answer
        counts its bytes.
        """
        transport = Transport(self, self.tls(verify=verify, ca=ca), None, None)
        headers = {"accept-encoding": "identity", **options.pop("headers", {})}
        return httpx2.AsyncClient(
            transport=transport,
            headers=headers,
            trust_env=False,
            follow_redirects=False,
            timeout=httpx2.Timeout(idle, connect=CONNECT_SECONDS),
            **options,
        )

    def tls(self, *, verify: bool = True, ca: str = "") -> ssl.SSLContext:
        """Trusts the system's authorities and those of the operator's file; made once.

        With `ca`, trusts only these. Raises Invalid for what holds no certificate.
        """
        key = (verify, ca)
        if key not in self._contexts:
            while len(self._contexts) >= CONTEXTS:
                del self._contexts[next(iter(self._contexts))]
            self._contexts[key] = self._context(verify, ca)
        return self._contexts[key]

    def _context(self, verify: bool, ca: str) -> ssl.SSLContext:
        if ca:
            try:
                context = ssl.create_default_context(cadata=ca)
            except (ssl.SSLError, ValueError):
                raise Invalid("the certificates of the authority are not in PEM form") from None
        else:
            context = ssl.create_default_context()
            if self._ca_file is not None:
                context.load_verify_locations(self._ca_file)
        if not verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context


def reason(error: BaseException | None) -> str:
    """Why a connection failed in a few words, without what the other server sent."""
    if isinstance(error, TimeoutError):
        return "it does not answer in time"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return "it speaks no TLS that is secure"
    if isinstance(error, ConnectionRefusedError):
        return "it refuses connections"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return "it cannot be reached"
