"""What a project wants told, and to whom."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

HTTP, SLACK = "http", "slack"
KINDS: Mapping[str, str] = {HTTP: "WEBHOOK", SLACK: "SLACK"}
"""Sort of target → kind of the tasks that tell it, and type of their executions."""

DEFAULT, CLOUD_EVENTS = "Default", "CloudEvents"
FORMATS: Mapping[str, tuple[str, ...]] = {HTTP: (DEFAULT, CLOUD_EVENTS), SLACK: (DEFAULT,)}

EVENT_TYPES = (
    "PUSH_ARTIFACT",
    "PULL_ARTIFACT",
    "DELETE_ARTIFACT",
    "QUOTA_EXCEED",
    "QUOTA_WARNING",
    "TAG_RETENTION",
    "REPLICATION",
    "SCANNING_COMPLETED",
    "SCANNING_FAILED",
    "SCANNING_STOPPED",
)


@dataclass(frozen=True, slots=True)
class Target:
    """A server that is told."""

    kind: str  # HTTP or SLACK
    address: str
    format: str = DEFAULT
    skip_cert_verify: bool = False
    # Never shown again. None: what the same address had before; empty: none.
    auth_header: str | None = field(default=None, repr=False)
    secret: str | None = field(default=None, repr=False)  # signs what is sent


@dataclass(frozen=True, slots=True)
class WebhookPolicy:
    """Which events of a project are told to which targets."""

    id: int
    project_id: int
    name: str
    description: str
    targets: tuple[Target, ...]
    event_types: tuple[str, ...]
    enabled: bool
    creator: str
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class Event:
    """Something that is told; plain values, as a task keeps it."""

    id: str
    type: str
    occurred_at: float  # seconds since 1970
    operator: str
    project_id: int
    data: Mapping[str, Any]  # what Harbor calls event_data

    def dump(self) -> dict[str, Any]:
        """As JSON data."""
        return {name: getattr(self, name) for name in self.__slots__}
