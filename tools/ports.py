"""Ports for servers that are started a moment later: no other process is given the same ones.

A port that the system hands out and that is closed again is anybody's: the next process's that
asks, or a client's, whose end of a connection may have it for a minute. These are below those that
systems hand out, in blocks: whoever holds the first port of a block has the others of it.
"""

import atexit
import itertools
import os
import socket
import threading
from collections.abc import Iterator

HOST = "127.0.0.1"
FIRST, LAST, BLOCK = 10_000, 32_000, 200


class _Ports:
    """Those of one process; what was given comes again after all others of its block."""

    def __init__(self) -> None:
        self.owner = os.getpid()
        self._marks: list[socket.socket] = []
        self._turn: Iterator[int] = self._claim()

    def next(self) -> int:
        """One that is free; RuntimeError when nothing is left on this machine."""
        for port in itertools.islice(self._turn, BLOCK):
            if (held := _held(port)) is not None:
                held.close()
                return port
        self._turn = self._claim()
        return self.next()

    def _claim(self) -> Iterator[int]:
        for first in range(FIRST, LAST, BLOCK):
            if (mark := _held(first)) is not None:
                self._marks.append(mark)
                return itertools.cycle(range(first + 1, first + BLOCK))
        raise RuntimeError(f"no ports are left from {FIRST} to {LAST}")

    def close(self) -> None:
        """Let go of the blocks; in a child, of the parent's, which goes on to hold them."""
        for mark in self._marks:
            mark.close()


def _held(port: int) -> socket.socket | None:
    """A socket that has the port, if nobody else has."""
    made = socket.socket()
    try:
        made.bind((HOST, port))
    except OSError:
        made.close()
        return None
    return made


_lock = threading.Lock()
_ports: list[_Ports] = []


def free_ports(count: int) -> list[int]:
    """Ports on which nothing listens, and that only this process is given."""
    with _lock:
        if _ports and _ports[0].owner != os.getpid():
            _ports.pop().close()
        if not _ports:
            _ports.append(_Ports())
            atexit.register(_ports[0].close)
        return [_ports[0].next() for _ in range(count)]


def free_port() -> int:
    """One of them."""
    return free_ports(1)[0]
