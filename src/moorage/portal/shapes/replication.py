"""Rules of replication, their runs, and what those move."""

from pydantic import Field

from moorage.portal.shapes.registries import Registry
from moorage.portal.shapes.shape import Moment, Shape


class Condition(Shape):
    """A condition on what is replicated."""

    type: str = ""
    value: str | list[str] = ""
    decoration: str = ""
    kind: str = ""


class Times(Shape):
    """When a rule comes."""

    cron: str = ""


class Cause(Shape):
    """What makes a rule run."""

    type: str = ""
    trigger_settings: Times = Times()


class Replication(Shape):
    """What is replicated, where to, and when."""

    id: int = 0
    name: str = ""
    description: str = ""
    src_registry: Registry = Registry()
    dest_registry: Registry = Registry()
    dest_namespace: str = ""
    dest_namespace_replace_count: int = 1
    trigger: Cause = Cause()
    filters: list[Condition] = Field(default_factory=list)
    replicate_deletion: bool = False
    override: bool = False
    enabled: bool = False
    creation_time: Moment = None
    speed: int = 0
    copy_by_chunk: bool = False
    single_active_replication: bool = False

    @property
    def pulls(self) -> bool:
        """Whether it brings artifacts here."""
        return self.src_registry.id != 0


class ReplicationRun(Shape):
    """One run of a rule."""

    id: int = 0
    policy_id: int = 0
    status: str = ""
    status_text: str = ""
    trigger: str = ""
    total: int = 0
    failed: int = 0
    succeed: int = 0
    in_progress: int = 0
    stopped: int = 0
    start_time: Moment = None
    end_time: Moment = None


class ReplicationTask(Shape):
    """One artifact of a run."""

    id: int = 0
    status: str = ""
    operation: str = ""
    resource_type: str = ""
    src_resource: str = ""
    dst_resource: str = ""
    progress: str = ""
    message: str = ""
    moved_bytes: int = 0
    start_time: Moment = None
    end_time: Moment = None


class Movable(Shape):
    """An artifact that a rule would look at."""

    src_resource: str = ""
    dst_resource: str = ""
    digest: str = ""
    type: str = ""
    size: int = 0
    outcome: str = ""
