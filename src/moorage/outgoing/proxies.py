"""Which requests go through a proxy, and what a proxy may be asked for.

    this machine, a name without a dot    directly, and so is what `no_proxy` lists
    an address                            has to be allowed
    a name that is looked up here         all its addresses have to be allowed
    a name that nobody here knows         is left to the proxy, unless it is one of private networks

A proxy stands in a network of its own and looks names up anew, so nothing is passed on that another
reader could take for something else: 127.1, 0x7f000001, a zone behind an address.
"""

import re
import time
from collections.abc import Callable, Collection, Sequence

from moorage.config.outgoing import (
    OutgoingSettings,
    ProxyAddress,
    literal,
    parse_bypass,
    parse_proxy,
)
from moorage.errors import AddressRefused
from moorage.outgoing.addresses import Network, meanings

PRIVATE = (
    "corp",
    "home",
    "home.arpa",
    "internal",
    "intranet",
    "lan",
    "local",
    "localdomain",
    "private",
    "svc",
)
"""Ends of names that the public Internet does not have: RFC 6762, RFC 8375, ICANN, and use."""
SILENT_SECONDS = 60.0
"""For so long a name is not looked up again after the name server gave no answer in time."""
SILENT = 1000
"""Such names that are remembered."""

_NAME = re.compile(r"(?=.{1,253}\Z)[a-z0-9_]([a-z0-9_-]{0,62})(\.[a-z0-9_]([a-z0-9_-]{0,62}))+")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")


class HttpProxies:
    """The proxies of the settings, by the scheme of the URL, and what goes past them."""

    def __init__(self, settings: OutgoingSettings | None = None) -> None:
        settings = settings or OutgoingSettings()
        self.by_scheme: dict[str, ProxyAddress] = {}
        for scheme, url in (("http", settings.http_proxy), ("https", settings.https_proxy)):
            if url is not None:
                self.by_scheme[scheme] = parse_proxy(url.get_secret_value())
        self._bypasses = tuple(map(parse_bypass, settings.no_proxy))

    def of(self, scheme: str, host: str, port: int) -> ProxyAddress | None:
        """The proxy for a URL, None where there is none or it is passed by.

        An IPv6 address is without brackets.
        """
        host = host.lower()
        proxy = self.by_scheme.get(scheme)
        if proxy is None or _here(host):
            return None
        return None if any(each.covers(host, port) for each in self._bypasses) else proxy


def _here(host: str) -> bool:
    """Whether a host is this machine or near: by way of a proxy it would be the proxy's own."""
    address = literal(host)
    if address is not None:
        return any(each.is_loopback or each.is_unspecified for each in meanings(address))
    name = host.rstrip(".")
    return "." not in name or name.endswith(".localhost")


def check_spelling(host: str) -> None:
    """Raises AddressRefused for what is neither a name nor an address to every reader."""
    if literal(host) is not None and "%" not in host:
        return
    name = host.removesuffix(".")
    if not _NAME.fullmatch(name) or _NUMBER.fullmatch(name.rpartition(".")[2]):
        raise AddressRefused(
            f"{host[:100]} is neither a name nor an address in its usual form: "
            "no proxy is asked for it"
        )


def check_unknown(host: str, allow: Sequence[Network]) -> None:
    """Raises AddressRefused for a name of private networks that cannot be looked up here."""
    name = host.removesuffix(".")
    if _below(name, PRIVATE) and not any(network.prefixlen == 0 for network in allow):
        raise AddressRefused(
            f"{host[:100]} is a name of a private network that cannot be looked up here; "
            "an operator may list it in the setting outgoing.no_proxy, or let it be looked up"
        )


def _below(name: str, suffixes: Collection[str]) -> bool:
    return any(name.endswith(f".{suffix}") for suffix in suffixes)


class Silent:
    """Names for which the name server was silent; the next request does not wait for it again."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._until: dict[str, float] = {}

    def __contains__(self, host: str) -> bool:
        return self._until.get(host, 0.0) > self._monotonic()

    def add(self, host: str) -> None:
        """Remember it for a while; the oldest goes where there are too many."""
        self._until.pop(host, None)
        while len(self._until) >= SILENT:
            del self._until[next(iter(self._until))]
        self._until[host] = self._monotonic() + SILENT_SECONDS
