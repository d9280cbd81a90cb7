"""The facts, frozen and named in the past tense.

Fact ─┬─ of a project ──── project, members, quota
      ├─ of a repository ─ artifacts, tags
      └─ of the whole installation: users, robot accounts, settings

A fact is kept as JSON until it was handed over: its fields are plain values, and none is a secret.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Fact:
    """Something that happened."""

    operator: str  # name of the principal; empty: somebody who was not signed in


# --- content


@dataclass(frozen=True, kw_only=True)
class RepositoryFact(Fact):
    """Something that happened in a repository."""

    project_id: int
    repository: str


@dataclass(frozen=True, kw_only=True)
class ArtifactPushed(RepositoryFact):
    """A manifest was stored, or a tag was moved to it."""

    digest: str
    media_type: str
    tags: list[str] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class ArtifactPulled(RepositoryFact):
    """A manifest was read `count` times since the last such fact."""

    digest: str
    tag: str
    count: int


@dataclass(frozen=True, kw_only=True)
class ArtifactDeleted(RepositoryFact):
    """A manifest was deleted with these tags."""

    digest: str
    tags: list[str] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class TagDeleted(RepositoryFact):
    """A tag was removed; its manifest stays."""

    digest: str
    tag: str


@dataclass(frozen=True, kw_only=True)
class ArtifactLabelled(RepositoryFact):
    """A label was put on an artifact."""

    digest: str
    label: str


@dataclass(frozen=True, kw_only=True)
class ArtifactUnlabelled(ArtifactLabelled):
    """A label was taken off an artifact."""


@dataclass(frozen=True, kw_only=True)
class RepositoryUpdated(RepositoryFact):
    """A repository has another description now."""


@dataclass(frozen=True, kw_only=True)
class RepositoryDeleted(RepositoryFact):
    """A repository was deleted with everything in it."""


@dataclass(frozen=True, kw_only=True)
class QuotaRefused(RepositoryFact):
    """A push did not fit into the project's quota."""

    message: str


# --- projects


@dataclass(frozen=True, kw_only=True)
class ProjectFact(Fact):
    """Something that happened to a project."""

    project_id: int
    project: str


@dataclass(frozen=True, kw_only=True)
class ProjectCreated(ProjectFact):
    """A project was made."""


@dataclass(frozen=True, kw_only=True)
class ProjectUpdated(ProjectFact):
    """Settings of a project were set or removed."""

    names: list[str]


@dataclass(frozen=True, kw_only=True)
class ProjectDeleted(ProjectFact):
    """A project was deleted, with its members and robot accounts."""


@dataclass(frozen=True, kw_only=True)
class QuotaUpdated(ProjectFact):
    """The limit of a project is another now."""

    hard: int  # bytes; -1: none


@dataclass(frozen=True, kw_only=True)
class QuotaWarned(ProjectFact):
    """A push left a project nearly full; once, until it was less full or has another limit."""

    used: int  # bytes
    hard: int  # bytes


@dataclass(frozen=True, kw_only=True)
class MemberCreated(ProjectFact):
    """Somebody became a member."""

    member: str
    role: str


@dataclass(frozen=True, kw_only=True)
class MemberUpdated(ProjectFact):
    """A member has another role now."""

    member: str
    role: str


@dataclass(frozen=True, kw_only=True)
class MemberDeleted(ProjectFact):
    """Somebody is a member no longer."""

    member: str


@dataclass(frozen=True, kw_only=True)
class LabelFact(Fact):
    """Something that happened to a label."""

    project_id: int | None  # None: a global one
    label: str


@dataclass(frozen=True, kw_only=True)
class LabelCreated(LabelFact):
    """A label was made."""


@dataclass(frozen=True, kw_only=True)
class LabelUpdated(LabelFact):
    """A label says something else now."""


@dataclass(frozen=True, kw_only=True)
class LabelDeleted(LabelFact):
    """A label was deleted, and taken off every artifact."""


@dataclass(frozen=True, kw_only=True)
class ImmutableRuleFact(Fact):
    """Something that happened to a rule of immutable tags."""

    project_id: int
    rule: int  # id


@dataclass(frozen=True, kw_only=True)
class ImmutableRuleCreated(ImmutableRuleFact):
    """A rule was made."""


@dataclass(frozen=True, kw_only=True)
class ImmutableRuleUpdated(ImmutableRuleFact):
    """A rule was replaced, disabled or enabled."""


@dataclass(frozen=True, kw_only=True)
class ImmutableRuleDeleted(ImmutableRuleFact):
    """A rule was deleted: tags that only it kept can change."""


@dataclass(frozen=True, kw_only=True)
class WebhookPolicyFact(Fact):
    """Something that happened to a webhook policy."""

    project_id: int
    policy: str  # its name


@dataclass(frozen=True, kw_only=True)
class WebhookPolicyCreated(WebhookPolicyFact):
    """A policy was made."""


@dataclass(frozen=True, kw_only=True)
class WebhookPolicyUpdated(WebhookPolicyFact):
    """A policy was replaced, disabled or enabled."""


@dataclass(frozen=True, kw_only=True)
class WebhookPolicyDeleted(WebhookPolicyFact):
    """A policy was deleted."""


@dataclass(frozen=True, kw_only=True)
class RetentionPolicyFact(Fact):
    """Something that happened to the policy of tag retention of a project."""

    project_id: int
    policy: int  # id


@dataclass(frozen=True, kw_only=True)
class RetentionPolicyCreated(RetentionPolicyFact):
    """A policy was made."""


@dataclass(frozen=True, kw_only=True)
class RetentionPolicyUpdated(RetentionPolicyFact):
    """Rules and schedule of a policy were replaced."""


@dataclass(frozen=True, kw_only=True)
class RetentionPolicyDeleted(RetentionPolicyFact):
    """A policy was deleted."""


@dataclass(frozen=True, kw_only=True)
class TagRetentionFinished(RepositoryFact):
    """A policy was applied to a repository; dry runs are not told."""

    policy: int  # ids
    execution: int
    task: int
    status: str  # Success, Error or Stopped
    total: int  # artifacts
    retained: int  # of them


# --- accounts


@dataclass(frozen=True, kw_only=True)
class UserFact(Fact):
    """Something that happened to a user."""

    username: str


@dataclass(frozen=True, kw_only=True)
class UserCreated(UserFact):
    """A user was made."""

    sysadmin: bool = False


@dataclass(frozen=True, kw_only=True)
class UserUpdated(UserFact):
    """What `names` lists of a user was set."""

    names: list[str]
    sysadmin: bool | None = None  # when that was set


@dataclass(frozen=True, kw_only=True)
class UserDeleted(UserFact):
    """A user was deleted."""


@dataclass(frozen=True, kw_only=True)
class UserSignedIn(UserFact):
    """A session began."""


@dataclass(frozen=True, kw_only=True)
class UserRefused(UserFact):
    """Somebody gave the name of an account and a wrong secret."""

    address: str


@dataclass(frozen=True, kw_only=True)
class UserSignedOut(UserFact):
    """A session was ended by its user."""


@dataclass(frozen=True, kw_only=True)
class AccessTokenFact(UserFact):
    """Something that happened to a user's access token."""

    token: str  # its name


@dataclass(frozen=True, kw_only=True)
class AccessTokenCreated(AccessTokenFact):
    """A user made an access token."""


@dataclass(frozen=True, kw_only=True)
class AccessTokenDeleted(AccessTokenFact):
    """An access token was ended."""


@dataclass(frozen=True, kw_only=True)
class RobotFact(Fact):
    """Something that happened to a robot account."""

    robot: str  # full name, with prefix and project
    project_id: int | None  # of a project robot


@dataclass(frozen=True, kw_only=True)
class RobotCreated(RobotFact):
    """A robot account was made."""


@dataclass(frozen=True, kw_only=True)
class RobotUpdated(RobotFact):
    """What `names` lists of a robot account was set."""

    names: list[str]


@dataclass(frozen=True, kw_only=True)
class RobotDeleted(RobotFact):
    """A robot account was deleted."""


@dataclass(frozen=True, kw_only=True)
class RobotLent(RobotFact):
    """A robot account was lent for the token of somebody else's issuer."""

    rule: str
    subject: str
    issuer: str


@dataclass(frozen=True, kw_only=True)
class FederationRuleFact(RobotFact):
    """Something that happened to a rule by which a robot account is lent."""

    rule: str


@dataclass(frozen=True, kw_only=True)
class FederationRuleCreated(FederationRuleFact):
    """A rule was made."""


@dataclass(frozen=True, kw_only=True)
class FederationRuleUpdated(FederationRuleFact):
    """What `names` lists of a rule was set."""

    names: list[str]


@dataclass(frozen=True, kw_only=True)
class FederationRuleDeleted(FederationRuleFact):
    """A rule was deleted."""


@dataclass(frozen=True, kw_only=True)
class GroupFact(Fact):
    """Something that happened to a user group."""

    group: str


@dataclass(frozen=True, kw_only=True)
class GroupCreated(GroupFact):
    """A group was made known by hand; those that a sign-in brings are not told."""


@dataclass(frozen=True, kw_only=True)
class GroupUpdated(GroupFact):
    """A group has another name now."""


@dataclass(frozen=True, kw_only=True)
class GroupDeleted(GroupFact):
    """A group was forgotten, with its roles in projects."""


# --- the installation


@dataclass(frozen=True, kw_only=True)
class ScannerFact(Fact):
    """Something that happened to the registration of a scanner."""

    scanner: str


@dataclass(frozen=True, kw_only=True)
class ScannerCreated(ScannerFact):
    """A scanner was registered."""


@dataclass(frozen=True, kw_only=True)
class ScannerUpdated(ScannerFact):
    """What is said of a scanner was replaced, or it became the default."""


@dataclass(frozen=True, kw_only=True)
class ScannerDeleted(ScannerFact):
    """A scanner was forgotten."""


@dataclass(frozen=True, kw_only=True)
class RegistryFact(Fact):
    """Something happened to what is known of another registry."""

    registry: str


@dataclass(frozen=True, kw_only=True)
class RegistryCreated(RegistryFact):
    """A registry was registered."""


@dataclass(frozen=True, kw_only=True)
class RegistryUpdated(RegistryFact):
    """A registry is reached in another way now."""


@dataclass(frozen=True, kw_only=True)
class RegistryDeleted(RegistryFact):
    """A registry was forgotten."""


@dataclass(frozen=True, kw_only=True)
class ReplicationPolicyFact(Fact):
    """Something happened to a replication policy."""

    policy: str


@dataclass(frozen=True, kw_only=True)
class ReplicationPolicyCreated(ReplicationPolicyFact):
    """A replication policy was made."""


@dataclass(frozen=True, kw_only=True)
class ReplicationPolicyUpdated(ReplicationPolicyFact):
    """A replication policy says something else now."""


@dataclass(frozen=True, kw_only=True)
class ReplicationPolicyDeleted(ReplicationPolicyFact):
    """A replication policy was deleted."""


@dataclass(frozen=True, kw_only=True)
class ReplicationFinished(RepositoryFact):
    """A task of a replication ended; the repository is the one of this registry."""

    policy: int
    policy_name: str
    execution: int
    task: int
    status: str  # Success, Error or Stopped
    operation: str  # copy or delete
    trigger: str
    artifact: str  # the part of a reference behind the repository
    artifact_type: str
    source: Mapping[str, str]  # registry_type, registry_name, endpoint, namespace
    target: Mapping[str, str]
    pushed: bool  # whether the repository here is the source
    override: bool
    creator: str


@dataclass(frozen=True, kw_only=True)
class ConfigurationUpdated(Fact):
    """Settings were changed; only their names are told."""

    names: list[str]


@dataclass(frozen=True, kw_only=True)
class JobFact(Fact):
    """Something that somebody did to the background jobs of a kind."""

    kind: str


@dataclass(frozen=True, kw_only=True)
class JobStarted(JobFact):
    """A job was asked for."""

    execution: int


@dataclass(frozen=True, kw_only=True)
class JobStopped(JobFact):
    """A job was stopped, or all of them."""

    job: int | None = None  # None: all that run


@dataclass(frozen=True, kw_only=True)
class QueueChanged(JobFact):
    """What waits of a kind was held, let go on, or ended."""

    action: str


@dataclass(frozen=True, kw_only=True)
class ScheduleUpdated(JobFact):
    """When jobs of a kind come was set."""

    cron: str


@dataclass(frozen=True, kw_only=True)
class ScheduleDeleted(JobFact):
    """Jobs of a kind come by themselves no more."""


@dataclass(frozen=True, kw_only=True)
class AuditLogPurged(Fact):
    """Old rows of the audit log were deleted."""

    rows: int
    hours: int  # only rows that were older


TYPES: Mapping[str, type[Fact]] = {
    kind.__name__: kind
    for kind in (
        ArtifactPushed,
        ArtifactPulled,
        ArtifactDeleted,
        TagDeleted,
        ArtifactLabelled,
        ArtifactUnlabelled,
        RepositoryUpdated,
        RepositoryDeleted,
        QuotaRefused,
        ProjectCreated,
        ProjectUpdated,
        ProjectDeleted,
        QuotaUpdated,
        QuotaWarned,
        MemberCreated,
        MemberUpdated,
        MemberDeleted,
        LabelCreated,
        LabelUpdated,
        LabelDeleted,
        ImmutableRuleCreated,
        ImmutableRuleUpdated,
        ImmutableRuleDeleted,
        WebhookPolicyCreated,
        WebhookPolicyUpdated,
        WebhookPolicyDeleted,
        RetentionPolicyCreated,
        RetentionPolicyUpdated,
        RetentionPolicyDeleted,
        TagRetentionFinished,
        UserCreated,
        UserUpdated,
        UserDeleted,
        UserSignedIn,
        UserRefused,
        UserSignedOut,
        RobotCreated,
        RobotUpdated,
        RobotDeleted,
        RobotLent,
        FederationRuleCreated,
        FederationRuleUpdated,
        FederationRuleDeleted,
        AccessTokenCreated,
        AccessTokenDeleted,
        GroupCreated,
        GroupUpdated,
        GroupDeleted,
        ScannerCreated,
        ScannerUpdated,
        ScannerDeleted,
        RegistryCreated,
        RegistryUpdated,
        RegistryDeleted,
        ReplicationPolicyCreated,
        ReplicationPolicyUpdated,
        ReplicationPolicyDeleted,
        ReplicationFinished,
        ConfigurationUpdated,
        JobStarted,
        JobStopped,
        QueueChanged,
        ScheduleUpdated,
        ScheduleDeleted,
        AuditLogPurged,
    )
}
"""Every fact by the name that its rows have. A replica leaves rows of other types alone."""


def load(kind: str, payload: Mapping[str, Any]) -> Fact:
    """The fact of a row; what a newer replica added to it is left out. Raises KeyError."""
    known = TYPES[kind]
    names = {each.name for each in fields(known)}
    return known(**{name: value for name, value in payload.items() if name in names})
