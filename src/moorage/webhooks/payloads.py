"""An event as the body of a request.

Default      {"type", "occur_at", "operator", "event_data"}     as Harbor sends it
CloudEvents  1.0, as one JSON document                          with Harbor's types
Slack        blocks of text                                     for an incoming webhook
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import orjson

from moorage.webhooks.records import CLOUD_EVENTS, SLACK, Event, Target

CLOUD_TYPES: Mapping[str, str] = {
    "PUSH_ARTIFACT": "harbor.artifact.pushed",
    "PULL_ARTIFACT": "harbor.artifact.pulled",
    "DELETE_ARTIFACT": "harbor.artifact.deleted",
    "QUOTA_EXCEED": "harbor.quota.exceeded",
    "QUOTA_WARNING": "harbor.quota.warned",
    "SCANNING_COMPLETED": "harbor.scan.completed",
    "SCANNING_FAILED": "harbor.scan.failed",
    "SCANNING_STOPPED": "harbor.scan.stopped",
    "REPLICATION": "harbor.replication.status.changed",
    "TAG_RETENTION": "harbor.tag_retention.finished",
}
_LONGEST = 2900  # characters of a block of text that Slack takes
_MARKUP = re.compile(r"[&<>]")
_ESCAPED = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}


def body(event: Event, target: Target, policy_id: int) -> tuple[str, bytes]:
    """The content type and the bytes that tell a target of an event."""
    if target.kind == SLACK:
        return "application/json", orjson.dumps(_slack(event))
    if target.format == CLOUD_EVENTS:
        return "application/cloudevents+json", orjson.dumps(_cloud_event(event, policy_id))
    return "application/json", orjson.dumps(_default(event))


def _default(event: Event) -> dict[str, Any]:
    return {
        "type": event.type,
        "occur_at": int(event.occurred_at),
        "operator": event.operator,
        "event_data": event.data,
    }


def _cloud_event(event: Event, policy_id: int) -> dict[str, Any]:
    return {
        "specversion": "1.0",
        "id": event.id,
        "source": f"/projects/{event.project_id}/webhook/policies/{policy_id}",
        "type": CLOUD_TYPES[event.type],
        "datacontenttype": "application/json",
        "time": _instant(event).isoformat().replace("+00:00", "Z"),
        "operator": event.operator,
        "requestid": event.id,
        "data": event.data,
    }


def _slack(event: Event) -> dict[str, Any]:
    text = orjson.dumps(event.data, option=orjson.OPT_INDENT_2).decode()
    lines = (
        "*Registry webhook event*",
        f"*event_type:* {_plain(event.type)}",
        f"*occur_at:* {_instant(event):%Y-%m-%d %H:%M:%S} UTC",
        f"*operator:* {_plain(event.operator)}",
        f"*event_data:*\n```{_plain(text)[:_LONGEST]}```",
    )
    return {
        "blocks": [{"type": "section", "text": {"type": "mrkdwn", "text": line}} for line in lines]
    }


def _plain(text: str) -> str:
    """Text that names nobody and links nowhere, whoever chose it."""
    escaped = _MARKUP.sub(lambda found: _ESCAPED[found[0]], text)
    return escaped.replace("`", "'").replace("*", "\u2217")


def _instant(event: Event) -> datetime:
    return datetime.fromtimestamp(event.occurred_at, UTC)
