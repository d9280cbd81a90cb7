"""Read-only mode: pulls go on, nothing is changed."""

import pytest

from moorage.access.principals import Principal
from tests.protocol.client import Client
from tests.protocol.registry import Registry
from tests.support.content import sha256

pytestmark = pytest.mark.anyio

START = "/v2/team/app/blobs/uploads/"
BODY = b"some bytes"
ADMIN = Principal("user", 1, "admin", sysadmin=True)


async def test_read_only_refuses_what_changes_something(registry: Registry, dev: Client) -> None:
    """With the code that Harbor's clients know, and an upload goes on afterwards.

    CVE-2026-41888.
    """
    digest = sha256(BODY)
    assert (await dev.ask("POST", f"{START}?digest={digest}", body=BODY)).status == 201
    begun = (await dev.ask("POST", START, length=0)).location
    blob = f"/v2/team/app/blobs/{digest}"
    settings = registry.parts["settings"]
    await settings.change(ADMIN, {"read_only": True})
    for method, path in (
        ("POST", START),
        ("POST", f"{START}?mount={digest}&from=team/app"),
        ("PATCH", begun),
        ("PUT", f"{begun}?digest={digest}"),
        ("DELETE", begun),
        ("PUT", "/v2/team/app/manifests/v1"),
        ("DELETE", "/v2/team/app/manifests/v1"),
        ("DELETE", blob),
    ):
        refused = await dev.ask(method, path, body=b"{}")
        assert refused.status == 403, (method, path)
        assert refused.json()["errors"][0]["code"] == "DENIED"
    assert (await dev.ask("GET", blob)).body == BODY
    assert (await dev.ask("HEAD", blob)).status == 200
    assert (await dev.ask("GET", begun)).status == 204
    await settings.change(ADMIN, {"read_only": False})
    assert (await dev.ask("PUT", f"{begun}?digest={digest}", body=BODY)).status == 201
