"""What the portal sends to the API when something is switched: what changes, and nothing else.

Sent back whole, as it was read, it would undo what somebody else changed in between.
"""

import json
from typing import Any

import httpx2
import pytest

from moorage.portal import Portal, PortalApi
from moorage.portal.core import OverHttp

pytestmark = pytest.mark.anyio


class Core:
    """An API that knows one project, and notes what is changed."""

    def __init__(self) -> None:
        self.changes: list[tuple[str, str, Any]] = []

    async def answer(self, request: httpx2.Request) -> httpx2.Response:
        if request.method != "GET":
            self.changes.append((request.method, request.url.path, json.loads(request.content)))
        if request.url.path.endswith("/permissions"):
            return httpx2.Response(200, json=[])
        return httpx2.Response(200, json={"project_id": 1, "name": "team", "username": "mara"})


@pytest.mark.parametrize(
    ("page", "form", "change"),
    [
        (
            "/harbor/robot-accounts",
            {"op": "switch", "id": "7", "disable": "true"},
            ("PUT", "/api/v2.0/robots/7", {"disable": True}),
        ),
        (
            "/harbor/projects/1/robot-account",
            {"op": "switch", "id": "7", "disable": "false"},
            ("PUT", "/api/v2.0/robots/7", {"disable": False}),
        ),
        (
            "/harbor/projects/1/webhook",
            {"op": "switch", "id": "7", "enabled": "true"},
            ("PATCH", "/api/v2.0/projects/1/webhook/policies/7", {"enabled": True}),
        ),
        (
            "/harbor/projects/1/tag-strategy/immutable-tag",
            {"op": "switch", "id": "7", "disabled": "true"},
            ("PUT", "/api/v2.0/projects/1/immutabletagrules/7", {"id": 7, "disabled": True}),
        ),
    ],
)
async def test_a_switch_sends_what_it_changes(
    page: str, form: dict[str, str], change: tuple[str, str, Any]
) -> None:
    """One field, and the id where the API wants it in the body too."""
    core = Core()
    async with OverHttp(httpx2.MockTransport(core.answer), "http://core") as api:
        transport = httpx2.ASGITransport(Portal(PortalApi(api)))
        async with httpx2.AsyncClient(transport=transport, base_url="http://here") as browser:
            answer = await browser.post(page, data=form, headers={"Cookie": "sid=x"})
    assert answer.status_code == 303, answer.text
    assert core.changes == [change]
