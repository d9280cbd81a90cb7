"""Which projects a caller sees in lists, as a condition on `projects`.

The rules are those of `grants`; here they are SQL, so that a list needs no question per project.
"""

from dataclasses import replace
from typing import Any

from sqlalchemy import ColumnElement, and_, exists, false, or_, true

from moorage.access.principals import Bounds, Principal
from moorage.access.roles import ROLE_PAIRS
from moorage.accounts.memberships import belonging
from moorage.db.tables import project_members, projects, robot_permissions, robots


def visible(principal: Principal, resource: str = "", action: str = "") -> ColumnElement[bool]:
    """Projects that are public or reachable.

    A robot account also needs the pair, when one is given, and so does what a token leaves.
    """
    if principal.bounds is not None and resource:
        return or_(projects.c.public, holding(principal, resource, action))
    if principal.bounds is not None:
        return or_(projects.c.public, _bounded(principal, principal.bounds))
    if principal.sysadmin:
        return true()
    if principal.kind == "user":
        return or_(projects.c.public, member(principal.id))
    if principal.kind == "robot":
        return or_(projects.c.public, _robot(principal.id, resource, action))
    return and_(projects.c.public, projects.c.id.is_not(None))


def own(principal: Principal) -> ColumnElement[bool]:
    """Projects that the caller belongs to, public or not."""
    if principal.bounds is not None:
        return _bounded(principal, principal.bounds)
    if principal.sysadmin:
        return true()
    if principal.kind == "user":
        return member(principal.id)
    if principal.kind == "robot":
        return _robot(principal.id, "", "")
    return false()


def holding(principal: Principal, resource: str, action: str) -> ColumnElement[bool]:
    """Projects in which the caller holds the pair by a role or by a permission of its own."""
    if principal.bounds is not None:
        left = principal.bounds.access
        pair = (resource, action)
        chosen = {project: pairs for project, pairs in left.items() if pair in pairs}
        bounds = replace(principal.bounds, access=chosen)
        return and_(_chosen(bounds), holding(_whole(principal, bounds), resource, action))
    if principal.sysadmin:
        return true()
    if principal.kind == "user":
        holders = [role for role, pairs in ROLE_PAIRS.items() if (resource, action) in pairs]
        return exists().where(
            project_members.c.project_id == projects.c.id,
            belonging(principal.id),
            project_members.c.role_id.in_(holders),
        )
    if principal.kind == "robot":
        return _robot(principal.id, resource, action)
    return false()


def member(user_id: int) -> ColumnElement[bool]:
    """Projects of which the user is a member, alone or with a group."""
    return exists().where(project_members.c.project_id == projects.c.id, belonging(user_id))


def _bounded(principal: Principal, bounds: Bounds) -> ColumnElement[bool]:
    return and_(_chosen(bounds), own(_whole(principal, bounds)))


def _chosen(bounds: Bounds) -> ColumnElement[bool]:
    if None in bounds.access:
        return true()
    return projects.c.id.in_([project for project in bounds.access if project is not None])


def _whole(principal: Principal, bounds: Bounds) -> Principal:
    return replace(principal, sysadmin=bounds.sysadmin, bounds=None)


def _robot(robot_id: int, resource: str, action: str) -> ColumnElement[bool]:
    conditions: list[Any] = [
        robots.c.id == robot_id,
        robot_permissions.c.robot_id == robots.c.id,
        robot_permissions.c.kind == "project",
        robots.c.disabled.is_(False),
        or_(robots.c.project_id.is_(None), robots.c.project_id == projects.c.id),
        or_(
            robot_permissions.c.project_id.is_(None),
            robot_permissions.c.project_id == projects.c.id,
        ),
    ]
    if resource:
        conditions += [
            robot_permissions.c.resource == resource,
            robot_permissions.c.action == action,
        ]
    return exists().where(*conditions)
