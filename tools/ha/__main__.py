"""`make ha`: start everything, say where it is, and end it at Ctrl-C."""

import argparse
import contextlib
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

from tools.ha.processes import Missing
from tools.ha.topology import Topology


def main(arguments: list[str]) -> int:
    """Run until a signal; 1 when something cannot start."""
    parser = argparse.ArgumentParser(prog="make ha", description="every part twice, here")
    parser.add_argument("--port", type=int, default=8080, help="of nginx; another if it is taken")
    parser.add_argument("--replicas", type=int, default=2, help="of each role")
    given = parser.parse_args(arguments)
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    with _folder() as folder:
        try:
            ha = Topology(folder, replicas=given.replicas, port=_port(given.port), durable=True)
        except Missing as error:
            print(f"make ha: {error}", file=sys.stderr)
            return 1
        print("starting; this takes half a minute", flush=True)
        try:
            ha.start()
        except RuntimeError as error:
            print(f"make ha: {error}", file=sys.stderr)
            return 1
        try:
            print(described(ha), flush=True)
            _watch(ha, ended)
        finally:
            print("ending", flush=True)
            ha.stop()
    return 0


@contextlib.contextmanager
def _folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="moorage-ha-") as name:
        yield Path(name)


def _port(wanted: int) -> int:
    """The port, or 0 when somebody has it."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", wanted))
        except OSError:
            return 0
    return wanted


def described(ha: Topology) -> str:
    """Where everything is, for people."""
    rows = [
        ("nginx", ha.url, ha.nginx.pid),
        *((each.name, each.url, each.pid) for role in ha.replicas.values() for each in role),
        ("primary", f"127.0.0.1:{ha.postgres.primary.port}", ha.postgres.primary.pid),
        ("standby", f"127.0.0.1:{ha.postgres.standby.port}", ha.postgres.standby.pid),
        ("redis", ha.redis.url, ha.redis.pid),
        ("store", ha.store.endpoint, ha.store.pid),
    ]
    lines = [f"{name:<14}{where:<28}pid {pid}" for name, where, pid in rows]
    host = ha.url.partition("://")[2]
    return "\n".join(
        [
            *("", *lines, "", f"Moorage is ready at {ha.url}", ""),
            *("user      admin", f"password  {ha.password}", ""),
            f"To push and pull:  docker login -u admin {host}",
            f"Logs are in {ha.folder} and go with it. Kill what you like; Ctrl-C ends everything.",
        ]
    )


def _watch(ha: Topology, ended: threading.Event) -> None:
    """Say when a part ends by itself, or is ended by somebody else."""
    gone: set[str] = set()
    while not ended.wait(0.5):
        for part in ha.parts():
            if not part.running and part.name not in gone:
                gone.add(part.name)
                print(f"{part.name} has ended", flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
