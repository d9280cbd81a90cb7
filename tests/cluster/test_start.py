"""The start of a single process: an empty folder, a used one, a wrong setting."""

import re
import sqlite3
import stat
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from tests.support.serving import Registry

SHOWN = re.compile(r"user +(\S+) +│\n│ password +(\S+)")


class Plain(Registry):
    """A server whose environment holds no password."""

    def environment(self) -> dict[str, str]:
        """Without the first administrator's password."""
        found = super().environment()
        del found["MOORAGE_AUTH__ADMIN_PASSWORD"]
        return found


Make = Callable[..., Registry]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """Makes servers; what still runs is killed at the end."""
    made: list[Registry] = []

    def build(kind: type[Registry] = Plain, folder: str = "a", **settings: object) -> Registry:
        named = {path.replace("__", "."): value for path, value in settings.items()}
        made.append(kind(tmp_path / folder, settings=named))
        return made[-1]

    yield build
    for registry in made:
        registry.kill()


def signs_in(registry: Registry, username: str, password: str) -> bool:
    """Whether these credentials are somebody's."""
    basic = b64encode(f"{username}:{password}".encode()).decode()
    url = f"{registry.url}/api/v2.0/users/current"
    try:
        urlopen(Request(url, headers={"Authorization": f"Basic {basic}"}), timeout=10).close()
    except HTTPError as error:
        return error.code != 401
    return True


def test_an_empty_folder(make: Make, capsys: pytest.CaptureFixture[str]) -> None:
    """Database, keys and a password are made; only the owner can read them."""
    registry = make()
    began = time.monotonic()
    registry.start()
    seconds = time.monotonic() - began
    with capsys.disabled():
        print(f" ready in {seconds:.1f} s", end="")
    assert registry.worked() < 20  # of a processor, however busy; it takes two or three

    shown = SHOWN.search(registry.log())
    assert shown is not None, registry.log()
    username, password = shown.groups()
    assert registry.url in registry.log()
    assert username == "admin"
    assert len(password) >= 20
    assert signs_in(registry, username, password)
    assert not signs_in(registry, username, "Harbor12345")

    data = registry.folder / "data"
    assert stat.S_IMODE(data.stat().st_mode) == 0o700
    for name in ("secret_key", "moorage.db", "lock"):
        assert stat.S_IMODE((data / name).stat().st_mode) == 0o600, name
    assert registry.stop() == 0
    for file in data.rglob("*"):
        assert file.is_dir() or password.encode() not in file.read_bytes(), file


def test_the_password_is_shown_once(make: Make) -> None:
    """The second start shows none, and the first one's goes on to work."""
    registry = make().start()
    shown = SHOWN.search(registry.log())
    assert shown is not None
    assert registry.stop() == 0
    registry.start()
    assert registry.log().count("password") == 1 + registry.log().count("This password")
    assert registry.log().count("Moorage is ready at") == 2
    assert signs_in(registry, *shown.groups())


def test_a_password_of_ones_own(make: Make) -> None:
    """A given password is used at the first start, and written nowhere."""
    registry = make(Registry, auth__admin_name="root").start()
    assert signs_in(registry, "root", registry.password)
    assert registry.password not in registry.log()
    assert "password" not in registry.log()


def test_a_folder_belongs_to_one_process(make: Make) -> None:
    """A second process is told who has the folder, and does not disturb the first."""
    first = make().start()
    second = make(data_dir=first.folder / "data", folder="b").launch()
    assert second.ended() == 1
    assert f"(pid {first.pid}) serves {first.folder / 'data'}" in second.log()
    assert "Traceback" not in second.log()
    assert first.ready() == 200
    first.kill()
    second.start()  # what a killed process leaves behind locks nobody out


def test_settings_that_do_not_exist(make: Make) -> None:
    """The start stops and names each with the one that was probably meant."""
    registry = make(htp__port=1, database__passwort="secret-x")
    (registry.folder / "moorage.toml").write_text("[gc]\nlease_hours = 24\n")
    assert registry.launch().ended() == 2
    lines = registry.log()
    assert "unknown setting htp (MOORAGE_HTP); did you mean http?" in lines
    assert (
        "database.passwort (MOORAGE_DATABASE__PASSWORT); did you mean database.password?" in lines
    )
    assert "gc.lease_hours (MOORAGE_GC__LEASE_HOURS); did you mean gc.lease_seconds?" in lines
    assert "secret-x" not in lines
    assert "Traceback" not in lines
    assert not (registry.folder / "data").exists()


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ({"failpoints": "blob.committed=crash"}, "MOORAGE_FAILPOINTS is set, which is for tests"),
        ({"gc.lease_seconds": 60}, "gc.lease_seconds is below 3600"),
        ({"gc.drain_seconds": 60}, "gc.drain_seconds is below storage.redirect.seconds"),
    ],
)
def test_what_is_for_tests_stays_on_this_machine(
    make: Make, setting: dict[str, object], said: str
) -> None:
    """Settings that lose data on purpose are refused on an address that others can reach."""
    registry = make(**setting, http__host="0.0.0.0")
    assert registry.launch().ended() == 1
    assert said in registry.log()
    registry = make(**setting, folder="b", http__host="127.0.0.1").start()
    assert registry.ready() == 200


def test_a_port_that_is_taken(make: Make) -> None:
    """The message names the setting."""
    first = make().start()
    second = make(folder="b", http__port=first.port).launch()
    assert second.ended() == 1
    assert f"cannot listen on 127.0.0.1:{first.port}; set http.port" in second.log()


def test_a_secret_key_of_another_installation(make: Make) -> None:
    """What is encrypted with one key is not served with another one."""
    registry = make().start()
    assert registry.stop() == 0
    key = registry.folder / "data" / "secret_key"
    kept = key.read_bytes()
    key.write_text("another key of the right length, but of nobody here")
    assert registry.launch().ended() == 1
    assert "secret_key" in registry.log()
    assert "Traceback" not in registry.log()
    key.write_bytes(kept)
    registry.start()


def test_a_database_of_a_newer_version(make: Make) -> None:
    """An old program leaves what it does not understand alone."""
    registry = make().start()
    assert registry.stop() == 0
    with sqlite3.connect(registry.folder / "data" / "moorage.db") as database:
        database.execute("UPDATE alembic_version SET version_num = '9999'")
        database.execute("UPDATE properties SET value = '9999' WHERE name = 'schema_compat'")
    database.close()
    assert registry.launch().ended() == 1
    assert "newer" in registry.log()
    assert "Traceback" not in registry.log()


def test_a_folder_that_cannot_be_made(make: Make, tmp_path: Path) -> None:
    """The message names the folder; a file stands in its way, which stops root too."""
    (tmp_path / "file").touch()
    registry = make(data_dir=tmp_path / "file" / "data")
    assert registry.launch().ended() == 1
    assert "cannot use data_dir" in registry.log()
