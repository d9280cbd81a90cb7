"""Fixtures that every test may use."""

import pytest


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """One event loop kind: the server's own."""
    return "asyncio"
