"""A repository as its pages see it, found by Harbor's paths.

    …/repositories/a%2Fb                                     its first page
    …/repositories/a%2Fb/info-tab                            its description
    …/repositories/a%2Fb/artifacts-tab                       what is in it
    …/repositories/a%2Fb/usage-tab                           how much it is used
    …/repositories/a%2Fb/artifacts-tab/artifacts/sha256:…    one artifact, `?tab=` for its views
    …/repositories/a%2Fb/artifacts-tab/tags/v1               one tag, and where it pointed
    …/repositories/a%2Fb/artifacts-tab/depth/sha256:…/artifacts/sha256:…   the same inside an index

A slash in the name may come escaped once, twice or not at all.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, unquote

from moorage.portal.client import Problem, segment
from moorage.portal.parts import Crumb, Tab
from moorage.portal.scope import Scope, scope
from moorage.portal.shapes.artifacts import Repository
from moorage.portal.visits import Visit

_REST = re.compile(
    r"(?P<name>.+?)"
    r"(?:/(?P<tab>info-tab|artifacts-tab|usage-tab|compare)"
    r"(?:/depth/[^/]+)?"
    r"(?:/artifacts/(?P<reference>[^/]+)|/tags/(?P<tagged>[^/]+))?)?/?"
)
ARTIFACTS, INFO, USAGE, COMPARE = "artifacts-tab", "info-tab", "usage-tab", "compare"


@dataclass(frozen=True)
class Place:
    """A repository in its project."""

    here: Scope
    name: str
    """Within the project."""
    tab: str
    reference: str
    tagged: str = ""
    """The tag that the page is about."""

    @property
    def full(self) -> str:
        """With the project, as clients say it."""
        return f"{self.here.project.name}/{self.name}"

    @property
    def path(self) -> str:
        """Where its pages are."""
        return f"{self.here.path}/repositories/{quote(self.name, safe='')}"

    @property
    def list(self) -> str:
        """Where its artifacts are."""
        return f"{self.path}/{ARTIFACTS}"

    @property
    def api(self) -> str:
        """Its path in the API."""
        return f"{self.here.named}/repositories/{segment(self.name)}"

    def artifact(self, digest: str) -> str:
        """Where the page of an artifact is."""
        return f"{self.list}/artifacts/{digest}"

    def tag(self, name: str) -> str:
        """Where the page of a tag is."""
        return f"{self.list}/tags/{name}"

    def artifact_api(self, reference: str) -> str:
        """An artifact in the API."""
        return f"{self.api}/artifacts/{quote(reference, safe='')}"

    def crumbs(self, *more: Crumb) -> Sequence[Crumb]:
        """The way here."""
        if not more:
            return self.here.crumbs(Crumb(self.name))
        return self.here.crumbs(Crumb(self.name, self.list), *more)

    def head(self, current: str, count: int | None = None) -> dict[str, Any]:
        """What every page of the repository shows above its own."""
        _ = self.here.visit.gettext
        public = self.here.project.public
        return {
            "title": self.name,
            "glyph": "package",
            "badges": [(_("Public") if public else _("Private"), "teal" if public else "plain")],
            "crumbs": self.crumbs(),
            "place": self,
            "tabs": [
                Tab(_("Artifacts"), self.list, current == ARTIFACTS, count),
                Tab(_("Usage"), f"{self.path}/{USAGE}", current == USAGE),
                Tab(_("Description"), f"{self.path}/{INFO}", current == INFO),
            ],
        }

    async def repository(self) -> Repository | None:
        """Its description and counters, for those who may read them."""
        if not self.here.may("repository", "read"):
            return None
        return await self.here.visit.get(Repository, self.api)


async def place(visit: Visit) -> Place:
    """The repository that the path names; raises Problem."""
    found = _REST.fullmatch(str(visit.params["rest"]))
    if found is None:
        raise Problem(404, "NOT_FOUND", visit.gettext("There is no such page."))
    here = await scope(visit)
    name = found["name"]
    if "%" in name:
        name = unquote(name)
    tab, tagged = found["tab"] or ARTIFACTS, found["tagged"] or ""
    return Place(here, name, tab, found["reference"] or "", tagged)
