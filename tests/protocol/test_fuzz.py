"""No input makes `/v2` fail: whatever comes, the answer is one that the table knows."""

import json
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from moorage.oci import digest as digests
from tests.protocol.client import IMAGE, INDEX, Answer, image
from tests.protocol.registry import Registry

pytestmark = pytest.mark.anyio

FUZZ = settings(
    max_examples=400,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
REPO = "team/app"
BODY = b"{}"
DIGEST = digests.of(BODY)
SESSION = "00000000-0000-0000-0000-000000000000"

junk = st.one_of(
    st.text(max_size=20).map(lambda text: quote(text, safe="")),
    st.binary(max_size=8).map(lambda data: quote(data, safe="")),
    st.text("abA01._-~!$&'()*+,;=:@%", max_size=12),
    st.sampled_from(
        [
            *["", ".", "..", "%2e%2e", "%2f", "%2F..%2f", "%00", "%", "%zz", "_catalog"],
            *["uploads", "blobs", "manifests", "tags", "list", "referrers"],
            *["v1", DIGEST, SESSION, "x" * 300],
        ]
    ),
)
known = st.sampled_from(
    [
        f"/v2/{REPO}/manifests/v1",
        f"/v2/{REPO}/manifests/{DIGEST}",
        f"/v2/{REPO}/blobs/{DIGEST}",
        f"/v2/{REPO}/blobs/uploads/",
        f"/v2/{REPO}/blobs/uploads/{SESSION}",
        f"/v2/{REPO}/tags/list",
        f"/v2/{REPO}/referrers/{DIGEST}",
        "/v2/_catalog",
        "/v2/",
    ]
)
paths = st.one_of(
    known,
    st.lists(junk, max_size=6).map(lambda parts: "/v2/" + "/".join(parts)),
    st.tuples(known, junk).map(lambda pair: pair[0] + "/" + pair[1]),
    st.tuples(known, junk).map(lambda pair: pair[0].rpartition("/")[0] + "/" + pair[1]),
)
queries = st.lists(
    st.tuples(
        st.sampled_from(
            ["n", "last", "digest", "mount", "from", "tag", "artifactType", "digest-algorithm", "x"]
        ),
        st.one_of(junk, st.sampled_from([DIGEST, REPO, "5", "-1", "sha512", "9" * 40])),
    ),
    max_size=4,
).map(lambda pairs: "&".join(f"{k}={v}" for k, v in pairs))
latin = st.text(st.characters(min_codepoint=32, max_codepoint=255), max_size=30)
headers = st.dictionaries(
    st.sampled_from(
        ["content-type", "content-range", "range", "if-none-match", "if-range", "accept", "host"]
    ),
    st.one_of(
        latin,
        st.sampled_from(
            ["bytes=0-", "bytes=-", "0-1", "1-0", "bytes 0-1/2", f'"{DIGEST}"', "*", IMAGE, INDEX]
        ),
    ),
    max_size=4,
)
methods = st.sampled_from(["GET", "HEAD", "PUT", "POST", "PATCH", "DELETE", "OPTIONS", "BREW"])
bodies = st.one_of(st.none(), st.binary(max_size=64), st.lists(st.binary(max_size=16), max_size=3))


def sound(answer: Answer) -> None:
    """An answer that the specification allows."""
    assert 200 <= answer.status < 500, answer
    assert answer.header("docker-distribution-api-version") == "registry/2.0"
    if answer.status >= 400 and answer.body:
        assert answer.code != "UNKNOWN"
        assert answer.header("content-length") == str(len(answer.body))
    for name, value in answer.headers:
        assert "\n" not in value, name
        assert "\r" not in value, name


@FUZZ
@given(method=methods, path=paths, query=queries, more=headers, body=bodies, length=st.booleans())
async def test_any_request(
    registry: Registry,
    method: str,
    path: str,
    query: str,
    more: dict[str, str],
    body: Any,
    length: bool,
) -> None:
    """Any method, path, query, headers and body; also announced with a wrong length."""
    dev = registry.client("dev")
    answer = await dev.ask(
        method,
        f"{path}?{query}" if query else path,
        headers=more,
        body=body,
        length=7 if length else None,
    )
    sound(answer)
    assert all(key.startswith("blobs/") and ".." not in key for key in registry.store.objects)


@FUZZ
@given(authorization=st.one_of(latin, latin.map("Bearer {}".format), latin.map("Basic {}".format)))
async def test_any_credentials(registry: Registry, authorization: str) -> None:
    """Nothing that calls itself credentials lets anybody in, or breaks anything."""
    for path in ("/v2/", f"/v2/{REPO}/manifests/v1", "/v2/_catalog"):
        answer = await registry.client().ask("GET", path, headers={"authorization": authorization})
        sound(answer)
        assert answer.status == 401
        assert answer.header("www-authenticate")


values = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(),
        st.text(max_size=10),
        st.sampled_from([DIGEST, IMAGE, INDEX, 2]),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.one_of(
                st.text(max_size=5),
                st.sampled_from(["digest", "size", "mediaType", "platform", "urls", "data"]),
            ),
            inner,
            max_size=4,
        ),
    ),
    max_leaves=12,
)
KEYS = ["schemaVersion", "mediaType", "config", "layers", "manifests", "subject", "annotations"]


@settings(FUZZ, max_examples=100)  # each writes several times
@given(
    changes=st.dictionaries(st.sampled_from([*KEYS, "artifactType", "blobs"]), values, max_size=3),
    media_type=st.sampled_from([IMAGE, INDEX, "", "application/json", "text/plain"]),
    reference=st.sampled_from(["v1", "v2?tag=a&tag=b"]),
)
async def test_any_manifest(
    registry: Registry, changes: dict[str, Any], media_type: str, reference: str
) -> None:
    """A manifest with anything in any of its places is stored and read back, or refused."""
    dev = registry.client("dev")
    await dev.push_blob(REPO, BODY)
    payload = json.dumps({**image(DIGEST), **changes}).encode()
    target = f"/v2/{REPO}/manifests/{reference}"
    answer = await dev.ask("PUT", target, headers={"content-type": media_type}, body=payload)
    sound(answer)
    assert answer.status in (201, 400)
    if answer.status == 201:
        assert (await dev.ask("GET", answer.location)).body == payload
        sound(await dev.ask("GET", f"/v2/{REPO}/referrers/{DIGEST}"))
