"""Every table, in the order of their references.

    users ─┬─ sessions, identities, access_tokens
           ├─ user_group_members ──► user_groups
           ├─ projects ─┬─ project_metadata, project_members (a user or a group)
           │            ├─ quotas, immutable_rules, project_scanners ──► scanners
           │            ├─ project_content          what a project's quota counts
           │            ├─ labels (or global)
           │            ├─ robots ── robot_permissions, federation_rules
           │            ├─ retention_policies, webhook_policies
           │            ├─ project_pulls, project_storage
           │            └─ repositories ─┬─ uploads ── upload_segments
           │                             ├─ repository_blobs ──► blobs
           │                             ├─ manifests ─┬─ manifest_blobs ──► blobs
           │                             │             ├─ manifest_children (manifest ──► manifest)
           │                             │             ├─ manifest_absences
           │                             │             ├─ manifest_labels ──► labels
           │                             │             └─ tags
           │                             ├─ artifact_trash
           │                             └─ repository_pulls, repository_storage, tag_moves
           └─ (by name only) outbox, audit_log, audit_forwards, login_attempts, pending_sign_ins
    registries ─┬─ replication_policies
                └─ project_registries ──► projects    a project that is a cache of one
    executions ── tasks ── task_logs;  schedules, job_queues, workers
    gc_candidates, blob_trash   by digest and storage key, without references: they outlive the blob

Foreign keys are the second belt of every rule here: what is referenced cannot be deleted.
"""

from moorage.db.tables.content import (
    artifact_trash,
    blobs,
    manifest_absences,
    manifest_blobs,
    manifest_children,
    manifest_labels,
    manifests,
    repositories,
    repository_blobs,
    tags,
)
from moorage.db.tables.garbage import blob_trash, gc_candidates
from moorage.db.tables.installation import configuration, properties, signing_keys
from moorage.db.tables.news import audit_forwards, audit_log, outbox
from moorage.db.tables.people import (
    access_tokens,
    identities,
    login_attempts,
    pending_sign_ins,
    sessions,
    user_group_members,
    user_groups,
    users,
)
from moorage.db.tables.policies import retention_policies, webhook_policies
from moorage.db.tables.projects import (
    federation_rules,
    immutable_rules,
    labels,
    project_content,
    project_members,
    project_metadata,
    project_scanners,
    projects,
    quotas,
    robot_permissions,
    robots,
    scanners,
)
from moorage.db.tables.remotes import project_registries, registries, replication_policies
from moorage.db.tables.schema import Digest, Id, StorageKey, metadata
from moorage.db.tables.uploads import upload_segments, uploads
from moorage.db.tables.usage import (
    project_pulls,
    project_storage,
    repository_pulls,
    repository_storage,
    tag_moves,
)
from moorage.db.tables.work import executions, job_queues, schedules, task_logs, tasks, workers

__all__ = [
    "Digest",
    "Id",
    "StorageKey",
    "access_tokens",
    "artifact_trash",
    "audit_forwards",
    "audit_log",
    "blob_trash",
    "blobs",
    "configuration",
    "executions",
    "federation_rules",
    "gc_candidates",
    "identities",
    "immutable_rules",
    "job_queues",
    "labels",
    "login_attempts",
    "manifest_absences",
    "manifest_blobs",
    "manifest_children",
    "manifest_labels",
    "manifests",
    "metadata",
    "outbox",
    "pending_sign_ins",
    "project_content",
    "project_members",
    "project_metadata",
    "project_pulls",
    "project_registries",
    "project_scanners",
    "project_storage",
    "projects",
    "properties",
    "quotas",
    "registries",
    "replication_policies",
    "repositories",
    "repository_blobs",
    "repository_pulls",
    "repository_storage",
    "retention_policies",
    "robot_permissions",
    "robots",
    "scanners",
    "schedules",
    "sessions",
    "signing_keys",
    "tag_moves",
    "tags",
    "task_logs",
    "tasks",
    "upload_segments",
    "uploads",
    "user_group_members",
    "user_groups",
    "users",
    "webhook_policies",
    "workers",
]
