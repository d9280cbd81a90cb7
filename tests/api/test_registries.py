"""Other registries over the REST API: registered, tried, changed and forgotten."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update
from tests.api.world import World
from tests.support.accounts import SECRET_KEY
from tests.support.certificates import Authority
from tests.support.jobs import ask, ended, worker, working
from tests.support.otherregistry import Answer, OtherRegistry

from moorage.access.secretbox import SecretBox
from moorage.db import tables
from moorage.jobs import Kind, NewTask
from moorage.outgoing import Guard
from moorage.remotes import Registries
from moorage.remotes.health import KIND, HealthJob

pytestmark = pytest.mark.anyio


@pytest.fixture
async def other() -> AsyncIterator[OtherRegistry]:
    async with OtherRegistry().serving() as found:
        yield found


def body(other: OtherRegistry, **more: Any) -> dict[str, Any]:
    return {"name": "other", "type": "docker-registry", "url": other.url, **more}


async def register(world: World, other: OtherRegistry, **more: Any) -> str:
    """The path of a new registration."""
    answer = await world.call("sysadmin", "POST", "/registries", json=body(other, **more))
    assert answer.status_code == 201, answer.text
    return str(answer.headers["location"].removeprefix("/api/v2.0"))


def secret(password: str = "secret") -> dict[str, Any]:
    return {"type": "basic", "access_key": "robot", "access_secret": password}


async def test_a_registry_is_registered_changed_and_forgotten(
    world: World, other: OtherRegistry
) -> None:
    """Its name is its own; one that does not answer is refused."""
    path = await register(world, other, description="one")
    shown = (await world.call("sysadmin", "GET", path)).json()
    assert (shown["url"], shown["type"], shown["status"]) == (
        other.url,
        "docker-registry",
        "healthy",
    )
    again = await world.call("sysadmin", "POST", "/registries", json=body(other))
    assert again.status_code == 409
    for wrong in (
        {"type": "no-such"},
        {"url": ""},
        {"url": "ftp://x"},
        {"name": ""},
        {"ca_certificate": "no PEM"},
        {"url": "http://127.0.0.1:1"},
    ):
        answer = await world.call("sysadmin", "POST", "/registries", json=body(other) | wrong)
        assert answer.status_code == 400, (wrong, answer.text)
    changed = await world.call("sysadmin", "PUT", path, json={"name": "new", "insecure": True})
    assert changed.status_code == 200
    shown = (await world.call("sysadmin", "GET", path)).json()
    assert (shown["name"], shown["insecure"], shown["description"]) == ("new", True, "one")
    listed = await world.call("sysadmin", "GET", "/registries?name=EW&sort=-name")
    assert [each["name"] for each in listed.json()] == ["new"]
    assert listed.headers["x-total-count"] == "1"
    assert (await world.call("sysadmin", "DELETE", path)).status_code == 200
    assert (await world.call("sysadmin", "GET", path)).status_code == 404
    assert (await world.call("sysadmin", "PUT", path, json={})).status_code == 404


async def test_a_secret_is_kept_and_never_shown(world: World, other: OtherRegistry) -> None:
    """Encrypted in the database, stars in every answer, and stars leave it as it is."""
    other.scheme = "basic"
    path = await register(world, other, credential=secret())
    async with world.content.db.read() as tx:
        row = (await tx.execute(select(tables.registries))).one()
    assert b"secret" not in row.credential
    for answer in (
        await world.call("sysadmin", "GET", path),
        await world.call("sysadmin", "GET", "/registries"),
    ):
        assert "secret" not in answer.text.replace("access_secret", "")
        assert "*****" in answer.text
    for kept in ({"access_secret": "*****"}, {"description": "x"}):
        assert (await world.call("sysadmin", "PUT", path, json=kept)).status_code == 200
    wrong = await world.call("sysadmin", "PUT", path, json={"access_secret": "wrong"})
    assert wrong.status_code == 400
    anonymous = {"access_key": "", "access_secret": ""}
    assert (await world.call("sysadmin", "PUT", path, json=anonymous)).status_code == 400
    other.scheme = ""
    assert (await world.call("sysadmin", "PUT", path, json=anonymous)).status_code == 200
    assert "credential" not in (await world.call("sysadmin", "GET", path)).json()


async def test_a_secret_stays_with_its_server(world: World, other: OtherRegistry) -> None:
    """Neither an update nor a ping sends it to another URL, or under another name.

    Harbor 77095571.
    """
    async with OtherRegistry().serving() as thief:
        thief.scheme = "basic"
        other.scheme = "basic"
        path = await register(world, other, credential=secret())
        number = int(path.rpartition("/")[2])
        calls: list[tuple[str, str, dict[str, Any]]] = [
            ("PUT", path, {"url": thief.url}),
            ("PUT", path, {"url": thief.url, "access_secret": "*****"}),
            ("PUT", path, {"access_key": "another"}),
            ("POST", "/registries/ping", {"id": number, "url": thief.url}),
        ]
        for method, where, sent in calls:
            answer = await world.call("sysadmin", method, where, json=sent)
            assert answer.status_code == 400, (method, sent, answer.text)
        assert thief.requests == []
        for pinged in ({"id": number}, body(other, access_key="robot", access_secret="secret")):
            answer = await world.call("sysadmin", "POST", "/registries/ping", json=pinged)
            assert answer.status_code == 200, answer.text


async def test_a_secret_stays_with_whom_it_trusted(
    world: World, other: OtherRegistry, tmp_path: Path
) -> None:
    """Who has it sent without a certificate that fits, or under his own authority, gives it again.

    Before anything is sent: a ping of what is stored needs no more than the right to read.
    """
    path = await register(world, other, credential=secret())
    number = int(path.rpartition("/")[2])
    encrypted = other.url.replace("http://", "https://")
    async with world.content.db.write() as tx:
        await tx.execute(update(tables.registries).values(url=encrypted))
    pem = Authority(tmp_path).path.read_text()
    for said, told in (({"insecure": True}, "insecure"), ({"ca_certificate": pem}, "ca_cert")):
        for method, where, sent in (
            ("PUT", path, said),
            ("POST", "/registries/ping", {"id": number, **said}),
        ):
            answer = await world.call("sysadmin", method, where, json=sent)
            assert answer.status_code == 400
            assert "give it again" in answer.text
            assert told in answer.text
            anew = sent | {"access_secret": "secret"}
            answer = await world.call("sysadmin", method, where, json=anew)
            assert "unhealthy" in answer.text  # it was asked, and speaks no TLS


async def test_addresses_of_administrators_obey_the_operator(world: World) -> None:
    """A system robot that may register cannot reach the machine's own network either.

    CVE-2026-32591.
    """
    registries = Registries(world.content.db, SecretBox(SECRET_KEY), Guard())
    object.__setattr__(world.services, "registries", registries)
    for url in ("http://127.0.0.1:80", "http://169.254.169.254", "http://[::1]"):
        sent = {"name": "x", "type": "docker-registry", "url": url}
        for path in ("/registries", "/registries/ping"):
            answer = await world.call("sysadmin", "POST", path, json=sent)
            assert answer.status_code == 400
            assert "outgoing.allow" in answer.text


async def test_health_is_looked_after(world: World, other: OtherRegistry) -> None:
    """By a job; what is wrong stands in its log."""
    path = await register(world, other)
    registries = world.services.registries
    job = Kind(KIND, HealthJob(registries), light=True)
    other.answers = [Answer(500)]
    async with working(worker(world.content.db, job)):
        run = await ended(world.content.db, await ask(world.content.db, NewTask(KIND)))
        assert run.status == "Success"
        assert (await world.call("sysadmin", "GET", path)).json()["status"] == "unhealthy"
        await ended(world.content.db, await ask(world.content.db, NewTask(KIND)))
    assert (await world.call("sysadmin", "GET", path)).json()["status"] == "healthy"


async def test_a_secret_that_cannot_be_read_is_in_no_other_registrys_way(
    world: World, other: OtherRegistry
) -> None:
    """It is the only one that is ill, and says what to do; the next ones are looked at."""
    paths = [await register(world, other, name=name) for name in ("a", "b")]
    async with world.content.db.write() as tx:
        every = tables.registries.update().values(status="unhealthy")
        await tx.execute(every)
        await tx.execute(
            every.where(tables.registries.c.name == "a").values(username="x", credential=b"?" * 40)
        )
    job = Kind(KIND, HealthJob(world.services.registries), light=True)
    async with working(worker(world.content.db, job)):
        made = await ask(world.content.db, NewTask(KIND))
        assert (await ended(world.content.db, made)).status == "Success"
    found = [(await world.call("sysadmin", "GET", path)).json()["status"] for path in paths]
    assert found == ["unhealthy", "healthy"]
    tried = await world.call("sysadmin", "POST", "/registries/ping", json={"id": 1})
    assert (tried.status_code, "give it again" in tried.text) == (503, True)


async def test_what_can_be_done_with_a_registry(world: World, other: OtherRegistry) -> None:
    """Filters, triggers and kinds, as a form shows them."""
    path = await register(world, other)
    info = (await world.call("sysadmin", "GET", f"{path}/info")).json()
    assert info["supported_triggers"] == ["manual", "scheduled", "event_based"]
    assert [each["type"] for each in info["supported_resource_filters"]] == [
        "name",
        "tag",
        "resource",
    ]
    own = (await world.call("sysadmin", "GET", "/registries/0/info")).json()
    assert own["supported_resource_filters"][-1]["type"] == "label"
    kinds = (await world.call("sysadmin", "GET", "/replication/adapters")).json()
    infos = (await world.call("sysadmin", "GET", "/replication/adapterinfos")).json()
    assert set(kinds) == set(infos)
    assert {"harbor", "docker-hub", "aws-ecr", "github-ghcr"} <= set(kinds)
    hub = infos["docker-hub"]["endpoint_pattern"]["endpoints"]
    assert hub == [{"key": "hub.docker.com", "value": "https://registry-1.docker.io"}]


async def test_a_project_is_a_cache_from_its_creation_on(
    world: World, other: OtherRegistry
) -> None:
    """Administrators make it; it keeps what was pulled lately, and takes nothing else in."""
    path = await register(world, other)
    number = int(path.rpartition("/")[2])
    sent = {"project_name": "hub", "registry_id": number, "metadata": {"public": "true"}}
    assert (await world.call("stranger", "POST", "/projects", json=sent)).status_code == 403
    unknown = await world.call("sysadmin", "POST", "/projects", json=sent | {"registry_id": 99})
    assert unknown.status_code == 400
    assert (await world.call("sysadmin", "POST", "/projects", json=sent)).status_code == 201
    shown = (await world.call("stranger", "GET", "/projects/hub")).json()
    assert shown["registry_id"] == number
    for q, names in (("proxy=true", ["hub"]), ("proxy=false", ["open"])):
        listed = (await world.call("stranger", "GET", "/projects", params={"q": q})).json()
        assert [each["name"] for each in listed] == names
    kept = await world.call("sysadmin", "GET", f"/retentions/{shown['metadata']['retention_id']}")
    assert kept.json()["rules"][0]["params"] == {"nDaysSinceLastPull": 7}
    summary = (await world.call("stranger", "GET", "/projects/hub/summary")).json()
    assert summary["registry"] == {"id": number, "name": "other"}
    for method, where, body_ in (
        ("POST", "/projects/hub/repositories/app/artifacts?from=team/app:v1", None),
        ("POST", "/projects/hub/repositories/app/artifacts/v1/tags", {"name": "v2"}),
    ):
        answer = await world.call("sysadmin", method, where, json=body_)
        assert (answer.status_code, answer.json()["errors"][0]["code"]) == (
            405,
            "METHOD_NOT_ALLOWED",
        )
    for said in ({"proxy_speed_kb": "1024"}, {"proxy_cache_filter_kind": "regex"}):
        answer = await world.call("sysadmin", "PUT", "/projects/hub", json={"metadata": said})
        assert answer.status_code == 200
    for said in ({"proxy_speed_kb": "0" * 12 + "9" * 400}, {"max_upstream_conn": "-2"}):
        answer = await world.call("sysadmin", "PUT", "/projects/hub", json={"metadata": said})
        assert answer.status_code == 400, "no number that a download could be paced by"
    assert (await world.call("sysadmin", "DELETE", path)).status_code == 412
    assert (await world.call("sysadmin", "DELETE", "/projects/hub")).status_code == 200
    assert (await world.call("sysadmin", "DELETE", path)).status_code == 200
