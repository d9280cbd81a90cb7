"""The ports that tests and `make ha` give to their servers: no two processes get the same."""

import socket
import subprocess
import sys

from tests.support.serving import ROOT
from tools.ports import FIRST, LAST, free_port, free_ports

OTHER = "from tools.ports import free_ports; print(*free_ports(300))"


def given() -> list[int]:
    """What another process is given meanwhile."""
    command = [sys.executable, "-c", OTHER]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=60)
    assert done.stderr == ""
    return [int(port) for port in done.stdout.split()]


def test_processes_side_by_side_get_ports_of_their_own() -> None:
    """Also of those that nobody listens on yet; none is one that the system hands to clients."""
    ours = free_ports(50)
    theirs = given()
    assert len(set(ours)) == 50
    assert not {*ours, *free_ports(50)} & {*theirs}
    assert all(FIRST < port < LAST for port in (*ours, *theirs))


def test_what_is_in_use_is_not_given() -> None:
    """However often one asks: every other port comes first, and comes again."""
    with socket.create_server(("127.0.0.1", free_port())) as listening:
        port = listening.getsockname()[1]
        assert port not in free_ports(500)
