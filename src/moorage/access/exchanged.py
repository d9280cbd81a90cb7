"""Tokens that were exchanged for somebody else's: each opens one robot account for some minutes.

sub   the robot account's name, for logs
who   [kind, id, revision, via]: the account as it was, and the rule that lent it
"""

from moorage.access.jwts import BROKEN, Issued, Jwts, KeyRing, moment, peek
from moorage.access.principals import Principal
from moorage.access.tokens import who, who_claim
from moorage.clock import Clock
from moorage.errors import Unauthenticated

EXCHANGED_TYPE = "exchanged+jwt"
"""`typ` of this class."""


class ExchangedTokens:
    """Issues and verifies them."""

    def __init__(
        self,
        ring: KeyRing,
        *,
        issuer: str,
        audience: str,
        longest: float,
        clock: Clock | None = None,
    ) -> None:
        """`longest` in seconds."""
        self._jwts = Jwts(
            ring, EXCHANGED_TYPE, issuer=issuer, audience=audience, longest=longest, clock=clock
        )

    def issue(self, principal: Principal, revision: int, seconds: float) -> Issued:
        """A token that opens the account as it is."""
        claims = {"sub": principal.name, "who": who_claim(principal, revision)}
        return self._jwts.issue(claims, seconds)

    def takes(self, text: str) -> bool:
        """Whether the text calls itself one."""
        if not text.startswith("ey") or text.count(".") != 2 or not text.isascii():
            return False
        try:
            return peek(text).get("typ") == EXCHANGED_TYPE
        except Unauthenticated:
            return False

    def verify(self, token: str) -> tuple[Principal, int, float]:
        """The account, its revision and the token's end; raises Unauthenticated, UnknownKey."""
        claims = self._jwts.open(token)
        try:
            principal, revision = who(claims)
            if principal.kind != "robot" or not principal.via:
                raise ValueError("not lent")
            return principal, revision, moment(claims["exp"])
        except BROKEN as error:
            raise Unauthenticated("invalid token") from error
