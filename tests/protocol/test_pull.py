"""Pulling manifests and blobs."""

from pathlib import Path

import pytest

from moorage.distribution import Options
from moorage.oci import digest as digests
from tests.protocol.client import IMAGE, Client, image
from tests.protocol.registry import Registry

pytestmark = pytest.mark.anyio

REPO = "team/app"
ABSENT = "sha256:" + "0" * 64


async def test_the_base_answers_known_callers_only(registry: Registry) -> None:
    """GET /v2/ is how clients check credentials."""
    assert (await registry.client("dev").ask("GET", "/v2/")).status == 200
    assert (await registry.client("dev").ask("HEAD", "/v2/")).status == 200
    assert (await registry.client("dev").ask("GET", "/v2")).status == 200
    for client in (registry.client(), registry.client("dev", "wrong")):
        answer = await client.ask("GET", "/v2/")
        assert answer.status == 401
        assert answer.code == "UNAUTHORIZED"
        assert answer.header("docker-distribution-api-version") == "registry/2.0"


@pytest.mark.parametrize("how", ["tag", "digest"])
@pytest.mark.parametrize("bearer", [False, True])
async def test_a_manifest_comes_back_byte_for_byte(
    registry: Registry, dev: Client, how: str, bearer: bool
) -> None:
    """GET and HEAD by tag and by digest agree, the first time and from memory."""
    digest = await dev.push_image(REPO, "v1")
    client = await registry.bearer("dev", {REPO: "pull"}) if bearer else dev
    target = f"/v2/{REPO}/manifests/{'v1' if how == 'tag' else digest}"
    for _ in range(3):
        got = await client.ask("GET", target, headers={"accept": "application/json"})
        head = await client.ask("HEAD", target)
        assert got.status == head.status == 200
        assert digests.of(got.body) == digest
        assert head.body == b""
        assert sorted(head.headers) == sorted(got.headers)
        assert got.header("content-type") == IMAGE
        assert got.header("content-length") == str(len(got.body))
        assert got.header("docker-content-digest") == digest
        assert got.header("etag") == f'"{digest}"'
        assert got.header("docker-distribution-api-version") == "registry/2.0"


@pytest.mark.parametrize("condition", ['"{}"', 'W/"{}"', '"x", "{}"', "*", "{}"])
async def test_an_unchanged_manifest_is_not_sent_again(
    registry: Registry, dev: Client, condition: str
) -> None:
    """If-None-Match with the digest gets 304 without a body, also from memory."""
    digest = await dev.push_image(REPO, "v1")
    token = await registry.bearer("dev", {REPO: "pull"})
    for client in (dev, token, token):
        answer = await client.ask(
            "GET", f"/v2/{REPO}/manifests/v1", headers={"if-none-match": condition.format(digest)}
        )
        assert (answer.status, answer.body) == (304, b"")
        assert answer.header("etag") == f'"{digest}"'
    other = await token.ask(
        "GET", f"/v2/{REPO}/manifests/v1", headers={"if-none-match": f'"{ABSENT}"'}
    )
    assert other.status == 200


async def test_a_moved_tag_is_seen_at_once(registry: Registry, dev: Client) -> None:
    """What this process remembers ends with the push that changes it."""
    token = await registry.bearer("dev", {REPO: "pull"})
    for layer in (b"one", b"two", b"three"):
        digest = await dev.push_image(REPO, "v1", layer)
        for _ in range(2):
            answer = await token.ask("GET", f"/v2/{REPO}/manifests/v1")
            assert answer.header("docker-content-digest") == digest
    await dev.ask("DELETE", f"/v2/{REPO}/manifests/v1")
    assert (await token.ask("GET", f"/v2/{REPO}/manifests/v1")).status == 404


@pytest.mark.parametrize(
    ("reference", "code"),
    [
        ("absent", "MANIFEST_UNKNOWN"),
        (ABSENT, "MANIFEST_UNKNOWN"),
        ("sha256:baddigeststring", "MANIFEST_UNKNOWN"),
        ("-no-tag", "MANIFEST_UNKNOWN"),
        ("a" * 129, "MANIFEST_UNKNOWN"),
    ],
)
async def test_unknown_manifests(dev: Client, reference: str, code: str) -> None:
    """What is not there, or could not be there, is 404."""
    await dev.push_image(REPO, "v1")
    answer = await dev.ask("GET", f"/v2/{REPO}/manifests/{reference}")
    assert (answer.status, answer.code) == (404, code)


async def test_an_unknown_repository(dev: Client) -> None:
    """To somebody who may see the project, the repository's absence is told."""
    answer = await dev.ask("GET", "/v2/team/none/manifests/latest")
    assert (answer.status, answer.code) == (404, "NAME_UNKNOWN")
    assert (await dev.ask("GET", "/v2/team/none/tags/list")).code == "NAME_UNKNOWN"


async def test_a_blob_comes_back_with_headers_that_disarm_it(dev: Client) -> None:
    """Blobs are what strangers uploaded: never rendered, never sniffed."""
    content = b"<html>" * 500_000
    digest = await dev.push_blob(REPO, content)
    answer = await dev.ask("GET", f"/v2/{REPO}/blobs/{digest}")
    head = await dev.ask("HEAD", f"/v2/{REPO}/blobs/{digest}")
    assert answer.status == head.status == 200
    assert answer.body == content
    assert sorted(head.headers) == sorted(answer.headers)
    assert answer.header("content-length") == str(len(content))
    assert answer.header("content-type") == "application/octet-stream"
    assert answer.header("x-content-type-options") == "nosniff"
    assert (answer.header("content-disposition") or "").startswith("attachment")
    assert answer.header("docker-content-digest") == digest
    assert answer.header("accept-ranges") == "bytes"


async def test_an_empty_blob(dev: Client) -> None:
    """Nothing is content too."""
    digest = await dev.push_blob(REPO, b"")
    answer = await dev.ask("GET", f"/v2/{REPO}/blobs/{digest}")
    assert (answer.status, answer.body, answer.header("content-length")) == (200, b"", "0")
    ranged = await dev.ask("GET", f"/v2/{REPO}/blobs/{digest}", headers={"range": "bytes=0-"})
    assert ranged.status == 416


BODY = bytes(range(256)) * 8


@pytest.mark.parametrize(
    ("wanted", "status", "start", "end"),
    [
        ("bytes=500-1499", 206, 500, 1500),
        ("bytes=500-", 206, 500, 2048),
        ("bytes=-500", 206, 1548, 2048),
        ("bytes=2000-5000", 206, 2000, 2048),
        ("bytes=0-0", 206, 0, 1),
        ("BYTES=0-9", 206, 0, 10),
        ("bytes=-9999", 206, 0, 2048),
        ("bytes=0-1,4-5", 200, 0, 2048),
        ("lines=1-2", 200, 0, 2048),
        ("bytes=500-0", 416, 0, 0),
        ("bytes=2048-", 416, 0, 0),
        ("bytes=5000-10000", 416, 0, 0),
        ("bytes=-0", 416, 0, 0),
        ("bytes=-", 416, 0, 0),
        ("bytes=a-b", 416, 0, 0),
        ("bytes=1-2-3", 416, 0, 0),
        ("bytes=" + "9" * 400 + "-", 416, 0, 0),
    ],
)
async def test_ranges(dev: Client, wanted: str, status: int, start: int, end: int) -> None:
    """One byte range is served, several or unknown units get everything, nonsense gets 416."""
    digest = await dev.push_blob(REPO, BODY)
    answer = await dev.ask("GET", f"/v2/{REPO}/blobs/{digest}", headers={"range": wanted})
    assert answer.status == status
    assert answer.body == BODY[start:end]
    expected = {206: f"bytes {start}-{end - 1}/2048", 416: "bytes */2048", 200: None}[status]
    assert answer.header("content-range") == expected
    assert answer.header("docker-content-digest") == digest


async def test_if_range_with_another_tag_gets_everything(dev: Client) -> None:
    """A client that resumes something else must not be given a piece of this."""
    digest = await dev.push_blob(REPO, BODY)
    for tag, status in ((f'"{digest}"', 206), (f'"{ABSENT}"', 200)):
        answer = await dev.ask(
            "GET",
            f"/v2/{REPO}/blobs/{digest}",
            headers={"range": "bytes=0-9", "if-range": tag},
        )
        assert answer.status == status


async def test_an_unchanged_blob_is_not_sent_again(dev: Client) -> None:
    """304 for GET and HEAD."""
    digest = await dev.push_blob(REPO, BODY)
    for method in ("GET", "HEAD"):
        answer = await dev.ask(
            method, f"/v2/{REPO}/blobs/{digest}", headers={"if-none-match": f'"{digest}"'}
        )
        assert (answer.status, answer.body) == (304, b"")


@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE"])
@pytest.mark.parametrize(
    "digest", ["sha256:abc", "sha256:" + "G" * 64, "md5:" + "0" * 32, "sha256:" + "A" * 64, "x"]
)
async def test_a_malformed_digest(dev: Client, method: str, digest: str) -> None:
    """A digest that is none is the client's mistake, not an absence."""
    answer = await dev.ask(method, f"/v2/{REPO}/blobs/{digest}")
    assert answer.status == 400
    assert method == "HEAD" or answer.code == "DIGEST_INVALID"


async def test_a_blob_whose_object_is_gone(registry: Registry, dev: Client) -> None:
    """The answer names the digest, never the storage key, and HEAD asks for another push."""
    digest = await dev.push_blob(REPO, BODY)
    keys = list(registry.store.objects)
    registry.store.objects.clear()
    guest = registry.client("guest")
    answer = await guest.ask("GET", f"/v2/{REPO}/blobs/{digest}")
    assert (answer.status, answer.code) == (404, "BLOB_UNKNOWN")
    assert not any(key.encode() in answer.body for key in keys)


async def test_redirects_go_where_the_store_says(
    registry: Registry, dev: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With presigned URLs GET is a 307, HEAD is answered here, and a setting turns it off."""
    digest = await dev.push_blob(REPO, BODY)

    async def presign(key: str, *, seconds: int, filename: str) -> str:
        return f"https://store.test/{key}?signature=1&name={filename}"

    monkeypatch.setattr(registry.store, "presign", presign)
    answer = await dev.ask("GET", f"/v2/{REPO}/blobs/{digest}")
    assert (answer.status, answer.body) == (307, b"")
    assert answer.location.startswith("https://store.test/blobs/")
    assert answer.header("docker-content-digest") == digest
    assert (await dev.ask("HEAD", f"/v2/{REPO}/blobs/{digest}")).status == 200
    stranger = await registry.client("stranger").ask("GET", f"/v2/{REPO}/blobs/{digest}")
    assert (stranger.status, stranger.header("location")) == (401, None)
    through = registry.client("dev", app=registry.reopened(Options(redirect=False)))
    assert (await through.ask("GET", f"/v2/{REPO}/blobs/{digest}")).body == BODY


async def test_nginx_sends_the_file(
    registry: Registry, dev: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """X-Accel-Redirect names the object below the internal location, and no bytes pass here."""
    digest = await dev.push_blob(REPO, BODY)
    (key,) = registry.store.objects
    monkeypatch.setattr(registry.store, "path", lambda key: Path("/data") / key)
    app = registry.reopened(Options(accel_redirect="/_blobs/"))
    answer = await registry.client("dev", app=app).ask("GET", f"/v2/{REPO}/blobs/{digest}")
    assert (answer.status, answer.body) == (200, b"")
    assert answer.header("x-accel-redirect") == f"/_blobs/{key}"
    assert answer.header("docker-content-digest") == digest


async def test_the_server_sends_the_file_if_it_can(
    registry: Registry, dev: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A whole blob in a file goes by ASGI's pathsend; a range of it does not."""
    digest = await dev.push_blob(REPO, BODY)
    (key,) = registry.store.objects
    monkeypatch.setattr(registry.store, "path", lambda key: Path("/data") / key)
    target, able = f"/v2/{REPO}/blobs/{digest}", ["http.response.pathsend"]
    answer = await dev.ask("GET", target, extensions=able)
    assert (answer.status, answer.file, answer.body) == (200, f"/data/{key}", b"")
    assert answer.header("content-length") == str(len(BODY))
    part = await dev.ask("GET", target, headers={"range": "bytes=0-9"}, extensions=able)
    assert (part.status, part.file, part.body) == (206, None, BODY[:10])


async def test_tags_are_listed_in_pages(dev: Client) -> None:
    """n and last cut the sorted list; the link leads on; n=0 is empty; a bad n is refused."""
    config = await dev.push_blob(REPO, b"{}")
    tags = ["A", "Z", "a", "b", "c10", "c9"]
    for tag in tags:
        assert (await dev.push_manifest(REPO, tag, image(config))).status == 201
    whole = await dev.ask("GET", f"/v2/{REPO}/tags/list")
    assert whole.json() == {"name": REPO, "tags": tags}
    assert whole.header("link") is None
    seen: list[str] = []
    target = f"/v2/{REPO}/tags/list?n=4"
    while target:
        page = await dev.ask("GET", target)
        seen += page.json()["tags"]
        link = page.header("link") or ""
        assert not link or link.endswith('; rel="next"')
        target = link[1 : link.index(">")] if link else ""
    assert seen == tags
    after = await dev.ask("GET", f"/v2/{REPO}/tags/list?last=b2")
    assert after.json()["tags"] == ["c10", "c9"]
    none = await dev.ask("GET", f"/v2/{REPO}/tags/list?n=0")
    assert (none.json()["tags"], none.header("link")) == ([], None)
    exact = await dev.ask("GET", f"/v2/{REPO}/tags/list?n=6")
    assert exact.header("link") is None
    for bad in ("-1", "x", "1.5", "%C2%B2"):
        answer = await dev.ask("GET", f"/v2/{REPO}/tags/list?n={bad}")
        assert (answer.status, answer.code) == (400, "PAGINATION_NUMBER_INVALID")


async def test_the_catalog_is_for_administrators(registry: Registry, dev: Client) -> None:
    """Everybody else is asked for other credentials, by Basic."""
    for repository in ("team/a", "team/b", "team/c"):
        await dev.push_image(repository, "v1")
    admin = registry.client("admin")
    assert (await admin.ask("GET", "/v2/_catalog")).json() == {
        "repositories": ["team/a", "team/b", "team/c"]
    }
    page = await admin.ask("GET", "/v2/_catalog?n=2")
    assert page.json() == {"repositories": ["team/a", "team/b"]}
    assert page.header("link") == '</v2/_catalog?n=2&last=team%2Fb>; rel="next"'
    rest = await admin.ask("GET", "/v2/_catalog?n=2&last=team%2Fb")
    assert (rest.json(), rest.header("link")) == ({"repositories": ["team/c"]}, None)
    assert (await admin.ask("GET", "/v2/_catalog?n=99999999999999999999")).status == 200
    token = await registry.bearer("admin", {"team/a": "pull"})
    identity = await registry.bearer("admin", {})
    assert (await identity.ask("GET", "/v2/_catalog")).status == 200
    for client in (dev, registry.client(), token, await registry.bearer("dev", {})):
        refused = await client.ask("GET", "/v2/_catalog")
        assert refused.status == 401
        assert refused.header("www-authenticate") == 'Basic realm="harbor"'
    await registry.change_account("admin")
    assert (await identity.ask("GET", "/v2/_catalog")).status == 401


async def test_a_notice_reaches_the_users(registry: Registry, dev: Client) -> None:
    """The operator's text is a Warning on answers that succeed, as clients show it."""
    await dev.push_image(REPO, "v1")
    app = registry.reopened(Options(notice='maintenance "at" 6\r\nX: y'))
    token = await registry.bearer("dev", {REPO: "pull"}, app=app)
    for _ in range(2):
        answer = await token.ask("GET", f"/v2/{REPO}/manifests/v1")
        assert answer.header("warning") == '299 - "maintenance at 6X: y"'
    assert (await token.ask("GET", f"/v2/{REPO}/manifests/v9")).header("warning") is None
