"""The installation: what it is, how it is, how much is in it, and its log."""

from pydantic import Field

from moorage.portal.shapes.shape import Moment, Shape


class SystemInfo(Shape):
    """The installation."""

    auth_mode: str = "db_auth"
    primary_auth_mode: bool = False
    self_registration: bool = False
    banner_message: str = ""
    oidc_provider_name: str = ""
    registry_url: str = ""
    external_url: str = ""
    harbor_version: str = ""
    project_creation_restriction: str = "everyone"
    read_only: bool = False
    notification_enable: bool = True


class Component(Shape):
    """A part of the installation."""

    name: str = ""
    status: str = ""
    error: str = ""


class Health(Shape):
    """How the installation is."""

    status: str = ""
    components: list[Component] = Field(default_factory=list)


class Setting(Shape):
    """A setting, and whether it can be changed here."""

    value: bool | int | str = ""
    editable: bool = False


class Statistics(Shape):
    """How much there is."""

    private_project_count: int = 0
    public_project_count: int = 0
    total_project_count: int = 0
    total_repo_count: int = 0
    total_storage_consumption: int = 0


class Logged(Shape):
    """Who did what."""

    id: int = 0
    username: str = ""
    resource: str = ""
    resource_type: str = ""
    operation: str = ""
    operation_description: str = ""
    operation_result: bool = False
    op_time: Moment = None
