"""tinyproxy, a forward proxy, with names of its own: servers that only it can look up.

running_tinyproxy(folder, ["registry.example"])      these names are this machine, to it alone
          …       account=("me", "secret")           who may use it
          …       ports=[443]                        to which it opens tunnels; else to all
"""

import os
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.requirements import path_of, require
from tests.support.stores import wait_for
from tools.ports import free_port

# Its own view of /etc/hosts; the rest of the machine sees nothing of it. Nor has it a name server:
# one that is silent would be waited for longer than a test waits for the proxy.
_START = """
mount --bind "$1/hosts" /etc/hosts || exit
[ ! -e /etc/resolv.conf ] || mount --bind "$1/resolv.conf" /etc/resolv.conf || exit
exec "$2" -d -c "$1/conf"
"""


@dataclass(frozen=True)
class Tinyproxy:
    """One that runs."""

    port: int
    folder: Path

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.port}"

    def asked(self) -> list[str]:
        """What it was asked for: `CONNECT registry.example:443`, `GET http://…`."""
        lines = (self.folder / "log").read_text().splitlines()
        requests = (line.partition("): ")[2] for line in lines if "Request (file" in line)
        return [line.removesuffix(" HTTP/1.1") for line in requests]


@contextmanager
def running_tinyproxy(
    folder: Path,
    names: Sequence[str],
    *,
    account: tuple[str, str] | None = None,
    ports: Sequence[int] = (),
) -> Iterator[Tinyproxy]:
    """The test is skipped without it, and where it can have no names of its own."""
    binary = path_of("tinyproxy")
    own = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--map-root-user", "--mount"]
    if subprocess.run([*own, "true"], capture_output=True, check=False).returncode:
        require("a mount namespace")
    folder.mkdir(parents=True, exist_ok=True)
    found = Tinyproxy(free_port(), folder)
    hosts = "".join(f"127.0.0.1 {name}\n" for name in ("localhost", *names))
    (folder / "hosts").write_text(hosts)
    (folder / "resolv.conf").write_text("nameserver 127.0.0.1\noptions timeout:1 attempts:1\n")
    lines = [f"Port {found.port}", "Listen 127.0.0.1", "Timeout 60", "MaxClients 200"]
    lines += [f'LogFile "{folder / "log"}"', "LogLevel Connect"]
    lines += [f"ConnectPort {port}" for port in ports]
    if account:
        lines.append(f"BasicAuth {' '.join(account)}")
    (folder / "conf").write_text("\n".join(lines) + "\n")
    command = [*own, "sh", "-c", _START, "sh", str(folder), binary]
    with (folder / "output").open("wb") as output:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
        )
    try:
        wait_for(found.url, process, folder / "output")
        while not (folder / "log").exists():
            time.sleep(0.05)
        yield found
    finally:
        process.kill()  # told to end, it waits for its clients
        process.wait()
