"""No input of a client gives a 500, and no list asks once per item."""

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import event
from tests.api.test_access import ROUTES, fill
from tests.api.world import World
from tests.support.content import index, sha256

pytestmark = pytest.mark.anyio

FIELDS = (
    "project_name",
    "metadata",
    "public",
    "storage_limit",
    "role_id",
    "member_user",
    "user_id",
    "username",
    "name",
    "description",
    "hard",
    "storage",
    "password",
    "email",
    "new_password",
    "old_password",
    "sysadmin_flag",
    "level",
    "permissions",
    "kind",
    "namespace",
    "access",
    "resource",
    "action",
    "duration",
    "secret",
    "severity",
    "disable",
    "id",
    "color",
    "scope",
    "project_id",
)
ODD: st.SearchStrategy[Any] = st.sampled_from(
    [None, True, -1, 0, 2**31, 2**63, 2**200, 1.5, "", "\0", "x" * 300, "é\u202e", "\ud800", [], {}]
)
VALUES: st.SearchStrategy[Any] = st.recursive(
    ODD | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(FIELDS) | st.text(max_size=4), inner, max_size=4)
    ),
    max_leaves=8,
)
BODIES: st.SearchStrategy[Any] = (
    st.dictionaries(st.sampled_from(FIELDS), VALUES, max_size=6) | VALUES
)


def draw(strategy: st.SearchStrategy[Any], count: int) -> list[Any]:
    """That many examples, the same ones in every run."""
    found: list[Any] = []

    @settings(
        max_examples=count,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def collect(value: Any) -> None:
        found.append(value)

    collect()
    return found


async def test_no_body_gives_a_500(world: World) -> None:
    """Whatever a client puts into the fields that it knows, or into others."""
    bodies = draw(BODIES, 25)
    writes = [route for route in ROUTES if route[0] in ("POST", "PUT", "PATCH")]
    async with world.client("sysadmin") as client:
        for method, route, *_ in writes:
            for body in bodies:
                answer = await client.request(
                    method,
                    fill(route, "team"),
                    content=json.dumps(body).encode(),
                    headers={"Content-Type": "application/json"},
                )
                assert answer.status_code < 500, (method, route, body)


async def test_no_path_or_parameter_gives_a_500(world: World) -> None:
    """Any text in any place of a path, and any parameter."""
    texts = draw(st.text(max_size=12), 15)
    ids = [-1, 0, 2**31, 2**63 - 1, 2**63, 2**200, "x", "1.5"]
    async with world.client("sysadmin") as client:
        for method, route, *_ in ROUTES:
            if method not in ("GET", "DELETE") or "{" not in route:
                continue
            for odd in (*texts, *ids):
                path = route
                while "{" in path:
                    start, end = path.index("{"), path.index("}")
                    safe = "".join(f"%{byte:02X}" for byte in str(odd).encode())
                    path = path[:start] + safe + path[end + 1 :]
                answer = await client.request(method, path, params={"q": f"name={odd}"})
                assert answer.status_code < 500, (method, path)


async def test_a_list_asks_the_same_for_one_item_and_for_many(world: World) -> None:
    """The number of statements does not grow with the page."""
    counted: list[str] = []
    engine = world.content.db.engine.sync_engine

    def count(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        counted.append(statement)

    async def statements() -> dict[str, int]:
        found = {}
        params = {"with_accessory": "true", "with_label": "true", "scope": "g"}
        for path in (
            "/projects",
            "/projects/team/members",
            "/projects/team/repositories",
            "/projects/team/repositories/app/artifacts",
            "/projects/team/artifacts",
            "/repositories",
            "/labels",
        ):
            await world.call("guest", "GET", path, params=params)  # fills the caches
            counted.clear()
            answer = await world.call("guest", "GET", path, params=params)
            assert answer.status_code == 200
            found[path] = len(counted)
        return found

    content = world.content
    await content.push_image("team/app", "v0", config=b"0")
    event.listen(engine, "before_cursor_execute", count)
    try:
        few = await statements()
        children = [
            await content.push_image("team/app", f"v{n}", config=b"%d" % n) for n in range(1, 8)
        ]
        whole = index(children)
        await content.manifests.put(world.people["developer"], "team/app", "multi", whole, "")
        for n in range(5):
            label_id = await world.services.labels.create(
                world.people["sysadmin"], None, f"label {n}"
            )
            await content.manifests.add_label(
                world.people["sysadmin"], "team/app", sha256(children[n]), label_id
            )
            await content.push_image(f"team/app{n}", "v1")
            body = {"project_name": f"more{n}", "public": True}
            await world.call("guest", "POST", "/projects", json=body)
        assert await statements() == few
    finally:
        event.remove(engine, "before_cursor_execute", count)
    assert max(few.values()) <= 10
