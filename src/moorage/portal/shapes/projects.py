"""Projects, their members, counters and quotas."""

from pydantic import Field

from moorage.portal.shapes.registries import RegistryName
from moorage.portal.shapes.shape import Moment, Shape


class Project(Shape):
    """A project."""

    project_id: int = 0
    name: str = ""
    owner_name: str = ""
    registry_id: int = 0
    current_user_role_id: int = 0
    repo_count: int = 0
    creation_time: Moment = None
    update_time: Moment = None
    metadata: dict[str, str] = Field(default_factory=dict)

    @property
    def public(self) -> bool:
        """Whether anybody may pull from it."""
        return self.metadata.get("public") == "true"


class Member(Shape):
    """A membership."""

    id: int = 0
    entity_name: str = ""
    entity_type: str = ""
    role_id: int = 0
    role_name: str = ""


class Amounts(Shape):
    """Bytes."""

    storage: int = 0


class QuotaPart(Shape):
    """What is used of what."""

    hard: Amounts = Amounts(storage=-1)
    used: Amounts = Amounts()


class Summary(Shape):
    """Counters of a project."""

    repo_count: int = 0
    project_admin_count: int = 0
    maintainer_count: int = 0
    developer_count: int = 0
    guest_count: int = 0
    limited_guest_count: int = 0
    quota: QuotaPart | None = None
    registry: RegistryName | None = None


class QuotaRef(Shape):
    """The project of a quota."""

    id: int = 0
    name: str = ""
    owner_name: str = ""


class Quota(QuotaPart):
    """The quota of a project."""

    id: int = 0
    ref: QuotaRef = QuotaRef()
