"""What was pulled and held, day by day and name by name; the history of tags."""

from typing import Any

import pytest
from tests.api.world import World
from tests.support.content import sha256

from moorage.access.principals import ANONYMOUS, Principal

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("same_hour")]

TEAM = "/projects/team"
APP = f"{TEAM}/repositories/app"


async def get(world: World, path: str, caller: str = "projectAdmin", **params: str) -> Any:
    """What the API answers."""
    answer = await world.call(caller, "GET", path, params=params)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def pulled(world: World) -> bytes:
    """Three pulls by tag of one image, by two people and by nobody; its manifest."""
    image = await world.content.push_image("team/app", "v1")
    found = await world.content.pulls.manifest("team/app", "v1")
    for caller in (Principal("user", 1, "mara"), Principal("user", 2, "li"), ANONYMOUS):
        world.content.pulls.count(found.resolved, "v1", caller)
    await world.content.counts.flush()
    return image


async def test_pulls_of_each_day(world: World) -> None:
    """As many days as asked for, the last of which is today; zeros are printed."""
    image = await pulled(world)
    size = len(image) + len(b"{}layer")
    for path, params in (
        (f"{TEAM}/usage/pulls", {}),
        (f"{APP}/usage/pulls", {}),
        (f"{APP}/usage/pulls", {"tag": "v1"}),
        (f"{APP}/usage/pulls", {"digest": sha256(image)}),
    ):
        days = await get(world, path, "guest", days="7", **params)
        assert len(days) == 7
        assert days[-1] | {"day": ""} == {"day": "", "pulls": 3, "bytes": 3 * size}
        assert [day["pulls"] for day in days[:-1]] == [0] * 6
        assert [day["day"] for day in days] == sorted({day["day"] for day in days})
    assert len(await get(world, f"{APP}/usage/pulls")) == 30
    none = await get(world, f"{APP}/usage/pulls", tag="none")
    assert {day["pulls"] for day in none} == {0}


@pytest.mark.parametrize("days", ["0", "-1", "1001", "x"])
async def test_days_are_bounded(world: World, days: str) -> None:
    """422, whatever is asked."""
    await pulled(world)
    for path in (f"{TEAM}/usage/pulls", f"{APP}/usage/pulls/tags", f"{TEAM}/usage/storage"):
        answer = await world.call("sysadmin", "GET", path, params={"days": days})
        assert answer.status_code == 422, path


async def test_names_that_were_pulled_most_come_first(world: World) -> None:
    """Tags, artifacts, repositories and callers, each with their pulls and bytes."""
    image = await pulled(world)
    size = len(image) + len(b"{}layer")
    whole = {"pulls": 3, "bytes": 3 * size}
    assert await get(world, f"{APP}/usage/pulls/tags") == [{"name": "v1", **whole}]
    assert await get(world, f"{APP}/usage/pulls/artifacts") == [{"name": sha256(image), **whole}]
    assert await get(world, f"{TEAM}/usage/pulls/repositories") == [{"name": "team/app", **whole}]
    for path in (TEAM, APP):
        callers = await get(world, f"{path}/usage/pulls/callers")
        assert callers == [{"name": name, "pulls": 1, "bytes": size} for name in ("", "li", "mara")]
        page = await world.call(
            "sysadmin", "GET", f"{path}/usage/pulls/callers", params={"page_size": "2"}
        )
        assert page.headers["x-total-count"] == "3"
        assert len(page.json()) == 2


async def test_who_pulled_is_told_to_readers_of_the_log_alone(world: World) -> None:
    """Neither to a maintainer nor to the others, who see the figures."""
    await pulled(world)
    for caller in ("maintainer", "developer", "guest", "limitedGuest"):
        for path in (TEAM, APP):
            answer = await world.call(caller, "GET", f"{path}/usage/pulls/callers")
            assert answer.status_code == 403
            assert "mara" not in answer.text


async def test_storage_of_each_day(world: World) -> None:
    """What was noted, of the project and of its repositories."""
    await pulled(world)
    assert await get(world, f"{TEAM}/usage/storage") == []
    await world.services.storage_days.note()
    (day,) = await get(world, f"{TEAM}/usage/storage")
    usage = await get(world, f"{TEAM}/usage")
    assert {name: day[name] for name in usage} == usage
    (day,) = await get(world, f"{APP}/usage/storage")
    held = {"physical": len(b"{}layer"), "shared": 0}
    assert {name: day[name] for name in held} == held
    assert await get(world, f"{TEAM}/usage/storage/repositories") == [{"name": "team/app", **held}]


async def test_a_repository_that_is_not_there_has_no_usage(world: World) -> None:
    """404 on each of its routes."""
    none = f"{TEAM}/repositories/none"
    for path in ("usage/pulls", "usage/pulls/tags", "usage/pulls/callers", "usage/storage"):
        answer = await world.call("sysadmin", "GET", f"{none}/{path}")
        assert answer.status_code == 404, path
    assert (await world.call("guest", "GET", f"{none}/tag-history")).status_code == 404


async def test_the_history_of_a_tag(world: World) -> None:
    """The last move first, also of a tag that is gone; narrowed by tag and kind, and paged."""
    one = await world.content.push_image("team/app", "v1", b'{"n": 1}')
    two = await world.content.push_image("team/app", "v1", b'{"n": 2}')
    answer = await world.call("maintainer", "DELETE", f"{APP}/artifacts/v1/tags/v1")
    assert answer.status_code == 200
    await world.content.push_image("team/app", "other")
    moves = await get(world, f"{APP}/tag-history", q="tag=v1")
    assert all(move.pop("time") and move.pop("id") for move in moves)
    first, second = sha256(one), sha256(two)
    assert moves == [
        {"tag": "v1", "kind": "deleted", "previous": second, "operator": "maintainer"},
        {
            "tag": "v1",
            "kind": "moved",
            "digest": second,
            "previous": first,
            "operator": "alice",
        },
        {"tag": "v1", "kind": "created", "digest": first, "operator": "alice"},
    ]
    assert len(await get(world, f"{APP}/tag-history", q="kind=created")) == 2
    params = {"page_size": "1", "page": "2"}
    answer = await world.call("guest", "GET", f"{APP}/tag-history", params=params)
    assert answer.headers["x-total-count"] == "4"
    assert [move["kind"] for move in answer.json()] == ["deleted"]


async def test_who_moved_a_tag_is_told_to_members(world: World) -> None:
    """A public project shows strangers what happened, not who did it; nor can they ask by name."""
    await world.content.push_image("open/app", "v1")
    path = "/projects/open/repositories/app/tag-history"
    for caller in ("stranger", ""):
        (move,) = await get(world, path, caller)
        assert "operator" not in move
        assert len(await get(world, path, caller, q="operator=nobody")) == 1
    assert (await get(world, path, "sysadmin"))[0]["operator"] == "alice"
