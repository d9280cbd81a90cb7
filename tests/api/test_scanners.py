"""Registered scanners, with an adapter that speaks the pluggable scanner API over a real socket."""

import asyncio
from typing import Any

import pytest
from sqlalchemy import select
from tests.api.world import World
from tests.support.scanners import Adapter

from moorage.access.secretbox import SecretBox
from moorage.db import tables
from moorage.db.queries import Query
from moorage.scanning import Registrations

pytestmark = pytest.mark.anyio

CANARY = "canary-credential"


async def register(world: World, url: str, name: str = "trivy", **more: Any) -> str:
    body = {"name": name, "url": url, **more}
    answer = await world.call("sysadmin", "POST", "/scanners", json=body)
    assert answer.status_code == 201, answer.text
    return str(answer.headers["location"].rpartition("/")[2])


async def test_the_first_scanner_is_that_of_every_project(world: World, adapter: Adapter) -> None:
    """With what its adapter says; a project may choose another, until that is forgotten."""
    assert (await world.call("guest", "GET", "/projects/team/scanner")).json() == {}
    first = await register(world, adapter.url)
    second = await register(world, f"{adapter.url}/other", "other")
    used = (await world.call("guest", "GET", "/projects/team/scanner")).json()
    assert (used["uuid"], used["is_default"]) == (first, True)
    assert (used["adapter"], used["vendor"], used["version"]) == ("Trivy", "Aqua Security", "0.72")
    assert used["health"] == "healthy"
    assert used["capabilities"] == {"support_vulnerability": True, "support_sbom": False}
    path = "/projects/team/scanner"
    found = (await world.call("projectAdmin", "GET", f"{path}/candidates")).json()
    assert [each["name"] for each in found] == ["other", "trivy"]
    assert {each["name"]: each["health"] for each in found} == {
        "other": "unhealthy",
        "trivy": "healthy",
    }
    chosen = await world.call("projectAdmin", "PUT", path, json={"uuid": second})
    assert chosen.status_code == 200
    assert (await world.call("guest", "GET", path)).json()["uuid"] == second
    assert (await world.call("stranger", "GET", "/projects/open/scanner")).json()["uuid"] == first
    missing = await world.call("projectAdmin", "PUT", path, json={"uuid": "none"})
    assert missing.status_code == 404
    gone = await world.call("sysadmin", "DELETE", f"/scanners/{second}")
    assert gone.json()["name"] == "other"
    assert (await world.call("guest", "GET", path)).json()["uuid"] == first


async def test_a_scanner_is_registered_changed_and_forgotten(
    world: World, adapter: Adapter
) -> None:
    """Name and URL belong to one of them."""
    scanner = await register(world, adapter.url + "/", description="one")
    for twin in ({"name": "trivy", "url": "http://other"}, {"name": "x", "url": adapter.url}):
        answer = await world.call("sysadmin", "POST", "/scanners", json=twin)
        assert answer.status_code == 409
    path = f"/scanners/{scanner}"
    shown = (await world.call("sysadmin", "GET", path)).json()
    assert (shown["url"], shown["description"], shown["disabled"]) == (adapter.url, "one", False)
    other = await register(world, "http://other.example", "other")
    taken = {"name": "trivy", "url": "http://other.example"}
    assert (
        await world.call("sysadmin", "PUT", f"/scanners/{other}", json=taken)
    ).status_code == 409
    off = {"name": "trivy", "url": adapter.url, "disabled": True}
    assert (await world.call("sysadmin", "PUT", path, json=off)).status_code == 412
    default = {"is_default": True}
    answer = await world.call("sysadmin", "PATCH", f"/scanners/{other}", json=default)
    assert answer.status_code == 200
    assert (await world.call("sysadmin", "PUT", path, json=off)).status_code == 200
    assert (await world.call("sysadmin", "PATCH", path, json=default)).status_code == 412
    chosen = await world.call("sysadmin", "PUT", "/projects/team/scanner", json={"uuid": scanner})
    assert chosen.status_code == 412
    listed = await world.call("sysadmin", "GET", "/scanners?sort=-name&q=disabled=true")
    assert [each["name"] for each in listed.json()] == ["trivy"]
    assert (await world.call("sysadmin", "DELETE", path)).status_code == 200
    assert (await world.call("sysadmin", "GET", path)).status_code == 404
    assert (await world.call("sysadmin", "DELETE", path)).status_code == 404


@pytest.mark.parametrize(
    ("auth", "header"),
    [
        ("Basic", ("authorization", "basic y2fuyxj5lwnyzwrlbnrpyww=")),
        ("Bearer", ("authorization", f"bearer {CANARY}")),
        ("X-ScannerAdapter-API-Key", ("x-scanneradapter-api-key", CANARY)),
    ],
)
async def test_the_credential_is_sent_and_never_shown(
    world: World, adapter: Adapter, auth: str, header: tuple[str, str]
) -> None:
    """Encrypted at rest; one that is left out of a change stays, for the same server alone.

    Not when its certificate is verified no longer: then any server could pass for it.
    """
    scanner = await register(world, adapter.url, auth=auth, access_credential=CANARY)
    path = f"/scanners/{scanner}"
    assert (await world.call("sysadmin", "GET", f"{path}/metadata")).status_code == 200
    assert adapter.headers[-1][header[0]] == header[1]
    change = {"name": "new", "url": f"{adapter.url}/", "auth": auth}
    assert (await world.call("sysadmin", "PUT", path, json=change)).status_code == 200
    await world.call("sysadmin", "GET", f"{path}/metadata")
    assert adapter.headers[-1][header[0]] == header[1]
    elsewhere = {**change, "url": "http://attacker.example"}
    refused = await world.call("sysadmin", "PUT", path, json=elsewhere)
    assert refused.status_code == 400
    assert "access_credential" in refused.text
    for shown in (path, "/scanners", "/projects/team/scanner"):
        answer = await world.call("sysadmin", "GET", shown)
        assert CANARY not in answer.text
        assert answer.status_code == 200
    async with world.content.db.read() as tx:
        stored = (await tx.execute(select(tables.scanners.c.credential))).scalar_one()
        facts = str((await tx.execute(select(tables.outbox.c.payload))).all())
    assert CANARY.encode() not in stored
    assert CANARY not in facts
    missing = {"name": "x", "url": "http://x.example", "auth": auth}
    assert (await world.call("sysadmin", "POST", "/scanners", json=missing)).status_code == 400
    encrypted = {**change, "url": adapter.url.replace("http://", "https://")}
    anew = {**encrypted, "access_credential": CANARY}
    assert (await world.call("sysadmin", "PUT", path, json=anew)).status_code == 200
    unverified = {**encrypted, "skip_certVerify": True}
    refused = await world.call("sysadmin", "PUT", path, json=unverified)
    assert (refused.status_code, "give it again" in refused.text) == (400, True)
    given = {**unverified, "access_credential": CANARY}
    for sent in (given, unverified, encrypted):  # once it is off, it stays off without the secret
        assert (await world.call("sysadmin", "PUT", path, json=sent)).status_code == 200


async def test_a_new_secret_key_opens_what_the_former_one_sealed(
    world: World, adapter: Adapter
) -> None:
    """After it was sealed anew, the former one may go."""
    await register(world, adapter.url, auth="Bearer", access_credential=CANARY)
    db, former = world.content.db, "a secret key of these tests"
    both = Registrations(db, SecretBox("another secret key of 2027", [former]))
    await db.run(both.seal_anew)
    (row,) = (await both.list(Query())).items
    alone = Registrations(db, SecretBox("another secret key of 2027"))
    assert alone.credential(row) == CANARY


async def test_an_adapter_is_tried_before_it_is_registered(world: World, adapter: Adapter) -> None:
    """What is wrong is said, and never a 500."""

    async def ping(url: str) -> tuple[int, str]:
        body = {"name": "x", "url": url}
        answer = await world.call("sysadmin", "POST", "/scanners/ping", json=body)
        return answer.status_code, answer.text

    assert (await ping(adapter.url))[0] == 200
    adapter.status = 503
    assert "status 503" in (await ping(adapter.url))[1]
    adapter.status = 200
    lies: list[Any] = [[], {}, {"scanner": {"name": 1}, "capabilities": []}, "text"]
    for said in lies:
        adapter.said = said
        status, text = await ping(adapter.url)
        assert (status, "no adapter" in text) == (400, True)
    for url in ("", "ftp://x", "http://u:p@x", "http://x?y", "http://169.254.169.254", "x"):
        assert (await ping(url))[0] == 400
    scanner = await register(world, adapter.url)
    metadata = await world.call("sysadmin", "GET", f"/scanners/{scanner}/metadata")
    assert metadata.status_code == 503


async def test_two_first_scanners_at_once_make_one_default(world: World, adapter: Adapter) -> None:
    """Both are registered."""
    await asyncio.gather(*(register(world, f"{adapter.url}/{n}", f"scanner {n}") for n in range(4)))
    async with world.content.db.read() as tx:
        defaults = (await tx.execute(select(tables.scanners.c.is_default))).scalars().all()
    assert sorted(defaults) == [False, False, False, True]
