"""Two processes of one proxy cache over PostgreSQL, S3 and Redis: a blob is downloaded once."""

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.content import sha256
from tests.support.databases import PostgresServer
from tests.support.otherregistry import OtherRegistry
from tests.support.redis_server import RedisServer
from tests.support.replicas import Calls, Replicas
from tests.support.sites import made, register
from tests.support.stores import Bucket

pytestmark = [pytest.mark.anyio, pytest.mark.slow]


@pytest.fixture
def replicas(
    tmp_path: Path, postgres_server: PostgresServer, seaweed: Bucket, own_redis: RedisServer
) -> Iterator[Replicas]:
    """Two processes of all roles, which may connect to this machine."""
    allowed = {"outgoing.allow": '["127.0.0.0/8"]'}
    urls = {"redis": own_redis.url, "role": None, "more": allowed}
    found = Replicas(tmp_path, postgres_server, seaweed, **urls)  # type: ignore[arg-type]
    try:
        yield found.start()
    finally:
        found.kill()


async def test_one_download_for_two_processes(replicas: Replicas) -> None:
    """Clients of both get every byte, and what one stored the other serves without asking."""
    data = os.urandom(5 << 20)
    async with OtherRegistry().serving() as other:
        digest = other.push("library/app", "v1", layers=(data,))
        first = replicas.registries[0]
        number = await asyncio.to_thread(register, first, "peer", "docker-registry", other.url)
        body = {"project_name": "cache", "registry_id": number}
        await asyncio.to_thread(made, first, "/projects", body)
        there = "/v2/cache/library/app"
        for calls in replicas.calls:
            answer = await asyncio.to_thread(calls.ask, "GET", f"{there}/manifests/v1")
            assert (answer.status, answer.headers["docker-content-digest"]) == (200, digest)

        def pull(calls: Calls) -> asyncio.Task[bytes]:
            work = asyncio.to_thread(calls.content, "cache/library/app", sha256(data))
            return asyncio.create_task(work)

        other.pause = asyncio.Event()
        pulls = [pull(calls) for calls in replicas.calls * 4]
        async with asyncio.timeout(120):
            while not other.asked("GET", sha256(data)):  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        await asyncio.sleep(1)  # long enough for the other process to ask, if it would
        other.pause.set()
        other.pause = None
        assert {await each for each in pulls} == {data}
        assert len(other.asked("GET", sha256(data))) == 1
    for calls in replicas.calls:  # nobody is behind it any more
        found = await asyncio.to_thread(calls.content, "cache/library/app", sha256(data))
        assert found == data
