"""Registered scanners, and which one a project uses: its own choice, or the default.

A credential is encrypted, never read back over the API, and bound to the server that it was given
for: who changes the URL to another server, or lets another one pass for it, has to give it again.
"""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from sqlalchemy import ColumnElement, Select, delete, select, update

from moorage.access.principals import Principal
from moorage.access.secretbox import SecretBox
from moorage.db.engine import Database
from moorage.db.queries import Columns, Page, Query, narrow, one_page, ordered
from moorage.db.tables import project_scanners, projects, scanners
from moorage.db.transactions import Tx
from moorage.db.types import now
from moorage.errors import Conflict, Invalid, NotFound, PreconditionFailed
from moorage.events import ProjectUpdated, ScannerCreated, ScannerDeleted, ScannerUpdated, emit
from moorage.projects.holding import hold

FIELDS: Columns = {
    "uuid": scanners.c.uuid,
    "name": scanners.c.name,
    "description": scanners.c.description,
    "url": scanners.c.url,
    "disabled": scanners.c.disabled,
    "is_default": scanners.c.is_default,
    "create_time": scanners.c.created_at,
    "update_time": scanners.c.updated_at,
}
"""What a list can be narrowed and sorted by."""

AUTHORIZATIONS = ("", "Basic", "Bearer", "X-ScannerAdapter-API-Key")
MOST = 100
"""Registrations of one installation: lists ask each adapter how it is."""


@dataclass(frozen=True, slots=True)
class Registration:
    """A scanner that is registered."""

    uuid: str
    name: str
    description: str
    url: str
    auth: str  # one of AUTHORIZATIONS
    skip_cert_verify: bool
    use_internal_addr: bool
    disabled: bool
    is_default: bool
    created_at: datetime
    updated_at: datetime
    sealed: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Settings:
    """What an operator says of a scanner."""

    name: str
    url: str
    description: str = ""
    auth: str = ""
    credential: str = field(default="", repr=False)
    skip_cert_verify: bool = False
    use_internal_addr: bool = False
    disabled: bool = False


class Registrations:
    """The scanners of this installation."""

    def __init__(self, db: Database, box: SecretBox) -> None:
        self._db = db
        self._box = box

    async def list(self, query: Query, *, enabled: bool = False) -> Page[Registration]:
        """Scanners by name unless asked otherwise; those that are `enabled`, or all."""
        statement = narrow(_rows(), query, FIELDS)
        if enabled:
            statement = statement.where(scanners.c.disabled.is_(False))
        async with self._db.read() as tx:
            found, total = await one_page(
                tx, ordered(statement, query, FIELDS, scanners.c.name), query
            )
            return Page([Registration(**row._mapping) for row in found], total)

    async def get(self, scanner_id: str) -> Registration:
        """Raises NotFound."""
        async with self._db.read() as tx:
            return await _one(tx, scanner_id)

    async def create(self, actor: Principal, said: Settings) -> str:
        """Register a scanner; its id. The first one is the default. Raises Invalid, Conflict."""
        scanner_id = str(uuid.uuid4())
        values = self._values(scanner_id, said)
        if said.auth and not said.credential:
            raise Invalid(f"auth {said.auth} needs access_credential")

        async def step(tx: Tx) -> None:
            there = (await tx.execute(select(scanners.c.is_default))).scalars().all()
            if len(there) >= MOST:
                raise Invalid(f"at most {MOST} scanners can be registered")
            for default in (True, False) if True not in there else (False,):
                row = {"uuid": scanner_id, "is_default": default and not said.disabled, **values}
                made = tx.dialect.insert(scanners).values(row).on_conflict_do_nothing()
                if (await tx.execute(made.returning(scanners.c.uuid))).first() is not None:
                    await emit(tx, ScannerCreated(operator=actor.name, scanner=said.name))
                    return
            raise _taken()

        await self._db.run(step)
        return scanner_id

    async def update(self, actor: Principal, scanner_id: str, said: Settings) -> None:
        """Replace what is said of a scanner; raises Invalid, NotFound, Conflict.

        Without a credential the stored one stays, as long as the server and the trust do.
        """
        values = self._values(scanner_id, said)

        async def step(tx: Tx) -> None:
            before = await _one(tx, scanner_id, lock=True)
            if said.auth and not said.credential:
                if before.sealed is None or origin(before.url) != origin(values["url"]):
                    raise Invalid("give access_credential: none is stored for this server")
                if _checked(before) and said.skip_cert_verify:
                    raise Invalid(
                        "access_credential was given for a server whose certificate is verified: "
                        "give it again to set skip_certVerify"
                    )
                values["credential"] = before.sealed
            if said.disabled and before.is_default:
                raise PreconditionFailed("the default scanner cannot be disabled; choose another")
            twin = (scanners.c.name == values["name"]) | (scanners.c.url == values["url"])
            others = select(scanners.c.uuid).where(twin, scanners.c.uuid != scanner_id)
            if (await tx.execute(others)).first() is not None:
                raise _taken()
            this = scanners.c.uuid == scanner_id
            await tx.execute(update(scanners).where(this).values(updated_at=now(), **values))
            await emit(tx, ScannerUpdated(operator=actor.name, scanner=said.name))

        await self._db.run(step)

    async def set_default(self, actor: Principal, scanner_id: str) -> None:
        """Make it the default; raises NotFound, PreconditionFailed for a disabled one."""

        async def step(tx: Tx) -> None:
            every = select(scanners.c.uuid).order_by(scanners.c.uuid)
            await tx.execute(tx.dialect.for_update(every))
            chosen = await _one(tx, scanner_id)
            if chosen.disabled:
                raise PreconditionFailed("a disabled scanner cannot be the default")
            before = update(scanners).where(scanners.c.is_default, scanners.c.uuid != scanner_id)
            await tx.execute(before.values(is_default=False))
            this = update(scanners).where(scanners.c.uuid == scanner_id)
            await tx.execute(this.values(is_default=True, updated_at=now()))
            await emit(tx, ScannerUpdated(operator=actor.name, scanner=chosen.name))

        await self._db.run(step)

    async def delete(self, actor: Principal, scanner_id: str) -> Registration:
        """Forget a scanner; projects that chose it use the default. Raises NotFound."""

        async def step(tx: Tx) -> Registration:
            gone = await _one(tx, scanner_id, lock=True)
            await tx.execute(delete(scanners).where(scanners.c.uuid == scanner_id))
            await emit(tx, ScannerDeleted(operator=actor.name, scanner=gone.name))
            return gone

        return await self._db.run(step)

    async def of_project(self, project_id: int) -> Registration | None:
        """The scanner that a project uses: its choice, else the default, else none."""
        chosen = _rows().join(
            project_scanners,
            (project_scanners.c.scanner_id == scanners.c.uuid)
            & (project_scanners.c.project_id == project_id),
        )
        async with self._db.read() as tx:
            row = (await tx.execute(chosen)).one_or_none()
            if row is None:
                row = (await tx.execute(_rows().where(scanners.c.is_default))).one_or_none()
        return None if row is None else Registration(**row._mapping)

    async def choose(self, actor: Principal, project_id: int, scanner_id: str) -> None:
        """Let a project use a scanner; raises NotFound, ProjectUnknown, PreconditionFailed."""

        async def step(tx: Tx) -> None:
            await hold(tx, project_id)
            query = tx.dialect.for_key_share(
                select(scanners.c.disabled).where(scanners.c.uuid == scanner_id)
            )
            disabled = (await tx.execute(query)).scalar_one_or_none()
            if disabled is None:
                raise _missing(scanner_id)
            if disabled:
                raise PreconditionFailed("the scanner is disabled; choose another")
            row = tx.dialect.insert(project_scanners).values(
                project_id=project_id, scanner_id=scanner_id
            )
            await tx.execute(
                row.on_conflict_do_update(
                    index_elements=["project_id"], set_={"scanner_id": scanner_id}
                )
            )
            name = (
                await tx.execute(select(projects.c.name).where(projects.c.id == project_id))
            ).scalar_one()
            await emit(
                tx,
                ProjectUpdated(
                    operator=actor.name, project_id=project_id, project=name, names=["scanner"]
                ),
            )

        await self._db.run(step)

    def credential(self, registration: Registration) -> str:
        """What the adapter wants to be sent; "" for none."""
        if registration.sealed is None or not registration.auth:
            return ""
        return self._box.open(registration.sealed, _purpose(registration.uuid)).decode()

    async def seal_anew(self, tx: Tx) -> None:
        """Step: encrypt every credential under the current key."""
        for row in (await tx.execute(select(scanners.c.uuid, scanners.c.credential))).all():
            if row.credential is None or not self._box.outdated(row.credential):
                continue
            plain = self._box.open(row.credential, _purpose(row.uuid))
            sealed = self._box.seal(plain, _purpose(row.uuid))
            this = update(scanners).where(scanners.c.uuid == row.uuid)
            await tx.execute(this.values(credential=sealed))

    def _values(self, scanner_id: str, said: Settings) -> dict[str, Any]:
        """The columns that an operator sets; raises Invalid."""
        if not 1 <= len(said.name) <= 255 or not said.name.isprintable():
            raise Invalid("a scanner's name has 1 to 255 printable characters")
        if len(said.description) > 1024:
            raise Invalid("a scanner's description has at most 1024 characters")
        if said.auth not in AUTHORIZATIONS:
            raise Invalid("auth is empty, Basic, Bearer or X-ScannerAdapter-API-Key")
        if not said.credential.isascii() or not said.credential.isprintable():
            raise Invalid("access_credential is printable ASCII: it is sent in a header")
        sealed = None
        if said.auth and said.credential:
            sealed = self._box.seal(said.credential.encode(), _purpose(scanner_id))
        return {
            "name": said.name,
            "description": said.description,
            "url": check_url(said.url),
            "auth": said.auth,
            "credential": sealed,
            "skip_cert_verify": said.skip_cert_verify,
            "use_internal_addr": said.use_internal_addr,
            "disabled": said.disabled,
        }


def check_url(url: str) -> str:
    """The adapter's URL without a slash at its end; raises Invalid."""
    try:
        parts = urlsplit(url)
        valid = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        valid = False
    if not valid or len(url) > 512 or not url.isprintable() or set(url) & set("?#@ "):
        raise Invalid("url is that of the scanner's adapter: https://scanner.example.com:8080")
    return url.rstrip("/")


def _checked(registration: Registration) -> bool:
    """Whether its server has to prove by a certificate that it is the right one."""
    return registration.url.startswith("https://") and not registration.skip_cert_verify


def origin(url: str) -> tuple[str, str | None, int | None]:
    """(scheme, host, port): what tells one server from another."""
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}.get(parts.scheme)


def _purpose(scanner_id: str) -> str:
    return f"scanner {scanner_id}"


def _rows() -> Select[Any]:
    columns: Mapping[str, ColumnElement[Any]] = {
        "uuid": scanners.c.uuid,
        "name": scanners.c.name,
        "description": scanners.c.description,
        "url": scanners.c.url,
        "auth": scanners.c.auth,
        "skip_cert_verify": scanners.c.skip_cert_verify,
        "use_internal_addr": scanners.c.use_internal_addr,
        "disabled": scanners.c.disabled,
        "is_default": scanners.c.is_default,
        "created_at": scanners.c.created_at,
        "updated_at": scanners.c.updated_at,
        "sealed": scanners.c.credential,
    }
    return select(*(column.label(name) for name, column in columns.items()))


async def _one(tx: Tx, scanner_id: str, *, lock: bool = False) -> Registration:
    query = _rows().where(scanners.c.uuid == scanner_id)
    row = (await tx.execute(tx.dialect.for_update(query) if lock else query)).one_or_none()
    if row is None:
        raise _missing(scanner_id)
    return Registration(**row._mapping)


def _missing(scanner_id: str) -> NotFound:
    return NotFound(f"scanner {scanner_id[:64]} not found")


def _taken() -> Conflict:
    return Conflict("a scanner with that name or URL is registered already")
