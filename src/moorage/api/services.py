"""What the handlers call. Made once by the role that mounts the API."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from moorage.accounts.access_tokens import AccessTokens
from moorage.accounts.federation import FederationRules
from moorage.accounts.groups import Groups
from moorage.accounts.ldap import Ldap, LdapAccounts
from moorage.accounts.oidc import Provider
from moorage.accounts.robots import Robots
from moorage.accounts.users import Users
from moorage.artifacts.additions import Additions
from moorage.artifacts.attributes import Attributes
from moorage.artifacts.catalogue import Catalogue
from moorage.artifacts.copying import Copies
from moorage.artifacts.finding import Finding
from moorage.artifacts.layers import Layers
from moorage.artifacts.manifests import Manifests
from moorage.artifacts.pullreports import PullReports
from moorage.artifacts.tagmoves import TagMoves
from moorage.artifacts.tagnames import TagNames
from moorage.artifacts.trashed import TrashList
from moorage.audit import AuditLog
from moorage.clock import Clock, SystemClock
from moorage.jobs.dashboard import Dashboard
from moorage.jobs.history import History
from moorage.jobs.requests import Requests
from moorage.jobs.schedules import Schedules
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
from moorage.replication import ReplicationPolicies, ReplicationPreview
from moorage.retention import Policies, Preview
from moorage.scanning import Adapter, Registrations
from moorage.settings import Configurations
from moorage.web.callers import Callers
from moorage.webhooks import WebhookPolicies
from moorage.webhooks.testing import WebhookTests

COMPONENTS = (
    *("core", "portal", "jobservice", "registry", "registryctl", "database", "redis"),
    "storage",
)
"""Harbor's names for the parts that `/health` lists, in this order, and one of our own."""
VITAL = frozenset({"core", "registry", "database"})
"""Without one of these nobody is served; any other one leaves the installation degraded."""


class Health(Protocol):
    """Says how the parts of the installation are."""

    async def check(self) -> Mapping[str, str]:
        """Component name to what is wrong with it, empty when healthy.

        Names are of COMPONENTS; one that is not configured is left out.
        """


@dataclass(frozen=True)
class System:
    """Facts about this installation that `/systeminfo` tells."""

    version: str
    external_url: str = ""
    registry_url: str = ""  # host and port, without a scheme
    storage: str = "filesystem"
    ca_certificate: bytes | None = None  # PEM
    volume: Callable[[], Awaitable[tuple[int, int]]] | None = None  # total and free bytes


@dataclass(frozen=True)
class Services:
    """Everything that the API needs."""

    callers: Callers
    grants: Grants
    users: Users
    access_tokens: AccessTokens
    federation_rules: FederationRules
    groups: Groups
    ldap: Ldap
    oidc: Provider
    ldap_accounts: LdapAccounts
    robots: Robots
    projects: Projects
    members: Members
    labels: Labels
    metadata: Metadata
    immutable_rules: ImmutableRules
    retention: Policies
    retention_preview: Preview
    quotas: Quotas
    usage: Usage
    storage_days: StorageDays
    pull_reports: PullReports
    scanners: Registrations
    adapter: Adapter
    registries: Registries
    replications: ReplicationPolicies
    replication_preview: ReplicationPreview
    configurations: Configurations
    catalogue: Catalogue
    attributes: Attributes
    additions: Additions
    finding: Finding
    layers: Layers
    tag_names: TagNames
    tag_moves: TagMoves
    copies: Copies
    manifests: Manifests
    trash: TrashList
    audit_log: AuditLog
    history: History
    schedules: Schedules
    dashboard: Dashboard
    jobs: Requests
    webhooks: WebhookPolicies
    webhook_tests: WebhookTests
    health: Health
    system: System
    clock: Clock = field(default_factory=SystemClock)
