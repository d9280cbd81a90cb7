"""The ways to reach a Redis: TCP with a password, a socket, TLS, Sentinels."""

import asyncio
import datetime
import ipaddress
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from tests.support.caching import NUMBER, Loads, calm_cache, pump, shared_cache, until_healthy
from tests.support.fences import MemoryFence
from tests.support.redis_server import RedisServer
from tests.support.requirements import require
from tools.ports import free_port

from moorage.cache import open_cache
from moorage.cache.redis import RedisCache
from moorage.clock import SystemClock
from moorage.config.redis import CacheSettings, RedisSettings

pytestmark = pytest.mark.anyio


async def works(cache: RedisCache) -> None:
    """It becomes healthy and keeps a value."""
    try:
        await until_healthy(cache)
        loads = Loads(1)
        await cache.through(NUMBER, "number:a", loads)
        await pump(cache)
        assert await cache.through(NUMBER, "number:a", loads) == 1
        assert loads.count == 1
    finally:
        await cache.close()


async def until_it_says(cache: RedisCache, why: str) -> dict[str, object]:
    """Wait until this is the reason that the cache gives; its health then."""
    async with asyncio.timeout(60):
        while why not in str((health := cache.health()).get("reason")):  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    return dict(health)


async def test_password_and_database_number(tmp_path: Path) -> None:
    """The URL's password and database are used; a wrong password is a reason, without itself.

    Harbor 62564cca.
    """
    require("redis-server")
    server = RedisServer(tmp_path, "user default on >open-sesame ~* &* +@all").start()
    try:
        place = f"127.0.0.1:{server.port}"
        await works(calm_cache(f"redis://:open-sesame@{place}/3", MemoryFence()))
        await works(calm_cache(f"redis://{place}", MemoryFence(), password="open-sesame"))
        wrong = shared_cache(f"redis://:sesame-open@{place}", MemoryFence())
        health = await until_it_says(wrong, "WRONGPASS")
        assert health["status"] == "degraded"
        assert "sesame" not in str(health)
        await wrong.close()
    finally:
        server.kill()


async def test_a_unix_socket(redis_server: RedisServer) -> None:
    """`unix://` names a socket."""
    await works(calm_cache(f"unix://{redis_server.socket_path}", MemoryFence()))


def certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 that signs itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "redis")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False
        )
        .sign(key, hashes.SHA256())
    )
    paths = folder / "cert.pem", folder / "key.pem"
    paths[0].write_bytes(made.public_bytes(serialization.Encoding.PEM))
    paths[1].write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return paths


async def test_tls_checks_the_certificate(tmp_path: Path) -> None:
    """`rediss://` trusts the configured authority, and nobody else unless told to."""
    require("redis-server")
    cert, key = certificate(tmp_path)
    port = free_port()
    server = RedisServer(
        tmp_path / "server",
        f"tls-port {port}",
        f"tls-cert-file {cert}",
        f"tls-key-file {key}",
        "tls-auth-clients no",
    ).start()
    try:
        url = f"rediss://127.0.0.1:{port}"
        await works(calm_cache(url, MemoryFence(), ca_file=cert))
        await works(calm_cache(url, MemoryFence(), verify=False))
        stranger = shared_cache(url, MemoryFence())
        assert await until_it_says(stranger, "CERTIFICATE_VERIFY_FAILED")
        await stranger.close()
    finally:
        server.kill()


async def test_sentinels_name_the_primary_and_the_next_one(tmp_path: Path) -> None:
    """After a failover the cache finds the new primary, and reads nothing that it missed."""
    require("redis-server")
    first = RedisServer(tmp_path / "first").start()
    second = RedisServer(tmp_path / "second", f"replicaof 127.0.0.1 {first.port}").start()
    sentinel = RedisServer(
        tmp_path / "sentinel",
        f"sentinel monitor main 127.0.0.1 {first.port} 1",
        "sentinel down-after-milliseconds main 300",
        "sentinel failover-timeout main 2000",
        sentinel=True,
    ).start()
    gone = free_port()
    url = f"redis+sentinel://127.0.0.1:{gone},127.0.0.1:{sentinel.port}/main/0"
    cache = shared_cache(url, MemoryFence())
    try:
        await until_healthy(cache)
        loads = Loads(1)
        assert await cache.through(NUMBER, "number:a", loads) == 1
        for _ in range(1200):
            if f"127.0.0.1:{second.port}" in sentinel.command("SENTINEL", "REPLICAS", "main"):
                break
            await asyncio.sleep(0.1)
        first.kill()
        await cache.before_commit(["number:a"])
        loads.value = 2
        await cache.after_commit(["number:a"])
        assert await cache.through(NUMBER, "number:a", loads) == 2
        await until_healthy(cache, seconds=240)  # a Sentinel that was held up waits half a minute
        assert cache.health()["connections"] > 1
        assert await cache.through(NUMBER, "number:a", loads) == 2
    finally:
        await cache.close()
        for server in (first, second, sentinel):
            server.kill()


async def test_any_node_of_a_cluster_leads_to_the_one_that_holds_our_keys(tmp_path: Path) -> None:
    """Nodes are asked in turn: one is away, one holds other keys, and names the right one."""
    require("redis-server")
    options = ("cluster-enabled yes", "cluster-node-timeout 60000")
    bus = free_port()  # by itself it would be 10,000 above the node's, where there may be no port
    stranger = RedisServer(tmp_path / "stranger", *options, f"cluster-port {bus}").start()
    owner = RedisServer(tmp_path / "owner", *options, f"cluster-port {free_port()}").start()
    nodes = [stranger, owner]
    try:
        slot = int(owner.command("CLUSTER", "KEYSLOT", "{moorage}").strip().lstrip(":"))
        assert owner.command("CLUSTER", "ADDSLOTSRANGE", slot, slot).startswith("+OK")
        for first, last in ((0, slot - 1), (slot + 1, 16383)):
            assert stranger.command("CLUSTER", "ADDSLOTSRANGE", first, last).startswith("+OK")
        # A command writes an answer of one line at most; epochs that differ end a dispute at once.
        stranger.command("CLUSTER", "SET-CONFIG-EPOCH", 1)
        owner.command("CLUSTER", "SET-CONFIG-EPOCH", 2)
        assert owner.command("CLUSTER", "MEET", "127.0.0.1", stranger.port, bus).startswith("+OK")
        for node in nodes:
            for _ in range(1200):
                if "cluster_state:ok" in node.command("CLUSTER", "INFO"):
                    break
                await asyncio.sleep(0.05)
        hosts = f"127.0.0.1:{free_port()},127.0.0.1:{stranger.port}"
        await works(calm_cache(f"redis://{hosts}", MemoryFence()))
        assert "keys=0" not in owner.command("INFO", "keyspace")
        assert "db0:" in owner.command("INFO", "keyspace")
        assert "db0:" not in stranger.command("INFO", "keyspace")
    finally:
        for node in nodes:
            node.kill()


async def test_replicas_need_a_fence(redis_server: RedisServer) -> None:
    """`open_cache` refuses to share a Redis without one, and opens with one."""
    redis = RedisSettings.model_validate({"url": redis_server.url})
    clock = SystemClock()
    with pytest.raises(ValueError, match="fence"):
        await open_cache(CacheSettings(), redis, single_process=False, clock=clock)
    cache = await open_cache(
        CacheSettings(), redis, single_process=False, clock=clock, fence=MemoryFence()
    )
    assert isinstance(cache, RedisCache)
    await until_healthy(cache)
    await cache.close()
