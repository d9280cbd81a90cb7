"""What replicas know of each other when Redis fails: a row in the database.

A writer that cannot mark keys in Redis must not let other replicas go on reading them there. Every
replica reads the fence about once a second and uses Redis only while its last look is young.

    generation   part of every key in Redis; a new one makes all that was kept unreachable
    server       the one Redis whose content counts; a replica connected to another uses none
    suspended    until then nobody reads from Redis

    in use ── suspend(6, server) ──► suspended, new generation ── time passes ──► in use
                                          │        ▲
                                          └────────┘ suspend(6, server): lasts longer
"""

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class FenceState:
    """One look at the fence. Times are differences of the database's own clock, in seconds."""

    generation: str  # random, new with each suspension that is not an extension
    server: str  # "" before the first replica chose one
    age: float  # since the generation was made
    remaining: float  # until the suspension ends; 0 or less: it has ended


class Fence(Protocol):
    """The fence in the database.

    It takes a connection that requests do not compete for, so that a busy pool does not look like
    a lost fence. Both methods raise DatabaseUnavailable within a few seconds.
    """

    async def read(self) -> FenceState:
        """The fence as committed now. The first caller ever makes it, with no server."""

    async def suspend(self, seconds: float, server: str) -> FenceState:
        """Stop the use of Redis for at least `seconds` from now, in one short transaction.

        Lock the row. If a suspension is in force and `server` is the fence's own: only lengthen
        it, never shorten; generation and age stay. Otherwise: a new random generation of age 0,
        that server, suspended for `seconds`. Commit before returning the new state.
        """
