"""A primary and a synchronous streaming standby that take over from one another.

pair = Pair.start()       both run; a commit waits for the standby's disk
pair.kill()               the primary is gone, as with its machine
pair.promote()            the standby takes over; alone, so commits wait for nobody
pair.rejoin()             the former primary is made anew as standby of the new one
"""

import contextlib
import os
import pwd
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from tests.faults.disks import Disk
from tests.support.databases import PostgresServer, _as_postgres, _binaries, free_port

_INIT = ["-A", "trust", "-U", "postgres", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync"]


class Pair:
    """Two PostgreSQL servers; `primary` is the one that takes writes."""

    def __init__(self, *, disk: int = 0, connections: int = 200) -> None:
        """`disk`: bytes of the disk that each has for itself, where that can be done."""
        self._options = ["-c", f"max_connections={connections}"]
        self._disk = disk
        self.primary = self._server()
        self.standby: PostgresServer | None = None
        self._former: PostgresServer | None = None

    def _server(self) -> PostgresServer:
        folder = Path(tempfile.mkdtemp(prefix="moorage-pg-"))
        if self._disk:
            Disk(folder).mount(self._disk)
        if os.geteuid() == 0:
            os.chown(folder, pwd.getpwnam("postgres").pw_uid, -1)
        return PostgresServer(folder, _binaries(), free_port(), durable=True)

    def start(self) -> "Pair":
        """Make and start both."""
        program = str(self.primary.binaries / "initdb")
        _as_postgres([program, "-D", str(self.primary.folder / "data"), *_INIT])
        self._launch(self.primary)
        self.rejoin()
        return self

    def _launch(self, server: PostgresServer) -> None:
        options = [
            *("-p", str(server.port), "-k", str(server.folder), "-c", "listen_addresses=127.0.0.1"),
            *("-c", "wal_level=replica", "-c", "max_wal_senders=8", "-c", "hot_standby=on"),
            *("-c", "wal_keep_size=128MB", "-c", "max_wal_size=256MB", "-c", "shared_buffers=64MB"),
            *("-c", "wal_sender_timeout=5s", "-c", "wal_receiver_timeout=5s"),
            *self._options,
        ]
        server.control("-o", " ".join(options), "-l", f"{server.folder}/log", "-w", "start")

    def kill(self) -> None:
        """End the primary at once; its children are reaped by the server's own rules."""
        with contextlib.suppress(subprocess.CalledProcessError):
            self.primary.stop("immediate")

    def restart(self) -> None:
        """Start the primary again on what it has."""
        self._launch(self.primary)

    def promote(self) -> None:
        """Let the standby take over. The old primary must be dead."""
        assert self.standby is not None
        self.standby.control("-w", "promote")
        self._former, self.primary, self.standby = self.primary, self.standby, None
        self._synchronous("")

    def rejoin(self) -> None:
        """A new standby of the primary; commits wait for it from now on."""
        if self._former is not None:
            _remove(self._former)
            self._former = None
        standby = self._server()
        program = str(standby.binaries / "pg_basebackup")
        source = ["-h", "127.0.0.1", "-p", str(self.primary.port), "-U", "postgres"]
        target = ["-D", str(standby.folder / "data"), "-R", "-X", "stream", "-c", "fast", "-N"]
        _as_postgres([program, *source, *target])
        self._launch(standby)
        self.standby = standby
        deadline = time.monotonic() + 60
        while not self.value("SELECT count(*) FROM pg_stat_replication WHERE state='streaming'"):
            assert time.monotonic() < deadline, "the standby does not stream"
            time.sleep(0.1)
        self._synchronous("*")

    def _synchronous(self, names: str) -> None:
        self.primary.sql(f"ALTER SYSTEM SET synchronous_standby_names = '{names}'")
        self.primary.sql("SELECT pg_reload_conf()")

    def value(self, query: str, database: str = "postgres") -> int:
        """One number."""
        rows = self.rows(query, database)
        return int(rows[0])

    def rows(self, query: str, database: str = "postgres") -> list[str]:
        """Rows of the primary, columns separated by `|`."""
        psql = [str(self.primary.binaries / "psql"), "-qAt", "-v", "ON_ERROR_STOP=1"]
        done = subprocess.run(
            [*psql, self.primary.url(database), "-c", query],
            check=True,
            capture_output=True,
            text=True,
        )
        return done.stdout.split("\n")[:-1]

    def close(self) -> None:
        """End both, and remove what they wrote."""
        for server in (self.standby, self.primary, self._former):
            if server is not None:
                with contextlib.suppress(subprocess.CalledProcessError, OSError):
                    server.stop()
                _remove(server)


def _remove(server: PostgresServer) -> None:
    Disk(server.folder).unmount()
    shutil.rmtree(server.folder, ignore_errors=True)
