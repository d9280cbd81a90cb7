"""Registered registries.

Credentials are encrypted, never read back over the API, and bound to the server for which they
were given: who changes the URL to another one, or lets another one pass for it, has to give them
again.
"""

import ssl
import time
from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from sqlalchemy import ColumnElement, Select, delete, select, update

from moorage.access.principals import Principal
from moorage.access.secretbox import CannotOpen, SecretBox
from moorage.db.engine import Database
from moorage.db.queries import Columns, Page, Query, count, narrow, one_page, ordered
from moorage.db.tables import project_registries, projects, registries, replication_policies
from moorage.db.transactions import Tx
from moorage.db.types import now
from moorage.errors import (
    Conflict,
    Invalid,
    MoorageError,
    NotFound,
    PreconditionFailed,
    Unreachable,
)
from moorage.events import RegistryCreated, RegistryDeleted, RegistryUpdated, emit
from moorage.outgoing import Guard
from moorage.remotes import adapters
from moorage.remotes.client import Remote
from moorage.remotes.records import Endpoint, Registry, RegistrySettings, Traits, origin

FIELDS: Columns = {
    "id": registries.c.id,
    "name": registries.c.name,
    "description": registries.c.description,
    "type": registries.c.kind,
    "url": registries.c.url,
    "status": registries.c.status,
    "creation_time": registries.c.created_at,
    "update_time": registries.c.updated_at,
}
"""What a list can be narrowed and sorted by."""

HEALTHY, UNHEALTHY = "healthy", "unhealthy"
MOST = 1000
"""Registrations of one installation."""
FOUND = 3600.0
"""Seconds for which it is believed what a registry was found to do."""
CERTIFICATES = 64 << 10
"""Characters of the authorities of one registry."""


class Registries:
    """The registries that this installation knows."""

    def __init__(
        self, db: Database, box: SecretBox, guard: Guard, token_hosts: tuple[str, ...] = ()
    ) -> None:
        self._db = db
        self._box = box
        self._guard = guard
        self._token_hosts = token_hosts
        self._traits: dict[tuple[int, datetime], tuple[Traits, float]] = {}

    async def list(self, query: Query) -> Page[Registry]:
        """Registries by name unless asked otherwise."""
        statement = narrow(_rows(), query, FIELDS)
        async with self._db.read() as tx:
            found, total = await one_page(
                tx, ordered(statement, query, FIELDS, registries.c.name), query
            )
            return Page([Registry(**row._mapping) for row in found], total)

    async def get(self, registry_id: int) -> Registry:
        """Raises NotFound."""
        async with self._db.read() as tx:
            return await _one(tx, registry_id)

    async def some(self, registry_ids: Collection[int]) -> Mapping[int, Registry]:
        """Those of them that are there, by their ids."""
        query = _rows().where(registries.c.id.in_(sorted(registry_ids)))
        async with self._db.read() as tx:
            found = [Registry(**row._mapping) for row in await tx.execute(query)]
        return {registry.id: registry for registry in found}

    async def create(self, actor: Principal, said: RegistrySettings) -> int:
        """Register a registry that answers; its id. Raises Invalid, Conflict."""
        values = self._values(said)
        await self._demand(self._said(said, None))

        async def step(tx: Tx) -> int:
            if await count(tx, select(registries.c.id)) >= MOST:
                raise Invalid(f"at most {MOST} registries can be registered")
            row = tx.dialect.insert(registries).values(**values, status=HEALTHY)
            made = await tx.execute(row.on_conflict_do_nothing().returning(registries.c.id))
            registry_id = made.scalar_one_or_none()
            if registry_id is None:
                raise Conflict(f"a registry named {said.name} is registered already")
            await self._seal(tx, int(registry_id), said.password)
            await emit(tx, RegistryCreated(operator=actor.name, registry=str(said.name)))
            return int(registry_id)

        return await self._db.run(step)

    async def update(self, actor: Principal, registry_id: int, said: RegistrySettings) -> None:
        """Change what is said; raises Invalid, NotFound, Conflict.

        Without a password the stored one stays, as long as the server, the name and the trust do.
        """
        before = await self.get(registry_id)
        values = self._values(said, before)
        await self._demand(self._said(said, before))

        async def step(tx: Tx) -> None:
            current = await _one(tx, registry_id, lock=True)
            if current.updated_at != before.updated_at or current.url != before.url:
                raise Conflict("somebody else changed the registry at this moment; try again")
            twin = registries.c.name == values["name"], registries.c.id != registry_id
            if (await tx.execute(select(registries.c.id).where(*twin))).first() is not None:
                raise Conflict(f"a registry named {values['name']} is registered already")
            this = update(registries).where(registries.c.id == registry_id)
            await tx.execute(this.values(**values, status=HEALTHY, updated_at=now()))
            if said.password is not None or said.username == "":
                await self._seal(tx, registry_id, said.password)
            await emit(tx, RegistryUpdated(operator=actor.name, registry=values["name"]))

        await self._db.run(step)

    async def delete(self, actor: Principal, registry_id: int) -> None:
        """Forget a registry; raises NotFound, PreconditionFailed while something refers to it."""

        async def step(tx: Tx) -> None:
            gone = await _one(tx, registry_id, lock=True)
            used = select(replication_policies.c.id).where(
                (replication_policies.c.source_id == registry_id)
                | (replication_policies.c.target_id == registry_id)
            )
            if (await tx.execute(used.limit(1))).first() is not None:
                raise PreconditionFailed("replication policies use this registry; delete them")
            cached = (
                select(projects.c.name)
                .join(project_registries, project_registries.c.project_id == projects.c.id)
                .where(project_registries.c.registry_id == registry_id)
            )
            project = (await tx.execute(cached.limit(1))).scalar_one_or_none()
            if project is not None:
                raise PreconditionFailed(f"the proxy cache project {project} uses this registry")
            await tx.execute(delete(registries).where(registries.c.id == registry_id))
            await emit(tx, RegistryDeleted(operator=actor.name, registry=gone.name))

        await self._db.run(step)

    # --- reaching them

    def remote(self, registry: Registry, **options: Any) -> Remote:
        """A client of a registry; whoever asks closes it."""
        traits = self._traits_of(registry)
        return self._remote(self._endpoint(registry), traits=traits, **options)

    def _traits_of(self, registry: Registry) -> Traits:
        """Found out once an hour, and anew when somebody changed the registry."""
        moment = time.monotonic()
        self._traits = {key: each for key, each in self._traits.items() if each[1] > moment}
        key = registry.id, registry.updated_at
        return self._traits.setdefault(key, (Traits(), moment + FOUND))[0]

    async def ping(self, said: RegistrySettings, registry_id: int | None = None) -> None:
        """Whether a registry answers as it is said, or is stored, or both; raises Invalid."""
        before = None if registry_id is None else await self.get(registry_id)
        self._values(said, before, ping=True)
        await self._demand(self._said(said, before))

    async def check(self, registry: Registry) -> str:
        """Look how a registry is, and keep that; returns what is wrong, empty when nothing is."""
        try:
            wrong = await self._reach(self._endpoint(registry))
        except Unreachable as error:
            wrong = error.message
        status = UNHEALTHY if wrong else HEALTHY
        if status != registry.status:
            this = update(registries).where(
                registries.c.id == registry.id, registries.c.url == registry.url
            )
            await self._db.run(lambda tx: tx.execute(this.values(status=status)))
        return wrong

    async def seal_anew(self, tx: Tx) -> None:
        """Step: encrypt every password under the current key."""
        for row in (await tx.execute(select(registries.c.id, registries.c.credential))).all():
            if row.credential is None or not self._box.outdated(row.credential):
                continue
            plain = self._box.open(row.credential, _purpose(row.id))
            await self._seal(tx, row.id, plain.decode())

    def _remote(self, endpoint: Endpoint, **options: Any) -> Remote:
        return Remote(self._guard, endpoint, token_hosts=self._token_hosts, **options)

    async def _reach(self, endpoint: Endpoint) -> str:
        try:
            remote = self._remote(endpoint, tries=1, idle=10.0)
            try:
                await remote.ping()
            finally:
                await remote.close()
        except MoorageError as error:
            return error.message
        return ""

    async def _demand(self, endpoint: Endpoint) -> None:
        if wrong := await self._reach(endpoint):
            raise Invalid(f"the registry is unhealthy: {wrong}")

    def _password(self, registry: Registry) -> str:
        """Raises Unreachable when it cannot be read: one such registry is in no other's way."""
        if registry.sealed is None:
            return ""
        try:
            return self._box.open(registry.sealed, _purpose(registry.id)).decode()
        except CannotOpen as error:
            raise Unreachable(f"the stored access_secret is {error}: give it again") from error

    def _endpoint(self, registry: Registry) -> Endpoint:
        return Endpoint(
            registry.kind,
            registry.url,
            registry.username,
            self._password(registry),
            registry.insecure,
            registry.ca_certificate,
        )

    def _said(self, said: RegistrySettings, before: Registry | None) -> Endpoint:
        """The endpoint as it would be; raises Invalid for a password of another server."""
        url = check_url(said.url) if said.url is not None else before.url if before else ""
        username = said.username if said.username is not None else before.username if before else ""
        password = said.password
        if password is None and before is not None and before.sealed is not None and username:
            if origin(url) != origin(before.url) or username != before.username:
                raise Invalid("give access_secret: none is stored for this server and this name")
            _check_trust(said, before)
            password = self._password(before)
        return Endpoint(
            said.kind or (before.kind if before else ""),
            url,
            username,
            (password or "") if username else "",
            said.insecure if said.insecure is not None else bool(before and before.insecure),
            said.ca_certificate
            if said.ca_certificate is not None
            else (before.ca_certificate if before else ""),
        )

    async def _seal(self, tx: Tx, registry_id: int, password: str | None) -> None:
        sealed = self._box.seal(password.encode(), _purpose(registry_id)) if password else None
        this = update(registries).where(registries.c.id == registry_id)
        await tx.execute(this.values(credential=sealed))

    def _values(
        self, said: RegistrySettings, before: Registry | None = None, *, ping: bool = False
    ) -> dict[str, Any]:
        """The columns, checked; raises Invalid."""
        name = said.name if said.name is not None else before.name if before else ""
        if not ping and (
            not 1 <= len(name) <= 255 or not name.isprintable() or name != name.strip()
        ):
            raise Invalid("a registry's name has 1 to 255 printable characters")
        description = said.description
        if description is None:
            description = before.description if before else ""
        if len(description) > 1024:
            raise Invalid("a registry's description has at most 1024 characters")
        kind = said.kind or (before.kind if before else "")
        adapters.of(kind)
        if before is not None and kind != before.kind:
            raise Invalid("the type of a registry stays; register another one")
        endpoint = self._said(said, before)
        for text in (endpoint.username, endpoint.password):
            if len(text) > 16384 or "\0" in text or "\r" in text:
                raise Invalid("access_key and access_secret have at most 16384 characters")
        if len(endpoint.username) > 255 or ":" in endpoint.username:
            raise Invalid("access_key has at most 255 characters, and no colon")
        if not endpoint.url:
            raise Invalid("url is that of the registry: https://registry.example.com")
        return {
            "name": name,
            "description": description,
            "kind": kind,
            "url": endpoint.url,
            "credential_type": (
                said.credential_type or (before.credential_type if before else "") or "basic"
            )[:32],
            "username": endpoint.username,
            "insecure": endpoint.insecure,
            "ca_certificate": check_authorities(endpoint.ca),
        }


def _check_trust(said: RegistrySettings, before: Registry) -> None:
    """Whoever lets another server answer for the registry gives the secret again.

    Nobody can read it here; he would have it sent to a server of his own on the way there.
    """
    if not before.url.startswith("https://") or before.insecure:
        return
    if said.insecure:
        raise Invalid(
            "access_secret was given for a server whose certificate is verified: "
            "give it again to set insecure"
        )
    trusted = (said.ca_certificate or "").strip()
    if trusted and trusted != before.ca_certificate.strip():
        raise Invalid(
            "access_secret was given for a server under other authorities: "
            "give it again to change ca_certificate"
        )


def check_url(url: str) -> str:
    """A registry's URL without a slash at its end; raises Invalid."""
    if "://" not in url:
        url = f"https://{url}"
    try:
        parts = urlsplit(url)
        valid = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        valid = False
    if not valid or len(url) > 512 or not url.isascii() or set(url) & set("?#@ \\"):
        raise Invalid("url is that of the registry: https://registry.example.com")
    return url.rstrip("/")


def check_authorities(pem: str) -> str:
    """Certificates of authorities, or none; raises Invalid."""
    pem = pem.strip()
    if not pem:
        return ""
    try:
        if len(pem) > CERTIFICATES:
            raise ValueError
        ssl.create_default_context(cadata=pem)
    except (ssl.SSLError, ValueError):
        raise Invalid("ca_certificate holds certificates of authorities in PEM form") from None
    return pem + "\n"


def _purpose(registry_id: int) -> str:
    return f"registry {registry_id}"


def _rows() -> Select[Any]:
    columns: Mapping[str, ColumnElement[Any]] = {
        "id": registries.c.id,
        "name": registries.c.name,
        "description": registries.c.description,
        "kind": registries.c.kind,
        "url": registries.c.url,
        "credential_type": registries.c.credential_type,
        "username": registries.c.username,
        "insecure": registries.c.insecure,
        "ca_certificate": registries.c.ca_certificate,
        "status": registries.c.status,
        "created_at": registries.c.created_at,
        "updated_at": registries.c.updated_at,
        "sealed": registries.c.credential,
    }
    return select(*(column.label(name) for name, column in columns.items()))


async def _one(tx: Tx, registry_id: int, *, lock: bool = False) -> Registry:
    query = _rows().where(registries.c.id == registry_id)
    row = (await tx.execute(tx.dialect.for_update(query) if lock else query)).one_or_none()
    if row is None:
        raise NotFound(f"registry {registry_id} not found")
    return Registry(**row._mapping)
