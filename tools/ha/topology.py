"""Every part, started in the order of their needs and ended in reverse."""

import contextlib
import json
import os
import secrets
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Self

from moorage.roles.faces import Role
from tools.ha.postgres import Pair
from tools.ha.processes import Child
from tools.ha.servers import Nginx, ObjectStore, Redis, status
from tools.ports import free_ports

ROOT = Path(__file__).parents[2]
ROLES = tuple(role for role in ("registry", "core", "jobservice", "portal") if role in list(Role))
"""The roles of a product that is whole; each serves for itself."""


class Replica(Child):
    """One process of one role."""

    def __init__(self, role: str, number: int, folder: Path, port: int) -> None:
        self.role = role
        self.port = port
        command = [sys.executable, "-m", "moorage", "serve", "--role", role]
        self.settings: dict[str, object] = {
            "http.host": "127.0.0.1",
            "http.port": port,
            "data_dir": str(folder / "data"),
        }
        self.source = ROOT / "src"  # of which version it is
        self._own: dict[str, str] = {}
        super().__init__(f"{role}-{number}", folder, command, environment=self._own)

    @property
    def url(self) -> str:
        """Where it answers, without nginx."""
        return f"http://127.0.0.1:{self.port}"

    def launch(self) -> None:
        """Start it with the settings of now, and wait for nothing."""
        self._own.clear()
        self._own.update(self.environment(self.source))
        super().launch()

    def environment(self, source: Path) -> dict[str, str]:
        """What a process of a version has in its environment, with the settings of now."""
        outer = {name: text for name, text in os.environ.items() if "MOORAGE_" not in name}
        own = {
            "MOORAGE_" + path.upper().replace(".", "__"): _text(setting)
            for path, setting in self.settings.items()
        }
        return outer | own | {"PYTHONPATH": str(source)}

    def ready(self) -> bool:
        """Whether it can serve."""
        try:
            return status(self.url + "/readyz") == 200
        except OSError:
            return False

    def start(self, seconds: float = 240) -> None:
        """Start, and wait until it can serve."""
        self.launch()
        self.wait_until(self.ready, seconds)

    def restart(self) -> None:
        """End it as an operator does, and start it again."""
        self.stop()
        self.start()


class Topology:
    """All parts; `with Topology(folder) as ha:` starts them, and ends them whatever happens."""

    def __init__(
        self,
        folder: Path,
        *,
        replicas: int | Mapping[str, int] = 2,
        settings: Mapping[str, object] | None = None,
        port: int = 0,
        durable: bool = False,
    ) -> None:
        """`replicas` of every role, or by role; `settings` by path go to each of them.

        `port` is nginx's, 0 for a free one; `durable`: whether PostgreSQL waits for the disk.
        """
        counts = {role: replicas if isinstance(replicas, int) else replicas.get(role, 0)
                  for role in ROLES}  # fmt: skip
        self.folder = folder
        self.password = f"Aa1{secrets.token_urlsafe(15)}"
        self.postgres = Pair(folder, durable=durable)
        self.redis = Redis(folder / "redis")
        self.store = ObjectStore(folder / "store")
        self.nginx = Nginx(folder / "nginx", port)
        ports = iter(free_ports(sum(counts.values())))
        self.replicas: Mapping[str, Sequence[Replica]] = {
            role: [
                Replica(role, n, folder / f"{role}-{n}", next(ports)) for n in range(1, count + 1)
            ]
            for role, count in counts.items()
        }
        shared = self._settings() | dict(settings or {})
        for replica in self._every():
            replica.settings = {**shared, **replica.settings}
        if portals := self.replicas.get("portal"):
            for portal in portals:
                # Through nginx, so that no one core is needed.
                portal.settings["portal.core_url"] = self.nginx.url

    def _settings(self) -> dict[str, object]:
        return {
            "database.url": self.postgres.url,
            "redis.url": self.redis.url,
            "storage.driver": "s3",
            "storage.s3": self.store.settings,
            "auth.secret_key": secrets.token_urlsafe(32),
            "auth.admin_password": self.password,
            "http.external_url": self.nginx.url,
            "http.trusted_proxies": ["127.0.0.1/32"],
        }

    def _every(self) -> Iterator[Replica]:
        for replicas in self.replicas.values():
            yield from replicas

    def parts(self) -> Iterator[Child]:
        """Every process, servers first."""
        yield from (*self.postgres.servers, self.redis, self.store, *self._every(), self.nginx)

    @property
    def url(self) -> str:
        """Where clients find the registry."""
        return self.nginx.url

    def urls(self, role: str) -> list[str]:
        """Where each replica of a role answers, without nginx."""
        return [replica.url for replica in self.replicas[role]]

    def pids(self) -> Mapping[str, Sequence[int]]:
        """The processes that run, by role or server."""
        found: dict[str, list[int]] = {}
        for part in self.parts():
            if part.running:
                found.setdefault(part.name.partition("-")[0], []).append(part.pid)
        return found

    def start(self) -> Self:
        """Start all; what was started is ended again when something cannot start."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.folder.chmod(0o711)  # PostgreSQL runs as another user where root starts it
        try:
            _together(self.postgres.start, self.redis.start, self.store.start)
            ports = {role: [each.port for each in self.replicas[role]] for role in self.replicas}
            front = ports.get("portal") or ports["core"]
            self.nginx.route({"REGISTRY": ports["registry"], "CORE": ports["core"],
                              "PORTAL": front})  # fmt: skip
            self.nginx.start()
            _together(*(replica.start for replica in self._every()))
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """End all, clients before what they need; never raises for a part that is gone."""
        with contextlib.suppress(OSError):
            self.nginx.stop()
        _together(*(replica.stop for replica in self._every()))
        _together(self.postgres.stop, self.redis.stop, self.store.stop)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()


def _together(*calls: Callable[[], object]) -> None:
    """Make calls at the same time; raises what the first of them raised, after all ended."""
    if not calls:
        return
    with ThreadPoolExecutor(len(calls)) as threads:
        running = [threads.submit(call) for call in calls]
    for each in running:
        each.result()


def _text(setting: object) -> str:
    if isinstance(setting, bool):
        return str(setting).lower()
    return json.dumps(setting) if isinstance(setting, (Mapping, list)) else str(setting)
