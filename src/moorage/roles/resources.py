"""Makes every object once, over what `opening` opened.

Database ─► Configurations ─► Keys, Passwords ─► Standings ─► Logins ─► Callers ─┐
    │                                                          ├─► faces
    ├─► Cache ─► Grants                                        │
    └─► BlobStore ─► Uploads, Manifests, Pulls, Listing ───────┘
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from urllib.parse import urlsplit

from moorage.access.exchanged import ExchangedTokens
from moorage.access.jwts import KeyRing
from moorage.access.secretbox import SecretBox
from moorage.access.tokens import Tokens
from moorage.accounts import groups
from moorage.accounts.access_tokens import AccessTokens
from moorage.accounts.bootstrap import first_admin, secret_key_file
from moorage.accounts.checks import CHECKS
from moorage.accounts.federation import Exchange, FederationRules, Lending
from moorage.accounts.groups import Groups
from moorage.accounts.issuers import Issuers
from moorage.accounts.keys import Keys
from moorage.accounts.ldap import Ldap, LdapAccounts
from moorage.accounts.logins import Logins
from moorage.accounts.oidc import IdTokens, OidcAccounts, Provider
from moorage.accounts.passwords import Passwords
from moorage.accounts.robots import Robots
from moorage.accounts.sessions import Sessions
from moorage.accounts.standing import Standings
from moorage.accounts.users import Users
from moorage.artifacts.catalogue import Catalogue
from moorage.artifacts.listing import Listing
from moorage.artifacts.manifests import Manifests
from moorage.artifacts.pulls import Pulls
from moorage.artifacts.rules import Rules
from moorage.artifacts.statistics import PullCounts
from moorage.artifacts.trashed import TrashList
from moorage.artifacts.uploads import Uploads
from moorage.audit import AuditLog, Syslog
from moorage.blobstore.base import BlobStore
from moorage.cache.base import Cache
from moorage.cache.lru import BytesLRU
from moorage.clock import Clock
from moorage.config.settings import Settings
from moorage.db.engine import Database
from moorage.jobs.bell import Bell
from moorage.jobs.dashboard import Dashboard
from moorage.jobs.history import History
from moorage.jobs.requests import Requests
from moorage.jobs.schedules import Schedules
from moorage.ops import Probe
from moorage.outgoing import Guard, HttpProxies
from moorage.projects.grants import Grants
from moorage.projects.immutability import ImmutableRules
from moorage.projects.labels import Labels
from moorage.projects.members import Members
from moorage.projects.metadata import Metadata
from moorage.projects.projects import Projects
from moorage.projects.quota import Quotas
from moorage.projects.usage import Usage
from moorage.proxy import (
    Alone,
    Proxies,
    RedisLeases,
    Through,
    ThroughListing,
    ThroughManifests,
    Turn,
)
from moorage.remotes import Registries
from moorage.replication import Here, Replicating
from moorage.scanning import Adapter, Registrations
from moorage.settings import Configurations
from moorage.telemetry.metrics import Metrics
from moorage.web.callers import Callers
from moorage.webhooks import Teller, WebhookPolicies

LONGEST_TOKEN = 24 * 3600.0
"""Seconds that `configuration.token_expiration` allows at most: a retired key verifies so long."""

SECRET_KEY = "secret_key"  # noqa: S105 - a file's name


@dataclass(frozen=True)
class Ground:
    """What keeps state."""

    settings: Settings
    db: Database
    store: BlobStore
    cache: Cache
    clock: Clock
    metrics: Metrics
    bell: Bell


class Resources:
    """The domain over one ground; each object is made when it is first asked for."""

    def __init__(self, ground: Ground) -> None:
        self.ground = ground
        self.alone = True
        """Whether no other process writes to a database that belongs to one."""
        settings = ground.settings
        self.settings = settings
        self.db = ground.db
        self.rules = Rules(
            lease=settings.gc.lease_seconds,
            drain=settings.gc.drain_seconds,
            trash=settings.gc.trash_seconds,
            upload_age=settings.uploads.age_seconds,
            max_blob=settings.uploads.max_blob_bytes,
            sparse=settings.uploads.sparse_manifests,
        )
        auth = settings.auth
        key = auth.secret_key.get_secret_value() if auth.secret_key else self._own_key()
        self.secret_key = key
        self.box = SecretBox(key, [k.get_secret_value() for k in auth.previous_secret_keys])
        self.ring = KeyRing()
        self.scanners = Registrations(ground.db, self.box)
        self.passwords = Passwords()
        self.standings = Standings(ground.db, ground.cache, ground.clock)
        self.access_tokens = AccessTokens(ground.db, self.standings, ground.clock)
        self.sessions = Sessions(
            ground.db, ground.cache, self.standings, self.configurations, ground.clock
        )
        self.grants = Grants(ground.db, ground.cache, ground.clock)

    def _own_key(self) -> str:
        return secret_key_file(self.settings.data_dir / SECRET_KEY)

    @cached_property
    def configurations(self) -> Configurations:
        return Configurations(
            self.db,
            self.ground.cache,
            self.box,
            self.settings.configuration,
            reach=self.syslog.reach,
            checks=CHECKS,
            follow=groups.follow,
        )

    @cached_property
    def keys(self) -> Keys:
        return Keys(
            self.db,
            self.box,
            self.ring,
            token_lifetime=LONGEST_TOKEN,
            rotation=self.settings.auth.key_rotation_days * 86400,
            others=(
                self.configurations.seal_anew,
                self.scanners.seal_anew,
                self.webhooks.seal_anew,
                self.registries.seal_anew,
            ),
            clock=self.ground.clock,
        )

    @cached_property
    def tokens(self) -> Tokens:
        auth = self.settings.auth
        return Tokens(
            self.ring,
            issuer=auth.token_issuer,
            audience=auth.token_service,
            lifetime=LONGEST_TOKEN,
        )

    @cached_property
    def lending(self) -> Lending:
        auth = self.settings.auth
        exchanged = ExchangedTokens(
            self.ring,
            issuer=auth.token_issuer,
            audience=auth.token_service,
            longest=LONGEST_TOKEN,
        )
        return Lending(exchanged, self.keys, self.standings, self.ground.clock)

    @cached_property
    def logins(self) -> Logins:
        return Logins(
            self.db,
            self.passwords,
            self.standings,
            settings=self.configurations,
            directory=self.ldap_accounts,
            lenders=(self.access_tokens, self.lending, self.id_tokens),
            clock=self.ground.clock,
        )

    @cached_property
    def callers(self) -> Callers:
        """Who calls, by any of the ways to say so."""
        return Callers(
            self.tokens,
            self.keys,
            self.logins,
            self.standings,
            self.sessions,
            self.grants,
            self.ground.clock,
        )

    @cached_property
    def guard(self) -> Guard:
        """The way to other servers."""
        return self._guard()

    @cached_property
    def guard_of_projects(self) -> Guard:
        """The same for names that administrators of projects give.

        Look-ups in flight are few. Names that take a minute each hold up one another, and neither
        the sign-in nor a proxy cache.
        """
        return self._guard()

    def _guard(self) -> Guard:
        outgoing = self.settings.outgoing
        return Guard(outgoing.allow, outgoing.ca_file, HttpProxies(outgoing))

    @cached_property
    def ldap(self) -> Ldap:
        return Ldap(self.guard)

    @cached_property
    def ldap_accounts(self) -> LdapAccounts:
        return LdapAccounts(self.db, self.configurations, self.ldap)

    @cached_property
    def oidc(self) -> Provider:
        # Issuers of its own: those of rules, which many may make, cannot push the provider out.
        return Provider(self.guard, Issuers(self.guard))

    @cached_property
    def id_tokens(self) -> IdTokens:
        return IdTokens(self.db, self.configurations, self.oidc, self.standings)

    @cached_property
    def federation_rules(self) -> FederationRules:
        return FederationRules(self.db, self.configurations)

    @cached_property
    def exchange(self) -> Exchange:
        issuers = Issuers(self.guard_of_projects)
        return Exchange(self.db, self.federation_rules, issuers, self.lending)

    @cached_property
    def oidc_accounts(self) -> OidcAccounts:
        return OidcAccounts(self.db, self.configurations, self.oidc, self.box)

    @cached_property
    def adapter(self) -> Adapter:
        return Adapter(self.guard, self.scanners.credential)

    @cached_property
    def registries(self) -> Registries:
        """The other registries."""
        hosts = self.settings.remotes.token_hosts
        return Registries(self.db, self.box, self.guard, hosts)

    @cached_property
    def replicating(self) -> Replicating:
        """Both ends of replications."""
        here = Here(self.db, self.pulls, self.uploads, self.manifests, self.projects)
        return Replicating(self.db, self.registries, here)

    @cached_property
    def through(self) -> Through:
        """Reading through projects that are a cache."""
        rules = replace(self.rules, sparse=True)  # a manifest is kept before its blobs are
        redis = self.settings.redis if self.settings.database.postgres else None
        leases = RedisLeases(redis) if redis is not None else Alone()
        return Through(
            self.db,
            Proxies(self.db, self.grants, self.registries, counters=self.ground.metrics.proxies),
            self.pulls,
            Uploads(self.db, self.ground.store, rules, self.configurations),
            Manifests(self.db, rules, self.configurations),
            self.settings.proxy.tag_seconds,
            self.settings.proxy.roomy_folder(),
            Turn(leases, self.settings.proxy.wait_seconds),
        )

    @cached_property
    def through_lists(self) -> tuple[ThroughListing, ThroughManifests]:
        """Their lists."""
        manifests = ThroughManifests(self.db, self.rules, self.configurations)
        return ThroughListing(self.db, self.through), manifests.bound(self.through)

    @cached_property
    def syslog(self) -> Syslog:
        return Syslog(self.guard)

    @cached_property
    def counts(self) -> PullCounts:
        return PullCounts(self.db, callers=self.settings.usage.callers)

    @cached_property
    def pulls(self) -> Pulls:
        payloads = BytesLRU(self.settings.cache.payload_bytes)
        seconds = self.settings.storage.redirect.seconds
        ground = self.ground
        return Pulls(self.db, ground.store, ground.cache, self.counts, payloads, seconds)

    @cached_property
    def uploads(self) -> Uploads:
        return Uploads(self.db, self.ground.store, self.rules, self.configurations)

    @cached_property
    def manifests(self) -> Manifests:
        return Manifests(self.db, self.rules, self.configurations)

    @cached_property
    def listing(self) -> Listing:
        return Listing(self.db)

    @cached_property
    def users(self) -> Users:
        return Users(self.db, self.passwords, self.configurations)

    @cached_property
    def groups(self) -> Groups:
        return Groups(self.db)

    @cached_property
    def robots(self) -> Robots:
        return Robots(self.db, self.passwords, self.configurations)

    @cached_property
    def projects(self) -> Projects:
        return Projects(self.db, self.configurations)

    @cached_property
    def members(self) -> Members:
        return Members(self.db)

    @cached_property
    def labels(self) -> Labels:
        return Labels(self.db)

    @cached_property
    def metadata(self) -> Metadata:
        return Metadata(self.db)

    @cached_property
    def immutable_rules(self) -> ImmutableRules:
        return ImmutableRules(self.db)

    @cached_property
    def quotas(self) -> Quotas:
        return Quotas(self.db)

    @cached_property
    def usage(self) -> Usage:
        return Usage(self.db)

    @cached_property
    def catalogue(self) -> Catalogue:
        return Catalogue(self.db)

    @cached_property
    def audit_log(self) -> AuditLog:
        return AuditLog(self.db)

    @cached_property
    def trash(self) -> TrashList:
        return TrashList(self.db)

    @cached_property
    def dashboard(self) -> Dashboard:
        return Dashboard(self.db)

    @cached_property
    def history(self) -> History:
        return History(self.db)

    @cached_property
    def webhooks(self) -> WebhookPolicies:
        return WebhookPolicies(self.db, self.box)

    @cached_property
    def teller(self) -> Teller:
        host = urlsplit(self.settings.http.external_url).netloc
        return Teller(self.configurations, host)

    @cached_property
    def jobs(self) -> Requests:
        return Requests(self.db, self.ground.bell)

    @cached_property
    def schedules(self) -> Schedules:
        return Schedules(self.db)

    async def prepare(self) -> str | None:
        """Keys, the first administrator and the first project; returns a password to print once."""
        await self.keys.start()
        auth = self.settings.auth
        given = auth.admin_password.get_secret_value() if auth.admin_password else None
        password = await first_admin(self.db, self.passwords, auth.admin_name, given)
        await self.projects.ensure_library()
        return password

    async def close(self) -> None:
        """End what was begun for others."""
        if "through" in self.__dict__:
            await self.through.close()

    def probes(self) -> Mapping[str, Probe]:
        """How each part is, for the health pages."""

        async def database() -> str:
            await self.db.ping()
            return ""

        async def storage() -> str:
            await self.ground.store.ping()
            return ""

        async def cache() -> str:
            health = self.ground.cache.health()
            return "" if health["status"] == "healthy" else str(health.get("reason", "degraded"))

        found: dict[str, Probe] = {"database": database, "storage": storage}
        return found | ({"redis": cache} if self.settings.redis else {})
