"""What the role core answers: `/api` and `/c`.

A module of its own, imported when a process has that role: a registry is the smaller by a web
framework and the models of two hundred operations.
"""

import asyncio
import shutil
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

from starlette.types import ASGIApp

from moorage import __version__
from moorage.api.app import create_api
from moorage.api.services import Services, System
from moorage.artifacts.additions import Additions
from moorage.artifacts.attributes import Attributes
from moorage.artifacts.copying import Copies
from moorage.artifacts.finding import Finding
from moorage.artifacts.layers import Layers
from moorage.artifacts.pullreports import PullReports
from moorage.artifacts.tagmoves import TagMoves
from moorage.artifacts.tagnames import TagNames
from moorage.config.settings import Settings
from moorage.errors import StorageUnavailable
from moorage.projects.storagedays import StorageDays
from moorage.replication import ReplicationPolicies, ReplicationPreview
from moorage.retention import Policies, Preview
from moorage.roles.health import Health
from moorage.roles.resources import Resources
from moorage.signin.oidc import OidcPages
from moorage.signin.pages import SigninPages
from moorage.web.csrf import CsrfGuard
from moorage.webhooks.testing import WebhookTests

Volume = Callable[[], Awaitable[tuple[int, int]]]


def core_faces(resources: Resources, health: Health) -> tuple[ASGIApp, ASGIApp]:
    """The REST API and the pages of sign-in."""
    secure = resources.settings.http.external_url.startswith("https://")
    key = resources.box.derive("csrf")
    api = create_api(_services(resources, health))
    oidc = OidcPages(
        resources.oidc_accounts,
        resources.sessions,
        external_url=resources.settings.http.external_url,
        secure=secure,
    )
    pages = SigninPages(
        resources.callers,
        resources.sessions,
        resources.users,
        resources.configurations,
        oidc,
        secure=secure,
    )
    return CsrfGuard(api, key=key, secure=secure), CsrfGuard(pages, key=key, secure=secure)


def volume_of(settings: Settings) -> Volume | None:
    """Bytes in all and free on the disk of the blobs; a bucket has neither."""
    if settings.storage.driver != "filesystem":
        return None
    folder = settings.storage.filesystem.rootdirectory or settings.data_dir / "blobs"

    async def look() -> tuple[int, int]:
        try:
            found = await asyncio.to_thread(shutil.disk_usage, folder)
        except OSError as error:
            raise StorageUnavailable(f"the disk of the blobs cannot be asked: {error}") from None
        return found.total, found.free

    return look


def _services(resources: Resources, health: Health) -> Services:
    settings = resources.settings
    url = settings.http.external_url
    return Services(
        callers=resources.callers,
        grants=resources.grants,
        users=resources.users,
        access_tokens=resources.access_tokens,
        federation_rules=resources.federation_rules,
        groups=resources.groups,
        ldap=resources.ldap,
        oidc=resources.oidc,
        scanners=resources.scanners,
        adapter=resources.adapter,
        registries=resources.registries,
        replications=ReplicationPolicies(resources.db, resources.ground.bell),
        replication_preview=ReplicationPreview(resources.replicating.ends),
        ldap_accounts=resources.ldap_accounts,
        robots=resources.robots,
        projects=resources.projects,
        members=resources.members,
        labels=resources.labels,
        metadata=resources.metadata,
        immutable_rules=resources.immutable_rules,
        retention=Policies(resources.db, resources.ground.bell),
        retention_preview=Preview(resources.db),
        quotas=resources.quotas,
        usage=resources.usage,
        storage_days=StorageDays(resources.db),
        pull_reports=PullReports(resources.db),
        configurations=resources.configurations,
        catalogue=resources.catalogue,
        attributes=Attributes(resources.db, resources.ground.store),
        additions=Additions(resources.db, resources.ground.store),
        layers=Layers(resources.db, resources.ground.store),
        finding=Finding(resources.db),
        tag_names=TagNames(resources.db),
        tag_moves=TagMoves(resources.db),
        copies=Copies(resources.db, resources.rules, resources.configurations),
        manifests=resources.manifests,
        trash=resources.trash,
        audit_log=resources.audit_log,
        history=resources.history,
        schedules=resources.schedules,
        dashboard=resources.dashboard,
        jobs=resources.jobs,
        webhooks=resources.webhooks,
        webhook_tests=WebhookTests(resources.db, resources.teller, resources.ground.bell),
        health=health,
        system=System(
            version=__version__,
            external_url=url,
            registry_url=urlsplit(url).netloc,
            storage=settings.storage.driver,
            volume=volume_of(settings),
        ),
        clock=resources.ground.clock,
    )
