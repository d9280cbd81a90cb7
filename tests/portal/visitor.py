"""Somebody who uses the portal without a browser: forms as they stand in the pages."""

import re
from dataclasses import dataclass, field
from html import unescape
from typing import Any

import httpx2
from tests.portal.data import Maker
from tests.support.serving import Registry

_TOKEN = re.compile(r'name="csrf" value="([^"]+)"')


@dataclass(frozen=True)
class Site:
    """The registry under test, and who came to it."""

    registry: Registry
    visitors: "list[Visitor]" = field(default_factory=list)
    makers: list[Maker] = field(default_factory=list)
    elsewhere: dict[str, int] = field(default_factory=dict)
    """Ids of a registry, a rule, a run of it, a task of that, and a proxy cache."""

    def visitor(self, name: str = "", password: str = "") -> "Visitor":
        """Somebody who is signed in, or nobody."""
        found = Visitor(self.registry.url)
        self.visitors.append(found)
        if name:
            found.sign_in(name, password)
        return found

    def maker(self, name: str = "", password: str = "") -> Maker:
        """Somebody who pushes; the administrator unless named."""
        registry = self.registry
        found = Maker(registry.url, name or registry.username, password or registry.password)
        self.makers.append(found)
        return found

    def close(self) -> None:
        """Let everybody go."""
        for visitor in self.visitors:
            visitor.client.close()
        for maker in self.makers:
            maker.close()

    def admin(self) -> "Visitor":
        """The administrator."""
        return self.visitor(self.registry.username, self.registry.password)

    def project(self, name: str) -> int:
        """Its id."""
        answer = httpx2.get(
            f"{self.registry.url}/api/v2.0/projects/{name}",
            auth=(self.registry.username, self.registry.password),
        )
        return int(answer.json()["project_id"])

    def newest(self, repository: str = "payments/api", sort: str = "-version") -> str:
        """The newest version of a repository, or the first by another order."""
        project, _, name = repository.partition("/")
        answer = httpx2.get(
            f"{self.registry.url}/api/v2.0/projects/{project}/repositories/{name}/tags",
            params={"sort": sort, "page_size": 1},
            auth=(self.registry.username, self.registry.password),
        )
        return str(answer.json()[0]["name"])


class Visitor:
    """A client that keeps cookies and sends the token of the page before."""

    def __init__(self, url: str) -> None:
        self.client = httpx2.Client(base_url=url, trust_env=False, timeout=60)

    def sign_in(self, name: str, password: str) -> None:
        """Open a session."""
        answer = self.post("/account/sign-in", principal=name, password=password)
        assert answer.status_code == 303, answer.text

    def get(self, path: str, status: int = 200) -> str:
        """A page."""
        answer = self.client.get(path)
        assert answer.status_code == status, (path, answer.status_code, answer.text[:2000])
        return answer.text

    def token(self, path: str) -> str:
        """The token that stands in a page's forms; any page has some."""
        found = _TOKEN.search(self.client.get(path.partition("?")[0]).text)
        assert found is not None, path
        return unescape(found[1])

    def post(self, path: str, **fields: Any) -> httpx2.Response:
        """Send a form of the page."""
        if "csrf" not in fields:
            fields["csrf"] = self.token("/account/sign-in" if "sign-in" in path else path)
        return self.client.post(path, data=fields)

    def done(self, path: str, **fields: Any) -> str:
        """Send a form that works; the page that it leads to."""
        answer = self.post(path, **fields)
        assert answer.status_code == 303, (path, answer.status_code, answer.text[:3000])
        return self.get(answer.headers["location"])
