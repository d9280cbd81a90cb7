"""What takes a while does not run in the event loop, where everybody else would wait for it."""

import threading
from collections.abc import Sequence
from typing import Any

import pytest
from tests.api.world import World

from moorage.artifacts import tagnames
from moorage.db.dialects import SqliteDialect
from moorage.patterns import versions

pytestmark = pytest.mark.anyio

TEAM = "/projects/team"
APP = f"{TEAM}/repositories/app"


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
async def test_what_counts_has_a_thread(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """SQLite answers a look by a key in the loop; rows that are counted may be thousands."""
    at_once: list[str] = []
    in_thread: list[str] = []

    class Seen(SqliteDialect):
        async def fetch(self, driver: Any, text: str, arguments: Sequence[Any]) -> Sequence[Any]:
            at_once.append(text)
            return await super().fetch(driver, text, arguments)

        async def fetch_all(
            self, driver: Any, text: str, arguments: Sequence[Any]
        ) -> Sequence[Any]:
            in_thread.append(text)
            return await super().fetch_all(driver, text, arguments)

    await world.content.push_image("team/app", "v1")
    monkeypatch.setattr(world.content.db, "dialect", Seen())
    for path in (TEAM, f"/projects/{world.projects['team']}", f"{APP}/usage/pulls/tags?page=5"):
        assert (await world.call("sysadmin", "GET", path)).status_code == 200
    assert at_once
    assert not [text for text in at_once if "count(" in text]
    assert len([text for text in in_thread if "count(" in text]) >= 3


async def test_many_names_are_ordered_in_a_thread(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """50,000 versions take a second."""
    for tag in ("1.2.0", "1.10.0", "latest"):
        await world.content.push_image("team/app", tag)
    threads = set()

    def parse(text: str) -> versions.Version | None:
        threads.add(threading.current_thread())
        return versions.parse(text)

    monkeypatch.setattr(tagnames, "AT_ONCE", 2)
    monkeypatch.setattr(tagnames, "versions", type("Seen", (), {"parse": staticmethod(parse)}))
    asked = await world.call("guest", "GET", f"{APP}/tags", params={"sort": "-version"})
    assert [each["name"] for each in asked.json()] == ["1.10.0", "1.2.0", "latest"]
    assert threads
    assert threading.current_thread() not in threads
