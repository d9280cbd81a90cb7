"""Who may call what, from the matrix: every route by robot accounts, and the table by its pairs.

Each route names the pairs of resource and action that open it. A robot account with exactly these
gets in; one with everything else does not, nor does one of another project, one that is disabled
or one that has expired. What the table of the routes says of roles is what the matrix says.
"""

import inspect
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from sqlalchemy import update
from tests.api.test_access import PARAMS, ROUTES, SIGNED, fill
from tests.api.world import World

from moorage.access.principals import Principal
from moorage.access.roles import MATRIX, PROJECT_PAIRS, SYSTEM_PAIRS, Pairs
from moorage.accounts.records import Permission
from moorage.api import audit, registries, scanners, webhooks
from moorage.api.app import RESOURCES
from moorage.db import tables
from moorage.db.types import from_now

pytestmark = pytest.mark.anyio

Pair = tuple[str, str]
LETTERS = "AMDGL"

IN_HANDLERS: dict[tuple[str, str], Pair] = {
    ("POST", "/users"): ("user", "create"),
    ("GET", "/users/{user_id}"): ("user", "read"),
    ("PUT", "/users/{user_id}"): ("user", "update"),
    ("PUT", "/users/{user_id}/password"): ("user", "update"),
    ("PUT", "/users/{user_id}/cli_secret"): ("user", "update"),
    ("GET", "/users/{user_id}/tokens"): ("user", "read"),
    ("DELETE", "/users/{user_id}/tokens/{token_id}"): ("user", "update"),
    ("GET", "/robots"): ("robot", "list"),
    ("POST", "/robots"): ("robot", "create"),
    ("POST", "/labels"): ("label", "create"),
}
"""Pairs of the system that a handler asks for by itself."""

HIDING = "{robot_id}"
"""A robot account that is not there looks forbidden: `test_robots` tries those that are."""


def _asked(dependant: Dependant) -> Iterator[tuple[bool, Pair]]:
    """Whether in the system, and the pair, of every dependency that checks one."""
    for inner in dependant.dependencies:
        if inspect.isfunction(inner.call):
            known = inspect.getclosurevars(inner.call).nonlocals
            if {"resource", "action"} <= known.keys():
                system = inner.call.__qualname__.startswith("in_system")
                yield system, (known["resource"], known["action"])
        yield from _asked(inner)


def _pairs_of_routes() -> dict[tuple[str, str], set[tuple[bool, Pair]]]:
    routers = [each.router for each in RESOURCES]
    routers += [audit.of_projects, scanners.of_projects, webhooks.of_jobs]
    routers.append(registries.of_replication)
    found = {key: {(True, pair)} for key, pair in IN_HANDLERS.items()}
    # The body of the table's row: nobody gives what he does not hold.
    found["POST", "/robots"].add((True, ("catalog", "read")))
    for router in routers:
        for route in router.routes:
            assert isinstance(route, APIRoute)
            for method in route.methods or ():
                found.setdefault((method, route.path), set()).update(_asked(route.dependant))
    return found


PAIRS = _pairs_of_routes()


def test_the_table_of_roles_is_the_matrix() -> None:
    """Of every route that asks for pairs: the letters follow from them."""
    wrong = []
    for method, route, private, _, _ in ROUTES:
        for system, (resource, action) in PAIRS[method, route]:
            letters = "" if system else MATRIX.get(resource, {}).get(action, "")
            expected = "S" + "".join(letter for letter in LETTERS if letter in letters)
            if expected != private:
                wrong.append(f"{method} {route}: {private}, by {resource}:{action} {expected}")
    assert wrong == []


def _permissions(project: str, system: Pairs, inside: Pairs) -> list[Permission]:
    found = [Permission("system", "/", system), Permission("project", project, inside)]
    return [permission for permission in found if permission.access]


class Robots:
    """Robot accounts by what they hold; each is made once."""

    def __init__(self, world: World) -> None:
        self.world = world
        self._names: dict[Any, str] = {}

    async def of_system(self, system: Pairs, inside: Pairs, project: str = "team") -> str:
        """The name of one of the system that holds this in it and in a project."""
        return await self._one("system", _permissions(project, system, inside))

    async def of_project(self, project: str, pairs: Pairs) -> str:
        """The name of one of a project."""
        return await self._one("project", [Permission("project", project, pairs)])

    async def _one(self, level: Any, permissions: list[Permission]) -> str:
        key = level, *permissions
        if key not in self._names:
            self._names[key] = name = f"bot{len(self._names)}"
            made = await self.world.services.robots.create(
                self.world.people["sysadmin"], name=name, level=level, permissions=permissions
            )
            self.world.people[name] = Principal("robot", made.robot.id, made.robot.name)
        return self._names[key]

    async def end(self, name: str, **values: Any) -> str:
        """The same robot account, changed behind everybody's back before it ever called."""
        robot = tables.robots.c.id == self.world.people[name].id
        async with self.world.content.db.write() as tx:
            await tx.execute(update(tables.robots).where(robot).values(**values))
        return name


async def _enters(world: World, name: str, method: str, route: str, body: Any) -> bool:
    """Whether the handler answers, and not the check before it."""
    answer = await world.call(
        name, method, fill(route, "team"), json=body, params=PARAMS.get((method, route))
    )
    assert answer.status_code < 500, (method, route, answer.text)
    assert answer.status_code != 401, (method, route, answer.text)
    return answer.status_code != 403


async def test_every_route_opens_to_robot_accounts_with_its_pairs_alone(world: World) -> None:
    """Of the system and of the project, and to nobody who holds all but one of them."""
    await world.content.push_image("team/app", "v1")
    robots, wrong, tried = Robots(world), [], 0
    for method, route, private, _, body in ROUTES:
        if private.startswith(SIGNED):
            continue
        asked = PAIRS[method, route]
        system = frozenset(pair for of_system, pair in asked if of_system)
        inside = frozenset(pair for of_system, pair in asked if not of_system)
        case = f"{method} {route} ({asked})"
        names = [await robots.of_system(SYSTEM_PAIRS - system, PROJECT_PAIRS - inside)]
        if inside:
            names.append(await robots.of_project("team", PROJECT_PAIRS - inside))
            names.append(await robots.of_project("other", PROJECT_PAIRS))
            names.append(await robots.of_system(SYSTEM_PAIRS, PROJECT_PAIRS, "other"))
        wrong += [
            f"{case} opens to {world.people[name].name}"
            for name in names
            if await _enters(world, name, method, route, body)
        ]
        if HIDING in route or not asked or not (system <= SYSTEM_PAIRS and inside <= PROJECT_PAIRS):
            continue
        tried += 1
        names = [await robots.of_system(system, inside)]
        if inside and not system:
            names.append(await robots.of_project("team", inside))
        wrong += [
            f"{case} is closed to {world.people[name].name}"
            for name in names
            if not await _enters(world, name, method, route, body)
        ]
    assert wrong == []
    assert tried > 50


async def test_all_projects_are_not_the_system(world: World) -> None:
    """A robot account with everything in every project enters nothing that is of no project.

    GHSA-xq2m-cj8w-56v5.
    """
    name = await Robots(world).of_system(frozenset(), PROJECT_PAIRS, "*")
    closed = [
        (method, route, body)
        for method, route, private, _, body in ROUTES
        if private == "S" and all(of_system for of_system, _ in PAIRS[method, route])
    ]
    assert len(closed) > 40
    wrong = [
        f"{method} {route}"
        for method, route, body in closed
        if await _enters(world, name, method, route, body)
    ]
    assert wrong == []
    assert await _enters(world, name, "GET", "/projects/{project_name_or_id}", None)


@pytest.mark.parametrize("values", [{"disabled": True}, {"expires_at": from_now(-1)}])
async def test_no_route_opens_to_a_robot_account_that_has_ended(
    world: World, values: dict[str, Any]
) -> None:
    """Disabled or expired, with everything that robot accounts may hold."""
    await world.content.push_image("team/app", "v1")
    robots = Robots(world)
    names = [
        await robots.end(await robots.of_system(SYSTEM_PAIRS, PROJECT_PAIRS), **values),
        await robots.end(await robots.of_project("team", PROJECT_PAIRS), **values),
    ]
    wrong = [
        f"{method} {route} opens to {world.people[name].name}"
        for method, route, private, _, body in ROUTES
        if not private.startswith(SIGNED)
        for name in names
        if await _enters(world, name, method, route, body)
    ]
    assert wrong == []


async def test_roles_of_another_project_are_strangers(world: World) -> None:
    """Whoever administers one project is nobody in the next."""
    root, team = world.people["sysadmin"], world.projects["team"]
    neighbours = []
    for role in (1, 2, 3, 4, 5):
        name = f"neighbour{role}"
        user_id = await world.services.users.create(root, name, "Correct1horse")
        world.people[name] = Principal("user", user_id, name)
        await world.services.members.add(root, world.projects["other"], role, user_id=user_id)
        neighbours.append(name)
    before = len(await world.services.members.roles(team))
    wrong = [
        f"{method} {route} opens to {name}"
        for method, route, private, _, body in ROUTES
        if not private.startswith(SIGNED) and route != "/permissions"
        for name in neighbours
        if await _enters(world, name, method, route, body)
    ]
    assert wrong == []
    assert len(await world.services.members.roles(team)) == before
