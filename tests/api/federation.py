"""A site with a robot account that the tokens of an issuer may open."""

import dataclasses
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
from tests.api.world import World
from tests.support.accounts import SERVICE, Replica, in_project
from tests.support.oidc_server import LyingProvider

from moorage.access.principals import Principal
from moorage.accounts.federation import Exchange, FederationRules
from moorage.api.app import create_api
from moorage.signin.exchange import GRANT, TokenExchange
from moorage.signin.token import TokenService

ID_TOKEN = "urn:ietf:params:oauth:token-type:id_token"
HERE = "https://registry.example"
NOT_TAKEN = "no rule of robot$team+ci takes this token"
GITHUB = {
    "sub": "repo:acme/shop:ref:refs/heads/main",
    "repository": "acme/shop",
    "repository_owner": "acme",
    "repository_id": 4711,
    "ref": "refs/heads/main",
    "ref_protected": True,
}
GITLAB = {
    "sub": "project_path:acme/shop:ref_type:branch:ref:main",
    "project_path": "acme/shop",
    "namespace_path": "acme",
    "ref_protected": "true",
}
KUBERNETES = {
    "aud": [HERE, "other"],
    "sub": "system:serviceaccount:build:runner",
    "kubernetes.io": {"namespace": "build", "serviceaccount": {"name": "runner"}},
}


def claim(name: str, pattern: str, kind: str = "exact") -> dict[str, str]:
    """What a rule wants of one claim."""
    return {"claim": name, "kind": kind, "pattern": pattern}


class Site:
    """The API, `/service/token` and the exchange, with real credentials."""

    def __init__(self, world: World, issuer: LyingProvider) -> None:
        self.world = world
        self.issuer = issuer
        self.db = world.content.db
        self.replica = Replica(self.db, single=False)
        self.other = Replica(self.db, single=False)
        self.api = create_api(dataclasses.replace(world.services, callers=self.replica.callers))
        rules = FederationRules(self.db)
        self.exchanges = Exchange(self.db, rules, world.issuers, self.replica.lending)
        self.robots: dict[str, Principal] = {}

    async def robot(self, name: str, project: str, *pairs: str) -> Principal:
        """A project robot account."""
        permissions = [in_project(project, *pairs)]
        made = await self.replica.robots.create(
            self.world.people["sysadmin"], name=name, level="project", permissions=permissions
        )
        found = Principal("robot", made.robot.id, made.robot.name)
        self.robots[name] = found
        return found

    def rule(self, *claims: dict[str, str], **changes: Any) -> dict[str, Any]:
        """The body of a rule that believes the issuer."""
        body = {
            "name": "main",
            "issuer": self.issuer.issuer,
            "audience": HERE,
            "claims": list(claims) or [claim("repository", "acme/shop")],
        }
        return body | changes

    async def make(
        self, robot: Principal, body: dict[str, Any], who: str = "projectAdmin"
    ) -> httpx2.Response:
        """Make a rule."""
        return await self.world.call(who, "POST", f"/robots/{robot.id}/federation-rules", body)

    def token(self, said: dict[str, Any], **changes: Any) -> str:
        """A token of the issuer."""
        self.issuer.claims = {"aud": HERE, **said, **changes}
        return self.issuer.token("")

    async def exchange(self, token: str, **fields: str) -> httpx2.Response:
        """What a job sends."""
        form = {
            "grant_type": GRANT,
            "subject_token": token,
            "subject_token_type": ID_TOKEN,
            "audience": "robot$team+ci",
            **fields,
        }
        transport = httpx2.ASGITransport(app=TokenExchange(self.exchanges))
        async with httpx2.AsyncClient(transport=transport) as client:
            return await client.post("http://test/service/token/exchange", data=form)

    async def lent(self, said: dict[str, Any], **changes: Any) -> tuple[str, str]:
        """The name and the password that a good token gets."""
        answer = await self.exchange(self.token(said, **changes))
        assert answer.status_code == 200, answer.text
        body = answer.json()
        return body["username"], body["access_token"]

    async def refused(self, said: dict[str, Any], **changes: Any) -> str:
        """Why a token gets nothing."""
        return await self.refusal(self.token(said, **changes))

    async def refusal(self, token: str, **fields: str) -> str:
        """The same for a token as it is."""
        answer = await self.exchange(token, **fields)
        assert answer.status_code == 400, answer.text
        body = answer.json()
        assert body["error"] in ("invalid_request", "unsupported_grant_type")
        return str(body["error_description"])

    async def status(self, credentials: Any, path: str) -> int:
        """The status of a read of the API, by Basic or by Bearer."""
        bearer = isinstance(credentials, str)
        headers = {"Authorization": f"Bearer {credentials}"} if bearer else {}
        transport = httpx2.ASGITransport(app=self.api)
        async with httpx2.AsyncClient(
            transport=transport, auth=None if bearer else credentials, headers=headers
        ) as client:
            return (await client.get(f"http://test/api/v2.0{path}")).status_code

    async def registry(self, credentials: tuple[str, str], repository: str) -> Any:
        """What `/service/token` answers."""
        service = TokenService(self.replica.callers, self.replica.tokens, service=SERVICE)
        transport = httpx2.ASGITransport(app=service)
        query = {"service": SERVICE, "scope": f"repository:{repository}:pull,push"}
        async with httpx2.AsyncClient(transport=transport, auth=credentials) as client:
            answer = await client.get("http://test/service/token", params=query)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def actions(self, credentials: tuple[str, str], repository: str) -> frozenset[str]:
        """What `docker login` and a push with the password would be allowed."""
        token = (await self.registry(credentials, repository))["token"]
        return self.replica.tokens.verify(token).access[repository].actions

    async def alive(self, credentials: tuple[str, str]) -> list[bool]:
        """Whether each replica takes the password."""
        return [
            await replica.callers.check(*credentials, "10.0.0.1") is not None
            for replica in (self.replica, self.other)
        ]


@asynccontextmanager
async def opened(world: World, issuer: LyingProvider) -> AsyncIterator[Site]:
    """With a robot account `ci` of `team` that pushes."""
    made = Site(world, issuer)
    await made.replica.keys.start()
    await made.other.keys.start()
    await made.robot("ci", "team", "repository:push", "repository:pull", "project:read")
    yield made
    await made.replica.close()
    await made.other.close()
