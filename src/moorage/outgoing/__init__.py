"""Connections to other servers: the one way out, and only to addresses that are allowed."""

from moorage.outgoing.addresses import EVERYWHERE
from moorage.outgoing.guard import Guard
from moorage.outgoing.proxies import HttpProxies

__all__ = ["EVERYWHERE", "Guard", "HttpProxies"]
