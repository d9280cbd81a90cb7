"""Connections to other servers: the one way out, and only to addresses that are allowed."""

from moorage.outgoing.guard import Guard

__all__ = ["Guard"]
