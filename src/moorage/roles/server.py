"""A process from its start to its end.

    lock the folder ─► listen (503) ─► database? ─ wait ─► migrate ─► keys, admin ─► ready
    SIGTERM ─► answers close their connections ─► no connection is left, or LINGER seconds passed
            ─► stop listening ─► running requests end, or the grace time does ─► close in reverse

Listening comes early, so that an orchestrator sees a process that lives and is not ready yet; a
database that is away is waited for, and only what waiting cannot mend ends the process.
"""

import asyncio
import contextlib
import fcntl
import gc
import logging
import os
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from ipaddress import ip_address
from pathlib import Path

import uvicorn

from moorage import __version__, failpoints
from moorage.accounts.keys import WrongSecretKey
from moorage.config.settings import Settings
from moorage.db.migrator import Occupied, SchemaTooNew, arrived, migrate
from moorage.errors import DatabaseUnavailable, MoorageError
from moorage.ops import Operations
from moorage.roles import memory
from moorage.roles.background import Work, flushes, keep_going, works
from moorage.roles.certificate import Certificate, certificate_of
from moorage.roles.connections import BoundedConnection
from moorage.roles.ending import Server
from moorage.roles.faces import Faces, Role, layered
from moorage.roles.jobs import ensure_schedules, worker
from moorage.roles.opening import opened
from moorage.roles.resources import Resources
from moorage.telemetry.metrics import Metrics
from moorage.telemetry.tracing import NoTraces, Tracing

log = logging.getLogger(__name__)

FATAL = (SchemaTooNew, Occupied, WrongSecretKey, MoorageError, ValueError)
"""What no waiting mends."""

_BACKLOG = 2048
_LEAST_LEASE = 3600


class CannotStart(Exception):
    """The process ends before it served anything; the message says why and what to do."""


Announce = Callable[[str, tuple[str, str] | None], None]
"""Told the URL and, at the first start, the administrator's name and password."""


def run(settings: Settings, role: Role, announce: Announce) -> None:
    """Serve until SIGTERM or SIGINT; raises CannotStart."""
    _check(settings, role)
    memory.tune()
    with contextlib.nullcontext() if role is Role.PORTAL else _folder(settings):
        import uvloop

        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_Process(settings, role, announce).live())


class _Process:
    def __init__(self, settings: Settings, role: Role, announce: Announce) -> None:
        self._settings = settings
        self._role = role
        self._announce = announce
        self._metrics = Metrics(__version__)
        self._tracing = tracing = _tracing(settings, role)
        # Only a process that is everything has people and Prometheus at one address.
        near = settings.metrics.allow if role is Role.ALL else None
        self._operations = Operations(self._metrics, near)
        self._faces = Faces(self._operations, settings.database.wait_seconds)
        http = settings.http
        self._certificate = certificate = _certificate(settings)
        self._server = Server(
            uvicorn.Config(
                layered(self._faces, settings, self._metrics, tracing),
                ssl_context_factory=(lambda *_: certificate.context) if certificate else None,
                host=http.host,
                port=http.port,
                http=BoundedConnection,
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                date_header=True,
                proxy_headers=False,
                backlog=_BACKLOG,
                timeout_keep_alive=75,
                timeout_graceful_shutdown=max(1, round(http.grace_seconds)),
            ),
            self._operations,
        )
        self._failure: BaseException | None = None

    async def live(self) -> None:
        """Serve to the end; raises CannotStart."""
        if self._role is Role.PORTAL:
            await self._serve(self._start_portal())
        else:
            async with opened(self._settings, self._metrics) as resources:
                await self._serve(self._start(resources))
        if self._failure is not None:
            raise CannotStart(str(self._failure)) from self._failure

    async def _serve(self, start: Coroutine[None, None, None]) -> None:
        starting = asyncio.create_task(start)
        following = asyncio.create_task(_follow(self._certificate))
        try:
            await self._server.serve()
        except SystemExit:
            raise CannotStart(
                f"cannot listen on {self._settings.http.host}:{self._settings.http.port}; "
                "set http.port to a free port"
            ) from None
        finally:
            await _cancel(starting)
            await _cancel(following)
            await self._server.settle()
            if self._tracing is not None and not self._server.force_exit:
                await asyncio.to_thread(self._tracing.close)

    async def _start_portal(self) -> None:
        """Open the pages at once: while the API is away they say so."""
        self._faces.open_portal(self._settings)
        await self._listening()
        self._announce(self._url(), None)

    async def _listening(self) -> None:
        while not self._server.started:  # noqa: ASYNC110 - uvicorn has no event for this
            await asyncio.sleep(0.01)
        host, port = self._server.servers[0].sockets[0].getsockname()[:2]
        log.info("version %s, role %s, listening on %s:%d", __version__, self._role, host, port)

    async def _start(self, resources: Resources) -> None:
        try:
            password = await self._prepare(resources)
        except FATAL as error:
            self._failure = error
            self._server.should_exit = True
            return
        except Exception as error:
            log.exception("the start failed")
            self._failure = error
            self._server.should_exit = True
            return
        self._faces.open(resources, self._role)
        self._operations.probes = resources.probes()
        # What was made so far lives as long as the process: later collections need not look at it.
        gc.collect()
        gc.freeze()
        memory.give_back()
        await self._listening()
        name = self._settings.auth.admin_name
        self._announce(self._url(), (name, password) if password is not None else None)
        async with _running(self._works(resources), self._metrics):
            await self._work(resources)

    async def _prepare(self, resources: Resources) -> str | None:
        """Wait for the database, migrate, make what the first start needs."""
        pause = 0.5
        while True:
            try:
                await migrate(resources.db)
                await arrived(resources.db)
                password = await resources.prepare()
                await ensure_schedules(resources)
                return password
            except DatabaseUnavailable as error:
                log.warning("waiting for the database: %s", error.__cause__ or error)
                await asyncio.sleep(pause)
                pause = min(pause * 1.5, 10.0)

    async def _work(self, resources: Resources) -> None:
        """Do background jobs where that is the role, until cancelled."""
        if not self._role.jobservice:
            await asyncio.Event().wait()
        await worker(resources, tracing=self._tracing).live()

    def _works(self, resources: Resources) -> list[Work]:
        found = flushes(resources)
        return found + works(resources) if self._role.jobservice else found

    def _url(self) -> str:
        http = self._settings.http
        if http.external_url:
            return http.external_url
        host = "127.0.0.1" if http.host in ("", "0.0.0.0", "::") else http.host  # noqa: S104
        port = self._server.servers[0].sockets[0].getsockname()[1]
        scheme = "http" if self._certificate is None else "https"
        return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}"


@contextlib.asynccontextmanager
async def _running(found: list[Work], metrics: Metrics) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(keep_going(work, metrics), name=work.name) for work in found]
    try:
        yield
    finally:
        for task in tasks:
            await _cancel(task)
        for work in found:
            if work.name == "pull statistics":
                with contextlib.suppress(MoorageError):
                    await work.run()


def _certificate(settings: Settings) -> Certificate | None:
    try:
        return certificate_of(settings.http)
    except OSError as error:
        raise CannotStart(
            f"cannot use http.cert_file {settings.http.cert_file} with http.key_file: {error}"
        ) from None


def _tracing(settings: Settings, role: Role) -> Tracing | None:
    trace = settings.trace
    if not trace.enabled:
        return None
    resource = {
        **trace.attributes,
        "service.name": trace.service_name,
        "service.version": __version__,
        "moorage.role": role.value,
    }
    try:
        return Tracing(trace.endpoint, trace.sample_rate, resource)
    except NoTraces as error:
        raise CannotStart(str(error)) from None


async def _follow(certificate: Certificate | None) -> None:
    if certificate is not None:
        await certificate.follow()


async def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


def _check(settings: Settings, role: Role) -> None:
    """Refuse what would run and be wrong."""
    if role is Role.PORTAL:
        if not settings.portal.core_url:
            raise CannotStart("--role portal needs portal.core_url, the address of the API")
        _authority("portal.ca_file", settings.portal.ca_file)
        return
    _authority("health.ca_file", settings.health.ca_file)
    if role is not Role.ALL and not settings.database.postgres:
        raise CannotStart(
            f"--role {role} needs PostgreSQL: SQLite serves one process; set database.url, "
            "or leave --role out"
        )
    if role is not Role.ALL and settings.storage.driver == "memory":
        raise CannotStart("storage.driver memory cannot be shared; choose another for --role")
    if _loopback(settings.http.host):
        return
    if failpoints.armed():
        raise CannotStart(
            "MOORAGE_FAILPOINTS is set, which is for tests: http.host must be a loopback address"
        )
    if settings.gc.lease_seconds < _LEAST_LEASE:
        raise CannotStart(
            f"gc.lease_seconds is below {_LEAST_LEASE}, which is for tests: slow pushes would lose "
            "their first layers. Raise it, or let http.host be a loopback address"
        )
    if settings.gc.drain_seconds < settings.storage.redirect.seconds:
        raise CannotStart(
            "gc.drain_seconds is below storage.redirect.seconds: clients would hold addresses of "
            "blobs that are gone"
        )


def _authority(setting: str, file: Path | None) -> None:
    if file is not None and not file.is_file():
        raise CannotStart(f"{setting} {file} is no file with certificates")


def _loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@contextlib.contextmanager
def _folder(settings: Settings) -> Iterator[None]:
    """The data directory, for one process alone where SQLite lives in it; raises CannotStart."""
    folder = settings.data_dir
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise _unusable(folder, error) from None
    if settings.database.postgres:
        yield
        return
    with locked(folder):
        yield


def _unusable(folder: Path, error: OSError) -> CannotStart:
    return CannotStart(f"cannot use data_dir {folder}: {error.strerror}")


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the folder's lock; raises CannotStart while another process does."""
    try:
        descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise _unusable(folder, error) from None
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.pread(descriptor, 32, 0).decode().strip() or "unknown"
            raise CannotStart(
                f"another process (pid {owner}) serves {folder.resolve()}; stop it, or choose "
                "another data_dir"
            ) from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)
