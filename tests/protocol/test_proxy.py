"""Projects that are a cache of another registry, from the side of their clients."""

import asyncio
import json
from collections.abc import AsyncIterator

import pytest
from sqlalchemy import select, update

from moorage.access.principals import Principal
from moorage.access.tokens import Right
from moorage.db import tables
from moorage.db.types import from_now
from moorage.errors import Unreachable
from tests.protocol.client import Client
from tests.protocol.proxycache import APP, THERE, Cache
from tests.protocol.registry import Registry
from tests.support.content import image, index, sha256
from tests.support.otherregistry import IMAGE, INDEX, Answer, OtherRegistry

pytestmark = pytest.mark.anyio


@pytest.fixture
async def other() -> AsyncIterator[OtherRegistry]:
    async with OtherRegistry().serving() as found:
        yield found


@pytest.fixture
async def cache(registry: Registry, other: OtherRegistry) -> AsyncIterator[Cache]:
    made = await Cache(registry, other).fill()
    yield made
    await made.through.close()


async def test_a_pull_comes_through_and_stays(cache: Cache) -> None:
    """An index, a child and their blobs: once from there, and from here when it is away."""
    other = cache.other
    child = image(b"{}", (b"layer",))
    other.blob(THERE, b"{}")
    other.blob(THERE, b"layer")
    other.manifest(THERE, child)
    top = other.manifest(THERE, index([child]), "v1", media_type=INDEX)

    async def pull() -> None:
        got = await cache.get("manifests/v1")
        assert (got.status, got.header("docker-content-digest")) == (200, top)
        assert (await cache.get(f"manifests/{sha256(child)}")).body == child
        for data in (b"{}", b"layer"):
            assert (await cache.get(f"blobs/{sha256(data)}")).body == data

    await pull()
    assert len(other.asked("GET", "/blobs/")) == 2
    other.requests.clear()
    await pull()
    assert other.requests == []
    cache.moment += 61
    other.answers = [Answer(503) for _ in range(20)]
    await pull()
    other.answers = []
    cache.moment += 61
    await pull()
    assert [each.method for each in other.requests if "manifests" in each.path][-1] == "HEAD"
    assert other.asked("GET", "/blobs/") == []


async def test_a_tag_moves_after_its_time(cache: Cache) -> None:
    """Within it the registry behind is not asked; 429 leaves what is here."""
    first = cache.other.push(THERE, "v1")
    assert (await cache.get("manifests/v1")).header("docker-content-digest") == first
    second = cache.other.push(THERE, "v1", layers=(b"second",))
    assert (await cache.get("manifests/v1")).header("docker-content-digest") == first
    cache.moment += 61
    cache.other.answers = [Answer(429)]
    assert (await cache.get("manifests/v1")).header("docker-content-digest") == first
    assert (await cache.get("manifests/v1")).header("docker-content-digest") == second
    cache.other.answers = [Answer(429), Answer(429), Answer(429)]
    assert (await cache.get("manifests/new")).status == 429


@pytest.mark.parametrize("keeps", [True, False])
async def test_what_went_there(registry: Registry, other: OtherRegistry, keeps: bool) -> None:
    """It is not found, unless the project keeps it."""
    said = {"proxy_cache_local_on_not_found": "true"} if keeps else {}
    cache = await Cache(registry, other).fill(**said)
    other.push(THERE, "v1")
    assert (await cache.get("manifests/v1")).status == 200
    other.tags.clear()
    cache.moment += 61
    assert (await cache.get("manifests/v1")).status == (200 if keeps else 404)
    assert (await cache.get("manifests/none")).status == 404
    await cache.through.close()


async def test_one_download_for_all_who_wait(cache: Cache) -> None:
    """They get its first bytes before its last ones are there."""
    data = bytes(range(256)) * 4000
    cache.other.push(THERE, "v1", layers=(data,))
    await cache.get("manifests/v1")
    cache.other.pause = asyncio.Event()
    waiting = [asyncio.create_task(cache.get(f"blobs/{sha256(data)}")) for _ in range(16)]
    async with asyncio.timeout(60):
        while not cache.other.asked("GET", "/blobs/"):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    part = await anext(cache.through.content(await cache.through.blob(APP, sha256(data)), 0, 1))
    assert part == data[:1]
    assert not any(each.done() for each in waiting)
    cache.other.pause.set()
    cache.other.pause = None
    assert {(await each).body for each in waiting} == {data}
    assert len(cache.other.asked("GET", sha256(data))) == 1
    assert (await cache.get(f"blobs/{sha256(data)}", range="bytes=5-9")).body == data[5:10]


async def test_a_lying_registry_poisons_nothing(cache: Cache) -> None:
    """No client reads a whole blob that is another one, and none is kept."""
    layer = b"x" * 300_000
    cache.other.push(THERE, "v1", layers=(layer,))
    await cache.get("manifests/v1")
    cache.other.swapped[sha256(layer)] = b"y" * 300_000
    with pytest.raises(Unreachable):
        await cache.get(f"blobs/{sha256(layer)}")
    cache.other.swapped.clear()
    assert (await cache.get(f"blobs/{sha256(layer)}")).body == layer
    cache.other.push(THERE, "v2", layers=(b"two",))
    cache.other.swapped[cache.other.tags[THERE, "v2"]] = image(b"{}", (b"evil",))
    assert (await cache.get("manifests/v2")).status >= 500


async def test_what_does_not_fit_into_the_quota_is_served_and_not_stored(cache: Cache) -> None:
    """Neither kept nor written for nothing; one download for all who wait, compared as ever."""
    layer = b"x" * 300_000
    cache.other.push(THERE, "v1", layers=(layer,))
    await cache.get("manifests/v1")
    path = f"blobs/{sha256(layer)}"
    quota = update(tables.quotas).where(
        tables.quotas.c.project_id
        == select(tables.projects.c.id).where(tables.projects.c.name == "hub").scalar_subquery()
    )
    db, store = cache.registry.db, cache.registry.store
    async with db.write() as tx:
        await tx.execute(quota.values(hard=tables.quotas.c.used + len(layer) - 1))
        used = (await tx.execute(select(tables.quotas.c.used))).scalars().all()
    before = set(store.objects)
    got = await asyncio.gather(*(cache.get(path) for _ in range(4)))
    assert [each.body for each in got] == [layer] * 4
    assert len(cache.other.asked("GET", sha256(layer))) == 1
    cache.other.swapped[sha256(layer)] = b"y" * 300_000
    with pytest.raises(Unreachable):
        await cache.get(path)
    cache.other.swapped.clear()
    assert cache.counted("moorage_proxy_unkept_total", reason="quota") == 1
    assert set(store.objects) == before
    async with db.write() as tx:
        assert (await tx.execute(select(tables.quotas.c.used))).scalars().all() == used
        assert (await tx.execute(select(tables.blob_trash.c.storage_key))).all() == []
        await tx.execute(quota.values(hard=-1))
    assert (await cache.get(path)).body == layer
    cache.other.requests.clear()
    assert (await cache.get(path)).body == layer
    assert cache.other.requests == []


async def test_no_length_is_no_empty_blob(cache: Cache) -> None:
    """A registry that tells of none cannot make a client take a blob for empty."""
    digest = cache.other.blob(THERE, b"layer")
    cache.other.answers = [Answer(200)]
    assert (await cache.get(f"blobs/{digest}")).status == 503
    assert (await cache.get(f"blobs/{digest}")).body == b"layer"
    nothing = cache.other.blob(THERE, b"")
    got = await cache.get(f"blobs/{nothing}")
    assert (got.status, got.body) == (200, b"")
    upstream = await cache.through.proxies.of(APP)
    assert upstream.running == {}


@pytest.mark.parametrize(
    ("media_type", "payload"),
    [
        ("text/html", b"<script>alert(1)</script>"),
        ("text/html", b'{"mediaType": "text/html", "x": "<script>alert(1)</script>"}'),
        (IMAGE, b'{"mediaType": "text/html\\r\\nset-cookie: sid=1", "schemaVersion": 2}'),
    ],
)
async def test_what_is_no_manifest_is_not_passed_on(
    cache: Cache, media_type: str, payload: bytes
) -> None:
    """A registry cannot make this server's address show a page of its own to a browser."""
    cache.other.manifest(THERE, payload, "v1", media_type=media_type)
    for reference in ("v1", sha256(payload)):
        got = await cache.get(f"manifests/{reference}")
        assert got.status == 503
        assert b"<script>" not in got.body


@pytest.mark.parametrize("status", [400, 403, 404, 418, 429, 503])
async def test_clients_are_not_told_who_is_behind(cache: Cache, status: int) -> None:
    """Neither the name of the registry behind nor its paths, whatever it answers."""
    digest = cache.other.push(THERE, "v1")
    for path in ("manifests/v1", f"manifests/{digest}", f"blobs/{sha256(b'none')}", "tags/list"):
        cache.other.answers = [Answer(status, headers={"retry-after": "0"})] * 2
        got = await cache.get(path)
        assert got.status >= 400, path
        assert b"127.0.0.1" not in got.body, path


async def called(cache: Cache, name: str) -> Client:
    """The administrator under another name, with a token that lets him push."""
    registry = cache.registry
    project = await registry.parts["grants"].project("hub")
    right = Right(frozenset({"pull", "push"}), (project.id, project.created_at))
    principal = Principal("user", 1, name, sysadmin=True)
    standing = await registry.standings.of(principal)
    assert standing is not None
    issued = registry.tokens.issue(principal, {APP: right}, revision=standing.revision)
    return Client(cache.app, f"Bearer {issued.token}")


async def test_nobody_pushes(cache: Cache) -> None:
    """Also not an administrator; what is cached can be deleted.

    Harbor c0800603.
    """
    cache.other.push(THERE, "v1")
    digest = (await cache.get("manifests/v1")).header("docker-content-digest")
    for method, path in (
        ("POST", f"/v2/{APP}/blobs/uploads/"),
        ("PUT", f"/v2/{APP}/manifests/v2"),
    ):
        answer = await cache.admin.ask(method, path, body=b"{}")
        assert answer.status == 403, (path, answer.body)
        assert "proxy project" in json.loads(answer.body)["errors"][0]["message"]
        for name in ("scanner-trivy", "robot$scanner-trivy", "proxy-cache", "harbor-core"):
            named = await called(cache, name)
            assert (await named.ask(method, path, body=b"{}")).status == 403, name
    assert (await cache.admin.ask("DELETE", f"/v2/{APP}/manifests/{digest}")).status == 202


async def test_the_filter_and_the_limit(registry: Registry, other: OtherRegistry) -> None:
    """What it does not let through is not found, here neither; too many downloads are refused."""
    cache = await Cache(registry, other).fill(
        proxy_cache_filter_pattern="library/**", max_upstream_conn="1"
    )
    other.push("secret/app", "v1")
    assert (await cache.get("manifests/v1", "hub/secret/app")).status == 404
    one, two = b"1" * 200_000, b"2" * 200_000
    other.push(THERE, "v1", layers=(one, two))
    await cache.get("manifests/v1")
    other.pause = asyncio.Event()
    waiting = asyncio.create_task(cache.get(f"blobs/{sha256(one)}"))
    async with asyncio.timeout(60):
        while not other.asked("GET", "/blobs/"):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    assert (await cache.get(f"blobs/{sha256(two)}")).status == 429
    other.pause.set()
    other.pause = None
    assert (await waiting).body == one
    assert (await cache.get(f"blobs/{sha256(two)}")).body == two
    await cache.through.close()


async def test_names_of_the_hub(registry: Registry, other: OtherRegistry) -> None:
    """One part means the library there."""
    cache = await Cache(registry, other).fill(kind="docker-hub")
    digest = other.push("library/nginx", "1")
    got = await cache.get("manifests/1", "hub/nginx")
    assert got.header("docker-content-digest") == digest
    await cache.through.close()


async def test_lists_hold_both(registry: Registry, other: OtherRegistry) -> None:
    """Tags and referrers of there and of here; of here alone while the other is away."""
    cache = await Cache(registry, other).fill(proxy_referrer_api="true")
    subject = other.push(THERE, "v1", "v2")
    signature = other.sign(THERE, subject)
    assert (await cache.get("manifests/v1")).status == 200
    assert json.loads((await cache.get("tags/list")).body)["tags"] == ["v1", "v2"]
    listed = json.loads((await cache.get(f"referrers/{subject}")).body)["manifests"]
    assert [each["digest"] for each in listed] == [signature]
    assert (await cache.get(f"manifests/{signature}")).status == 200
    (await cache.through.proxies.of(APP)).lists.clear()
    other.answers = [Answer(503) for _ in range(9)]
    assert json.loads((await cache.get("tags/list")).body)["tags"] == ["v1"]
    listed = json.loads((await cache.get(f"referrers/{subject}")).body)["manifests"]
    assert [each["digest"] for each in listed] == [signature]
    other.answers = []
    assert (await cache.get("tags/list", "hub/library/none")).status == 404
    await cache.through.close()


async def test_a_list_of_tags_is_asked_for_once_in_its_time(cache: Cache) -> None:
    """However many want it; what it was is answered while the registry behind is away."""
    other = cache.other
    other.push(THERE, "v1", "v2")

    async def tags() -> list[str]:
        found: list[str] = json.loads((await cache.get("tags/list")).body)["tags"]
        return found

    assert await asyncio.gather(*(tags() for _ in range(8))) == [["v1", "v2"]] * 8
    other.push(THERE, "v3")
    assert await tags() == ["v1", "v2"]
    assert len(other.asked("GET", "/tags/list")) == 1
    cache.moment += 61
    assert await tags() == ["v1", "v2", "v3"]
    cache.moment += 61
    other.answers = [Answer(503), Answer(503)]
    assert await tags() == ["v1", "v2", "v3"]
    asked = len(other.requests)
    assert await tags() == ["v1", "v2", "v3"]  # and is not asked again at once
    assert len(other.requests) == asked
    assert cache.counted("moorage_proxy_stale_total", kind="tags") == 2
    cache.moment += 61
    other.tags.clear()
    other.manifests.clear()
    assert (await cache.get("tags/list")).status == 404


async def test_projects_are_loaded_once_and_connections_closed(cache: Cache) -> None:
    """By requests that come together; what an administrator changed leaves no client behind."""
    proxies = cache.through.proxies
    one, *others = await asyncio.gather(*(proxies.of(APP) for _ in range(8)))
    assert all(each is one for each in others)
    async with cache.registry.db.write() as tx:
        await tx.execute(update(tables.registries).values(updated_at=from_now(60)))
    cache.moment += 11
    two = await proxies.of(APP)
    assert two is not one
    await proxies.refresh()
    assert not one.remote.closed  # somebody may be in the middle of something
    cache.moment += 601
    await proxies.refresh()
    assert one.remote.closed
    assert not two.remote.closed


async def test_figures_for_the_operator(cache: Cache) -> None:
    """What was here and what was not, what that spared, and how the registry behind answers."""
    data = b"layer" * 1000
    cache.other.push(THERE, "v1", layers=(data,))
    for _ in range(3):
        assert (await cache.get("manifests/v1")).status == 200
        assert (await cache.get(f"blobs/{sha256(data)}")).body == data
    assert (await cache.client.ask("HEAD", f"/v2/{APP}/blobs/{sha256(data)}")).status == 200
    for kind in ("manifest", "blob"):
        assert cache.counted("moorage_proxy_misses_total", kind=kind) == 1
        assert cache.counted("moorage_proxy_hits_total", kind=kind) == 2
    assert cache.counted("moorage_proxy_fetched_bytes_total") == len(data)
    assert cache.counted("moorage_proxy_spared_bytes_total") == 2 * len(data)
    assert cache.counted("harbor_core_http_registry_proxy_requests_total", method="GET") == 6
    name = "harbor_core_http_registry_proxy_upstream_requests_total"
    assert cache.counted(name, method="HEAD") == 1
    assert cache.counted(name, method="GET") == 2
    cache.moment += 61
    cache.other.answers = [Answer(429)]
    assert (await cache.get("manifests/v1")).status == 200
    assert cache.counted("moorage_proxy_upstream_failures_total", reason="limited") == 1
    assert cache.counted("moorage_proxy_stale_total", kind="manifest") == 1


async def test_a_mirror_by_name_or_host(cache: Cache) -> None:
    """Only what the operator wrote down; all else means what it says."""
    digest = cache.other.push(THERE, "v1")
    path = f"/v2/{THERE}/manifests/v1"
    for query, headers in (("?ns=docker.io", {}), ("", {"host": "hub.example:8080"})):
        got = await cache.client.ask("GET", path + query, headers=headers)
        assert got.header("docker-content-digest") == digest
    cache.other.requests.clear()
    for query, headers in (("?ns=evil.example", {}), ("", {"host": "evil.example"})):
        got = await cache.client.ask("GET", path + query, headers=headers)
        assert got.status in (401, 404)
    assert cache.other.requests == []


async def test_other_projects_are_as_before(cache: Cache) -> None:
    """Nothing is asked for them, whether they are there or not."""
    for path in ("team/app", "none/app"):
        assert (await cache.admin.ask("GET", f"/v2/{path}/manifests/v1")).status in (401, 404)
    assert cache.other.requests == []
