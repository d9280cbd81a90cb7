"""Fixtures that every test may use."""

import os
import signal
import threading

import pytest
from hypothesis import HealthCheck, settings

# A developer's own settings are none of the tests' business, nor of the processes they start.
for name in [name for name in os.environ if name.startswith("MOORAGE_")]:
    del os.environ[name]

# How long an example takes is the machine's business, which may do a lot else.
settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")

# Fixtures of real servers that tests of several areas share.
pytest_plugins = [
    "tests.support.clocks",
    "tests.support.databases",
    "tests.support.moving",
    "tests.support.oidc_server",
    "tests.support.races",
    "tests.support.redis_server",
    "tests.support.ldap_server",  # uses the one before
    "tests.support.receivers",
    "tests.support.scanners",
    "tests.support.stores",
]


def pytest_configure() -> None:
    """Who ends the run ends the servers that it started: as Ctrl-C does, with every fixture."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, signal.default_int_handler)


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """One event loop kind: the server's own."""
    return "asyncio"
