"""One admitted request, as the endpoints get it."""

from dataclasses import dataclass

from moorage.access.principals import Principal
from moorage.distribution.exchange import Exchange
from moorage.web.callers import Caller


@dataclass(frozen=True, slots=True)
class Call:
    """A request whose route is known and whose caller may make it."""

    exchange: Exchange
    caller: Caller
    rights: frozenset[str]  # of pull, push, delete in the repository
    repository: str
    reference: str  # tag, digest or session id, unchecked

    @property
    def principal(self) -> Principal:
        """Who calls."""
        return self.caller.principal
