"""Webhooks: other servers are told what happens in a project.

    fact ─► Teller, in the transaction that hands facts over ─► a task for each target
    task ─► Delivery ─► POST, until it was accepted or the tries are used up

So nothing is told that did not happen, and what happened is told at least once: a receiver that
wants to know it only once looks at the event's id.
"""

from moorage.webhooks.delivery import Delivery
from moorage.webhooks.policies import WebhookPolicies
from moorage.webhooks.teller import Teller

__all__ = ["Delivery", "Teller", "WebhookPolicies"]
