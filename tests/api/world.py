"""The REST API in process, with one person for every role.

team    private; admin, maintainer, developer, guest and limited are its members
open    public, without members besides its owner
other   private, of nobody here
"""

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_network
from typing import Any

import httpx2
from fastapi import FastAPI
from sqlalchemy import insert
from tests.support.accounts import SECRET_KEY
from tests.support.content import Content

from moorage.access.principals import ANONYMOUS, Principal
from moorage.access.roles import ROLE_NAMES
from moorage.access.secretbox import SecretBox
from moorage.accounts.access_tokens import AccessTokens
from moorage.accounts.checks import CHECKS
from moorage.accounts.federation import FederationRules
from moorage.accounts.groups import Groups
from moorage.accounts.issuers import Issuers
from moorage.accounts.ldap import Ldap, LdapAccounts
from moorage.accounts.oidc import Provider
from moorage.accounts.passwords import Passwords
from moorage.accounts.records import Permission
from moorage.accounts.robots import Robots
from moorage.accounts.standing import Standings
from moorage.accounts.users import Users
from moorage.api.app import create_api
from moorage.api.services import Services, System
from moorage.artifacts.additions import Additions
from moorage.artifacts.attributes import Attributes
from moorage.artifacts.catalogue import Catalogue
from moorage.artifacts.copying import Copies
from moorage.artifacts.finding import Finding
from moorage.artifacts.layers import Layers
from moorage.artifacts.pullreports import PullReports
from moorage.artifacts.tagmoves import TagMoves
from moorage.artifacts.tagnames import TagNames
from moorage.artifacts.trashed import TrashList
from moorage.audit import AuditLog
from moorage.config.configuration import Configuration
from moorage.db import tables
from moorage.jobs import LocalBell
from moorage.jobs.dashboard import Dashboard
from moorage.jobs.history import History
from moorage.jobs.requests import Requests
from moorage.jobs.schedules import Schedules
from moorage.outgoing import Guard
from moorage.projects.grants import Grants
from moorage.projects.immutability import ImmutableRules
from moorage.projects.labels import Labels
from moorage.projects.members import Members
from moorage.projects.metadata import Metadata
from moorage.projects.projects import Projects
from moorage.projects.quota import Quotas
from moorage.projects.storagedays import StorageDays
from moorage.projects.usage import Usage
from moorage.remotes import Registries
from moorage.replication import Here, Replicating, ReplicationPolicies, ReplicationPreview
from moorage.retention import Policies, Preview
from moorage.scanning import Adapter, Registrations
from moorage.settings import Configurations
from moorage.web.callers import Caller
from moorage.webhooks import Teller, WebhookPolicies
from moorage.webhooks.testing import WebhookTests

MEMBERS = {name: role for role, name in ROLE_NAMES.items()}
"""User name and role of the members of `team`: each role has the user of its name."""
PEOPLE = ("sysadmin", *MEMBERS, "stranger")


class KnownCallers:
    """Identifies by the user name in Basic credentials alone: passwords have tests of their own."""

    def __init__(self, people: Mapping[str, Principal]) -> None:
        self._people = people

    async def identify(self, authorization: bytes | None, address: str) -> Caller:
        """The person of that name; nobody for all others."""
        if authorization is None:
            return Caller(ANONYMOUS, "none")
        name, _, _ = base64.b64decode(authorization.split()[1]).decode().partition(":")
        return Caller(self._people.get(name, ANONYMOUS), "basic")


class Healthy:
    """All is well, apart from what a test puts into `wrong`."""

    def __init__(self) -> None:
        self.wrong: dict[str, str] = {}

    async def check(self) -> Mapping[str, str]:
        """Two components."""
        return {"core": "", "database": "", **self.wrong}


@dataclass
class World:
    """Everything a test of the API touches."""

    content: Content
    people: dict[str, Principal] = field(default_factory=dict)
    projects: dict[str, int] = field(default_factory=dict)
    health: Healthy = field(default_factory=Healthy)

    async def fill(self) -> "World":
        """Make the people and the projects."""
        db = self.content.db
        async with db.write() as tx:
            for name in PEOPLE:
                row = insert(tables.users).values(username=name, sysadmin=name == "sysadmin")
                made = await tx.execute(row.returning(tables.users.c.id))
                user_id = made.scalar_one()
                self.people[name] = Principal("user", user_id, name, sysadmin=name == "sysadmin")
        projects = Projects(db)
        root = self.people["sysadmin"]
        for name, public in (("team", "false"), ("open", "true"), ("other", "false")):
            self.projects[name] = await projects.create(root, name, values={"public": public})
        members = Members(db)
        for name, role in MEMBERS.items():
            await members.add(root, self.projects["team"], role, username=name)
        self.passwords = Passwords(memory_kib=8, passes=1)  # quick, and of no use to a thief
        self.configurations = Configurations(
            db, self.content.cache, SecretBox(SECRET_KEY), checks=CHECKS
        )
        self.guard = Guard((ip_network("127.0.0.0/8"),))
        self.issuers = Issuers(self.guard)
        self.ldap, self.oidc = Ldap(self.guard), Provider(self.guard, self.issuers)
        self.scanners = Registrations(db, SecretBox(SECRET_KEY))
        self.bell = LocalBell()
        self.registries = Registries(db, SecretBox(SECRET_KEY), self.guard)
        content = self.content
        here = Here(db, content.pulls, content.uploads, content.manifests, projects)
        self.replicating = Replicating(db, self.registries, here)
        self.app = self._app()
        return self

    def fix(self, settings: Configuration) -> None:
        """Let the environment set these."""
        db, cache = self.content.db, self.content.cache
        self.configurations = Configurations(
            db, cache, SecretBox(SECRET_KEY), settings, checks=CHECKS
        )
        self.app = self._app()

    def _app(self) -> FastAPI:
        db, cache = self.content.db, self.content.cache
        self.services = Services(
            callers=KnownCallers(self.people),  # type: ignore[arg-type]
            grants=Grants(db, cache),
            users=Users(db, self.passwords, self.configurations),
            access_tokens=AccessTokens(db, Standings(db, cache)),
            federation_rules=FederationRules(db, self.configurations),
            groups=Groups(db),
            ldap=self.ldap,
            oidc=self.oidc,
            ldap_accounts=LdapAccounts(db, self.configurations, self.ldap),
            robots=Robots(db, self.passwords, self.configurations),
            projects=Projects(db, self.configurations),
            members=Members(db),
            labels=Labels(db),
            metadata=Metadata(db),
            immutable_rules=ImmutableRules(db),
            retention=Policies(db, self.bell),
            retention_preview=Preview(db),
            quotas=Quotas(db),
            usage=Usage(db),
            storage_days=StorageDays(db),
            pull_reports=PullReports(db),
            scanners=self.scanners,
            registries=self.registries,
            replications=ReplicationPolicies(db, self.bell),
            replication_preview=ReplicationPreview(self.replicating.ends),
            adapter=Adapter(self.guard, self.scanners.credential),
            configurations=self.configurations,
            catalogue=Catalogue(db),
            attributes=Attributes(db, self.content.store),
            additions=Additions(db, self.content.store),
            layers=Layers(db, self.content.store),
            finding=Finding(db),
            tag_names=TagNames(db),
            tag_moves=TagMoves(db),
            copies=Copies(db, self.content.rules, self.configurations),
            manifests=self.content.manifests,
            trash=TrashList(db),
            audit_log=AuditLog(db),
            history=History(db),
            schedules=Schedules(db),
            dashboard=Dashboard(db),
            jobs=Requests(db, self.bell),
            webhooks=WebhookPolicies(db, SecretBox(SECRET_KEY)),
            webhook_tests=WebhookTests(
                db, Teller(self.configurations, "registry.example"), self.bell
            ),
            health=self.health,
            system=System(version="v0.1.0", external_url="https://registry.example"),
        )
        return create_api(self.services)

    async def robot(self, name: str, *permissions: Permission) -> None:
        """Make a robot account of the system that calls as `name`."""
        made = await self.services.robots.create(
            self.people["sysadmin"],
            name=name,
            level="system",
            permissions=list(permissions),
            duration=-1,
        )
        self.people[name] = Principal("robot", made.robot.id, made.robot.name)

    def client(self, name: str = "") -> httpx2.AsyncClient:
        """A client that calls as this person; nobody by default."""
        return httpx2.AsyncClient(
            transport=httpx2.ASGITransport(app=self.app),
            base_url="http://test/api/v2.0",
            auth=(name, "x") if name else None,
        )

    async def call(
        self, name: str, method: str, path: str, json: Any = None, **more: Any
    ) -> httpx2.Response:
        """One request as this person."""
        async with self.client(name) as client:
            return await client.request(method, path, json=json, **more)

    async def raw(
        self, method: str, path: str, *, raise_app_exceptions: bool = True
    ) -> httpx2.Response:
        """A request by nobody whose path and query go out as they are written."""
        transport = httpx2.ASGITransport(self.app, raise_app_exceptions=raise_app_exceptions)
        target, _, query = path.partition("?")
        url = httpx2.URL("http://test").copy_with(
            raw_path=target.encode() + (b"?" + query.encode() if query else b"")
        )
        async with httpx2.AsyncClient(transport=transport) as client:
            return await client.request(method, url)
