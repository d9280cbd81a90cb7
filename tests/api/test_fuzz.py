"""No input of a client gives a 500."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.api.test_access import ROUTES, fill
from tests.api.world import World

pytestmark = pytest.mark.anyio

ODD: st.SearchStrategy[Any] = st.sampled_from(
    [None, True, -1, 0, 2**31, 2**63, 2**200, 1.5, "", "\0", "x" * 300, "é\u202e", "\ud800", [], {}]
)


def bodies(fields: list[str]) -> st.SearchStrategy[Any]:
    """Bodies with these fields, at any depth, and anything in them."""
    names = st.sampled_from(fields) if fields else st.text(max_size=4)
    values: st.SearchStrategy[Any] = st.recursive(
        ODD | st.text(max_size=8),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(names | st.text(max_size=4), inner, max_size=4)
        ),
        max_leaves=8,
    )
    return st.dictionaries(names, values, max_size=6) | values


def fields_of(document: dict[str, Any], method: str, route: str) -> list[str]:
    """The names in the schema of what an operation takes, those of its parts too."""
    schemas = document["components"]["schemas"]
    operation = document["paths"][f"/api/v2.0{route}"][method.lower()]
    waiting = [operation.get("requestBody", {})]
    seen: set[str] = set()
    found: set[str] = set()
    while waiting:
        text = json.dumps(waiting.pop())
        for name in set(re.findall(r'"#/components/schemas/([^"]+)"', text)) - seen:
            seen.add(name)
            found |= set(schemas[name].get("properties", {}))
            waiting.append(schemas[name])
    return sorted(found)


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
    writes = [route for route in ROUTES if route[0] in ("POST", "PUT", "PATCH")]
    document = world.app.openapi()
    async with world.client("sysadmin") as client:
        for method, route, *_ in writes:
            for body in draw(bodies(fields_of(document, method, route)), 25):
                answer = await client.request(
                    method,
                    fill(route, "team"),
                    content=json.dumps(body).encode(),
                    headers={"Content-Type": "application/json"},
                )
                assert answer.status_code < 500, (method, route, body)


def odd_fields(document: dict[str, Any], schema: dict[str, Any], depth: int = 4) -> Iterator[Any]:
    """Bodies in which all is as the schema says it, but for one field that is odd."""
    if "$ref" in schema:
        schema = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    for choice in schema.get("anyOf", ()):
        yield from odd_fields(document, choice, depth)
    if schema.get("type") == "integer":
        yield from (2**63, -(2**200))
    elif schema.get("type") == "array":
        for odd in odd_fields(document, schema["items"], depth):
            yield [odd]
    elif schema.get("type") == "string":
        yield "\ud800"
    elif not schema.keys() & {"type", "anyOf"}:
        yield from ("\0", ["\0"], ["\ud800"], {"key": "\ud800"})
    fields = schema.get("properties", {}) if depth else {}
    whole = {name: plain(document, fields[name]) for name in schema.get("required", ())}
    for name, field in fields.items():
        for odd in odd_fields(document, field, depth - 1):
            yield {**whole, name: odd}


def plain(document: dict[str, Any], schema: dict[str, Any]) -> Any:
    """Something of the schema."""
    if "$ref" in schema:
        schema = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    if "anyOf" in schema:
        return plain(document, schema["anyOf"][0])
    fields = schema.get("properties", {})
    whole = {name: plain(document, fields[name]) for name in schema.get("required", ())}
    kinds = {"integer": 1, "array": [], "boolean": True, "object": whole}
    return kinds.get(schema.get("type", ""), "x1")


async def test_no_field_gives_a_500(world: World) -> None:
    """Not one that is odd alone either; and what was taken can be shown."""
    document = world.app.openapi()
    async with world.client("sysadmin") as client:
        for method, route, *_ in ROUTES:
            operation = document["paths"][f"/api/v2.0{route}"][method.lower()]
            content = operation.get("requestBody", {}).get("content", {})
            schema = content.get("application/json", {}).get("schema", {"type": "null"})
            for body in odd_fields(document, schema):
                answer = await client.request(
                    method,
                    fill(route, "team"),
                    content=json.dumps(body).encode(),
                    headers={"Content-Type": "application/json"},
                )
                assert answer.status_code < 500, (method, route, body)
        for method, route, *_ in ROUTES:
            if method == "GET" and "{" not in route:
                answer = await client.get(route)
                assert answer.status_code < 500, route


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
