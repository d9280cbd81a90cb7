"""The operator's verbs, in process, on a folder of their own."""

import asyncio
import json
import logging
import re
import sqlite3
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from tests.support.certificates import Authority
from tests.support.redis_server import RedisServer
from typer.testing import CliRunner, Result

from moorage import __version__
from moorage.access.principals import Principal
from moorage.cli.app import app
from moorage.cli.serve import announce
from moorage.clock import SystemClock
from moorage.db import open_sqlite
from moorage.projects.projects import Projects
from moorage.roles.server import CannotStart, locked

PASSWORD = "A-long-Pa55word"


class Cli:
    """Runs verbs on one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment: dict[str, str] = {}

    def __call__(self, *arguments: str, typed: str = "") -> Result:
        """The result of one verb; a traceback is none."""
        data = {} if arguments[0] in ("version", "openapi", "--version") else {"--data": "x"}
        more = ("--data", str(self.folder)) if data else ()
        result = CliRunner().invoke(
            app, [*arguments, *more], input=typed, env=self.environment, prog_name="moorage"
        )
        assert result.exception is None or isinstance(result.exception, SystemExit), (
            result.exception
        )
        return result

    def json(self, *arguments: str, typed: str = "") -> Any:
        """What a verb prints for programs."""
        result = self(*arguments, "--json", typed=typed)
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cli]:
    """An empty folder, outside of any settings."""
    monkeypatch.chdir(tmp_path)
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield Cli(tmp_path / "data")
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture
def made(cli: Cli) -> Cli:
    """With a schema."""
    assert cli("migrate").exit_code == 0
    return cli


def test_versions(cli: Cli) -> None:
    """As a verb and as an option."""
    assert cli("version").stdout == cli("--version").stdout == f"{__version__}\n"


def test_the_document_of_the_api(cli: Cli) -> None:
    """It is printed without any database."""
    document = json.loads(cli("openapi").stdout)
    assert "/api/v2.0/projects" in document["paths"]
    assert not cli.folder.exists()


def test_migrating(cli: Cli) -> None:
    """Looking changes nothing; afterwards nothing is left to do."""
    assert cli("migrate", "--check").exit_code == 3
    before = cli.json("migrate", "--plan")
    assert (before["current"], before["applied"]) == ("(empty)", "(none)")
    assert "0001" in before["pending"]
    done = cli.json("migrate")
    assert done["pending"] == "(none)"
    assert "0001" in done["applied"]
    assert cli("migrate", "--check").exit_code == 0
    assert cli.json("migrate", "--status") == {**done, "applied": "(none)"}


def test_people(made: Cli) -> None:
    """Made, listed, and helped when they forgot their password."""
    typed = f"{PASSWORD}\n"
    made_ = made.json("user", "create", "anna", "--email", "a@b.example", "--admin", typed=typed)
    assert made_ == {"id": 1, "username": "anna"}
    (listed,) = made.json("user", "list")
    assert listed == {"id": 1, "username": "anna", "email": "a@b.example", "admin": True}
    assert made("user", "list").stdout == "1\tanna\ta@b.example\tTrue\n"
    before = _hash(made)
    assert made("user", "password", "anna", typed="Another-Pa55word\n").exit_code == 0
    assert _hash(made) != before


def _hash(cli: Cli) -> object:
    with sqlite3.connect(cli.folder / "moorage.db") as database:
        row = database.execute("SELECT password_hash FROM users").fetchone()
    database.close()
    return row


@pytest.mark.parametrize(
    ("arguments", "typed", "said"),
    [
        (("user", "create", "anna"), "", "give the password on standard input"),
        (("user", "create", "anna"), "short\n", "password"),
        (("user", "password", "nobody"), f"{PASSWORD}\n", "user not found"),
        (("robot", "create", "ci", "--project", "none"), "", "no administrator yet"),
        (("robot", "create", "ci", "--project", "x", "--may", "all"), "", "pull, push, delete"),
    ],
)
def test_what_cannot_be_done(made: Cli, arguments: tuple[str, ...], typed: str, said: str) -> None:
    """The exit status and one sentence say so."""
    result = made(*arguments, typed=typed)
    assert result.exit_code != 0
    assert said in result.stderr
    assert "Traceback" not in result.output


def test_robots(made: Cli) -> None:
    """Their secret is printed at their making and at each renewal, and nowhere else."""
    made.json("user", "create", "anna", "--admin", typed=f"{PASSWORD}\n")
    asyncio.run(_project(made.folder, "team"))
    robot = made.json("robot", "create", "ci", "--project", "team", "--may", "push", "--days", "-1")
    assert robot["name"] == "robot$team+ci"
    (listed,) = made.json("robot", "list")
    assert (listed["name"], listed["expires"]) == ("robot$team+ci", "never")
    assert robot["secret"] not in made("robot", "list").output
    made("robot", "create", "soon", "--project", "team")
    (soon,) = (row for row in made.json("robot", "list") if row["name"] == "robot$team+soon")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.]+\+00:00", soon["expires"])
    renewed = made.json("robot", "refresh", str(robot["id"]))
    assert renewed["secret"] != robot["secret"]


async def _project(folder: Path, name: str) -> None:
    db = open_sqlite(folder / "moorage.db", SystemClock())
    await Projects(db).create(Principal("user", 1, "anna", sysadmin=True), name)
    await db.close()


def test_quotas(made: Cli) -> None:
    """Limits and what is used; a sum that drifted is corrected, and told."""
    made.json("user", "create", "anna", "--admin", typed=f"{PASSWORD}\n")
    asyncio.run(_project(made.folder, "team"))
    (listed,) = made.json("quota", "list")
    assert listed == {"project": "team", "used": 0, "limit": -1, "percent": ""}
    assert made("quota", "recount").output.strip() == "every quota was right"
    with sqlite3.connect(made.folder / "moorage.db") as db:
        db.execute("UPDATE quotas SET used = 77, hard = 100")
    assert made.json("quota", "list")[0]["percent"] == 77.0
    assert made.json("quota", "recount", "team") == [{"project": "team", "was": 77, "is": 0}]
    assert made.json("quota", "recount") == []
    zeros = {"logical": 0, "unique": 0, "physical": 0}
    assert made.json("quota", "usage", "team") == {**zeros, "shared": 0}
    assert made.json("quota", "usage") == {**zeros, "trash": 0}
    for arguments in (("recount", "none"), ("usage", "none")):
        result = made("quota", *arguments)
        assert result.exit_code == 1
        assert "none" in result.stderr


def test_collecting(made: Cli) -> None:
    """On an empty installation there is nothing, and it says so."""
    held = {"held_blobs": 0, "held_size": 0, "held_until": None}
    nothing = {"manifests": 0, "blobs": 0, "size": 0, "deleted_objects": 0, "freed_bytes": 0}
    assert made.json("gc", "--dry-run") == made.json("gc") == {**nothing, **held}
    checked = made.json("verify", "--deep")
    assert set(checked.values()) == {0}
    assert [job["kind"] for job in made.json("jobs", "list")] == [
        "STORAGE_VERIFY",
        *["GARBAGE_COLLECTION"] * 2,
    ]
    said = made("jobs", "logs", "1").stdout
    assert "a dry run: nothing was changed" in said


def test_a_folder_in_use(made: Cli) -> None:
    """While a server has it, its API is the way in."""
    with locked(made.folder):
        for verb in (("robot", "list"), ("user", "list")):
            result = made(*verb)
            assert result.exit_code == 1
            assert "another process (pid " in result.stderr
        with pytest.raises(CannotStart), locked(made.folder):
            raise AssertionError("two have it")


def test_a_folder_without_a_schema(cli: Cli) -> None:
    """The message says what to run."""
    result = cli("user", "list")
    assert result.exit_code == 1
    assert "moorage migrate" in result.stderr


def test_the_doctor(made: Cli) -> None:
    """All is well, or each thing that is not is named and the exit status says so."""
    found = {row["check"]: row for row in made.json("doctor")}
    assert {row["state"] for row in found.values()} <= {"fine", "not set"}
    assert f"revision {made.json('migrate')['current']}" in found["database"]["what"]
    assert found["redis"]["state"] == "not set"
    blobs = made.folder / "blobs"
    assert not [path for path in blobs.rglob("*") if path.is_file()], "the probe was left behind"


@pytest.mark.parametrize(
    ("environment", "check", "said"),
    [
        (
            {"MOORAGE_DATABASE__HOST": "127.0.0.1", "MOORAGE_DATABASE__PORT": "1"},
            "database",
            "Connect call failed",
        ),
        ({"MOORAGE_HTTP__EXTERNAL_URL": "http://127.0.0.1:1"}, "external url", "is the server up?"),
        ({"MOORAGE_HTTP__EXTERNAL_URL": "https://127.0.0.1:1"}, "tls", "refused"),
        ({"MOORAGE_REDIS__URL": "redis://127.0.0.1:1"}, "redis", "Connect call failed"),
        (
            {"MOORAGE_REDIS__URL": "redis+sentinel://127.0.0.1:1/set"},
            "redis",
            "Sentinel 127.0.0.1:1",
        ),
    ],
)
def test_the_doctor_finds(made: Cli, environment: dict[str, str], check: str, said: str) -> None:
    """What does not answer, by its name and with the reason; the rest is looked at all the same."""
    made.environment = environment
    result = made("doctor", "--json")
    assert result.exit_code == 1
    found = {row["check"]: row for row in json.loads(result.stdout)}
    assert found[check]["state"] == "wrong"
    assert said in found[check]["what"]
    assert found["storage"]["state"] == "fine"


def test_the_doctor_says_no_secret(made: Cli) -> None:
    """A store's error quotes its address, and that may hold a password."""
    made.environment = {
        "MOORAGE_STORAGE__DRIVER": "s3",
        "MOORAGE_STORAGE__S3__BUCKET": "bucket",
        "MOORAGE_STORAGE__S3__REGIONENDPOINT": "http://user:hush-hush@127.0.0.1:1",
        "MOORAGE_STORAGE__S3__ACCESSKEY": "key",
        "MOORAGE_STORAGE__S3__SECRETKEY": "secret",
        "MOORAGE_STORAGE__S3__RETRIES": "0",
    }
    result = made("doctor", "--json")
    found = {row["check"]: row for row in json.loads(result.stdout)}
    assert found["storage"]["state"] == "wrong"
    assert "127.0.0.1:1" in found["storage"]["what"]
    assert "hush-hush" not in result.output


def test_the_doctor_looks_at_redis(made: Cli, own_redis: RedisServer) -> None:
    """As the server would; one that drops keys when it is full is not what replicas need."""
    made.environment = {"MOORAGE_REDIS__URL": own_redis.url}
    found = {row["check"]: row for row in made.json("doctor")}
    assert found["redis"]["state"] == "fine"
    own_redis.command("CONFIG", "SET", "maxmemory", "100mb")
    own_redis.command("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
    result = made("doctor")
    assert result.exit_code == 1
    assert "set maxmemory-policy noeviction (is allkeys-lru)" in result.stdout


@contextmanager
def fronted(tls: ssl.SSLContext | None = None) -> Iterator[str]:
    """An external URL that asks for its own tokens."""

    class Front(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(401)
            self.send_header("WWW-Authenticate", f'Bearer realm="{url}/service/token"')
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Front) as server:
        if tls is not None:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        url = f"{'https' if tls else 'http'}://127.0.0.1:{server.server_address[1]}"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield url
        finally:
            server.shutdown()


def test_the_doctor_trusts_whom_the_settings_trust(made: Cli, tmp_path: Path) -> None:
    """The address that clients use may have a certificate of the company's own authority."""
    authority = Authority(tmp_path)
    with fronted(authority.server_context("127.0.0.1")) as url:
        for file, state, said in (
            ("", "wrong", "certificate verify failed"),
            (str(authority.path), "fine", "asks for its own tokens"),
        ):
            made.environment = {"MOORAGE_HTTP__EXTERNAL_URL": url}
            if file:
                made.environment["MOORAGE_OUTGOING__CA_FILE"] = file
            told = json.loads(made("doctor", "--json").stdout)
            found = {row["check"]: row for row in told}
            assert found["external url"]["state"] == state
            assert said in found["external url"]["what"]
            assert ("the certificate ends in" in found["tls"]["what"]) == bool(file)


def test_the_doctor_asks_no_proxy_of_the_environment(
    made: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would look at another way than that which the settings name."""
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with fronted() as url:
        made.environment = {"MOORAGE_HTTP__EXTERNAL_URL": url}
        found = {row["check"]: row for row in made.json("doctor")}
    assert found["external url"]["state"] == "fine"


def test_the_doctor_looks_at_every_disk(made: Cli, tmp_path: Path) -> None:
    """Blobs may lie on another one than the database."""
    folder = tmp_path / "blobs-elsewhere"
    made.environment = {"MOORAGE_STORAGE__FILESYSTEM__ROOTDIRECTORY": str(folder)}
    (disk,) = (row for row in made.json("doctor") if row["check"] == "disk")
    assert str(made.folder) in disk["what"]
    assert str(folder) in disk["what"]


def test_a_database_that_is_away(cli: Cli) -> None:
    """One sentence with the reason and where to look, and no traceback."""
    cli.environment = {"MOORAGE_DATABASE__HOST": "127.0.0.1", "MOORAGE_DATABASE__PORT": "1"}
    result = cli("migrate")
    assert result.exit_code == 1
    assert "127.0.0.1" in result.stderr
    assert "database.*" in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize("role", ["registry", "core", "jobservice"])
def test_a_role_of_its_own_needs_postgresql(cli: Cli, role: str) -> None:
    """SQLite belongs to one process."""
    result = cli("serve", "--role", role)
    assert result.exit_code == 1
    assert "needs PostgreSQL" in result.stderr


def test_a_role_that_is_not_built(cli: Cli) -> None:
    """It is not offered."""
    result = cli("serve", "--role", "none")
    assert result.exit_code == 2
    assert "all, registry, core, jobservice" in result.stderr


def test_the_first_password_stands_in_a_frame(capsys: pytest.CaptureFixture[str]) -> None:
    """All lines of the box are of one width, and the next step is in it."""
    announce("https://registry.example.com", ("admin", "secret-of-the-first-start"))
    lines = capsys.readouterr().out.splitlines()
    assert len({len(line) for line in lines}) == 1
    assert any("docker login -u admin registry.example.com" in line for line in lines)
    announce("https://registry.example.com", None)
    assert capsys.readouterr().out == "Moorage is ready at https://registry.example.com\n"
