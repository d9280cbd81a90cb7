"""Facts: what happened, told upward after the commit that made it true."""

from moorage.events.facts import (
    ArtifactDeleted,
    ArtifactPulled,
    ArtifactPushed,
    Fact,
    QuotaRefused,
    RepositoryDeleted,
    TagDeleted,
)
from moorage.events.outbox import Outbox, Subscriber, emit

__all__ = [
    "ArtifactDeleted",
    "ArtifactPulled",
    "ArtifactPushed",
    "Fact",
    "Outbox",
    "QuotaRefused",
    "RepositoryDeleted",
    "Subscriber",
    "TagDeleted",
    "emit",
]
