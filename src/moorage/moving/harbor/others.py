"""The registries that a Harbor knows, and what it replicates from and to them.

    registries ─┬─► proxy-cache projects   (`carrying` makes them)
                └─► replication policies   here, and not enabled

No API tells the secrets of a registry's account: each comes without, or with the one that the
operator gives. A registry that does not answer without its secret cannot be registered; what
needs it is left, and comes with the next run.
"""

import json
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from moorage.errors import Invalid
from moorage.moving.harbor.client import Answer, Harbor
from moorage.moving.harbor.report import Report

REGISTRIES, POLICIES = "registries", "replication policies"

Send = Callable[[str, str, str, str, Any], Awaitable[Answer | None]]
"""Kind, name, method, path and body of what is to be made; None when it was not."""

_SAID = (
    "name",
    "description",
    "dest_namespace",
    "dest_namespace_replace_count",
    "trigger",
    "replicate_deletion",
    "override",
    "speed",
    "copy_by_chunk",
    "single_active_replication",
)


def read_secrets(path: Path) -> dict[str, str]:
    """Names of registries and the secrets of their accounts; raises OSError, Invalid.

    The file has a line of JSON for each: {"name": "docker hub", "secret": "…"}
    """
    found = {}
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if not line.strip():
            continue
        try:
            entry = json.loads(line)
            found[str(entry["name"])] = str(entry["secret"])
        except (ValueError, TypeError, KeyError):
            raise Invalid(f'{path}:{number}: a line is {{"name": "…", "secret": "…"}}') from None
    return found


class Others:
    """Other registries, by the numbers that they have there."""

    def __init__(
        self,
        theirs: Harbor,
        ours: Harbor,
        report: Report,
        send: Send,
        secrets: Mapping[str, str],
        *,
        dry: bool,
    ) -> None:
        self._theirs = theirs
        self._ours = ours
        self._report = report
        self._send = send
        self._secrets = secrets
        self._dry = dry
        self._here: dict[int, int] = {}

    def here(self, registry_id: int) -> int | None:
        """The number here of a registry of theirs: 0 in a dry run, None when it is not here."""
        return self._here.get(registry_id)

    async def registries(self) -> None:
        """Register what they know."""
        known = {each["name"]: each async for each in self._ours.every("registries")}
        async for each in self._theirs.every("registries"):
            ours = known.get(each["name"])
            if ours is None:
                await self._register(each)
                continue
            self._report.of(REGISTRIES).there += 1
            self._here[each["id"]] = ours["id"]
            account = ours.get("credential") or {}
            if account.get("access_key") and not account.get("access_secret"):
                self._without(each["name"], account["access_key"])

    async def _register(self, registry: Mapping[str, Any]) -> None:
        name = registry["name"]
        keys = ("name", "url", "type", "description", "ca_certificate")
        body: dict[str, Any] = {key: registry[key] for key in keys if registry.get(key)}
        body["insecure"] = bool(registry.get("insecure"))
        account = registry.get("credential") or {}
        key, secret = account.get("access_key", ""), self._secrets.get(name, "")
        if key:
            kind = account.get("type") or "basic"
            body["credential"] = {"type": kind, "access_key": key, "access_secret": secret}
        answer = await self._send(REGISTRIES, name, "POST", "registries", body)
        if answer is None and not self._dry:
            if key and not secret:
                why = f"give the secret of {key} with --registry-secrets, or register it by hand"
                self._report.note(REGISTRIES, name, why)
            return
        self._here[registry["id"]] = answer.id if answer is not None else 0
        if key and not secret:
            self._without(name, key)

    def _without(self, name: str, key: str) -> None:
        self._report.note(REGISTRIES, name, f"is here without the secret of {key}: enter it here")

    async def policies(self) -> None:
        """Make their policies, which wait until somebody enables them here."""
        known = {each["name"] async for each in self._ours.every("replication/policies")}
        async for each in self._theirs.every("replication/policies"):
            if each["name"] in known:
                self._report.of(POLICIES).there += 1
            else:
                await self._policy(each)

    async def _policy(self, policy: Mapping[str, Any]) -> None:
        name = policy["name"]
        source, target = policy.get("src_registry") or {}, policy.get("dest_registry") or {}
        side, other = ("src_registry", source) if source.get("id") else ("dest_registry", target)
        number = self.here(int(other.get("id") or 0))
        if number is None:
            why = f"its registry {other.get('name', '')} is not here"
            self._report.left(POLICIES, name, why)
            return
        body = {key: policy[key] for key in _SAID if policy.get(key) is not None}
        body.setdefault("replicate_deletion", bool(policy.get("deletion")))
        body |= {"filters": policy.get("filters") or [], side: {"id": number}, "enabled": False}
        made = await self._send(POLICIES, name, "POST", "replication/policies", body)
        if policy.get("enabled") and (made is not None or self._dry):
            self._report.note(POLICIES, name, "is enabled there: enable it here when it is time")
