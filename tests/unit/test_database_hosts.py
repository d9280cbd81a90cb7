"""Lists of hosts, as operators write them."""

import pytest

from moorage.db.hosts import parse


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
