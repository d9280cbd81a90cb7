"""Which addresses somebody else may make this server connect to.

A name or URL that a user or another server gave must not reach what only this machine can reach:
itself, its private network, or the metadata service of its cloud. So an address has to be public,
or in a network that the operator lists.
"""

from collections.abc import Iterator, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

_NOT_PUBLIC = tuple(  # what `is_global` of some versions of Python calls public
    map(
        ip_network,
        (
            "168.63.129.16/32",  # Azure's own services for the machine
            "192.0.0.0/24",
            "192.88.99.0/24",
            "::/96",  # IPv4-compatible
            "::ffff:0:0:0/96",  # IPv4-translated
            "64:ff9b:1::/48",
            "fec0::/10",
        ),
    )
)
EVERYWHERE: Sequence[Network] = (IPv4Network("0.0.0.0/0"), IPv6Network("::/0"))
"""For what the operator wrote into the settings, and nobody else can change."""
_NAT64 = IPv6Network("64:ff9b::/96")


def allowed(address: Address, allow: Sequence[Network]) -> bool:
    """Whether a connection may go to `address`: public, or in one of the networks `allow`."""
    return all(_public(each) or _within(each, allow) for each in meanings(address))


def meanings(address: Address) -> Iterator[Address]:
    """The address, or the IPv4 address that a translator makes of it."""
    if isinstance(address, IPv4Address):
        yield address
    elif address.ipv4_mapped is not None:
        yield address.ipv4_mapped
    elif address in _NAT64:
        yield IPv4Address(int(address) & 0xFFFF_FFFF)
    elif address.sixtofour is not None:
        yield address.sixtofour
    elif address.teredo is not None:
        yield from address.teredo
    else:
        yield address


def _public(address: Address) -> bool:
    return address.is_global and not address.is_multicast and not _within(address, _NOT_PUBLIC)


def _within(address: Address, networks: Sequence[Network]) -> bool:
    return any(address in network for network in networks)
