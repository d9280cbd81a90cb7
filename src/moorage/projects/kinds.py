"""What is cached about projects, and who ends it.

    kind          key                  value             touched by
    project       project name         ProjectRef        create, change and delete of the project
    project-role  project id, user id  role id, 0: none  every change of that membership, and the
                                                         delete of the project
    group-roles   project id           role by group     every change of a group's membership, and
                                                         the delete of the group or the project
    robot-grants  robot id             RobotGrants       every change and the delete of the robot

A user who is deleted takes the memberships along; no request comes from that user any more.
"""

from dataclasses import dataclass

import orjson

from moorage.cache.base import Kind
from moorage.projects.records import ProjectRef


@dataclass(frozen=True, slots=True)
class RobotGrants:
    """The permission rows of a robot account."""

    project_id: int | None  # of a project robot; it never reaches beyond
    expires_at: float | None  # seconds since 1970
    rows: tuple[tuple[str, int | None, str, str], ...]  # (kind, project id, resource, action)

    def within(self, project_id: int) -> frozenset[tuple[str, str]]:
        """Pairs in one project; a row without a project covers all, for a system robot."""
        if self.project_id is not None and self.project_id != project_id:
            return frozenset()
        return frozenset(
            (resource, action)
            for kind, scope, resource, action in self.rows
            if kind == "project" and scope in (None, project_id)
        )

    def system(self) -> frozenset[tuple[str, str]]:
        """Pairs of the system scope."""
        if self.project_id is not None:
            return frozenset()
        return frozenset((row[2], row[3]) for row in self.rows if row[0] == "system")

    def expired(self, now: float) -> bool:
        """Whether the robot's time is over."""
        return self.expires_at is not None and self.expires_at <= now


def _dump_ref(ref: ProjectRef) -> bytes:
    # A replica of an older version reads the first four, and knows no caches of registries.
    cached = [ref.registry_id] if ref.registry_id else []
    return orjson.dumps([ref.id, ref.name, ref.public, ref.created_at, *cached])


def _load_ref(data: bytes) -> ProjectRef:
    return ProjectRef(*orjson.loads(data))


def _dump_robot(robot: RobotGrants) -> bytes:
    return orjson.dumps([robot.project_id, robot.expires_at, robot.rows])


def _load_robot(data: bytes) -> RobotGrants:
    project_id, expires_at, rows = orjson.loads(data)
    return RobotGrants(project_id, expires_at, tuple(tuple(row) for row in rows))


PROJECT: Kind[ProjectRef] = Kind("project", _dump_ref, _load_ref)
ROLE: Kind[int] = Kind("project-role", lambda role: b"%d" % role, int)
ROBOT: Kind[RobotGrants] = Kind("robot-grants", _dump_robot, _load_robot)
