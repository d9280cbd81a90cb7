"""Everything that a highly available registry is, on one machine, with taps between the parts.

              nginx        [tap]            one in front of each process, beside nginx: a tap
        ┌───────┴──────┐     │              would take connections for a process that is gone
    N registry       2 core          2 jobservice
        └───┬──────────┬─────┴──────┬──────────┘
          [tap]      [tap]        [tap]     one for each process, so that one can be cut off
        PostgreSQL    Redis      SeaweedFS
      primary+standby

A process is `python -m moorage serve --role …`, or what `command` names in place of `moorage`.
"""

import contextlib
import os
import signal
import subprocess
import sys
import time
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

from tests.faults.disks import Disk
from tests.faults.taps import StoreTap, Tap, Taps
from tests.support.nginx import Nginx
from tests.support.redis_server import RedisServer
from tests.support.requirements import path_of
from tests.support.serving import Registry
from tests.support.stores import SeaweedServer
from tools.ha.postgres import DATABASE, Pair

PASSWORD = "Aa1-canary-password-of-the-administrator"
SECRET_KEY = "canary-secret-key-of-every-replica"
DISK = 1 << 30  # bytes of each PostgreSQL
# A commit that does not wait for the disk comes there late, so that a crash loses it for certain.
POSTGRES = "-c wal_writer_delay=10s -c wal_writer_flush_after=512MB -c max_wal_size=256MB"

LEASE = 20.0  # seconds in which a promise holds
SETTINGS: Mapping[str, object] = {
    "auth.secret_key": SECRET_KEY,
    "storage.driver": "s3",
    # The answers that are checked are the registry's own.
    "storage.redirect.disable": True,
    "gc.lease_seconds": LEASE,
    "gc.drain_seconds": 5,
    "gc.trash_seconds": 5,
    "gc.interval_seconds": 2,
    "uploads.age_seconds": 60,
    "jobs.lease_seconds": 10,
    "log.format": "json",
}


@dataclass(frozen=True)
class Plan:
    """How many of what, and what differs from the usual."""

    registries: int = 3
    cores: int = 2
    jobservices: int = 2
    settings: Mapping[str, object] | None = None
    command: Sequence[str] = ("moorage",)  # the module to run, and what stands before its verb
    disk: int = 4 << 30  # bytes of the object store's disk


class Process(Registry):
    """One process of ours and the taps around it."""

    def __init__(
        self, name: str, folder: Path, role: str, plan: Plan, settings: Mapping[str, object]
    ) -> None:
        super().__init__(folder / name, settings=settings, role=role, password=PASSWORD)
        self.name = name
        self.kind = role
        self.extra: dict[str, str] = {}  # environment of the next start
        self._command = plan.command
        self.front: Tap | None = None
        self.database: Tap
        self.cache: Tap
        self.store: StoreTap
        self.starts = 0

    def environment(self) -> dict[str, str]:
        """As of any process, with what a fault needs, and where tests can be imported."""
        found = {**super().environment(), **self.extra}
        found["PYTHONPATH"] += os.pathsep + str(Path(__file__).parents[2])
        return found

    def launch(self, *arguments: str) -> "Process":
        """Start the process and wait for nothing."""
        self.starts += 1
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", *self._command, "serve", "--role", self.kind, *arguments],
                cwd=self.folder,
                env=self.environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        return self

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self._process is not None and self._process.poll() is None

    def usage(self) -> tuple[int, int, int, int]:
        """Resident bytes, open descriptors, sockets among them, connections to PostgreSQL."""
        descriptors = list(Path(f"/proc/{self.pid}/fd").iterdir())
        sockets = 0
        for each in descriptors:
            with contextlib.suppress(OSError):
                sockets += each.readlink().name.startswith("socket:")
        return self.memory(), len(descriptors), sockets, self.database.connections


class Topology:
    """The whole; `start` brings it up, `close` takes every process and folder away."""

    def __init__(self, folder: Path, plan: Plan) -> None:
        self.folder = folder
        self.plan = plan
        self.taps = Taps()
        self.processes: list[Process] = []
        self.store_disk = Disk(folder / "seaweed")
        self.basic = "Basic " + b64encode(f"admin:{PASSWORD}".encode()).decode()
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o711)  # PostgreSQL is another user where root starts it

    def start(self) -> Self:
        """Start all parts and wait until all are ready."""
        self.taps.__enter__()
        self.postgres = Pair(self.folder, durable=True, options=POSTGRES.split())
        for server in self.postgres.servers:
            Disk(server.folder).mount(DISK)
        self.postgres.start()
        self.postgres.primary.sql("CREATE ROLE moorage LOGIN")
        self.postgres.primary.sql(f"ALTER DATABASE {DATABASE} OWNER TO moorage")
        self.redis = RedisServer(self.folder / "redis").start()
        self.store_disk.mount(self.plan.disk)
        self.seaweed = SeaweedServer(self.folder / "seaweed", path_of("weed"))
        self.seaweed.start()
        self.bucket = self.seaweed.bucket("registry")
        self.store_port = urlsplit(self.bucket.endpoint).port or 0
        plan = self.plan
        roles = (
            ("registry", plan.registries),
            ("core", plan.cores),
            ("jobservice", plan.jobservices),
        )
        for role, count in roles:
            self.processes += [self._process(f"{role}-{n + 1}", role) for n in range(count)]
        for each in self.processes:
            each.launch()
        for each in self.processes:
            each.wait(300)
        self.nginx = Nginx(
            self.folder / "nginx",
            [each.port for each in self.of("registry")],
            core=[each.port for each in self.of("core")],
        ).start()
        return self

    def _process(self, name: str, role: str) -> Process:
        database = self.taps.open(self.postgres.primary.port)
        cache = self.taps.open(self.redis.port)
        store = self.taps.store(self.store_port)
        section = self.bucket.section(regionendpoint=f"http://127.0.0.1:{store.port}")
        settings: dict[str, object] = {
            **SETTINGS,
            "database.url": f"postgresql://moorage@127.0.0.1:{database.port}/{DATABASE}",
            "redis.url": f"redis://127.0.0.1:{cache.port}",
            "storage.s3": section,
            **(self.plan.settings or {}),
        }
        process = Process(name, self.folder, role, self.plan, settings)
        process.database, process.cache, process.store = database, cache, store
        if role != "jobservice":
            process.front = self.taps.open(process.port)
        return process

    def of(self, role: str) -> list[Process]:
        """The processes of a role."""
        return [each for each in self.processes if each.kind == role]

    def lead_to_primary(self) -> None:
        """Let the name of the database mean its present primary."""
        for each in self.processes:
            each.database.lead(self.postgres.primary.port)

    @property
    def url(self) -> str:
        """The address of the database's primary, for its superuser."""
        return f"postgresql://postgres@127.0.0.1:{self.postgres.primary.port}/{DATABASE}"

    def rows(self, query: str) -> list[str]:
        """Rows of the database, columns separated by `|`."""
        return self.postgres.primary.sql(query, DATABASE).splitlines()

    def ready(self) -> list[str]:
        """Processes that are not ready."""
        return [each.name for each in self.processes if not each.alive or each.ready() != 200]

    def await_ready(self, seconds: float) -> float:
        """How long it took until all were ready; raises AssertionError with those that are not."""
        began = time.monotonic()
        while late := self.ready():
            assert time.monotonic() - began < seconds, f"not ready: {late}\n{self.tails(late)}"
            for each in self.processes:
                if not each.alive:  # as what watches over processes does
                    each.launch()
            time.sleep(0.1)
        return time.monotonic() - began

    def tails(self, names: Sequence[str]) -> str:
        """The ends of the logs of some processes."""
        return "\n".join(
            f"--- {each.name}\n{each.log()[-3000:]}"
            for each in self.processes
            if each.name in names
        )

    def stop_processes(self) -> None:
        """End all of ours, at once; what is below stays."""
        for each in self.processes:
            with contextlib.suppress(OSError, AssertionError):
                each.signal(signal.SIGCONT)
            each.kill()

    def logs(self) -> str:
        """Everything that our processes wrote."""
        return "".join(each.log() for each in self.processes)

    def close(self) -> None:
        """End everything."""
        self.stop_processes()
        for name in ("nginx", "redis", "seaweed", "postgres"):
            part = getattr(self, name, None)
            if part is not None:
                end = part.stop if name in ("nginx", "postgres") else part.kill
                with contextlib.suppress(Exception):
                    end()
        for server in self.postgres.servers:
            Disk(server.folder).unmount()
        self.taps.__exit__()
        self.store_disk.unmount()

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self.close()
            raise

    def __exit__(self, *_: object) -> None:
        self.close()
