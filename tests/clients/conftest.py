"""One registry for all client tests, started as a user starts it, and a home for the clients."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.clients import Home
from tests.support.requirements import require
from tests.support.serving import Fetcher, Registry


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """`moorage serve` in an empty folder: SQLite and files."""
    require()
    registry = Registry(tmp_path_factory.mktemp("registry"))
    with registry.running():
        yield registry


@pytest.fixture(scope="session")
def shared_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for layouts that several tests use."""
    return tmp_path_factory.mktemp("layouts")


@pytest.fixture
def home(registry: Registry, tmp_path: Path) -> Iterator[Home]:
    """A home for the clients of one test, with the administrator's password in it."""
    home = Home(tmp_path / "home", registry.host, registry.username, registry.password)
    yield home
    home.close()


@pytest.fixture(scope="session")
def fetch(registry: Registry) -> Fetcher:
    """Reads the registry over plain HTTP."""
    return Fetcher(registry)
