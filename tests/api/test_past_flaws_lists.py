"""Flaws that the lists of registries had: texts of callers that became SQL, or asked for secrets.

a filter or an order by a column that nobody may read    CVE-2025-30086
% and _ that stand for any letter                        CVE-2026-110697
texts that end in a statement                            GHSA-rh89-vvrg-fg64, GO-2024-2916
"""

from typing import Any

import pytest
from sqlalchemy import func, select
from tests.api.test_access import ROUTES, fill
from tests.api.world import World
from tests.support.accounts import PASSWORD, in_system

from moorage.db import tables

pytestmark = pytest.mark.anyio

HIDDEN = (
    "password_hash",
    "cli_secret_hash",
    "secret_hash",
    "digest",
    "credential",
    "access_credential",
    "secrets",
    "password",
    "salt",
    "secret",
)
"""What the columns of secrets are called, here or in Harbor."""

LISTS = ("/users", "/robots", "/scanners", "/users/current/tokens", "/usergroups")
"""Of things that have such columns, or belong to somebody who has."""


@pytest.fixture
async def stage(world: World) -> None:
    """Three of each."""
    root = world.people["sysadmin"]
    for number in range(3):
        name = f"thing{number}"
        await world.services.users.create(root, f"user-{name}", PASSWORD)
        await world.robot(name, in_system("catalog:read"))
        body: dict[str, Any] = {"name": name, "url": f"http://127.0.0.1:7/{number}"}
        body |= {"auth": "Bearer", "access_credential": f"canary-{number}"}
        await made(world, "/scanners", body)
        await made(world, "/users/current/tokens", {"name": name})
        await made(world, "/usergroups", {"group_name": name, "group_type": 3})


async def made(world: World, path: str, body: dict[str, Any]) -> None:
    answer = await world.call("sysadmin", "POST", path, body)
    assert answer.status_code == 201, answer.text


async def ids(world: World, path: str, **params: str) -> list[Any]:
    """What a list holds, in its order, by what tells one from another."""
    answer = await world.call("sysadmin", "GET", path, params={"page_size": "100", **params})
    assert answer.status_code == 200, answer.text
    return [
        item.get("uuid") or item.get("user_id") or item.get("id") or item["name"]
        for item in answer.json() or ()
    ]


@pytest.mark.usefixtures("stage")
async def test_no_list_is_narrowed_or_sorted_by_a_secret(world: World) -> None:
    """A filter that the list does not offer is none, so nothing is guessed letter by letter.

    CVE-2025-30086, CVE-2026-110697.
    """
    for path in LISTS:
        everything = await ids(world, path)
        assert len(everything) >= 3, path
        for column in HIDDEN:
            for q in (f"{column}=~a", f"{column}=nothing", f"{column}=[0~1]"):
                assert await ids(world, path, q=q) == everything, (path, q)
            for sort in (column, f"-{column}"):
                assert await ids(world, path, sort=sort) == everything, (path, sort)


@pytest.mark.usefixtures("stage")
@pytest.mark.parametrize("letter", ["%", "_", "thing%", "thing_", "%25", "\\", "*"])
async def test_a_letter_of_a_filter_stands_for_itself(world: World, letter: str) -> None:
    """Also those that stand for others in SQL.

    CVE-2026-110697.
    """
    for path, q in (
        ("/robots", f"name=~{letter}"),
        ("/users", f"username=~{letter}"),
        ("/projects", f"name=~{letter}"),
    ):
        if letter != "*":  # in Harbor's grammar a pattern of its own
            assert await ids(world, path, q=q) == [], (path, q)
    for path, params in (
        ("/projects", {"name": letter}),
        ("/users/search", {"username": letter}),
        ("/usergroups", {"group_name": letter}),
        ("/usergroups/search", {"groupname": letter}),
    ):
        assert await ids(world, path, **params) == [], path
    found = (await world.call("sysadmin", "GET", "/search", params={"q": letter})).json()
    assert not any(found.values())


@pytest.mark.usefixtures("stage")
@pytest.mark.parametrize(
    "evil", ["x' OR '1'='1' --", 'id") DESC, (SELECT password_hash FROM users)--']
)
async def test_no_text_of_a_caller_becomes_sql(world: World, evil: str) -> None:
    """In no parameter of a GET: it finds nothing, or is refused, and is never an error of ours.

    GHSA-rh89-vvrg-fg64, GO-2024-2916, GHSA-jr34-mff8-pc6f.
    """
    names = ("sort", "name", "username", "groupname", "group_name", "owner", "entityname")
    params = dict.fromkeys(names, evil) | {"q": f"name=~{evil}"}
    for method, route, *_ in ROUTES:
        if method == "GET":
            answer = await world.call("sysadmin", method, fill(route, "team"), params=params)
            assert answer.status_code < 500, (route, answer.text)
    for path in LISTS:
        assert await ids(world, path, sort=evil) == await ids(world, path), path
    for path, name in (("/users/search", "username"), ("/usergroups/search", "groupname")):
        assert await ids(world, path, **{name: evil}) == []
    async with world.content.db.read() as tx:
        count = select(func.count()).select_from(tables.users)
        assert (await tx.execute(count)).scalar_one() > 3
