"""Trying a policy: its targets are told of something that did not happen."""

from moorage.db.engine import Database
from moorage.jobs.bell import Bell
from moorage.webhooks.teller import Teller


class WebhookTests:
    """Queues them, and rings."""

    def __init__(self, db: Database, teller: Teller, bell: Bell) -> None:
        self._db = db
        self._teller = teller
        self._bell = bell

    async def test(self, operator: str, project_id: int, policy_id: int) -> int:
        """Returns the execution's id; raises NotFound when there is no such policy, or disabled."""
        made = await self._db.run(self._teller.test, operator, project_id, policy_id)
        await self._bell.ring()
        return made
