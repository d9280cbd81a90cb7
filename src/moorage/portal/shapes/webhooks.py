"""Webhooks, and what they can tell."""

from pydantic import Field

from moorage.portal.shapes.shape import Moment, Shape


class Target(Shape):
    """A server that a webhook tells."""

    type: str = ""
    address: str = ""
    skip_cert_verify: bool = False
    payload_format: str = ""


class Webhook(Shape):
    """Which events are told to whom."""

    id: int = 0
    name: str = ""
    description: str = ""
    enabled: bool = False
    targets: list[Target] = Field(default_factory=list)
    event_types: list[str] = Field(default_factory=list)
    creation_time: Moment = None


class WebhookEvents(Shape):
    """What a webhook can tell."""

    event_type: list[str] = Field(default_factory=list)
    notify_type: list[str] = Field(default_factory=list)
