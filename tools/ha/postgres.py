"""PostgreSQL: a primary, and a standby that has every commit before its client hears of it."""

import os
import pwd
import shutil
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from tools.ha.processes import Child, program
from tools.ports import free_port

DATABASE = "moorage"
_SOURCE = "Debian's postgresql"


class Server(Child):
    """One server; what it holds survives `kill`."""

    def __init__(
        self, name: str, folder: Path, *, durable: bool, options: Sequence[str] = ()
    ) -> None:
        """`durable`: whether it waits for the disk, which only a power failure can tell.

        `options` are further words of the command line.
        """
        self.port = free_port()
        self.data = folder / "data"
        self._binaries = Path(program("initdb", _SOURCE)).resolve().parent
        options = [
            *("-p", str(self.port), "-k", str(folder)),
            *("-c", "listen_addresses=127.0.0.1", "-c", "max_connections=200"),
            *("-c", "shared_buffers=32MB", "-c", "wal_keep_size=128MB"),
            *([] if durable else ["-c", "fsync=off"]),
            *options,
        ]
        command = [str(self._binaries / "postgres"), "-D", str(self.data), *options]
        super().__init__(name, folder, command, user=_postgres())
        folder.mkdir(parents=True, exist_ok=True)
        if (user := _postgres()) is not None:
            os.chown(folder, user, -1)

    def initialise(self) -> None:
        """Make an empty cluster."""
        rules = ["-A", "trust", "-U", "postgres", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync"]
        self._run("initdb", "-D", str(self.data), *rules)

    def copy(self, primary: "Server") -> None:
        """Become a standby of another server, from nothing."""
        shutil.rmtree(self.data, ignore_errors=True)
        source = f"host=127.0.0.1 port={primary.port} user=postgres application_name=standby"
        how = ["-R", "-X", "stream", "-c", "fast", "--no-sync"]
        self._run("pg_basebackup", "-D", str(self.data), "-d", source, *how)

    def _run(self, binary: str, *arguments: str) -> None:
        user = _postgres()
        own = {} if user is None else {"user": user, "extra_groups": []}
        subprocess.run(
            [str(self._binaries / binary), *arguments],
            check=True,
            cwd="/",
            stdout=subprocess.DEVNULL,
            **own,  # type: ignore[call-overload]
        )

    def start(self) -> None:
        """Start, and wait until it answers."""
        self.launch()
        self.wait_until(self._answers)

    def _answers(self) -> bool:
        ask = [str(self._binaries / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        return subprocess.run(ask, check=False).returncode == 0

    def stop(self, seconds: float = 60) -> int | None:
        """End it without waiting for its clients to leave."""
        return self.end(signal.SIGINT, seconds)

    def kill(self) -> None:
        """End all of its processes at once, as a crash does: it recovers at the next start."""
        self.end(signal.SIGQUIT)

    def sql(self, statement: str, database: str = "postgres") -> str:
        """Run a statement; the rows, columns separated by `|`."""
        done = subprocess.run(
            [
                *(str(self._binaries / "psql"), "-qAtX", "-v", "ON_ERROR_STOP=1"),
                *("-h", "127.0.0.1", "-p", str(self.port), "-U", "postgres", "-d", database),
                *("-c", statement),
            ],
            check=False,
            capture_output=True,
            text=True,
        )
        if done.returncode:
            raise RuntimeError(f"{self.name}: {done.stderr.strip()}")
        return done.stdout.strip()


class Pair:
    """A primary and its synchronous standby; each may take the other's place."""

    def __init__(self, folder: Path, *, durable: bool = False, options: Sequence[str] = ()) -> None:
        self.servers = [
            Server(name, folder / name, durable=durable, options=options)
            for name in ("postgresql-1", "postgresql-2")
        ]
        self.primary, self.standby = self.servers

    @property
    def url(self) -> str:
        """The address of the database; clients find out which of the two is the primary."""
        hosts = ",".join(f"127.0.0.1:{server.port}" for server in self.servers)
        return f"postgresql://postgres@{hosts}/{DATABASE}"

    def start(self) -> None:
        """Make what is missing, start both, and wait until the standby follows."""
        if not self.primary.data.exists():
            self.primary.initialise()
        self.primary.start()
        if not self.primary.sql(f"SELECT 1 FROM pg_database WHERE datname = '{DATABASE}'"):
            self.primary.sql(f"CREATE DATABASE {DATABASE}")
        self.follow()

    def follow(self) -> None:
        """Let the standby be a fresh copy of the primary, and commits wait for it."""
        self.standby.stop()
        self.synchronous(False)
        self.standby.copy(self.primary)
        self.standby.start()
        self.synchronous(True)

    def synchronous(self, wanted: bool) -> None:
        """Whether a commit waits for the standby; without, one that is away holds nobody up."""
        names = "*" if wanted else ""
        self.primary.sql(f"ALTER SYSTEM SET synchronous_standby_names = '{names}'")
        self.primary.sql("SELECT pg_reload_conf()")
        if wanted:
            self._until("SELECT 1 FROM pg_stat_replication WHERE sync_state = 'sync'")

    def _until(self, query: str, seconds: float = 180) -> None:
        until = time.monotonic() + seconds
        while not self.primary.sql(query):
            if time.monotonic() > until:
                raise RuntimeError(f"the standby does not follow: {self.standby.log()[-2000:]}")
            time.sleep(0.05)

    def promote(self) -> None:
        """Make the standby the primary; it takes writes when this returns.

        Kill the old primary first: nothing else keeps it from taking writes as well.
        """
        self.standby.sql("SELECT pg_promote(true, 60)")
        self.primary, self.standby = self.standby, self.primary

    def rejoin(self) -> None:
        """Let the server that is not the primary follow it, as a fresh copy."""
        self.follow()

    def stop(self) -> None:
        """End both."""
        self.primary.stop()
        self.standby.stop()


def _postgres() -> int | None:
    """The user for PostgreSQL, which refuses root; None: it runs as who we are."""
    return pwd.getpwnam("postgres").pw_uid if os.geteuid() == 0 else None
