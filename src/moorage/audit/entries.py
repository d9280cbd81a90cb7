"""What the log says of each fact.

    operation   resource type   resource
    create …    artifact        library/app:v1, or library/app@sha256:…
    update …    member          the user's name
    login       user            the user's name

Operation and type together are the type of event, `create_artifact`, as Harbor names it. A tag
counts as its artifact. Types that Harbor does not have, as `update_robot`, cannot be left out.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from moorage import events
from moorage.events import Fact

MAX_DESCRIPTION = 4096
"""Characters."""
NOBODY = "anonymous"
"""Harbor's name for whoever was not signed in."""


@dataclass(frozen=True, slots=True)
class Entry:
    """What one row says; who did it and when comes from the fact itself."""

    operation: str
    resource_type: str
    resource: str
    description: str = ""
    project_id: int | None = None  # None: of the whole installation
    successful: bool = True

    @property
    def event_type(self) -> str:
        """What a setting calls such rows."""
        return f"{self.operation}_{self.resource_type}"


@dataclass(frozen=True, slots=True)
class Logged:
    """A row of the log."""

    id: int
    occurred_at: datetime
    project_id: int | None
    username: str
    operation: str
    resource_type: str
    resource: str
    description: str
    successful: bool


def _artifact(operation: str, fact: Any, tag: str, description: str = "") -> Entry:
    resource = f"{fact.repository}:{tag}" if tag else f"{fact.repository}@{fact.digest}"
    said = fact.digest if tag else ""
    told = ", ".join(part for part in (said, description) if part)
    return Entry(operation, "artifact", resource, told, fact.project_id)


def _tags(tags: list[str]) -> tuple[str, str]:
    """The first tag, and all of them in words when there are more."""
    return (tags[0] if tags else ""), (f"tags {', '.join(tags)}" if len(tags) > 1 else "")


def _times(count: int) -> str:
    return "pulled once" if count == 1 else f"pulled {count} times"


def _project(operation: str, fact: Any, description: str = "") -> Entry:
    return Entry(operation, "project", fact.project, description, fact.project_id)


def _member(operation: str, fact: Any, description: str) -> Entry:
    return Entry(operation, "member", fact.member, description, fact.project_id)


def _label(operation: str, fact: Any) -> Entry:
    return Entry(operation, "label", fact.label, project_id=fact.project_id)


def _rule(operation: str, fact: Any) -> Entry:
    return Entry(operation, "immutable_rule", str(fact.rule), project_id=fact.project_id)


def _webhook(operation: str, fact: Any) -> Entry:
    return Entry(operation, "webhook_policy", fact.policy, project_id=fact.project_id)


def _policy(operation: str, fact: Any) -> Entry:
    return Entry(operation, "retention_policy", str(fact.policy), project_id=fact.project_id)


def _applied(fact: events.TagRetentionFinished) -> Entry:
    told = f"{fact.retained} of {fact.total} artifacts retained, by execution {fact.execution}"
    done = fact.status == "Success"
    return Entry("execute", "retention_policy", fact.repository, told, fact.project_id, done)


def _replicated(fact: events.ReplicationFinished) -> Entry:
    told = f"{fact.operation}, by execution {fact.execution} of {fact.policy_name}"
    done = fact.status == "Success"
    resource = f"{fact.repository}{fact.artifact}"
    return Entry("execute", "replication_policy", resource, told, fact.project_id, done)


def _user(operation: str, fact: Any, description: str = "") -> Entry:
    return Entry(operation, "user", fact.username, description)


def _robot(operation: str, fact: Any, description: str = "") -> Entry:
    return Entry(operation, "robot", fact.robot, description, fact.project_id)


def _federation(operation: str, fact: Any, description: str = "") -> Entry:
    told = ", ".join(part for part in (f"of {fact.robot}", description) if part)
    return Entry(operation, "federation_rule", fact.rule, told, fact.project_id)


def _access_token(operation: str, fact: Any) -> Entry:
    return Entry(operation, "access_token", fact.token, f"of user {fact.username}")


def _job(operation: str, fact: Any, number: int | None) -> Entry:
    return Entry(operation, "job", fact.kind if number is None else f"{fact.kind} {number}")


def _user_updated(fact: events.UserUpdated) -> Entry:
    if fact.sysadmin is None:
        return _user("update", fact, _changed(fact.names))
    became = "is a system administrator now" if fact.sysadmin else "is no system administrator now"
    return _user("update", fact, became)


def _changed(names: list[str]) -> str:
    return f"changed: {', '.join(names)}" if names else ""


def _limit(hard: int) -> str:
    return "storage limit: none" if hard < 0 else f"storage limit: {hard} bytes"


RENDERINGS: Mapping[type[Fact], Callable[[Any], Entry]] = {
    events.ArtifactPushed: lambda f: _artifact("create", f, *_tags(f.tags)),
    events.ArtifactPulled: lambda f: _artifact("pull", f, f.tag, _times(f.count)),
    events.ArtifactDeleted: lambda f: _artifact("delete", f, *_tags(f.tags)),
    events.TagDeleted: lambda f: _artifact("delete", f, f.tag, "only the tag"),
    events.ArtifactLabelled: lambda f: _artifact("update", f, "", f"label {f.label} put on"),
    events.ArtifactUnlabelled: lambda f: _artifact("update", f, "", f"label {f.label} taken off"),
    events.RepositoryUpdated: lambda f: Entry(
        "update", "repository", f.repository, "description", f.project_id
    ),
    events.RepositoryDeleted: lambda f: Entry(
        "delete", "repository", f.repository, project_id=f.project_id
    ),
    events.QuotaRefused: lambda f: Entry(
        "create", "artifact", f.repository, f.message, f.project_id, successful=False
    ),
    events.ProjectCreated: lambda f: _project("create", f),
    events.ProjectUpdated: lambda f: _project("update", f, _changed(f.names)),
    events.ProjectDeleted: lambda f: _project("delete", f),
    events.QuotaUpdated: lambda f: Entry(
        "update", "quota", f.project, _limit(f.hard), f.project_id
    ),
    events.QuotaWarned: lambda f: Entry(
        "warn", "quota", f.project, f"{f.used} of {f.hard} bytes are used", f.project_id
    ),
    events.MemberCreated: lambda f: _member("create", f, f"{f.role} of project {f.project}"),
    events.MemberUpdated: lambda f: _member("update", f, f"{f.role} of project {f.project}"),
    events.MemberDeleted: lambda f: _member("delete", f, f"of project {f.project}"),
    events.LabelCreated: lambda f: _label("create", f),
    events.LabelUpdated: lambda f: _label("update", f),
    events.LabelDeleted: lambda f: _label("delete", f),
    events.ImmutableRuleCreated: lambda f: _rule("create", f),
    events.ImmutableRuleUpdated: lambda f: _rule("update", f),
    events.ImmutableRuleDeleted: lambda f: _rule("delete", f),
    events.WebhookPolicyCreated: lambda f: _webhook("create", f),
    events.WebhookPolicyUpdated: lambda f: _webhook("update", f),
    events.WebhookPolicyDeleted: lambda f: _webhook("delete", f),
    events.RetentionPolicyCreated: lambda f: _policy("create", f),
    events.RetentionPolicyUpdated: lambda f: _policy("update", f),
    events.RetentionPolicyDeleted: lambda f: _policy("delete", f),
    events.TagRetentionFinished: _applied,
    events.UserCreated: lambda f: _user("create", f, "system administrator" if f.sysadmin else ""),
    events.UserUpdated: _user_updated,
    events.UserDeleted: lambda f: _user("delete", f),
    events.UserSignedIn: lambda f: _user("login", f),
    events.UserRefused: lambda f: Entry(
        "login", "user", f.username, f"wrong secret, from {f.address}", successful=False
    ),
    events.UserSignedOut: lambda f: _user("logout", f),
    events.RobotCreated: lambda f: _robot("create", f),
    events.RobotUpdated: lambda f: _robot("update", f, _changed(f.names)),
    events.RobotDeleted: lambda f: _robot("delete", f),
    events.RobotLent: lambda f: _robot(
        "login", f, f"by rule {f.rule}, to {f.subject} of {f.issuer}"
    ),
    events.FederationRuleCreated: lambda f: _federation("create", f),
    events.FederationRuleUpdated: lambda f: _federation("update", f, _changed(f.names)),
    events.FederationRuleDeleted: lambda f: _federation("delete", f),
    events.AccessTokenCreated: lambda f: _access_token("create", f),
    events.AccessTokenDeleted: lambda f: _access_token("delete", f),
    events.GroupCreated: lambda f: Entry("create", "user_group", f.group),
    events.GroupUpdated: lambda f: Entry("update", "user_group", f.group),
    events.GroupDeleted: lambda f: Entry("delete", "user_group", f.group),
    events.ScannerCreated: lambda f: Entry("create", "scanner", f.scanner),
    events.ScannerUpdated: lambda f: Entry("update", "scanner", f.scanner),
    events.ScannerDeleted: lambda f: Entry("delete", "scanner", f.scanner),
    events.RegistryCreated: lambda f: Entry("create", "registry", f.registry),
    events.RegistryUpdated: lambda f: Entry("update", "registry", f.registry),
    events.RegistryDeleted: lambda f: Entry("delete", "registry", f.registry),
    events.ReplicationPolicyCreated: lambda f: Entry("create", "replication_policy", f.policy),
    events.ReplicationPolicyUpdated: lambda f: Entry("update", "replication_policy", f.policy),
    events.ReplicationPolicyDeleted: lambda f: Entry("delete", "replication_policy", f.policy),
    events.ReplicationFinished: _replicated,
    events.ConfigurationUpdated: lambda f: Entry(
        "update", "configuration", "configuration", _changed(f.names)
    ),
    events.JobStarted: lambda f: _job("create", f, f.execution),
    events.JobStopped: lambda f: _job("stop", f, f.job),
    events.QueueChanged: lambda f: Entry("update", "job_queue", f.kind, f.action),
    events.ScheduleUpdated: lambda f: Entry("update", "schedule", f.kind, f.cron),
    events.ScheduleDeleted: lambda f: Entry("delete", "schedule", f.kind),
    events.AuditLogPurged: lambda f: Entry(
        "delete", "audit_log", "audit log", f"{f.rows} rows older than {f.hours} hours"
    ),
}
"""Every fact, and its row."""


def entry_of(fact: Fact) -> Entry:
    """What the log says of a fact."""
    return RENDERINGS[type(fact)](fact)
