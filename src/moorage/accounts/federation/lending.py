"""What a token of ours, given for one of theirs, opens: its robot account, while all is as it was.

The token names the robot account at a revision and the rule at a revision. Any change of either,
and their end, ends it at once on every replica.
"""

from moorage.access.exchanged import ExchangedTokens
from moorage.access.jwts import Issued, UnknownKey
from moorage.access.principals import Principal
from moorage.accounts.federation.rules import Rule
from moorage.accounts.keys import Keys
from moorage.accounts.records import Login
from moorage.accounts.standing import Standings, sooner, via_rule
from moorage.clock import Clock, SystemClock
from moorage.errors import Unauthenticated


class Lending:
    """Lends robot accounts."""

    def __init__(
        self,
        tokens: ExchangedTokens,
        keys: Keys,
        standings: Standings,
        clock: Clock | None = None,
    ) -> None:
        self._tokens = tokens
        self._keys = keys
        self._standings = standings
        self._clock = clock or SystemClock()

    async def lend(self, rule: Rule) -> Issued | None:
        """A token for the rule's robot account; None when either changed at this moment."""
        via = via_rule(rule.id, rule.revision)
        robot = Principal("robot", rule.robot_id, rule.robot, via=via)
        standing = await self._standings.of(robot)
        if standing is None:
            return None
        seconds = float(rule.lifetime)
        if standing.expires_at is not None:
            seconds = min(seconds, standing.expires_at - self._clock.now().timestamp())
        return self._tokens.issue(robot, standing.revision, seconds)

    def takes(self, secret: str) -> bool:
        """Whether the text is such a token, by what it says."""
        return self._tokens.takes(secret)

    async def open(self, account: str | None, secret: str) -> Login | None:
        """The robot account that it opens, or None; `account` is its name where one was given."""
        try:
            robot, revision, ends = await self._verify(secret)
        except Unauthenticated:
            return None
        if account not in (None, robot.name):
            return None
        standing = await self._standings.of(robot)
        if standing is None or standing.revision != revision:
            return None
        return Login(robot, revision, sooner(ends, standing.expires_at))

    async def _verify(self, secret: str) -> tuple[Principal, int, float]:
        try:
            return self._tokens.verify(secret)
        except UnknownKey:
            await self._keys.look_again()  # another replica may have begun a new key
            return self._tokens.verify(secret)
