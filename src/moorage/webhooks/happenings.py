"""Facts as Harbor's webhooks name them: the type of event, and what it tells.

ArtifactPushed        PUSH_ARTIFACT     a resource for each tag
ArtifactPulled        PULL_ARTIFACT
ArtifactDeleted       DELETE_ARTIFACT   a resource for each tag
QuotaRefused          QUOTA_EXCEED
QuotaWarned           QUOTA_WARNING
TagRetentionFinished  TAG_RETENTION     for each repository
ReplicationFinished   REPLICATION       for each artifact
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from moorage import events
from moorage.events import Fact


@dataclass(frozen=True, slots=True)
class Project:
    """What is told of the project."""

    name: str
    public: bool


@dataclass(frozen=True, slots=True)
class Scene:
    """Where it happened, and how clients call the place."""

    project: Project
    created: Mapping[str, float]  # repository → when it was made, in seconds since 1970
    host: str  # and port, of the registry


Data = dict[str, Any]


def _repository(scene: Scene, name: str) -> Data:
    return {
        "date_created": int(scene.created.get(name, 0)),
        "name": name.partition("/")[2],
        "namespace": scene.project.name,
        "repo_full_name": name,
        "repo_type": "public" if scene.project.public else "private",
    }


def _resources(scene: Scene, repository: str, digest: str, tags: Sequence[str]) -> list[Data]:
    place = f"{scene.host}/{repository}" if scene.host else repository
    if not tags:
        return [{"digest": digest, "resource_url": f"{place}@{digest}"}]
    return [{"digest": digest, "tag": tag, "resource_url": f"{place}:{tag}"} for tag in tags]


def _artifact(fact: Any, scene: Scene) -> Data:
    return {
        "resources": _resources(scene, fact.repository, fact.digest, fact.tags),
        "repository": _repository(scene, fact.repository),
    }


def _pulled(fact: events.ArtifactPulled, scene: Scene) -> Data:
    tags = [fact.tag] if fact.tag else []
    return {
        "resources": _resources(scene, fact.repository, fact.digest, tags),
        "repository": _repository(scene, fact.repository),
    }


def _refused(fact: events.QuotaRefused, scene: Scene) -> Data:
    return {
        "repository": _repository(scene, fact.repository),
        "custom_attributes": {"Details": fact.message},
    }


def _warned(fact: events.QuotaWarned, scene: Scene) -> Data:
    said = f"quota usage reaches {fact.used * 100 // fact.hard}%: {fact.used} of {fact.hard} bytes"
    return {
        "repository": _repository(scene, f"{scene.project.name}/"),
        "custom_attributes": {"Details": said},
    }


def _retained(fact: events.TagRetentionFinished, scene: Scene) -> Data:
    return {
        "retention": {
            "total": fact.total,
            "retained": fact.retained,
            "project_name": scene.project.name,
            "retention_policy_id": fact.policy,
            "harbor_hostname": scene.host,
            "status": fact.status.upper(),
        },
        "repository": _repository(scene, fact.repository),
    }


def _replicated(fact: events.ReplicationFinished, scene: Scene) -> Data:
    done = fact.status == "Success"
    what = {
        "type": fact.artifact_type or "artifact",
        "status": fact.status,
        "name_tag": f"{fact.repository.partition('/')[2]}{fact.artifact}",
    }
    return {
        "replication": {
            "harbor_hostname": scene.host,
            "job_status": fact.status,
            "description": f"{fact.operation} by execution {fact.execution}",
            "artifact_type": fact.artifact_type or "artifact",
            "authentication_type": "",
            "override_mode": fact.override,
            "trigger_type": fact.trigger,
            "policy_creator": fact.creator,
            "policy_name": fact.policy_name,
            "src_resource": dict(fact.source),
            "dest_resource": dict(fact.target),
            "successful_artifact" if done else "failed_artifact": [what],
        },
        "repository": _repository(scene, fact.repository),
    }


HAPPENINGS: Mapping[type[Fact], tuple[str, Callable[[Any, Scene], Data]]] = {
    events.ArtifactPushed: ("PUSH_ARTIFACT", _artifact),
    events.ArtifactPulled: ("PULL_ARTIFACT", _pulled),
    events.ArtifactDeleted: ("DELETE_ARTIFACT", _artifact),
    events.QuotaRefused: ("QUOTA_EXCEED", _refused),
    events.QuotaWarned: ("QUOTA_WARNING", _warned),
    events.TagRetentionFinished: ("TAG_RETENTION", _retained),
    events.ReplicationFinished: ("REPLICATION", _replicated),
}
"""Every fact of which somebody may want to be told."""


def sample(event_type: str, scene: Scene) -> Data:
    """What an event of a type could tell, to try a target."""
    repository = f"{scene.project.name}/sample"
    return {
        "resources": _resources(scene, repository, f"sha256:{'0' * 64}", ["test"]),
        "repository": _repository(scene, repository),
        "custom_attributes": {"Details": f"a test of {event_type}: nothing happened"},
    }
