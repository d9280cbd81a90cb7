"""A real redis-server of one's own: on a free port, in a temporary folder, gone afterwards."""

import secrets
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from tests.support.requirements import require
from tools.ports import free_port


class RedisServer:
    """One redis-server process; `kill`, `hang`, `flush` and `demote` are its ways to fail."""

    def __init__(self, folder: Path, *options: str, sentinel: bool = False) -> None:
        self.port = free_port()
        self._folder = folder
        self._sentinel = sentinel
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None
        self.socket_path = folder / "redis.sock"
        folder.mkdir(parents=True, exist_ok=True)

    @property
    def url(self) -> str:
        """Where a client finds it."""
        return f"redis://127.0.0.1:{self.port}"

    def start(self) -> "RedisServer":
        """Start it, with what its folder holds, and wait until it answers."""
        config = self._folder / "redis.conf"
        lines = [f"port {self.port}", "bind 127.0.0.1", f"dir {self._folder}", *self._options]
        if not self._sentinel:
            lines += [f"unixsocket {self.socket_path}", "save ''", "repl-diskless-sync-delay 0"]
        config.write_text("\n".join(lines) + "\n")
        with (self._folder / "redis.log").open("ab") as output:
            self._process = subprocess.Popen(
                ["redis-server", str(config), *(["--sentinel"] if self._sentinel else [])],
                stdout=output,
                stderr=output,
            )
        deadline = time.monotonic() + 180
        while True:
            try:
                self.command("PING")
            except OSError:
                if time.monotonic() > deadline or self._process.poll() is not None:
                    raise RuntimeError((self._folder / "redis.log").read_text()) from None
                time.sleep(0.02)
            else:
                return self

    def command(self, *parts: str | int) -> str:
        """Send one command on a connection of its own; the reply as Redis writes it."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=60) as wire:
            encoded = [str(part).encode() for part in parts]
            wire.sendall(b"*%d\r\n" % len(encoded))
            for part in encoded:
                wire.sendall(b"$%d\r\n%b\r\n" % (len(part), part))
            return wire.recv(65536).decode(errors="replace")

    def flush(self) -> None:
        """Lose everything, as FLUSHALL does."""
        assert self.command("FLUSHALL").startswith("+OK")

    def hang(self) -> None:
        """Stop answering without closing anything."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Answer again after `hang`."""
        self._signal(signal.SIGCONT)

    def demote(self, port: int) -> None:
        """Become a replica of the server at `port`; 0: a primary again."""
        place: Sequence[str] = ("127.0.0.1", str(port)) if port else ("NO", "ONE")
        assert self.command("REPLICAOF", *place).startswith("+OK")

    def kill(self) -> None:
        """End it as `kill -9` does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _signal(self, number: int) -> None:
        assert self._process is not None
        self._process.send_signal(number)


@pytest.fixture(scope="session")
def redis_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """One server for tests that do it no harm."""
    require("redis-server")
    server = RedisServer(tmp_path_factory.mktemp("redis")).start()
    yield server
    server.kill()


@pytest.fixture
def redis_server(redis_process: RedisServer) -> RedisServer:
    """The shared server, empty."""
    redis_process.flush()
    return redis_process


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[RedisServer]:
    """A server that the test may kill, hang or demote."""
    require("redis-server")
    server = RedisServer(tmp_path / secrets.token_hex(4)).start()
    yield server
    server.kill()
