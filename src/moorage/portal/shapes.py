"""What the API answers, as far as pages read it. A field that an answer leaves out has its zero."""

from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field


def _moment(value: Any) -> Any:
    """A time, or None for what the API prints for "never"."""
    return None if isinstance(value, str) and (not value or value.startswith("0001-")) else value


Moment = Annotated[datetime | None, BeforeValidator(_moment)]


class Shape(BaseModel):
    """One document of the API."""

    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True)


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


class User(Shape):
    """Somebody."""

    user_id: int = 0
    username: str = ""
    email: str = ""
    realname: str = ""
    comment: str = ""
    sysadmin_flag: bool = False
    admin_role_in_auth: bool = False
    oidc_user_meta: dict[str, Any] | None = None
    creation_time: Moment = None


class Pair(Shape):
    """A right: what may be done to what."""

    resource: str = ""
    action: str = ""


class Rights(Shape):
    """What a robot account can be given."""

    system: list[Pair] = Field(default_factory=list)
    project: list[Pair] = Field(default_factory=list)


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


class Amounts(Shape):
    """Bytes."""

    storage: int = 0


class RegistryName(Shape):
    """Another registry, by name."""

    id: int = 0
    name: str = ""


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


class Usage(Shape):
    """Bytes, counted in several ways."""

    logical: int = 0
    unique: int = 0
    physical: int = 0
    shared: int = 0
    trash: int = 0


class Statistics(Shape):
    """How much there is."""

    private_project_count: int = 0
    public_project_count: int = 0
    total_project_count: int = 0
    total_repo_count: int = 0
    total_storage_consumption: int = 0


class Repository(Shape):
    """A repository."""

    id: int = 0
    project_id: int = 0
    name: str = ""
    description: str = ""
    artifact_count: int = 0
    pull_count: int = 0
    creation_time: Moment = None
    update_time: Moment = None

    @property
    def short(self) -> str:
        """The name within the project."""
        return self.name.partition("/")[2]


class FoundArtifact(Shape):
    """An artifact that a search found, by a tag or by its digest."""

    project_id: int = 0
    repository_name: str = ""
    tag: str = ""
    digest: str = ""
    type: str = ""
    size: int = 0
    push_time: Moment = None
    pull_time: Moment = None


class Platform(Shape):
    """What an image runs on."""

    architecture: str = ""
    os: str = ""
    variant: str = ""

    @property
    def name(self) -> str:
        """As clients write it: linux/arm64/v8."""
        return "/".join(part for part in (self.os, self.architecture, self.variant) if part)


class Label(Shape):
    """A label."""

    id: int = 0
    name: str = ""
    description: str = ""
    color: str = ""
    scope: str = ""
    creation_time: Moment = None


class Tag(Shape):
    """A tag."""

    id: int = 0
    artifact_id: int = 0
    name: str = ""
    push_time: Moment = None
    pull_time: Moment = None
    immutable: bool = False


class Accessory(Shape):
    """An artifact whose subject is another one."""

    id: int = 0
    subject_artifact_digest: str = ""
    size: int = 0
    digest: str = ""
    type: str = ""
    creation_time: Moment = None


class Inside(Shape):
    """What an artifact inside an index is."""

    type: str = ""
    size: int = 0
    pull_time: Moment = None
    accessories: list[Accessory] = Field(default_factory=list)


class Child(Shape):
    """An artifact inside an index."""

    child_digest: str = ""
    platform: Platform | None = None
    child: Inside | None = None
    """Of the first thousand on a page."""


class Artifact(Shape):
    """An artifact."""

    id: int = 0
    type: str = ""
    media_type: str = ""
    manifest_media_type: str = ""
    artifact_type: str = ""
    repository_name: str = ""
    digest: str = ""
    size: int = 0
    push_time: Moment = None
    pull_time: Moment = None
    extra_attrs: dict[str, Any] = Field(default_factory=dict)
    annotations: dict[str, str] = Field(default_factory=dict)
    references: list[Child] = Field(default_factory=list)
    tags: list[Tag] = Field(default_factory=list)
    labels: list[Label] = Field(default_factory=list)
    addition_links: dict[str, Any] = Field(default_factory=dict)
    accessories: list[Accessory] = Field(default_factory=list)
    attached: list[Accessory] = Field(default_factory=list)
    """To those, and to these in turn, where that was asked for."""

    @property
    def platforms(self) -> list[str]:
        """What it runs on: of an index, of its children; attestations run on nothing."""
        names = [each.platform.name for each in self.references if each.platform]
        known = [name for name in names if name and "unknown" not in name]
        if known:
            return known
        own = [_text(self.extra_attrs.get(name)) for name in ("os", "architecture")]
        return ["/".join(filter(None, own))] if any(own) else []


class NamedTag(Tag):
    """A tag in the list of those of a repository."""

    digest: str = ""
    artifact: Artifact | None = None
    """With the first of its tags only."""


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


class Trashed(Shape):
    """A deleted artifact."""

    id: int = 0
    repository_name: str = ""
    digest: str = ""
    manifest_media_type: str = ""
    tags: list[str] = Field(default_factory=list)
    deleted_by: str = ""
    deleted_at: Moment = None
    expires_at: Moment = None


class Member(Shape):
    """A membership."""

    id: int = 0
    entity_name: str = ""
    entity_type: str = ""
    role_id: int = 0
    role_name: str = ""


class Group(Shape):
    """A group of users."""

    id: int = 0
    group_name: str = ""
    group_type: int = 0
    ldap_group_dn: str = ""


class Permission(Shape):
    """Rights in one place."""

    kind: str = ""
    namespace: str = ""
    access: list[Pair] = Field(default_factory=list)


class Robot(Shape):
    """A robot account."""

    id: int = 0
    name: str = ""
    description: str = ""
    level: str = ""
    disable: bool = False
    duration: int = 0
    expires_at: int = 0
    permissions: list[Permission] = Field(default_factory=list)
    creation_time: Moment = None


class Secret(Shape):
    """Something new, with the secret that is shown once."""

    id: int = 0
    name: str = ""
    secret: str = ""
    expires_at: int = 0


class AccessToken(Shape):
    """An access token."""

    id: int = 0
    name: str = ""
    permissions: list[Permission] | None = None
    expires_at: int = 0
    last_used: Moment = None
    creation_time: Moment = None


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


class Counts(Shape):
    """Tasks of an execution by state."""

    task_count: int = 0
    success_task_count: int = 0
    error_task_count: int = 0
    pending_task_count: int = 0
    running_task_count: int = 0
    stopped_task_count: int = 0


class Execution(Shape):
    """A run of something."""

    id: int = 0
    vendor_type: str = ""
    status: str = ""
    status_message: str = ""
    trigger: str = ""
    metrics: Counts = Counts()
    extra_attrs: dict[str, Any] = Field(default_factory=dict)
    dry_run: bool = False
    start_time: Moment = None
    end_time: Moment = None


class Task(Shape):
    """A piece of a run."""

    id: int = 0
    execution_id: int = 0
    status: str = ""
    status_message: str = ""
    repository: str = ""
    total: int = 0
    retained: int = 0
    start_time: Moment = None
    end_time: Moment = None


class When(Shape):
    """When something comes."""

    type: str = ""
    cron: str = ""
    next_scheduled_time: Moment = None


class History(Shape):
    """A collection or a purge, or the schedule of such."""

    id: int = 0
    job_kind: str = ""
    job_parameters: str = ""
    job_status: str = ""
    schedule: When = When()
    creation_time: Moment = None
    update_time: Moment = None


class Selector(Shape):
    """A condition on names."""

    kind: str = ""
    decoration: str = ""
    pattern: str = ""
    extras: str = ""


class Rule(Shape):
    """A rule of retention or immutability."""

    id: int = 0
    disabled: bool = False
    action: str = ""
    template: str = ""
    params: dict[str, Any] = Field(default_factory=dict)
    tag_selectors: list[Selector] = Field(default_factory=list)
    scope_selectors: dict[str, list[Selector]] = Field(default_factory=dict)


class Trigger(Shape):
    """When a policy is applied."""

    kind: str = ""
    settings: dict[str, Any] = Field(default_factory=dict)


class Retention(Shape):
    """The retention policy of a project."""

    id: int = 0
    rules: list[Rule] = Field(default_factory=list)
    trigger: Trigger = Trigger()


class Previewed(Shape):
    """What would happen to an artifact."""

    repository: str = ""
    digest: str = ""
    tags: list[str] = Field(default_factory=list)
    push_time: Moment = None
    pull_time: Moment = None
    retained: bool = False
    reason: str = ""


class QuotaRef(Shape):
    """The project of a quota."""

    id: int = 0
    name: str = ""
    owner_name: str = ""


class Quota(QuotaPart):
    """The quota of a project."""

    id: int = 0
    ref: QuotaRef = QuotaRef()


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


class Queue(Shape):
    """Jobs of one type that wait."""

    job_type: str = ""
    count: int = 0
    latency: int = 0
    paused: bool = False


class Pool(Shape):
    """Workers of one process."""

    worker_pool_id: str = ""
    pid: int = 0
    concurrency: int = 0
    host: str = ""
    start_at: Moment = None
    heartbeat_at: Moment = None


class Worker(Shape):
    """A worker, and what it does."""

    id: str = ""
    pool_id: str = ""
    job_name: str = ""
    job_id: str = ""
    start_at: Moment = None
    check_in: str = ""
    checkin_at: Moment = None


class Scheduled(Shape):
    """A schedule of any kind."""

    id: int = 0
    vendor_type: str = ""
    vendor_id: int = 0
    cron: str = ""
    cron_type: str = ""
    update_time: Moment = None


class Paused(Shape):
    """Whether schedules rest."""

    paused: bool = False


class Setting(Shape):
    """A setting, and whether it can be changed here."""

    value: bool | int | str = ""
    editable: bool = False


class Layer(Shape):
    """A layer of an image, or a step of its build that made none."""

    digest: str = ""
    media_type: str = ""
    size: int = 0
    command: str = ""
    created: str = ""
    shared: int = 0


class File(Shape):
    """A file of a model."""

    name: str = ""
    type: str = ""
    size: int = 0


class Dependency(Shape):
    """A chart that another one needs."""

    name: str = ""
    version: str = ""
    repository: str = ""


class Restored(Shape):
    """An artifact that came back."""

    digest: str = ""
    tags: list[str] = Field(default_factory=list)


class Account(Shape):
    """As whom another registry is used."""

    access_key: str = ""
    access_secret: str = ""


class Registry(RegistryName):
    """Another registry."""

    url: str = ""
    type: str = ""
    credential: Account = Account()
    insecure: bool = False
    ca_certificate: str = ""
    description: str = ""
    status: str = ""
    creation_time: Moment = None


class Place(Shape):
    """Where registries of a kind are."""

    key: str = ""
    value: str = ""


class Places(Shape):
    """The places to choose from."""

    endpoints: list[Place] = Field(default_factory=list)


class Provider(Shape):
    """A kind of registries."""

    endpoint_pattern: Places = Places()


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
