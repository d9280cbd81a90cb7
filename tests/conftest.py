"""Fixtures that every test may use."""

import pytest

# Fixtures of real servers that tests of several areas share.
pytest_plugins = ["tests.support.databases", "tests.support.redis_server", "tests.support.stores"]


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """One event loop kind: the server's own."""
    return "asyncio"
