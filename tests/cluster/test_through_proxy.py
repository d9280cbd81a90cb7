"""A server behind a forward proxy: replication, a proxy cache, webhooks and the doctor."""

import asyncio
import json
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.support.certificates import Authority
from tests.support.content import body, image, sha256
from tests.support.lines import Tap
from tests.support.receivers import Receiver
from tests.support.requirements import require
from tests.support.serving import Fetcher, Registry
from tests.support.sites import api, made, register, remote, replicate
from tests.support.tinyproxy import Tinyproxy, running_tinyproxy
from tools.ports import free_port

from moorage.oci import media_types
from moorage.outgoing import transport
from moorage.remotes import Remote

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

THERE, HOOKS = "registry.example", "hooks.example"
APP = "library/app"
CONFIG = b'{"architecture":"amd64","os":"linux"}'
LAYER = os.urandom(transport.LARGE + (4 << 20))
IMAGE = image(CONFIG, [LAYER])
JOBS = {"jobs.poll_seconds": 0.5, "jobs.lease_seconds": 6}


@dataclass
class Site:
    """One behind a proxy, and another that only the proxy knows."""

    here: Registry
    there: Registry
    url: str  # of the other
    proxy: Tinyproxy


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as found:
        yield found


async def site(stack: AsyncExitStack, folder: Path, scheme: str) -> Site:
    """Nothing private is allowed here: what arrives came through the proxy."""
    require("tinyproxy", "unshare")
    account = ("me", "s3cret")
    proxy = stack.enter_context(running_tinyproxy(folder / "p", [THERE, HOOKS], account=account))
    port, authority = free_port(), Authority(folder)
    there = Registry(folder / "there", settings={"http.external_url": f"{scheme}://{THERE}:{port}"})
    if scheme == "https":
        tls = authority.server_context(THERE)
        await stack.enter_async_context(Tap(there.port).open(tls, port))
    else:
        await stack.enter_async_context(Tap(there.port).open(port=port))
    address = proxy.url.replace("//", "//me:s3cret@")
    settings = {"http_proxy": address, "https_proxy": address, "ca_file": authority.path}
    own = {**JOBS, **{f"outgoing.{name}": value for name, value in settings.items()}}
    here = Registry(folder / "here", settings=own)
    for each in (there, here):
        await asyncio.to_thread(each.start)
        stack.callback(each.kill)
    return Site(here, there, f"{scheme}://{THERE}:{port}", proxy)


async def push(client: Remote) -> None:
    """An image with a large layer."""
    for data in (CONFIG, LAYER):

        def read(start: int, end: int, data: bytes = data) -> AsyncIterator[bytes]:
            return body(data[start:end])

        await client.push_blob(APP, sha256(data), len(data), read)
    await client.put_manifest(APP, "v1", IMAGE, media_types.OCI_MANIFEST)


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_another_registry_is_reached(
    tmp_path: Path, stack: AsyncExitStack, scheme: str
) -> None:
    """Copied from there, copied back, and read through a cache; the layer is large."""
    found = await site(stack, tmp_path, scheme)
    source = remote(found.there)
    stack.push_async_callback(source.close)
    await push(source)
    account = found.there
    number = await asyncio.to_thread(register, found.here, "there", "harbor", found.url, account)
    policy = {
        "name": "pull",
        "filters": [{"type": "name", "value": APP}],
        "trigger": {"type": "manual"},
        "enabled": True,
        "override": True,
    }
    back = {**policy, "name": "back", "dest_registry": {"id": number}, "dest_namespace": "mirror"}
    for each in ({**policy, "src_registry": {"id": number}}, back):
        made_policy = await asyncio.to_thread(made, found.here, "/replication/policies", each)
        run = await replicate(found.here, made_policy)
        assert run["status"] == "Succeed", run
    cache = {"project_name": "cache", "registry_id": number}
    await asyncio.to_thread(made, found.here, "/projects", cache)
    for registry, repository in (
        (found.here, APP),
        (found.there, "mirror/app"),
        (found.here, f"cache/{APP}"),
    ):
        digest, tree = await asyncio.to_thread(Fetcher(registry).tree, repository, "v1")
        assert (digest, len(tree)) == (sha256(IMAGE), 3)
    asked = found.proxy.asked()
    begin = "CONNECT " if scheme == "https" else "GET http://"
    assert any(line.startswith(f"{begin}{THERE}:") for line in asked), asked
    assert "s3cret" not in found.here.log()


async def test_webhooks_go_through_it(tmp_path: Path, stack: AsyncExitStack) -> None:
    """And those to what is private are refused, as without a proxy."""
    found = await site(stack, tmp_path, "http")
    receiver = await stack.enter_async_context(Receiver().listening())
    address = receiver.url.replace("127.0.0.1", HOOKS)
    for name, target in (("ci", address), ("inside", receiver.url)):
        hook = {
            "name": name,
            "enabled": True,
            "targets": [{"type": "http", "address": target}],
            "event_types": ["PUSH_ARTIFACT"],
        }
        path = "/projects/library/webhook/policies"
        await asyncio.to_thread(made, found.here, path, hook)
    client = remote(found.here)
    stack.push_async_callback(client.close)
    await push(client)
    (told,) = await receiver.until(1)
    assert told.json["type"] == "PUSH_ARTIFACT"
    assert told.headers["via"]
    assert not any(name.startswith("proxy-") for name in told.headers)
    assert f"POST {address}" in found.proxy.asked()
    assert not any("127.0.0.1" in line for line in found.proxy.asked() if "POST" in line)


async def test_the_doctor_asks_it(tmp_path: Path, stack: AsyncExitStack) -> None:
    """Whether it answers and takes the account; a password is never told."""
    found = await site(stack, tmp_path, "http")
    lines = json.loads(await asyncio.to_thread(found.here.run, "doctor", "--json"))
    (line,) = (each for each in lines if each["check"] == "proxy")
    address = found.proxy.url
    assert line["what"] == f"{address} for http:// and {address} for https:// answer"
    status, _, answer = await asyncio.to_thread(
        api, found.here, "POST", "/registries/ping", {"type": "harbor", "url": "http://10.0.0.1"}
    )
    assert (status, "no public address" in str(answer)) == (400, True), answer
