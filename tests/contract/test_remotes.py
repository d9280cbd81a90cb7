"""The client of other registries: verified, resumed, and careful with what is secret."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from tests.support.content import body, image, sha256
from tests.support.otherregistry import Answer, OtherRegistry
from tests.support.peers import LISTING, PROGRAMS, peer_of
from tests.support.requirements import require

from moorage.errors import (
    AddressRefused,
    Denied,
    DigestInvalid,
    Invalid,
    NotFound,
    SizeInvalid,
    TooManyRequests,
    Unreachable,
)
from moorage.oci import media_types
from moorage.outgoing import Guard
from moorage.remotes import Endpoint, Remote
from moorage.remotes.auth import challenges
from moorage.remotes.client import Read
from moorage.remotes.reading import stand_in
from moorage.remotes.throttle import Throttle

pytestmark = pytest.mark.anyio

APP = "library/app"
HERE = Guard((ip_network("127.0.0.0/8"),))


async def quickly(seconds: float) -> None:
    """Waits for nothing."""


@pytest.fixture
async def other() -> AsyncIterator[OtherRegistry]:
    async with OtherRegistry().serving() as found:
        yield found


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as found:
        yield found


def remote(
    stack: AsyncExitStack, other: OtherRegistry, kind: str = "docker-registry", **more: Any
) -> Remote:
    """A client without patience."""
    options = {name: more.pop(name) for name in ("token_hosts", "guard") if name in more}
    guard = options.pop("guard", HERE)
    endpoint = Endpoint(kind, other.url, **more)
    made = Remote(guard, endpoint, sleep=quickly, **options)
    stack.push_async_callback(made.close)
    return made


def read_of(data: bytes) -> Read:
    return lambda start, end: body(data[start:end])


async def all_of(parts: AsyncIterator[bytes]) -> bytes:
    return b"".join([part async for part in parts])


async def test_manifests_have_the_digest_that_was_asked_for(
    other: OtherRegistry, stack: AsyncExitStack
) -> None:
    """By digest, and by a tag whose answer names a digest."""
    digest = other.push(APP, "v1")
    client = remote(stack, other)
    assert (await client.manifest(APP, "v1")).digest == digest
    assert (await client.manifest(APP, digest)).media_type == media_types.OCI_MANIFEST
    listed = await client.head(APP, "v1")
    assert listed is not None
    assert listed.digest == digest
    assert await client.head(APP, "v2") is None
    other.swapped[digest] = image(b"{}", (b"evil",))
    for reference in ("v1", digest):
        with pytest.raises(DigestInvalid):
            await client.manifest(APP, reference)


async def test_a_blob_goes_on_where_it_was_cut(other: OtherRegistry, stack: AsyncExitStack) -> None:
    """By a Range; a registry without them sends it anew, and nothing comes twice."""
    data = bytes(range(256)) * 4000
    digest = other.blob(APP, data)
    client = remote(stack, other)
    other.cut = [1000, 70_000, 500_000]
    assert await all_of(client.blob(APP, digest, len(data))) == data
    starts = [request.headers.get("range", "") for request in other.asked("GET", digest)]
    assert starts[0] == ""
    assert starts[1:] == sorted(starts[1:], key=lambda text: int(text[6:].split("-")[0]))
    assert all(text.endswith(f"-{len(data) - 1}") for text in starts[1:])  # some want an end
    assert len(starts) == 4
    other.ranges, other.cut = False, [1000, 300_000]
    assert await all_of(client.blob(APP, digest, len(data), 100)) == data[100:]
    other.cut = [0] * 20
    with pytest.raises(Unreachable):
        await all_of(client.blob(APP, digest, len(data)))


async def test_a_blob_of_another_length_is_refused(
    other: OtherRegistry, stack: AsyncExitStack
) -> None:
    """Before its bytes where the length is said, and at the byte that is too many elsewhere."""
    digest = other.blob(APP, b"x" * 100)
    client = remote(stack, other)
    for said in (99, 101):
        with pytest.raises(SizeInvalid):
            await all_of(client.blob(APP, digest, said))
    assert len(await all_of(client.blob(APP, digest, 100))) == 100


@pytest.mark.parametrize("scheme", ["basic", "bearer"])
async def test_credentials_go_to_the_registry(
    other: OtherRegistry, stack: AsyncExitStack, scheme: str
) -> None:
    """A wrong password is told apart from a registry that is away.

    Who has none that is right gets nothing by what another bought there: CVE-2026-103868.
    """
    other.scheme = scheme
    digest = other.push(APP, "v1")
    client = remote(stack, other, username="robot", password="secret")
    assert (await client.manifest(APP, "v1")).digest == digest
    await client.ping()
    if scheme == "bearer":
        bought = other.asked("GET", "/token")
        assert bought[0].query["scope"] == [f"repository:{APP}:pull"]
        assert "authorization" in bought[0].headers
    stranger = remote(stack, other, username="robot", password="wrong")
    with pytest.raises(Denied):
        await stranger.manifest(APP, "v1")


async def test_credentials_go_nowhere_else(other: OtherRegistry, stack: AsyncExitStack) -> None:
    """Not to a realm on another host, not to where blobs are redirected, not by a location.

    CVE-2026-33540.
    """
    async with OtherRegistry().serving() as thief:
        other.scheme, other.realm = "bearer", f"{thief.url}/token"
        data = b"layer"
        digest = other.push(APP, "v1")
        thief.blob(APP, data)
        client = remote(stack, other, username="robot", password="secret")
        await client.manifest(APP, "v1")  # with a token for nobody
        assert [each.headers.get("authorization") for each in thief.requests] == [None]
        other.redirect = thief.url
        assert await all_of(client.blob(APP, sha256(data), len(data))) == data
        other.answers = [Answer(202, headers={"location": f"{thief.url}/v2/{APP}/blobs/uploads/1"})]
        thief.uploads["1"] = bytearray()
        await client.push_blob(APP, sha256(b"mine"), 4, lambda start, end: body(b"mine"[start:end]))
        assert all("authorization" not in each.headers for each in thief.requests)
        assert all("secret" not in str(each.query) for each in thief.requests)
        assert digest


async def test_an_operator_names_hosts_of_tokens() -> None:
    """Only over TLS, only these, and subdomains only where they are meant."""
    from moorage.remotes.auth import Authorizer

    endpoint = Endpoint("gitlab", "https://registry.example.com", "me", "secret")
    made = Authorizer(endpoint, None, realms=("gitlab.example.com", ".auth.example"))  # type: ignore[arg-type]
    for realm, trusted in (
        ("https://registry.example.com/token", True),
        ("https://gitlab.example.com/jwt/auth", True),
        ("http://gitlab.example.com/jwt/auth", False),
        ("https://x.gitlab.example.com/jwt/auth", False),
        ("https://eu.auth.example/t", True),
        ("https://auth.example/t", False),
        ("https://evilauth.example/t", False),
        ("https://registry.example.com:8443/token", False),
    ):
        assert made._trusts(realm) is trusted, realm


def test_challenges_are_read_whatever_stands_around() -> None:
    """Several in one header, in any order, quoted or not."""
    (bearer, basic) = challenges(
        ['Bearer realm="https://a/t?x=1,2",service=there, scope="a:b:pull,push", Basic realm="x"']
    )
    assert bearer.parameters["realm"] == "https://a/t?x=1,2"
    assert bearer.parameters["service"] == "there"
    assert basic.scheme == "basic"
    assert challenges(["Negotiate", ""]) == []


async def test_what_fails_for_a_moment_is_tried_again(
    other: OtherRegistry, stack: AsyncExitStack
) -> None:
    """And a lasting refusal says so in our own words."""
    digest = other.push(APP, "v1")
    client = remote(stack, other)
    other.answers = [Answer(503), Answer(429, headers={"retry-after": "1"})]
    assert (await client.manifest(APP, "v1")).digest == digest
    other.answers = [Answer(429) for _ in range(9)]
    with pytest.raises(TooManyRequests):
        await client.manifest(APP, "v1")
    other.answers = [Answer(403, b'{"errors":[{"code":"DENIED","message":"<script>"}]}')]
    with pytest.raises(Denied) as told:
        await client.manifest(APP, "v1")
    assert told.value.message.endswith(f"answers 403 DENIED to GET /v2/{APP}/manifests/v1")


async def test_a_private_address_needs_the_operator(
    other: OtherRegistry, stack: AsyncExitStack
) -> None:
    """Redirects pass the same guard.

    CVE-2026-32591.
    """
    with pytest.raises(AddressRefused):
        await remote(stack, other, guard=Guard()).ping()
    digest = other.blob(APP, b"layer")
    other.redirect = "http://169.254.169.254"
    with pytest.raises(AddressRefused):
        await all_of(remote(stack, other).blob(APP, digest, 5))


async def test_lists_come_in_pages(other: OtherRegistry, stack: AsyncExitStack) -> None:
    """Of any number; a link to another server is read as one to this."""
    digest = other.push(APP)
    for number in range(2500):
        other.tags[APP, f"t{number:04}"] = digest
    client = remote(stack, other)
    assert len(await client.tags(APP)) == 2500
    assert await client.catalog() == [APP]
    elsewhere = "https://evil.example/v2/library/app/tags/list?last=t2498"
    other.answers = [Answer(200, b'{"tags":["a"]}', {"link": f'<{elsewhere}>; rel="next"'})]
    assert await client.tags(APP) == ["a", "t2499"]
    with pytest.raises(NotFound):
        await client.tags("library/none")


@pytest.mark.parametrize("native", [True, False])
async def test_referrers_with_and_without_a_list(
    other: OtherRegistry, stack: AsyncExitStack, native: bool
) -> None:
    """A registry that lists none has a tag in its place, which the client keeps up."""
    other.native_referrers = native
    subject = other.push(APP, "v1")
    client = remote(stack, other)
    assert await client.referrers(APP, subject) == []
    said = {"mediaType": media_types.OCI_MANIFEST, "digest": subject, "size": 1}
    digests = set()
    for name in (b"one", b"two"):
        payload = image(b"{}", (name,), subject=said, artifactType="x/y")
        for _ in range(2):
            digests.add(
                await client.put_manifest(APP, sha256(payload), payload, media_types.OCI_MANIFEST)
            )
    found = await client.referrers(APP, subject)
    assert {each.digest for each in found} == digests
    assert len(await client.referrers(APP, subject, "x/z")) == 0
    assert ((APP, stand_in(subject)) in other.tags) is not native


@pytest.mark.parametrize("chunk", [0, 100_000])
async def test_a_push_goes_on_where_it_was_cut(
    other: OtherRegistry, stack: AsyncExitStack, chunk: int
) -> None:
    """Small at once, large streamed or by chunks; what the registry has is not sent again."""
    client = remote(stack, other)
    data = bytes(range(256)) * 20_000
    sent: list[tuple[int, int]] = []

    async def read(start: int, end: int) -> AsyncIterator[bytes]:
        sent.append((start, end))
        yield data[start:end]

    await client.push_blob(APP, sha256(data), len(data), read, chunk=chunk)
    assert other.blobs[APP, sha256(data)] == data
    other.uploads["7"] = bytearray(data[:1_000_000])
    sent.clear()
    session = f"{other.url}/v2/{APP}/blobs/uploads/7"
    await client.push_blob(APP, sha256(data), len(data), read, chunk=chunk, session=session)
    assert sent[0][0] == 1_000_000
    with pytest.raises(Invalid):
        await client.push_blob(APP, sha256(b"another"), len(data), read)


@pytest.mark.parametrize("at_once", [True, False])
async def test_small_blobs_go_with_the_first_request(
    other: OtherRegistry, stack: AsyncExitStack, at_once: bool
) -> None:
    """To a registry that does not take them so, no more than one is sent in vain."""
    other.at_once = at_once
    client = remote(stack, other)
    blobs = [b"%d" % number * 100 for number in range(5)]
    for data in blobs:
        await client.push_blob(APP, sha256(data), len(data), read_of(data))
    assert [other.blobs[APP, sha256(data)] for data in blobs] == blobs
    assert client.traits.takes_at_once is at_once
    assert len(other.asked("POST", "/uploads/")) == (5 if at_once else 6)
    assert len(other.asked("PUT", "/uploads/")) == (0 if at_once else 5)
    with pytest.raises((Invalid, DigestInvalid)):
        await client.push_blob(APP, sha256(b"other"), 5, read_of(b"wrong"))
    assert (APP, sha256(b"other")) not in other.blobs
    await client.push_blob(APP, sha256(b"last"), 4, read_of(b"last"))
    assert other.blobs[APP, sha256(b"last")] == b"last"


@pytest.mark.parametrize("scheme", ["basic", "bearer"])
async def test_many_requests_learn_to_sign_in_at_once(
    other: OtherRegistry, stack: AsyncExitStack, scheme: str
) -> None:
    """Those that were refused while another one learned try again; one token does for all."""
    other.scheme = scheme
    other.push(APP, "v1")
    username, password = other.account
    client = remote(stack, other, username=username, password=password)
    found = await asyncio.gather(*(client.head(APP, "v1") for _ in range(12)))
    assert all(each is not None for each in found)
    assert len(other.asked("GET", "/token")) == (1 if scheme == "bearer" else 0)


async def test_a_mount_moves_no_bytes(other: OtherRegistry, stack: AsyncExitStack) -> None:
    """And one that is refused leaves no session behind."""
    client = remote(stack, other)
    digest = other.blob(APP, b"layer")
    assert await client.mount("library/b", digest, APP)
    assert not await client.mount("library/b", sha256(b"no"), APP)
    assert other.uploads == {}


async def test_speed_is_bounded() -> None:
    """All streams of a throttle share its rate."""
    moments, slept = [0.0], []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    throttle = Throttle(1000, lambda: moments[0])
    import asyncio

    real = asyncio.sleep
    asyncio.sleep = sleep  # type: ignore[assignment]
    try:
        for _ in range(3):
            await throttle.pass_(500)
    finally:
        asyncio.sleep = real
    assert slept == [0.5, 1.0, 1.5]


# --- kinds


async def test_hub_lists_a_namespace(other: OtherRegistry, stack: AsyncExitStack) -> None:
    """By pages of its own API, without credentials."""
    other.answers = [
        Answer(200, json.dumps({"next": following, "results": [{"name": name}]}).encode())
        for following, name in (
            (f"{other.url}/v2/repositories/library/?page=2", "nginx"),
            (None, "redis"),
        )
    ]
    client = remote(stack, other, "docker-hub")
    assert client.adapter.catalog is not None
    assert await client.adapter.catalog(client, "library/") == ["library/nginx", "library/redis"]
    with pytest.raises(Invalid, match="namespace"):
        await client.adapter.catalog(client, "")


async def test_quay_lists_a_namespace(other: OtherRegistry, stack: AsyncExitStack) -> None:
    """Page by page."""
    other.answers = [
        Answer(200, b'{"repositories":[{"name":"a"}],"next_page":"x"}'),
        Answer(200, b'{"repositories":[{"name":"b"}]}'),
    ]
    client = remote(stack, other, "quay")
    assert client.adapter.catalog is not None
    assert await client.adapter.catalog(client, "org/") == ["org/a", "org/b"]
    assert other.requests[1].query["next_page"] == ["x"]


async def test_gitlab_lists_a_group(other: OtherRegistry, stack: AsyncExitStack) -> None:
    """With the token only where the API is the registry's own site."""
    other.answers = [Answer(200, b'[{"path":"group/a/image"}]'), Answer(200, b"[]")]
    client = remote(stack, other, "gitlab", username="me", password="secret")
    assert client.adapter.catalog is not None
    assert await client.adapter.catalog(client, "group/") == ["group/a/image"]
    assert other.requests[0].path == "/api/v4/groups/group/registry/repositories"
    assert other.requests[0].headers["private-token"] == "secret"


async def test_a_token_of_another_header_follows_no_redirect(
    other: OtherRegistry, stack: AsyncExitStack
) -> None:
    """GitLab's own header is as secret as a password, wherever the API sends its caller."""
    async with OtherRegistry().serving() as thief:
        moved = Answer(302, headers={"location": f"{thief.url}/api/v4/groups/group/x"})
        other.answers = [moved]
        thief.answers = [Answer(200, b"[]")]
        client = remote(stack, other, "gitlab", username="me", password="secret")
        assert client.adapter.catalog is not None
        assert await client.adapter.catalog(client, "group/") == []
        (stolen,) = thief.requests
        assert "secret" not in stolen.headers.values()


@pytest.mark.parametrize(
    "address", ["http://127.0.0.1:99999/x", "http://[::1", "mailto:x@localhost"]
)
async def test_addresses_that_are_none(
    other: OtherRegistry, stack: AsyncExitStack, address: str
) -> None:
    """Of a redirect, a session, a next page or a realm: the registry fails, and not we."""
    other.push(APP, "v1")
    client = remote(stack, other)
    other.answers = [Answer(307, headers={"location": address})] * 9
    with pytest.raises(Unreachable):
        await client.manifest(APP, "v1")
    other.answers = [Answer(202, headers={"location": address})] * 9
    with pytest.raises(Unreachable):
        await client.push_blob(APP, sha256(b"x"), 1, lambda start, end: body(b"x"[start:end]))
    page = {"link": f'<{address}>; rel="next"'}
    other.answers = [Answer(200, b'{"tags": ["v1"]}', page)]
    with pytest.raises(Unreachable):
        await client.tags(APP)
    asks = Answer(401, headers={"www-authenticate": f'Bearer realm="{address}"'})
    other.answers = [asks] * 9
    with pytest.raises(Unreachable):
        await client.manifest(APP, "v1")


async def test_names_that_are_none_take_no_room(
    other: OtherRegistry, stack: AsyncExitStack
) -> None:
    """A list is bounded in its names, and so has each name to be."""
    endless = "x" * 100_000
    other.answers = [Answer(200, json.dumps({"tags": ["v1", endless, 7]}).encode())]
    assert await remote(stack, other).tags(APP) == ["v1"]


async def test_ecr_signs_its_request() -> None:
    """By AWS's rules: the same input has the same signature."""
    from datetime import UTC, datetime

    from moorage.remotes.adapters.amazon import HOST, Service, signed

    moment = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    service = Service("api.ecr.eu-west-1.amazonaws.com", "eu-west-1")
    headers = signed(service, "AKIA1", "s", b"{}", moment)
    assert headers["x-amz-date"] == "20260102T030405Z"
    assert "Credential=AKIA1/20260102/eu-west-1/ecr/aws4_request" in headers["authorization"]
    assert HOST.fullmatch("123456789012.dkr.ecr.eu-west-1.amazonaws.com")
    assert not HOST.fullmatch("123456789012.dkr.ecr.eu-west-1.amazonaws.com.evil.example")


async def test_an_azure_refresh_token_is_exchanged(
    other: OtherRegistry, stack: AsyncExitStack
) -> None:
    """It is posted, and never sent as a password."""
    other.scheme = "bearer"
    other.push(APP, "v1")
    client = remote(
        stack, other, "azure-acr", username="00000000-0000-0000-0000-000000000000", password="rt"
    )
    await client.manifest(APP, "v1")
    (bought,) = other.asked("POST", "/token")
    assert b"grant_type=refresh_token" in bought.body
    assert all("Basic" not in each.headers.get("authorization", "") for each in other.requests)


# --- a real one


@pytest.mark.slow
@pytest.mark.parametrize("program", [*PROGRAMS, *LISTING])
async def test_a_real_registry(tmp_path: Path, stack: AsyncExitStack, program: str) -> None:
    """Push streamed and by chunks, lists, ranges, mounts, deletes; referrers by list or by tag."""
    require(program)
    peer = peer_of(tmp_path / "peer", program).start()
    stack.callback(peer.stop)
    endpoint = Endpoint("docker-registry", f"http://{peer.host}")
    client = Remote(HERE, endpoint)
    stack.push_async_callback(client.close)
    await client.ping()
    data = bytes(range(256)) * 30_000

    async def read(start: int, end: int) -> AsyncIterator[bytes]:
        for at in range(start, end, 1 << 16):
            yield data[at : min(end, at + (1 << 16))]

    await client.push_blob(APP, sha256(data), len(data), read)
    await client.push_blob("library/b", sha256(data), len(data), read, chunk=1 << 20)
    assert await client.has_blob(APP, sha256(data)) == len(data)
    assert await all_of(client.blob(APP, sha256(data), len(data), 5)) == data[5:]
    config = b"{}"
    await client.push_blob(APP, sha256(config), 2, lambda start, end: body(config[start:end]))
    assert await client.mount("library/c", sha256(config), APP)
    payload = image(config, (data,))
    digest = await client.put_manifest(APP, "v1", payload, media_types.OCI_MANIFEST)
    said = {"mediaType": media_types.OCI_MANIFEST, "digest": digest, "size": len(payload)}
    referrer = image(config, (data,), subject=said)
    await client.put_manifest(APP, sha256(referrer), referrer, media_types.OCI_MANIFEST)
    assert [each.digest for each in await client.referrers(APP, digest)] == [sha256(referrer)]
    by_tag = set() if program in LISTING else {stand_in(digest)}
    assert set(await client.tags(APP)) == {"v1"} | by_tag
    blobs_alone = [] if program == "distribution" else ["library/b", "library/c"]
    assert await client.catalog() == [APP, *blobs_alone]
    await client.delete(APP, digest)
    assert await client.head(APP, digest) is None
