"""The API with real credentials: names and passwords, robot accounts and their secrets."""

import dataclasses
from collections.abc import AsyncIterator

import httpx2
import pytest
from tests.api.world import World
from tests.support.accounts import PASSWORD, Replica

from moorage.api.app import create_api

pytestmark = pytest.mark.anyio


@pytest.fixture
async def signing(world: World) -> AsyncIterator[World]:
    """The world, in which `nia` has a password and is a guest of `team`."""
    replica = Replica(world.content.db, single=False)
    world.services = dataclasses.replace(world.services, callers=replica.callers)
    world.app = create_api(world.services)
    user_id = await replica.users.create(world.people["sysadmin"], "nia", PASSWORD)
    await replica.members.add(world.people["sysadmin"], world.projects["team"], 3, user_id=user_id)
    yield world
    await replica.close()


async def get(world: World, name: str, password: str, path: str) -> int:
    """The status of a read with these credentials."""
    transport = httpx2.ASGITransport(app=world.app)
    async with httpx2.AsyncClient(transport=transport, auth=(name, password)) as client:
        return (await client.get(f"http://test/api/v2.0{path}")).status_code


async def test_a_wrong_password_makes_the_caller_nobody(signing: World) -> None:
    """Public things stay readable; the rest wants other credentials."""
    assert await get(signing, "nia", PASSWORD, "/projects/team") == 200
    assert await get(signing, "nia", PASSWORD, "/projects/other") == 403
    assert await get(signing, "nia", "wrong", "/projects/open") == 200
    assert await get(signing, "ghost", "wrong", "/projects/team") == 401


async def test_a_token_that_is_none_is_refused(signing: World) -> None:
    """A wrong Bearer token is a 401 everywhere."""
    transport = httpx2.ASGITransport(app=signing.app)
    async with httpx2.AsyncClient(transport=transport) as client:
        for value in ("Bearer nonsense", "Digest x"):
            answer = await client.get(
                "http://test/api/v2.0/projects/open", headers={"Authorization": value}
            )
            assert answer.status_code == 401
            assert answer.json()["errors"][0]["code"] == "UNAUTHORIZED"


async def test_a_robot_account_signs_in_with_its_secret(signing: World) -> None:
    """By the name that was shown; a renewed secret ends the old one at once."""
    replica = Replica(signing.content.db, single=False)
    nia = await replica.users.by_name("nia")
    body = {
        "name": "ci",
        "level": "project",
        "duration": 1,
        "permissions": [
            {
                "kind": "project",
                "namespace": "team",
                "access": [{"resource": "repository", "action": "list"}],
            }
        ],
    }
    await replica.users.set_sysadmin(signing.people["sysadmin"], nia.id, True)
    transport = httpx2.ASGITransport(app=signing.app)
    async with httpx2.AsyncClient(transport=transport, auth=("nia", PASSWORD)) as client:
        made = (await client.post("http://test/api/v2.0/robots", json=body)).json()
        path = "/projects/team/repositories"
        assert await get(signing, made["name"], made["secret"], path) == 200
        robot = f"http://test/api/v2.0/robots/{made['id']}"
        fresh = (await client.patch(robot, json={})).json()["secret"]
        assert await get(signing, made["name"], made["secret"], path) == 401
        assert await get(signing, made["name"], fresh, path) == 200
    await replica.close()
