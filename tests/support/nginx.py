"""nginx in front of registries, on a free port, in a temporary folder.

Nginx(folder, [8081, 8082]).start()             round robin over these ports
Nginx(folder, [8081], blobs=path).start()       sends blobs from their directory itself (X-Accel)
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Self

from tests.support.requirements import require
from tools.ha import servers
from tools.ha.servers import BLOBS

__all__ = ["BLOBS", "Nginx"]


class Nginx:
    """The nginx of `make ha` before ports that a test names; the test is skipped without it."""

    def __init__(
        self,
        folder: Path,
        ports: Sequence[int],
        *,
        core: Sequence[int] | None = None,
        portal: Sequence[int] | None = None,
        blobs: Path | None = None,
    ) -> None:
        """`core` and `portal` are the ports of those roles.

        `core` is the same as `ports` where each has every role, `portal` the same as `core`.
        """
        require("nginx")
        self._server = servers.Nginx(folder, blobs=blobs)
        core = ports if core is None else core
        self._server.route(
            {"REGISTRY": ports, "CORE": core, "PORTAL": core if portal is None else portal}
        )
        self.port, self.host = self._server.port, self._server.host

    @property
    def pid(self) -> int:
        """The master process."""
        return self._server.pid

    def start(self) -> Self:
        """Start it and wait until it answers."""
        self._server.start()
        return self

    def stop(self) -> None:
        """End it with its workers."""
        self._server.stop()
