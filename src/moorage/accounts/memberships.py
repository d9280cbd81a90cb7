"""What a user belongs to: the memberships of his own, and those of his groups, as SQL."""

from sqlalchemy import BindParameter, ColumnElement, or_, select

from moorage.db.tables import project_members, user_group_members


def belonging(user_id: int | BindParameter[int]) -> ColumnElement[bool]:
    """Rows of `project_members` that give the user a role, by himself or by a group."""
    groups = select(user_group_members.c.group_id).where(user_group_members.c.user_id == user_id)
    return or_(project_members.c.user_id == user_id, project_members.c.group_id.in_(groups))
