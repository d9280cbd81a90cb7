"""Lists of hosts, as operators write them."""

import asyncio
from typing import Any

import asyncpg
import pytest

from moorage.db import hosts
from moorage.db.hosts import Hosts, parse


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("db", [("db", 5432)]),
        ("db-1, db-2:5433", [("db-1", 5432), ("db-2", 5433)]),
        ("10.0.0.1:6432,10.0.0.2", [("10.0.0.1", 6432), ("10.0.0.2", 5432)]),
        ("[fd00::1]:6432,[fd00::2]", [("fd00::1", 6432), ("fd00::2", 5432)]),
        ("fd00::1", [("fd00::1", 5432)]),
    ],
)
def test_hosts_with_ports_and_without(text: str, found: list[tuple[str, int]]) -> None:
    """A host without a port has that of the settings."""
    assert parse(text, 5432) == found


def test_a_port_that_is_none() -> None:
    """What cannot be a port is told as what was written."""
    with pytest.raises(ValueError, match="db:x is no host"):
        parse("db:x", 5432)


@pytest.mark.anyio
async def test_a_standby_is_asked_again_while_another_host_is_silent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Once it has refused, nobody waits for the silent one until all the time is over."""
    asked: list[str] = []

    async def connect(**options: Any) -> object:
        asked.append(options["host"])
        if options["host"] == "silent":
            await asyncio.Event().wait()
        if asked.count("standby") == 1:
            raise asyncpg.TargetServerAttributeNotMatched("not yet")
        return "the primary"

    monkeypatch.setattr(hosts, "connect", connect)
    found = Hosts([("silent", 5432), ("standby", 5432)])
    options = {"host": "", "port": 0, "timeout": 1}
    async with asyncio.timeout(60):
        with pytest.raises(ConnectionError, match="takes writes"):
            await found.connect(**options)
        assert await found.connect(**options) == "the primary"
        assert await found.connect(**options) == "the primary"
    assert asked == ["silent", "standby", "silent", "standby", "standby"]
