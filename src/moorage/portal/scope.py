"""A project as its pages see it: who may do what in it, its tabs, and the way to it."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from moorage.portal.client import PREFIX, segment, several
from moorage.portal.i18n import N_
from moorage.portal.parts import Crumb, Tab
from moorage.portal.shapes.accounts import Pair
from moorage.portal.shapes.projects import Project
from moorage.portal.visits import Visit

PROJECTS = "/harbor/projects"

ROLES = {
    1: N_("Project admin"),
    4: N_("Maintainer"),
    2: N_("Developer"),
    3: N_("Guest"),
    5: N_("Limited guest"),
}
"""Role ids of the API, the one with the most rights first."""

_TABS = (
    ("repositories", N_("Repositories"), ("repository", "list")),
    ("summary", N_("Summary"), ("project", "read")),
    ("usage", N_("Usage"), ("repository", "list")),
    ("members", N_("Members"), ("member", "list")),
    ("labels", N_("Labels"), ("label", "list")),
    ("robot-account", N_("Robot accounts"), ("robot", "list")),
    ("webhook", N_("Webhooks"), ("notification-policy", "list")),
    ("tag-strategy", N_("Rules"), ("tag-retention", "list")),
    ("trash", N_("Trash"), ("artifact", "delete")),
    ("logs", N_("Log"), ("log", "list")),
    ("configs", N_("Settings"), ("project", "update")),
)
"""The end of each page's path, its name, and the right that shows it."""


@dataclass(frozen=True)
class Scope:
    """A project and the visitor's rights in it."""

    visit: Visit
    project: Project
    rights: frozenset[tuple[str, str]]

    def may(self, resource: str, action: str) -> bool:
        """Whether the visitor holds that right here."""
        return (resource, action) in self.rights

    @property
    def path(self) -> str:
        """Where the project's pages are."""
        return f"{PROJECTS}/{self.project.project_id}"

    @property
    def api(self) -> str:
        """Its path in the API."""
        return f"/projects/{self.project.project_id}"

    @property
    def named(self) -> str:
        """Its path in the API where that goes by name."""
        return f"/projects/{segment(self.project.name)}"

    def crumbs(self, *more: Crumb) -> Sequence[Crumb]:
        """The way here."""
        first = Crumb(self.visit.gettext("Projects"), PROJECTS)
        if not more:
            return (first, Crumb(self.project.name))
        return (first, Crumb(self.project.name, f"{self.path}/repositories"), *more)

    def tabs(self, current: str) -> Sequence[Tab]:
        """The project's pages that the visitor may see."""
        return [
            Tab(
                self.visit.gettext(label),
                f"{self.path}/{end}",
                end == current,
                self.project.repo_count if end == "repositories" else None,
            )
            for end, label, pair in _TABS
            if pair in self.rights
        ]

    def head(self, current: str) -> dict[str, Any]:
        """What every page of the project shows above its own."""
        _ = self.visit.gettext
        public = self.project.public
        role = ROLES.get(self.project.current_user_role_id)
        badges = [(_("Public") if public else _("Private"), "teal" if public else "plain")]
        if self.project.registry_id:
            badges.append((_("Proxy cache"), "violet"))
        if role is not None:
            badges.append((_(role), "plain"))
        return {
            "title": self.project.name,
            "glyph": "folders",
            "badges": badges,
            "crumbs": self.crumbs(),
            "tabs": self.tabs(current),
        }


async def scope(visit: Visit) -> Scope:
    """The project that the path names by id, or by name as Harbor's API does; raises Problem."""
    named = str(visit.params["project"])
    project = await visit.get(Project, f"/projects/{segment(named)}")
    rights = await rights_in(visit, project.project_id)
    return Scope(visit, project, rights)


async def rights_in(visit: Visit, project_id: int) -> frozenset[tuple[str, str]]:
    """What the visitor may do in a project; somebody without an account only reads."""
    shell = await visit.shell()
    if shell.user is None:
        return _ANYBODY
    query = {"scope": f"/project/{project_id}", "relative": True}
    path = f"{PREFIX}/users/current/permissions"
    answer = await visit.api.ask(visit.visitor, "GET", path, query=query)
    return _pairs(answer.content)


@lru_cache(maxsize=32)
def _pairs(said: bytes) -> frozenset[tuple[str, str]]:
    """The rights in an answer: some three hundred, the same for all who have the same role."""
    return frozenset(
        ("project" if pair.resource in (".", "") else pair.resource, pair.action)
        for pair in several(Pair, said)
    )


_ANYBODY = frozenset(
    {
        ("repository", "list"),
        ("repository", "pull"),
        ("project", "read"),
        ("artifact", "read"),
        ("artifact", "list"),
        ("tag", "list"),
        ("artifact-addition", "read"),
        ("accessory", "list"),
        ("label", "list"),
    }
)
"""What is shown to nobody in particular; the API refuses what the project does not give."""
