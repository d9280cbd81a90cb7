"""From the version before to this one under load: nobody who comes through nginx notices.

old old │ migrate │ old new │ old again │ new new
"""

import json
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from tests.support import previous
from tests.support.images import digest_of
from tests.support.load import Load
from tests.support.replicas import Calls, manifest
from tests.support.requirements import require
from tools.ha import Topology
from tools.ha.topology import ROLES, ROOT, Replica

pytestmark = pytest.mark.slow

ENDED = ("Success", "Error", "Stopped")


class Front:
    """A registry by its port and password, as `Calls` wants it."""

    username = "admin"

    def __init__(self, port: int, password: str) -> None:
        self.port, self.password = port, password


@dataclass
class Upgrade:
    """Two replicas of every role of the older version, and where its packages are."""

    ha: Topology
    older: Path

    def calls(self, port: int) -> Calls:
        """Requests to whatever listens on a port."""
        return Calls(Front(port, self.ha.password))  # type: ignore[arg-type]

    @property
    def every(self) -> Sequence[Replica]:
        """All replicas, those of a role one after the other."""
        return [replica for role in ROLES for replica in self.ha.replicas[role]]

    def migrate(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run this version's `moorage migrate`, as an operator does before anything else."""
        core = self.ha.replicas["core"][0]
        return subprocess.run(
            [sys.executable, "-m", "moorage", "migrate", "--json", *arguments],
            env=core.environment(ROOT / "src"),
            cwd=self.ha.folder,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def settled(self, seconds: float = 60) -> Mapping[str, str]:
        """The outcome of each kind of job that was asked for, once all have ended."""
        until = time.monotonic() + seconds
        while True:
            text = self.ha.postgres.primary.sql(
                "SELECT vendor_type || '|' || status FROM executions WHERE trigger = 'MANUAL'",
                "moorage",
            )
            rows = [line.partition("|")[::2] for line in text.splitlines()]
            if all(status in ENDED for _, status in rows):
                return dict(rows)
            assert time.monotonic() < until, rows
            time.sleep(0.2)


@pytest.fixture
def upgrade() -> Iterator[Upgrade]:
    """Every part, twice, with the older version in every process of ours."""
    require("initdb", "redis-server", "nginx", "weed")
    # Not in a folder of pytest: it closes them for other users, and PostgreSQL may run as one.
    with TemporaryDirectory(prefix="moorage-upgrade-") as name:
        Path(name).chmod(0o711)
        older = previous.source(Path(name) / "older")
        # The answers that are looked at are the registry's own.
        ha = Topology(Path(name) / "ha", settings={"storage.redirect.disable": True})
        made = Upgrade(ha, older)
        for replica in made.every:
            replica.source = older
        with ha:
            yield made


def cross(upgrade: Upgrade, role: str, tag: str) -> None:
    """What either replica of a role takes the other one gives, at once."""
    calls = [upgrade.calls(replica.port) for replica in upgrade.ha.replicas[role]]
    for number, (one, other) in enumerate((calls, calls[::-1])):
        if role == "registry":
            config = one.push_blob("library/both", b"{}")
            document = manifest(config, 2, hash((tag, number)))
            path = f"/v2/library/both/manifests/{tag}-{number}"
            assert other.ask("GET", path).status == 404
            assert one.push_manifest("library/both", f"{tag}-{number}", document).status == 201
            assert other.ask("GET", path).body == document
            assert one.ask("DELETE", path).status == 202
            assert other.ask("GET", path).status == 404
        if role == "core":
            project = json.dumps({"project_name": f"{tag}-{number}"}).encode()
            kind = {"Content-Type": "application/json"}
            assert one.ask("POST", "/api/v2.0/projects", project, kind).status == 201
            path = f"/api/v2.0/projects/{tag}-{number}"
            assert other.ask("GET", path).status == 200
            assert one.ask("DELETE", path).status == 200
            assert other.ask("GET", path).status == 404


def ask_for_jobs(front: Calls) -> None:
    """A collection of garbage and a purge of the audit log, which any jobservice may take."""
    kind = {"Content-Type": "application/json"}
    wanted: Mapping[str, Mapping[str, object]] = {
        "gc": {"delete_untagged": False},
        "purgeaudit": {"audit_retention_hour": 24, "include_event_types": "create_artifact"},
    }
    for path, parameters in wanted.items():
        body = json.dumps({"schedule": {"type": "Manual"}, "parameters": parameters}).encode()
        answer = front.ask("POST", f"/api/v2.0/system/{path}/schedule", body, kind)
        assert answer.status in (201, 409, 412), answer  # the one before is still at it


def test_an_upgrade_fails_no_request(upgrade: Upgrade) -> None:
    """Migrated and replaced one by one, with a step back; all that was pushed pulls everywhere."""
    ha = upgrade.ha
    front = upgrade.calls(ha.nginx.port)
    with Load(front, 3, pages=("/account/sign-in",)) as load:
        load.go_on()
        done = upgrade.migrate()
        assert done.returncode == 0, done.stderr
        assert upgrade.migrate("--check").returncode == 0
        load.go_on()  # the older version on the newer schema
        for role in ROLES:
            first, second = ha.replicas[role]
            replace(first, ROOT / "src")
            load.go_on()
            cross(upgrade, role, f"mixed-{role}")
            ask_for_jobs(front)
            if role == "registry":  # an operator who changes their mind
                replace(first, upgrade.older)
                load.go_on()
                replace(first, ROOT / "src")
            replace(second, ROOT / "src")
            load.go_on()
        ask_for_jobs(front)
    assert load.failed == []
    assert load.requests > 300
    assert set(upgrade.settled().values()) == {"Success"}
    for replica in ha.replicas["registry"]:
        calls = upgrade.calls(replica.port)
        for (repository, tag), document in load.pushed.items():
            assert calls.ask("GET", f"/v2/{repository}/manifests/{tag}").body == document
            for entry in json.loads(document)["layers"]:
                assert digest_of(calls.content(repository, entry["digest"])) == entry["digest"]
    for replica in upgrade.every:  # what was replaced was replaced
        text = Path(f"/proc/{replica.pid}/environ").read_bytes()
        assert f"PYTHONPATH={ROOT / 'src'}".encode() in text.split(b"\0")


def replace(replica: Replica, source: Path) -> None:
    """End one process and start the other version in its place."""
    replica.stop()
    replica.source = source
    replica.start()


def test_the_older_version_is_older() -> None:
    """It is a commit that this one came from, else what is tested is no upgrade."""
    require("git")
    with TemporaryDirectory(prefix="moorage-upgrade-") as name:
        older = previous.source(Path(name))
        assert (older / "moorage" / "__main__.py").is_file()
    done = subprocess.run(
        ["git", "merge-base", "--is-ancestor", previous.commit(), "HEAD"],
        cwd=ROOT,
        check=False,
    )
    assert done.returncode == 0
