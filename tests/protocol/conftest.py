"""Fixtures of the protocol tests."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from moorage.accounts.passwords import Passwords
from tests.protocol.client import Client
from tests.protocol.registry import Registry, make_template, open_registry


@pytest.fixture(scope="session")
def passwords() -> Iterator[Passwords]:
    """Cheap hashes: how dear they are is not what these tests are about."""
    made = Passwords(memory_kib=8, passes=1)
    yield made
    made.close()


@pytest.fixture(scope="session")
async def template(tmp_path_factory: pytest.TempPathFactory, passwords: Passwords) -> Path:
    """A folder with the database that each test gets a copy of."""
    folder = tmp_path_factory.mktemp("template")
    await make_template(folder, passwords)
    return folder


@pytest.fixture
async def registry(tmp_path: Path, template: Path, passwords: Passwords) -> AsyncIterator[Registry]:
    """A registry with people and projects, and nothing pushed."""
    async with open_registry(tmp_path, template, passwords) as opened:
        yield opened


@pytest.fixture
def dev(registry: Registry) -> Client:
    """A maintainer of `team`, by name and password."""
    return registry.client("dev")
