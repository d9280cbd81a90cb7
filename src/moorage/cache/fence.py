"""What replicas know of each other when Redis fails: a row in the database.

A writer that cannot mark keys in Redis must not let other replicas go on reading them there. Every
replica reads the fence about once a second and uses Redis only while its last look is young.

    generation   part of every key in Redis; a new one makes all that was kept unreachable
    server       the one Redis whose content counts; a replica connected to another uses none
    suspended    until then nobody reads from Redis

    in use ── suspend(6) ──► suspended, new generation ── time passes ──► in use
                                  │        ▲
                                  └────────┘ suspend(6): lasts longer, new generation
"""

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class FenceState:
    """One look at the fence. Times are differences on the database's own clock, in seconds."""

    generation: str  # random letters and digits
    server: str  # "" before the first replica chose one
    remaining: float  # until the suspension ends; 0 or less: it has ended


class Fence(Protocol):
    """The fence in the database.

    It takes a connection that requests do not compete for, so that a busy pool does not look like
    a lost fence, and a writer inside its own transaction never waits for itself.
    All methods raise DatabaseUnavailable within a few seconds.
    """

    async def read(self) -> FenceState:
        """The fence as committed now. The first call ever makes it: no server, not suspended."""

    async def choose(self, server: str) -> FenceState:
        """Set the server if none is chosen yet; else change nothing. Returns what then holds.

        Nobody uses Redis while none is chosen, so this needs no suspension.
        """

    async def suspend(self, seconds: float, server: str | None = None) -> FenceState:
        """Stop the use of Redis for `seconds` from now, and choose `server` if one is given.

        One short transaction that locks the row:

            the end of the suspension becomes the later of its present end and now + seconds
            the generation becomes a new random one, also when a suspension was in force: it may
            end while this transaction waits for the row

        So it never shortens a suspension. It commits before it returns the new state.
        """
