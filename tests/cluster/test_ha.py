"""`make ha`: every part twice on one machine, and what the tests of faults do to it."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from tests.support.images import digest_of
from tests.support.replicas import Calls, manifest
from tests.support.requirements import find, require
from tests.support.serving import ROOT
from tests.support.writing import returned, until, writing
from tools.ha import Topology
from tools.ha.topology import ROLES, Replica
from tools.ports import free_port

pytestmark = pytest.mark.slow
PARTS = ("initdb", "redis-server", "nginx", "weed")
WRITES_RETURN = 10.0  # seconds after a promotion


class Front:
    """A registry by its port and password, as `Calls` wants it."""

    username = "admin"

    def __init__(self, port: int, password: str) -> None:
        self.port, self.password = port, password


def calls(port: int, password: str) -> Calls:
    """Requests to whatever listens on a port."""
    return Calls(Front(port, password))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def ha() -> Iterator[Topology]:
    """Everything, one test after the other."""
    require(*PARTS)
    # Not in a folder of pytest: it closes them for other users, and PostgreSQL may run as one.
    with TemporaryDirectory(prefix="moorage-ha-") as folder, Topology(Path(folder)) as made:
        yield made


@pytest.fixture
def front(ha: Topology) -> Calls:
    """Requests through nginx."""
    return calls(ha.nginx.port, ha.password)


def push(front: Calls, repository: str, tag: str) -> bytes:
    """Push a small artifact; its manifest."""
    config = front.push_blob(repository, b"{}")
    document = manifest(config, 2, len(tag))
    answer = front.push_manifest(repository, tag, document)
    assert answer.status == 201, answer
    return document


def test_what_one_pushes_each_serves(ha: Topology, front: Calls) -> None:
    """Through nginx, and from every replica of its role; two processes of each role."""
    document = push(front, "library/ha", "one")
    path = "/v2/library/ha/manifests/one"
    assert front.ask("GET", path).body == document
    for replica in ha.replicas["registry"]:
        assert calls(replica.port, ha.password).ask("GET", path).body == document
    pids = ha.pids()
    assert {role: len(pids[role]) for role in ROLES} == dict.fromkeys(ROLES, 2)
    assert len(pids["postgresql"]) == 2


def test_the_exporter_tells_of_the_installation(ha: Topology, front: Calls) -> None:
    """On a port of its own: projects, queues, and every part that it was told of."""
    push(front, "library/ha", "seen")
    exporter = Replica("exporter", 1, ha.folder / "exporter-1", free_port())
    exporter.settings = {**ha.replicas["core"][0].settings, **exporter.settings}
    for role in ("core", "registry"):
        exporter.settings[f"health.{role}_url"] = ha.replicas[role][0].url
    exporter.settings["metrics.port"] = exporter.settings.pop("http.port")
    try:
        exporter.start()
        asked = calls(exporter.port, ha.password)
        text = asked.ask("GET", "/metrics").body.decode()
        up = dict(re.findall(r'^harbor_up{component="(\w+)"} (\S+)$', text, re.MULTILINE))
        parts = ("core", "registry", "registryctl", "jobservice", "database", "storage", "redis")
        assert up == dict.fromkeys(parts, "1.0")
        assert 'harbor_project_repo_total{project_name="library",public="true"} 1.0' in text
        assert "moorage_workers 2.0" in text
        assert asked.ask("GET", "/v2/").status == 404
    finally:
        exporter.stop()


def test_a_replica_dies_and_comes_back(ha: Topology, front: Calls) -> None:
    """nginx asks the other one, and the first serves again after its start."""
    document = push(front, "library/ha", "two")
    path, first = "/v2/library/ha/manifests/two", ha.replicas["registry"][0]
    first.kill()
    answers = [front.ask("GET", path) for _ in range(6)]
    assert [answer.status for answer in answers] == [200] * 6
    first.start()
    assert calls(first.port, ha.password).ask("GET", path).body == document


class Client(threading.Thread):
    """Pushes and pulls through nginx until it is told to stop, and keeps what failed."""

    def __init__(self, front: Calls, name: str) -> None:
        super().__init__()
        self._front, self._name = front, name
        self.done, self.failed = 0, list[str]()
        self.ended = threading.Event()

    def run(self) -> None:
        while not self.ended.is_set():
            try:
                document = push(self._front, f"library/{self._name}", f"t{self.done}")
                path = f"/v2/library/{self._name}/manifests/t{self.done}"
                found = self._front.ask("GET", path)
                assert found.body == document, found
                health = self._front.ask("GET", "/api/v2.0/projects")
                assert health.status == 200, health
            except Exception as error:
                self.failed.append(repr(error))
            self.done += 1


def test_a_rolling_restart_fails_no_request(ha: Topology, front: Calls) -> None:
    """One replica after the other ends and comes back; no pull fails, and no push."""
    clients = [Client(front, name) for name in ("left", "right")]
    for client in clients:
        client.start()
    try:
        for replica in (*ha.replicas["registry"], ha.replicas["core"][0]):
            before = [client.done for client in clients]
            replica.restart()
            for client, count in zip(clients, before, strict=True):
                assert client.is_alive()
                assert client.done > count  # there was load
    finally:
        for client in clients:
            client.ended.set()
        for client in clients:
            client.join(60)
    assert [client.failed for client in clients] == [[], []]


@contextlib.contextmanager
def vanished(port: int) -> Iterator[None]:
    """The machine of a server is gone: nothing from it arrives, not even the end of connections."""
    table = f"inet moorage_ha_{os.getpid()}"
    chain = f"type filter hook output priority 0;\ntcp dport {port} drop\ntcp sport {port} drop"
    rules = f"table {table} {{\nchain gone {{\n{chain}\n}}\n}}\n"
    nft = find("nft") or "nft"
    subprocess.run([nft, "-f", "-"], input=rules, text=True, check=True)
    try:
        yield
    finally:
        subprocess.run([nft, "delete", "table", *table.split()], check=True)


@contextlib.contextmanager
def killed(ha: Topology) -> Iterator[None]:
    """The primary ends, and its kernel resets what was open."""
    ha.postgres.primary.kill()
    yield


@contextlib.contextmanager
def silenced(ha: Topology) -> Iterator[None]:
    """The primary falls silent and stays so."""
    if os.geteuid() != 0:
        require("the right to filter packets")
    require("nft")
    lost = ha.postgres.primary
    with vanished(lost.port):
        yield
        lost.kill()


@pytest.mark.parametrize("lose", [killed, silenced])
def test_the_primary_dies_and_the_standby_takes_over(
    ha: Topology, front: Calls, lose: Callable[[Topology], AbstractContextManager[None]]
) -> None:
    """Everything that was acknowledged is there, and pushes go on with the same settings.

    Through nginx and at each registry, not later than ten seconds after the standby is a primary.
    """
    document = push(front, "library/ha", "before")
    lost = ha.postgres.primary
    doors = {"nginx": ha.nginx.port}
    doors |= {each.name: each.port for each in ha.replicas["registry"]}
    with writing(doors, ha.password) as writers, lose(ha):
        ha.postgres.promote()
        promoted = time.monotonic()
        assert ha.postgres.primary.sql("SELECT pg_is_in_recovery()") == "f"
        until(writers, promoted)
    back = returned(writers, promoted)
    print(f"seconds until writes were back: {back}")
    assert max(back.values()) <= WRITES_RETURN
    path = "/v2/library/ha/manifests/before"
    for replica in ha.replicas["registry"]:
        assert calls(replica.port, ha.password).ask("GET", path).body == document
    push(front, "library/ha", "after")
    ha.postgres.rejoin()
    assert ha.postgres.standby is lost
    push(front, "library/ha", "together")
    for server in ha.postgres.servers:
        assert server.sql("SELECT count(*) FROM tags WHERE name = 'together'", "moorage") == "1"


def test_redis_and_the_store_go_and_come(ha: Topology, front: Calls) -> None:
    """Without Redis everything works; without the store pulls of manifests do."""
    document = push(front, "library/ha", "three")
    path = "/v2/library/ha/manifests/three"
    ha.redis.kill()
    push(front, "library/ha", "four")
    ha.redis.start()
    ha.store.kill()
    assert front.ask("GET", path).body == document
    ha.store.start()
    blob = front.ask("GET", f"/v2/library/ha/blobs/{digest_of(b'{}')}")
    assert blob.status == 307  # clients are sent to the store itself
    with urllib.request.urlopen(blob.headers["location"], timeout=30) as answer:
        assert answer.read() == b"{}"


def test_the_command_prints_where_it_is_and_leaves_nothing() -> None:
    """URL and password work as printed; Ctrl-C ends every process and removes the folder."""
    require(*PARTS)
    environment = {**os.environ, "TMPDIR": "/tmp", "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        [sys.executable, "-m", "tools.ha", "--port", "0", "--replicas", "1"],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    guard = threading.Timer(180, process.kill)
    guard.start()
    try:
        assert process.stdout is not None
        told = ""
        for line in process.stdout:
            told += line
            if line.startswith("Logs are in"):
                break
        port = re.search(r"ready at http://127\.0\.0\.1:(\d+)$", told, re.MULTILINE)
        password = re.search(r"^password  (\S+)$", told, re.MULTILINE)
        folder = re.search(r"^Logs are in (\S+) ", told, re.MULTILINE)
        assert port, told
        assert password, told
        assert folder, told
        document = push(calls(int(port[1]), password[1]), "library/ha", "one")
        pulled = calls(int(port[1]), password[1]).ask("GET", "/v2/library/ha/manifests/one")
        assert pulled.body == document
        pids = [int(pid) for pid in re.findall(r"pid (\d+)$", told, re.MULTILINE)]
        assert len(pids) == 5 + len(ROLES)
        process.send_signal(signal.SIGINT)
        assert process.wait(120) == 0
        assert [pid for pid in pids if Path(f"/proc/{pid}").exists()] == []
        assert not Path(folder[1]).exists()
    finally:
        guard.cancel()
        process.kill()
        process.stdout.close()  # type: ignore[union-attr]
        process.wait()
