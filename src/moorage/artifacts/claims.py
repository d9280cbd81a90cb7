"""Sessions that this process began and that nobody has written to yet.

A session begins claimed by the process that recorded it. Its first bytes mostly come to the same
process within a moment: they take that claim from here, and only look whether it still holds. A
writer elsewhere, or a later one, claims in a transaction, which ends the claim from the start.
"""

from collections import OrderedDict
from dataclasses import dataclass
from time import monotonic

from moorage.access.principals import Principal
from moorage.artifacts.sessions import Claim

SECONDS = 60.0
"""How long a claim is kept; an upload that begins later asks the database."""

MOST = 10_000
"""How many are kept; the oldest go first."""


@dataclass(frozen=True, slots=True)
class _Kept:
    held: Claim
    owner: str
    until: float


class FirstClaims:
    """Each is given out once."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, _Kept] = OrderedDict()

    def keep(self, principal: Principal, held: Claim) -> None:
        """Remember the claim of a session that was just recorded."""
        while self._kept:
            oldest = next(iter(self._kept.values()))
            if oldest.until > monotonic() and len(self._kept) < MOST:
                break
            self._kept.popitem(last=False)
        self._kept[held.upload_id] = _Kept(held, str(principal), monotonic() + SECONDS)

    def take(
        self, principal: Principal, repository: str, upload_id: str, start: int | None
    ) -> Claim | None:
        """The claim, if it is the caller's and nobody asked for the session since."""
        kept = self._kept.get(upload_id)
        if kept is None or kept.owner != str(principal) or kept.held.place.name != repository:
            return None
        del self._kept[upload_id]
        return kept.held if kept.until > monotonic() and start in (None, 0) else None
