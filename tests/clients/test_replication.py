"""Replication between real registries: every artifact, once, in both directions."""

import asyncio
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from tests.support.content import image, sha256
from tests.support.peers import IN_MEMORY, LISTING, PROGRAMS, DockerRegistry, peer_of
from tests.support.requirements import require
from tests.support.serving import Registry
from tests.support.sites import (
    api,
    fill,
    finished,
    lacking,
    made,
    moorage,
    register,
    remote,
    replicate,
    stand_ins,
    unlisted,
)

from moorage.oci import media_types

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

ASKED = "TESTS_ARTIFACTS" in os.environ
COUNT = int(os.environ.get("TESTS_ARTIFACTS", "40"))


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as found:
        yield found


async def policy(site: Registry, name: str, **more: Any) -> int:
    body = {
        "name": name,
        "filters": [{"type": "name", "value": "**"}],
        "trigger": {"type": "manual"},
        "enabled": True,
        "override": True,
        **more,
    }
    return made(site, "/replication/policies", body)


@pytest.mark.parametrize(
    ("program", "share"), [(PROGRAMS[0], 1), (PROGRAMS[1], 4), (IN_MEMORY[0], 1), (IN_MEMORY[1], 4)]
)
async def test_three_registries_hold_the_same(
    tmp_path: Path, stack: AsyncExitStack, program: str, share: int
) -> None:
    """To its like and to another registry, and back from both; a second run moves nothing.

    Referrers are listed everywhere, by a tag only where the registry has no list of its own.
    A smaller set is enough for one that differs little from the one before, unless somebody asks
    for more.
    """
    require(program)
    one, two = moorage(tmp_path / "one"), moorage(tmp_path / "two")
    for site in (one, two):
        stack.enter_context(site.running())
    peer = peer_of(tmp_path / "peer", program).start()
    stack.callback(peer.stop)
    clients = {"one": remote(one), "two": remote(two), "peer": remote(f"http://{peer.host}")}
    for client in clients.values():
        stack.push_async_callback(client.close)
    wanted = await fill(clients["one"], COUNT if ASKED else COUNT // share)
    like = register(one, "two", "harbor", two.url, two)
    theirs = register(one, "peer", "docker-registry", f"http://{peer.host}")
    back = register(two, "peer", "docker-registry", f"http://{peer.host}")
    runs = [
        (one, await policy(one, "to two", dest_registry={"id": like}), "two", ""),
        (one, await policy(one, "to peer", dest_registry={"id": theirs}), "peer", ""),
        (
            two,
            await policy(two, "back", src_registry={"id": back}, dest_namespace="mirror"),
            "two",
            "mirror",
        ),
        (
            one,
            await policy(
                one,
                "from two",
                src_registry={"id": like},
                dest_namespace="again",
                filters=[{"type": "name", "value": "library/**"}],
            ),
            "one",
            "again",
        ),
    ]
    for site, number, target, project in runs:
        first = await replicate(site, number)
        failed = [task for task in first["tasks"] if task["status"] != "Succeed"]
        assert (first["status"], failed[:3]) == ("Succeed", [])
        assert first["moved_bytes"] > 0
        assert await lacking(clients[target], wanted, project) == []
        assert await unlisted(clients[target], wanted, project) == []
        second = await replicate(site, number)
        assert (second["status"], second["moved_bytes"]) == ("Succeed", 0)
        print(f"{target} {project}: {len(first['tasks'])} tasks, {first['moved_bytes']} bytes")
    assert bool(await stand_ins(clients["peer"], wanted)) is (program not in LISTING)


@pytest.mark.parametrize("way", ["src_registry", "dest_registry"])
async def test_a_worker_and_a_peer_are_killed(
    tmp_path: Path, stack: AsyncExitStack, way: str
) -> None:
    """On the way here and there: the blob goes on, and in the end it is whole."""
    require("docker-registry")
    site = moorage(tmp_path / "site").start()
    stack.callback(site.stop)
    peer = DockerRegistry(tmp_path / "peer").start()
    stack.callback(peer.stop)
    there, ours = remote(f"http://{peer.host}"), remote(site)
    for each in (there, ours):
        stack.push_async_callback(each.close)
    client, target = (there, ours) if way == "src_registry" else (ours, there)
    data = os.urandom(40 << 20)  # large enough to be read from its connection

    async def read(start: int, end: int) -> AsyncIterator[bytes]:
        for at in range(start, end, 1 << 20):
            yield data[at : min(end, at + (1 << 20))]

    await client.push_blob("library/app", sha256(data), len(data), read)
    await client.push_blob("library/app", sha256(b"{}"), 2, _small)
    payload = image(b"{}", (data,))
    await client.put_manifest("library/app", "v1", payload, media_types.OCI_MANIFEST)
    number = register(site, "peer", "docker-registry", f"http://{peer.host}")
    slow = {"speed": 8 * 8192, "copy_by_chunk": True}  # 8 MiB a second
    rule = await policy(site, "slow", **{way: {"id": number}}, **slow)
    execution = made(site, "/replication/executions", {"policy_id": rule})
    await _progress(site, execution, 6 << 20)
    site.kill()
    site.start()
    peer.stop()  # and once more from the other side
    await asyncio.sleep(1)
    peer.start()
    run = await finished(site, execution)
    assert run["status"] == "Succeed", run
    (task,) = run["tasks"]
    log = api(site, "GET", f"/replication/executions/{execution}/tasks/{task['id']}/log")[2]
    assert "was copied" in log
    held = await target.head("library/app", "v1")
    assert held is not None
    assert held.digest == sha256(payload)
    parts = [part async for part in target.blob("library/app", sha256(data), len(data))]
    assert b"".join(parts) == data


async def _small(start: int, end: int) -> AsyncIterator[bytes]:
    yield b"{}"[start:end]


async def _progress(site: Registry, execution: int, size: int) -> None:
    async with asyncio.timeout(60):
        while True:
            path = f"/replication/executions/{execution}/tasks"
            _, _, tasks = await asyncio.to_thread(api, site, "GET", path)
            said = tasks[0].get("progress", "") if tasks else ""
            if said and int(said.split()[0]) > size:
                return
            await asyncio.sleep(0.2)


async def test_a_proxy_outlives_its_registry(tmp_path: Path, stack: AsyncExitStack) -> None:
    """Clients that pull at once cause one download of each blob; afterwards nothing is asked."""
    require("docker-registry", "skopeo")
    site = moorage(tmp_path / "site").start()
    stack.callback(site.stop)
    peer = DockerRegistry(tmp_path / "peer").start()
    stack.callback(peer.stop)
    client = remote(f"http://{peer.host}")
    stack.push_async_callback(client.close)
    wanted = await fill(client, 5, size=2_000_000)
    number = register(site, "peer", "docker-registry", f"http://{peer.host}")
    made(site, "/projects", {"project_name": "cache", "registry_id": number})

    async def pull(turn: int) -> None:
        for (repository, tag), digest in wanted.items():
            if tag.startswith(("v", "sha256")):
                folder = tmp_path / f"{turn}-{digest[7:20]}"
                await _skopeo(site, f"cache/{repository}:{tag}", folder)
                shutil.rmtree(folder)

    await asyncio.gather(*(pull(turn) for turn in range(3)))
    peer.stop()
    await pull(9)


async def _skopeo(site: Registry, reference: str, folder: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        "skopeo",
        "copy",
        "--quiet",
        "--all",
        "--src-tls-verify=false",
        f"--src-creds={site.username}:{site.password}",
        f"docker://{site.host}/{reference}",
        f"dir:{folder}",
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()
