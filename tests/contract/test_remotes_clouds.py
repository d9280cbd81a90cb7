"""Each kind of registry, through its adapter, against one that answers as that cloud does."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

import pytest
from tests.support.certificates import Authority
from tests.support.clouds import CLOUDS, Cloud, Facts
from tests.support.content import body, image, sha256
from tests.support.otherregistry import Answer

from moorage.errors import Denied, MoorageError, TooManyRequests, Unreachable
from moorage.oci import media_types
from moorage.remotes import Endpoint, Remote
from moorage.remotes.client import Read
from moorage.replication.records import Filter
from moorage.replication.there import Known, There

pytestmark = pytest.mark.anyio

NAMES = ["org/a", "org/b", "org/c", "org/d", "org/e"]


async def quickly(seconds: float) -> None:
    """Waits for nothing."""


def read_of(data: bytes) -> Read:
    """What is pushed."""
    return lambda start, end: body(data[start:end])


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as found:
        yield found


async def reached(
    stack: AsyncExitStack, folder: Path, facts: Facts, password: str | None = None
) -> tuple[Cloud, Remote]:
    """A cloud with five images, and a client of it."""
    cloud = Cloud(facts=facts)
    for name in NAMES:
        cloud.push(name, "v1", layers=(name.encode(),))
    guard = await stack.enter_async_context(cloud.running(Authority(folder)))
    account = facts.account[0], facts.account[1] if password is None else password
    url = f"https://{facts.entry or facts.host}"
    client = Remote(guard, Endpoint(facts.kind, url, *account), sleep=quickly)
    stack.push_async_callback(client.close)
    return cloud, client


@pytest.mark.parametrize("facts", CLOUDS, ids=lambda facts: facts.entry or facts.host)
async def test_each_kind_signs_in_pulls_and_pushes(
    tmp_path: Path, stack: AsyncExitStack, facts: Facts
) -> None:
    """With tokens of the scopes that a request needs; the secret goes where it has to."""
    cloud, client = await reached(stack, tmp_path, facts)
    await client.ping()
    found = await client.manifest("org/a", "v1")
    assert found.digest == cloud.tags["org/a", "v1"]
    layer = b"".join([part async for part in client.blob("org/a", sha256(b"org/a"), 5)])
    assert layer == b"org/a"
    assert await client.tags("org/a") == ["v1"]
    await There(client, Known()).ensure("org/new")
    for data in (b"{}", b"new"):
        await client.push_blob("org/new", sha256(data), len(data), read_of(data))
    payload = image(b"{}", (b"new",))
    await client.put_manifest("org/new", "v1", payload, media_types.OCI_MANIFEST)
    assert cloud.tags["org/new", "v1"] == sha256(payload)
    await There(client, Known()).ensure("org/new")
    told = cloud.told(facts.account[1])
    allowed = {facts.realm.split("/")[2] if facts.realm else "", facts.host if facts.basic else ""}
    assert told <= allowed
    assert bool(told) is (facts.kind != "aws-ecr")  # which sells a password for the secret


@pytest.mark.parametrize("facts", CLOUDS, ids=lambda facts: facts.entry or facts.host)
async def test_each_kind_lists_what_it_can(
    tmp_path: Path, stack: AsyncExitStack, facts: Facts
) -> None:
    """By pages; where nothing lists them, a policy has to name them."""
    cloud, client = await reached(stack, tmp_path, facts)
    there, wild = There(client, Known()), [Filter("name", "org/**")]
    if facts.catalog:
        assert list(await there.repositories(wild)) == NAMES
    else:
        with pytest.raises(MoorageError):
            await there.repositories(wild)
    named = [Filter("name", "org/{a,c}")]
    assert list(await there.repositories(named)) == ["org/a", "org/c"]
    held = [each async for each in there.artifacts("org/a", named)]
    assert [(each.digest, each.tags) for each in held] == [(cloud.tags["org/a", "v1"], ("v1",))]


@pytest.mark.parametrize("facts", CLOUDS, ids=lambda facts: facts.entry or facts.host)
async def test_each_kind_refuses_a_wrong_password(
    tmp_path: Path, stack: AsyncExitStack, facts: Facts
) -> None:
    """And an administrator is told so before anything is kept."""
    _, client = await reached(stack, tmp_path, facts, "wrong")
    with pytest.raises(Denied):
        await client.ping()


async def test_ecr_makes_a_repository_before_a_push(tmp_path: Path, stack: AsyncExitStack) -> None:
    """Without that it knows no such name."""
    facts = next(each for each in CLOUDS if each.kind == "aws-ecr")
    cloud, client = await reached(stack, tmp_path, facts)
    sent = sha256(b"new"), 3, read_of(b"new")
    with pytest.raises(MoorageError):
        await client.push_blob("org/new", *sent)
    await There(client, Known()).ensure("org/new")
    await client.push_blob("org/new", *sent)
    assert cloud.made == {"org/new"}


@pytest.mark.parametrize(
    "proxy",
    [
        "http://123456789012.dkr.ecr.eu-west-1.amazonaws.com",
        "https://123456789012.dkr.ecr.us-east-1.amazonaws.com",
        "https://123456789012.dkr.ecr.eu-west-1.amazonaws.com.evil.test",
        "https://evil.test/?https://123456789012.dkr.ecr.eu-west-1.amazonaws.com",
    ],
)
async def test_the_password_of_ecr_goes_to_no_other_server(
    tmp_path: Path, stack: AsyncExitStack, proxy: str
) -> None:
    """Whatever its API says of where the registry is."""
    facts = next(each for each in CLOUDS if each.entry)
    cloud, client = await reached(stack, tmp_path, facts)
    cloud.proxy = proxy
    with pytest.raises(Unreachable):
        await client.manifest("org/a", "v1")
    assert cloud.told(cloud.secret) == set()


async def test_a_public_registry_of_ecr_asks_nobody_who_he_is(
    tmp_path: Path, stack: AsyncExitStack
) -> None:
    """Without a key it is read as anybody reads it; the API of an account tells nobody."""
    public = next(each for each in CLOUDS if each.host == "public.ecr.aws")
    facts = replace(public, account=("", ""))
    cloud, client = await reached(stack, tmp_path, facts)
    await client.ping()
    assert (await client.manifest("org/a", "v1")).digest == cloud.tags["org/a", "v1"]
    assert not [each for each in cloud.requests if each.headers["host"] == facts.api]
    named = next(each for each in CLOUDS if each.entry)
    _, client = await reached(stack, tmp_path, replace(named, account=("", "")))
    with pytest.raises(Denied, match="without an access key"):
        await client.ping()


async def test_the_hub_limits_pulls(tmp_path: Path, stack: AsyncExitStack) -> None:
    """429 is told as what it is, so that a proxy cache serves what it has."""
    cloud, client = await reached(stack, tmp_path, CLOUDS[0])
    assert await client.head("org/a", "v1") is not None
    cloud.answers = [Answer(429, b'{"errors":[{"code":"TOOMANYREQUESTS"}]}')]
    with pytest.raises(TooManyRequests):
        await client.head("org/a", "v1", again=False)
