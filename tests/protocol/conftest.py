"""Fixtures of the protocol tests."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.protocol.client import Client
from tests.protocol.registry import Registry, open_registry


@pytest.fixture
async def registry(tmp_path: Path) -> AsyncIterator[Registry]:
    """A registry with people and projects, and nothing pushed."""
    async with open_registry(tmp_path) as opened:
        yield opened


@pytest.fixture
def dev(registry: Registry) -> Client:
    """A developer of `team`, by name and password."""
    return registry.client("dev")
