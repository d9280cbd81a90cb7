"""The container image: built from its Dockerfile, and run as its users run it."""

import json
import re
import urllib.request
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.content import sha256
from tests.support.engine import Container, Engine, EngineFailed
from tests.support.replicas import Calls
from tools.ports import free_port

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
IMAGE = "localhost/moorage"
LARGEST = 200_000_000
"""Bytes that the image may add to its base."""


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """An engine that has the image."""
    made = Engine(tmp_path_factory.mktemp("engine"))
    try:
        made.base()
        made.build(IMAGE, ROOT / "deploy" / "image" / "Dockerfile", ROOT)
        yield made
    finally:
        made.remove()


class Served:
    """A container that serves on a port of this machine."""

    def __init__(self, engine: Engine, *options: str) -> None:
        self.port = free_port()
        port = f"--env=MOORAGE_HTTP__PORT={self.port}"
        given = ("--read-only", "--tmpfs=/tmp", "--cap-drop=all", port)
        self.container: Container = engine.start(IMAGE, *given, *options)
        self.ready()

    def ready(self) -> None:
        """Wait until it says so."""
        self.container.until(lambda: self._answers("/readyz"))

    def _answers(self, path: str) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def calls(self, password: str) -> Calls:
        """Requests of the administrator."""
        made = Calls.__new__(Calls)
        made.port = self.port
        made.authorization = f"Basic {b64encode(f'admin:{password}'.encode()).decode()}"
        return made


def password_of(container: Container) -> str:
    """As the first start shows it."""
    found = re.search(r"password +(\S+)", container.log())
    assert found, container.log()
    return found[1]


def test_it_serves_without_rights_and_keeps_what_it_acknowledged(engine: Engine) -> None:
    """On a root that cannot be written, as nobody; a volume is all that it needs."""
    served = Served(engine, "--volume=moorage:/data")
    container = served.container
    assert container.do("id", "--user").strip() == "65532"
    with pytest.raises(EngineFailed, match="Read-only"):
        container.do("touch", "/opt/moorage/x")
    calls = served.calls(password_of(container))
    digest = calls.push_blob("library/app", b"kept")
    assert digest == sha256(b"kept")
    assert container.stop() == 0  # not by SIGKILL
    container.restart()
    served.ready()
    assert calls.ask("GET", f"/v2/library/app/blobs/{digest}").body == b"kept"
    assert container.log().count("password  ") == 1, "shown once"


def open_folder(folder: Path) -> str:
    """An option: a folder in which every number may write is the data."""
    folder.chmod(0o777)
    return f"--volume={folder}:/data"


def test_any_number_may_be_its_user(engine: Engine, tmp_path: Path) -> None:
    """As platforms give one to each tenant."""
    served = Served(engine, "--user=1000640000:0", open_folder(tmp_path))
    assert served.container.do("id", "--user").strip() == "1000640000"
    calls = served.calls(password_of(served.container))
    assert calls.json("/api/v2.0/users/current")["sysadmin_flag"] is True


def test_it_tells_an_engine_how_to_run_it(engine: Engine, tmp_path: Path) -> None:
    """User, command, ports, signal and health check; the health check works."""
    (found,) = json.loads(engine.run("inspect", "--type=image", IMAGE))
    config = found["Config"]
    assert config["User"] == "65532:65532"
    assert (config["Entrypoint"], config["Cmd"]) == (["moorage"], ["serve"])
    assert set(config["ExposedPorts"]) == {"8080/tcp", "8001/tcp"}
    assert config["StopSignal"] == "SIGTERM"
    assert config["Labels"]["org.opencontainers.image.title"] == "Moorage"
    served = Served(engine, open_folder(tmp_path))
    engine.run("healthcheck", "run", served.container.name)
    assert served.container.stop() == 0
    with pytest.raises(EngineFailed):
        engine.run("healthcheck", "run", served.container.name)


def test_it_holds_the_product_and_no_more(engine: Engine) -> None:
    """No installer, no compiler, no tests, nothing of the folder it was built in."""
    assert engine.once(IMAGE, "--version").strip()
    python = ("--entrypoint=python", IMAGE, "-c")
    absent = "import importlib.util as u; print([n for n in ('pip', 'pytest') if u.find_spec(n)])"
    assert engine.once(*python, absent).strip() == "[]"
    sizes = [
        int(engine.run("inspect", "--type=image", "--format={{.Size}}", name))
        for name in (IMAGE, "localhost/python")
    ]
    assert 0 < sizes[0] - sizes[1] < LARGEST
