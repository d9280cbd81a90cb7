"""Pushing blobs in every way that the specification names."""

import json

import pytest

from moorage.distribution import Options
from moorage.oci import digest as digests
from tests.protocol.client import IMAGE, INDEX, Answer, Client, image
from tests.protocol.registry import Registry

pytestmark = pytest.mark.anyio

REPO = "team/app"
START = f"/v2/{REPO}/blobs/uploads/"
BODY = bytes(range(251)) * 40
DIGEST = digests.of(BODY)
ABSENT = "sha256:" + "0" * 64


async def check(client: Client, answer: Answer, content: bytes, digest: str) -> None:
    """A 201 leads to the blob that was pushed."""
    assert answer.status == 201, answer
    assert answer.header("docker-content-digest") == digest
    got = await client.ask("GET", answer.location)
    assert (got.status, got.body) == (200, content)


async def begin(client: Client, query: str = "") -> str:
    """Open a session; returns its location."""
    answer = await client.ask("POST", START + query, length=0)
    assert answer.status == 202
    assert answer.header("range") == "0-0"
    assert answer.header("content-length") == "0"
    assert answer.location.endswith(answer.header("docker-upload-uuid") or "?")
    return answer.location


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
@pytest.mark.parametrize("body", [BODY, b""])
async def test_a_push_in_one_request(dev: Client, algorithm: str, body: bytes) -> None:
    """POST with the digest and the bytes, also of nothing."""
    digest = digests.of(body, algorithm)
    answer = await dev.ask("POST", f"{START}?digest={digest}", body=body)
    await check(dev, answer, body, digest)


@pytest.mark.parametrize("pieces", [[BODY], [BODY[:7], b"", BODY[7:]]])
@pytest.mark.parametrize("announced", [True, False])
async def test_a_push_in_two_requests(dev: Client, pieces: list[bytes], announced: bool) -> None:
    """POST, then PUT with all bytes, with and without Content-Length."""
    where = await begin(dev)
    answer = await dev.ask(
        "PUT",
        f"{where}?digest={DIGEST}",
        body=pieces,
        length=len(BODY) if announced else None,
    )
    await check(dev, answer, BODY, DIGEST)
    gone = await dev.ask("GET", where)
    assert (gone.status, gone.code) == (404, "BLOB_UPLOAD_UNKNOWN")


@pytest.mark.parametrize("last_in_put", [True, False])
@pytest.mark.parametrize("form", ["{}-{}", "bytes {}-{}/*", "bytes={}-{}"])
async def test_a_push_in_chunks(dev: Client, last_in_put: bool, form: str) -> None:
    """Each chunk says where it goes; the status says how far it is."""
    where = await begin(dev)
    for start in (0, 4000, 8000):
        end = min(start + 4000, len(BODY))
        if start == 8000 and last_in_put:
            break
        answer = await dev.ask(
            "PATCH",
            where,
            headers={"content-range": form.format(start, end - 1)},
            body=BODY[start:end],
        )
        assert answer.status == 202
        assert answer.header("range") == f"0-{end - 1}"
        where = answer.location
        status = await dev.ask("GET", where)
        assert (status.status, status.header("range")) == (204, f"0-{end - 1}")
        assert status.location == where
    headers = {"content-range": f"8000-{len(BODY) - 1}"} if last_in_put else {}
    rest = BODY[8000:] if last_in_put else None
    answer = await dev.ask("PUT", f"{where}?digest={DIGEST}", headers=headers, body=rest)
    await check(dev, answer, BODY, DIGEST)


async def test_a_push_as_a_stream(dev: Client) -> None:
    """PATCH without a Content-Range, chunked, as docker and buildah do."""
    where = await begin(dev)
    answer = await dev.ask("PATCH", where, body=[BODY[:100], BODY[100:]])
    assert (answer.status, answer.header("range")) == (202, f"0-{len(BODY) - 1}")
    await check(dev, await dev.ask("PUT", f"{where}?digest={DIGEST}", length=0), BODY, DIGEST)


async def test_a_session_under_sha512(dev: Client) -> None:
    """The algorithm is known from the start, or only at the end."""
    digest = digests.of(BODY, "sha512")
    for query in ("?digest-algorithm=sha512", ""):
        where = await begin(dev, query)
        assert (await dev.ask("PATCH", where, body=BODY)).status == 202
        await check(dev, await dev.ask("PUT", f"{where}?digest={digest}"), BODY, digest)
    refused = await dev.ask("POST", START + "?digest-algorithm=md5", length=0)
    assert (refused.status, refused.code) == (400, "DIGEST_INVALID")


@pytest.mark.parametrize("method", ["PATCH", "PUT"])
@pytest.mark.parametrize("start", [0, 99, 101, 10_000_000])
async def test_a_chunk_out_of_order(dev: Client, method: str, start: int) -> None:
    """416 tells where to go on, and the session lives."""
    where = await begin(dev)
    await dev.ask("PATCH", where, body=BODY[:100])
    query = f"?digest={DIGEST}" if method == "PUT" else ""
    answer = await dev.ask(
        method, where + query, headers={"content-range": f"{start}-{start + 9}"}, body=b"x" * 10
    )
    assert (answer.status, answer.code) == (416, "BLOB_UPLOAD_INVALID")
    assert answer.header("range") == "0-99"
    assert answer.location == where
    await dev.ask("PATCH", where, headers={"content-range": "100-199"}, body=BODY[100:200])
    answer = await dev.ask("PUT", f"{where}?digest={DIGEST}", body=BODY[200:])
    await check(dev, answer, BODY, DIGEST)


@pytest.mark.parametrize(
    ("value", "length", "status", "code"),
    [
        ("a-b", 10, 416, "BLOB_UPLOAD_INVALID"),
        ("5", 10, 416, "BLOB_UPLOAD_INVALID"),
        ("9-0", 10, 416, "BLOB_UPLOAD_INVALID"),
        ("-9", 10, 416, "BLOB_UPLOAD_INVALID"),
        ("0-" + "9" * 40, 10, 416, "BLOB_UPLOAD_INVALID"),
        ("0-8", 10, 400, "SIZE_INVALID"),
        ("0-10", 10, 400, "SIZE_INVALID"),
        ("0-20", None, 400, "SIZE_INVALID"),
        ("0-5", None, 400, "SIZE_INVALID"),
    ],
)
async def test_a_content_range_that_does_not_fit(
    dev: Client, value: str, length: int | None, status: int, code: str
) -> None:
    """Ranges that say nothing, or something else than the body; nothing of it counts."""
    where = await begin(dev)
    answer = await dev.ask(
        "PATCH", where, headers={"content-range": value}, body=[b"x" * 10], length=length
    )
    assert (answer.status, answer.code) == (status, code)
    assert (await dev.ask("GET", where)).header("range") == "0-0"


async def test_a_wrong_digest_ends_the_session(registry: Registry, dev: Client) -> None:
    """400, nothing is kept, and the session is gone."""
    where = await begin(dev)
    await dev.ask("PATCH", where, body=BODY)
    answer = await dev.ask("PUT", f"{where}?digest={ABSENT}", length=0)
    assert (answer.status, answer.code) == (400, "DIGEST_INVALID")
    assert (await dev.ask("GET", where)).status == 404
    at_once = await dev.ask("POST", f"{START}?digest={ABSENT}", body=BODY)
    assert (at_once.status, at_once.code) == (400, "DIGEST_INVALID")
    assert (await dev.ask("HEAD", f"/v2/{REPO}/blobs/{ABSENT}")).status == 404
    assert (await dev.ask("HEAD", f"/v2/{REPO}/blobs/{DIGEST}")).status == 404


@pytest.mark.parametrize("query", ["", "?digest=", "?digest=sha256:abc", "?digest=md5:00"])
async def test_a_close_without_a_digest(dev: Client, query: str) -> None:
    """The session waits for a better request."""
    where = await begin(dev)
    answer = await dev.ask("PUT", where + query, body=BODY)
    assert (answer.status, answer.code) == (400, "DIGEST_INVALID")
    assert (await dev.ask("GET", where)).status == 204


@pytest.mark.parametrize("length", [len(BODY) - 1, len(BODY) + 1])
@pytest.mark.parametrize("method", ["POST", "PATCH", "PUT"])
async def test_a_body_of_another_length(
    registry: Registry, dev: Client, method: str, length: int
) -> None:
    """More or less than announced: 400, and none of it is kept."""
    query = "" if method == "PATCH" else f"?digest={DIGEST}"
    where = START if method == "POST" else await begin(dev)
    answer = await dev.ask(method, where + query, body=[BODY], length=length)
    assert (answer.status, answer.code) == (400, "SIZE_INVALID")
    assert (await dev.ask("HEAD", f"/v2/{REPO}/blobs/{DIGEST}")).status == 404
    if method == "PATCH":
        assert (await dev.ask("GET", where)).header("range") == "0-0"


async def test_a_client_that_breaks_off_goes_on_later(dev: Client) -> None:
    """What arrived before the connection ended counts."""
    where = await begin(dev)
    await dev.ask("PATCH", where, body=[BODY[:600], BODY[600:1000]], breaks_off=True)
    status = await dev.ask("GET", where)
    assert status.header("range") == "0-999"
    answer = await dev.ask(
        "PUT",
        f"{where}?digest={DIGEST}",
        headers={"content-range": f"1000-{len(BODY) - 1}"},
        body=BODY[1000:],
    )
    await check(dev, answer, BODY, DIGEST)


async def test_cancel(dev: Client) -> None:
    """204, then the session is unknown."""
    where = await begin(dev)
    await dev.ask("PATCH", where, body=BODY)
    assert (await dev.ask("DELETE", where)).status == 204
    for method in ("GET", "PATCH", "DELETE"):
        answer = await dev.ask(method, where, body=b"x" if method == "PATCH" else None)
        assert (answer.status, answer.code) == (404, "BLOB_UPLOAD_UNKNOWN")


async def test_a_session_belongs_to_its_maker(registry: Registry, dev: Client) -> None:
    """Another pusher of the same repository, or another repository, cannot see or touch it."""
    where = await begin(dev)
    admin = registry.client("admin")
    elsewhere = where.replace(REPO, "team/else")
    for client, target in ((admin, where), (dev, elsewhere)):
        for method in ("GET", "PATCH", "DELETE"):
            answer = await client.ask(method, target, body=b"x" if method == "PATCH" else None)
            assert (answer.status, answer.code) == (404, "BLOB_UPLOAD_UNKNOWN")
    assert (await dev.ask("GET", where)).status == 204


@pytest.mark.parametrize("session", ["x", "..%2f..%2fetc", "%00", "0" * 300, "uploads", "%F0%9F"])
async def test_session_ids_of_no_session(dev: Client, session: str) -> None:
    """An id that we did not make is unknown, or refused as a name."""
    answer = await dev.ask("PATCH", START + session, body=b"x")
    assert answer.status in (400, 404)
    assert answer.code in ("BLOB_UPLOAD_UNKNOWN", "NAME_INVALID")


async def test_mount_from_a_repository(dev: Client) -> None:
    """No byte moves, and both repositories hold the blob."""
    await dev.push_blob("team/base", BODY)
    answer = await dev.ask("POST", f"{START}?mount={DIGEST}&from=team/base", length=0)
    await check(dev, answer, BODY, DIGEST)


async def test_mount_without_a_source(registry: Registry, dev: Client) -> None:
    """The registry finds a repository that the caller may pull from, tokens of one included."""
    await dev.push_blob("team/base", BODY)
    token = await registry.bearer("dev", {REPO: "pull,push"})
    answer = await token.ask("POST", f"{START}?mount={DIGEST}", length=0)
    await check(token, answer, BODY, DIGEST)


async def test_a_mount_that_cannot_be_opens_a_session(dev: Client) -> None:
    """202 and go on, as after a plain POST."""
    answer = await dev.ask("POST", f"{START}?mount={ABSENT}&from=team/base", length=0)
    assert answer.status == 202
    done = await dev.ask("PUT", f"{answer.location}?digest={DIGEST}", body=BODY)
    await check(dev, done, BODY, DIGEST)
    bad = await dev.ask("POST", f"{START}?mount=sha256:x&from=team/base", length=0)
    assert (bad.status, bad.code) == (400, "DIGEST_INVALID")


async def test_a_body_without_a_digest_is_not_stored(registry: Registry, dev: Client) -> None:
    """A POST with bytes but no digest opens an empty session; its bytes are read and forgotten."""
    answer = await dev.ask("POST", START, body=BODY)
    assert (answer.status, answer.header("range")) == (202, "0-0")
    assert not registry.store.objects


async def test_blob_delete(dev: Client) -> None:
    """202, then 404; a manifest's blob stays.

    CVE-2026-35172.
    """
    await dev.push_blob(REPO, BODY)
    for method in ("GET", "HEAD"):  # whatever is remembered of it
        assert (await dev.ask(method, f"/v2/{REPO}/blobs/{DIGEST}")).status == 200
    assert (await dev.ask("DELETE", f"/v2/{REPO}/blobs/{DIGEST}")).status == 202
    for method in ("GET", "HEAD", "DELETE"):
        assert (await dev.ask(method, f"/v2/{REPO}/blobs/{DIGEST}")).status == 404
    await dev.push_image(REPO, "v1", BODY)
    held = await dev.ask("DELETE", f"/v2/{REPO}/blobs/{DIGEST}")
    assert (held.status, held.code) == (412, "PRECONDITION")


@pytest.mark.parametrize(
    ("options", "start"),
    [
        (Options(), "/v2/team/app/"),
        (Options(external_url="https://r.example:8443"), "/v2/team/app/"),
        (Options(relative_locations=False), "http://registry.test/v2/team/app/"),
        (
            Options(relative_locations=False, external_url="https://r.example:8443/"),
            "https://r.example:8443/v2/team/app/",
        ),
    ],
)
async def test_locations(registry: Registry, options: Options, start: str) -> None:
    """Relative unless the operator wants them absolute."""
    client = registry.client("dev", app=registry.reopened(options))
    answer = await client.ask("POST", START, length=0)
    assert answer.location.startswith(f"{start}blobs/uploads/")


async def test_a_shortest_chunk_is_told(registry: Registry) -> None:
    """OCI-Chunk-Min-Length stands on the answers of a session when it is set."""
    client = registry.client("dev", app=registry.reopened(Options(chunk_min_length=5 << 20)))
    answer = await client.ask("POST", START, length=0)
    assert answer.header("oci-chunk-min-length") == str(5 << 20)


# --- manifests


async def test_manifests_by_tag_and_by_digest(dev: Client) -> None:
    """201 with the digest, and Location leads to the manifest."""
    config = await dev.push_blob(REPO, b"{}")
    for reference in ("v1", ""):
        answer = await dev.push_manifest(REPO, reference, image(config))
        assert answer.status == 201
        digest = answer.header("docker-content-digest")
        assert answer.location == f"/v2/{REPO}/manifests/{digest}"
        assert answer.header("oci-tag") is None
        assert (await dev.ask("GET", answer.location)).status == 200


async def test_tags_as_parameters(dev: Client) -> None:
    """One push by digest sets several tags and names them."""
    config = await dev.push_blob(REPO, b"{}")
    payload = json.dumps(image(config)).encode()
    target = f"/v2/{REPO}/manifests/{digests.of(payload)}?tag=1&tag=1.2&tag=1.2.3&tag=1"
    answer = await dev.ask("PUT", target, headers={"content-type": IMAGE}, body=payload)
    assert answer.status == 201
    assert answer.all("oci-tag") == ["1", "1.2", "1.2.3"]
    listed = await dev.ask("GET", f"/v2/{REPO}/tags/list")
    assert listed.json()["tags"] == ["1", "1.2", "1.2.3"]


async def test_too_many_or_bad_tags_as_parameters(dev: Client) -> None:
    """Refused whole: 414 for too many, 400 for one that is none."""
    config = await dev.push_blob(REPO, b"{}")
    payload = json.dumps(image(config)).encode()
    target = f"/v2/{REPO}/manifests/{digests.of(payload)}?"
    many = target + "&".join(f"tag=t{i}" for i in range(101))
    bad = target + "tag=ok&tag=..%2fx"
    for url, status in ((many, 414), (bad, 400)):
        answer = await dev.ask("PUT", url, headers={"content-type": IMAGE}, body=payload)
        assert answer.status == status
        assert answer.code
    assert (await dev.ask("GET", f"/v2/{REPO}/manifests/ok")).status == 404


async def test_sha512_manifests(dev: Client) -> None:
    """A manifest under a sha512 digest is found under it."""
    config = await dev.push_blob(REPO, b"{}")
    payload = json.dumps(image(config)).encode()
    digest = digests.of(payload, "sha512")
    target = f"/v2/{REPO}/manifests/{digest}"
    answer = await dev.ask(
        "PUT", target + "?tag=five", headers={"content-type": IMAGE}, body=payload
    )
    assert answer.status == 201
    assert answer.header("docker-content-digest") == digest
    assert (await dev.ask("GET", f"/v2/{REPO}/manifests/five")).body == payload


async def test_deleting_manifests_and_tags(dev: Client) -> None:
    """202 for both; a tag's manifest stays, a manifest's tags go."""
    digest = await dev.push_image(REPO, "v1")
    config = digests.of(b"{}")
    await dev.push_manifest(REPO, "v2", image(config, b"layer"))
    assert (await dev.ask("DELETE", f"/v2/{REPO}/manifests/v2")).status == 202
    assert (await dev.ask("GET", f"/v2/{REPO}/manifests/v2")).status == 404
    assert (await dev.ask("GET", f"/v2/{REPO}/manifests/v1")).status == 200
    assert (await dev.ask("DELETE", f"/v2/{REPO}/manifests/{digest}")).status == 202
    for reference in ("v1", digest):
        for method in ("GET", "DELETE"):
            answer = await dev.ask(method, f"/v2/{REPO}/manifests/{reference}")
            assert (answer.status, answer.code) == (404, "MANIFEST_UNKNOWN")


async def test_a_child_of_an_index_is_not_deleted(dev: Client) -> None:
    """412 while an index refers to it."""
    digest = await dev.push_image(REPO, "v1")
    size = len((await dev.ask("GET", f"/v2/{REPO}/manifests/v1")).body)
    index = {
        "schemaVersion": 2,
        "mediaType": INDEX,
        "manifests": [{"mediaType": IMAGE, "digest": digest, "size": size}],
    }
    assert (await dev.push_manifest(REPO, "all", index)).status == 201
    answer = await dev.ask("DELETE", f"/v2/{REPO}/manifests/{digest}")
    assert (answer.status, answer.code) == (412, "PRECONDITION")


async def test_referrers(dev: Client) -> None:
    """An index of everything with that subject, by type if asked, in pages; empty for none."""
    subject = await dev.push_image(REPO, "v1")
    config = digests.of(b"{}")
    size = len((await dev.ask("GET", f"/v2/{REPO}/manifests/v1")).body)
    pushed = []
    for i in range(5):
        document = image(
            config,
            subject={"mediaType": IMAGE, "digest": subject, "size": size},
            artifactType=f"application/x.kind{i % 2}",
            annotations={"number": str(i)},
        )
        answer = await dev.push_manifest(REPO, "", document)
        assert answer.status == 201
        assert answer.header("oci-subject") == subject
        pushed.append(answer.header("docker-content-digest"))
    everything = await dev.ask("GET", f"/v2/{REPO}/referrers/{subject}")
    assert everything.header("content-type") == INDEX
    assert everything.header("oci-filters-applied") is None
    assert everything.header("x-total-count") == "5"
    document = everything.json()
    assert (document["schemaVersion"], document["mediaType"]) == (2, INDEX)
    assert sorted(entry["digest"] for entry in document["manifests"]) == sorted(map(str, pushed))
    assert {entry["annotations"]["number"] for entry in document["manifests"]} == set("01234")
    found: list[str] = []
    target = f"/v2/{REPO}/referrers/{subject}?artifactType=application/x.kind0&n=2"
    while target:
        page = await dev.ask("GET", target)
        assert page.header("oci-filters-applied") == "artifactType"
        found += [entry["digest"] for entry in page.json()["manifests"]]
        assert all(e["artifactType"] == "application/x.kind0" for e in page.json()["manifests"])
        link = page.header("link")
        target = link[1 : link.index(">")] if link else ""
    assert sorted(found) == sorted(map(str, pushed[::2]))
    for target in (f"/v2/{REPO}/referrers/{ABSENT}", f"/v2/team/none/referrers/{ABSENT}"):
        answer = await dev.ask("GET", target)
        assert (answer.status, answer.json()["manifests"]) == (200, [])
    assert (await dev.ask("GET", f"/v2/{REPO}/referrers/v1")).status == 400
