"""Tells one target of one event.

The address is checked, resolved and connected to by the guard; redirects are not followed. Of an
answer only its status counts: what else it says may be of a network that the operator allows and
that whoever reads the log must not look into.
"""

import hashlib
import hmac
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from moorage.clock import Clock
from moorage.errors import Unreachable
from moorage.jobs import Context, Stopping
from moorage.outgoing import Guard
from moorage.webhooks.payloads import body
from moorage.webhooks.policies import WebhookPolicies
from moorage.webhooks.records import Event, Target, WebhookPolicy

ANSWER_BYTES = 64 << 10


class Delivery:
    """The handler of both kinds."""

    def __init__(
        self, policies: WebhookPolicies, guard: Guard, clock: Clock, version: str, seconds: float
    ) -> None:
        """`seconds` are for one request with its answer."""
        self._policies = policies
        self._guard = guard
        self._clock = clock
        self._agent = f"moorage/{version}"
        self._seconds = seconds

    async def __call__(self, context: Context) -> None:
        arguments = context.claim.arguments
        policy = await self._policies.opened(context.claim.vendor_id)
        target = _target(policy, arguments)
        if policy is None or target is None:
            context.log("the policy does not tell this target any more", "WARNING")
            raise Stopping
        event = Event(**arguments["event"])
        content_type, content = body(event, target, policy.id)
        headers = {"Content-Type": content_type, "User-Agent": self._agent}
        headers |= {"X-Moorage-Event-Id": event.id, **self._signed(target, content)}
        context.log(f"{event.type} to {urlsplit(target.address).netloc}, {len(content)} bytes")
        await self._post(context, target, headers, content)

    def _signed(self, target: Target, content: bytes) -> Mapping[str, str]:
        found = {"Authorization": target.auth_header} if target.auth_header else {}
        if target.secret:
            stamp = str(int(self._clock.now().timestamp()))
            signed = f"{stamp}.".encode() + content
            code = hmac.new(target.secret.encode(), signed, hashlib.sha256).hexdigest()
            found["X-Moorage-Timestamp"] = stamp
            found["X-Moorage-Signature"] = f"sha256={code}"
        return found

    async def _post(
        self, context: Context, target: Target, headers: Mapping[str, str], content: bytes
    ) -> None:
        """Raises Unreachable unless the target accepts it."""
        host = urlsplit(target.address).netloc
        client = self._guard.client(
            verify=not target.skip_cert_verify, seconds=self._seconds, limit=ANSWER_BYTES
        )
        async with (
            client,
            client.stream("POST", target.address, headers=dict(headers), content=content) as answer,
        ):
            status = answer.status_code
        context.log(f"answered with status {status}")
        if 300 <= status < 400:
            raise Unreachable(f"{host} answers with a redirect, which is not followed")
        if not 200 <= status < 300:
            raise Unreachable(f"{host} answers with status {status}")


def _target(policy: WebhookPolicy | None, arguments: Mapping[str, Any]) -> Target | None:
    """The target that is meant, unless the policy is disabled or has another in its place."""
    if policy is None or not policy.enabled:
        return None
    number = arguments["target"]
    found = policy.targets[number] if number < len(policy.targets) else None
    return found if found is not None and found.address == arguments["address"] else None
