"""The layers of every request: address, id, figures, bounds."""

import asyncio
from collections.abc import Mapping
from ipaddress import ip_network

import pytest
from starlette.types import Message, Receive, Scope, Send

from moorage.config.settings import Settings
from moorage.roles.faces import layered
from moorage.telemetry.logs import REQUEST_ID
from moorage.telemetry.metrics import Metrics
from moorage.web.bounds import Bounded
from moorage.web.measured import Measured, operation
from moorage.web.requests import Forwarded, RequestIds

pytestmark = pytest.mark.anyio

PROXIES = (ip_network("10.0.0.0/8"), ip_network("fd00::/8"))


class Face:
    """Answers 200 and keeps what it was given."""

    def __init__(self) -> None:
        self.headers: list[tuple[bytes, bytes]] = []
        self.scope: Scope = {}
        self.id = ""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scope = scope
        self.id = REQUEST_ID.get()
        await send({"type": "http.response.start", "status": 200, "headers": self.headers})
        await send({"type": "http.response.body", "body": b""})


def scope_of(
    path: str = "/", *headers: tuple[bytes, bytes], client: str = "10.0.0.1", method: str = "GET"
) -> Scope:
    """A request."""
    return {
        "type": "http",
        "method": method,
        "path": path,
        "scheme": "http",
        "headers": list(headers),
        "client": (client, 1234),
    }


async def call(app: object, scope: Scope, receive: Receive | None = None) -> Message:
    """Make the request; the start of its answer."""
    sent: list[Message] = []

    async def nothing() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        sent.append(message)

    await app(scope, receive or nothing, send)  # type: ignore[operator]
    return sent[0] if sent else {}


def headers_of(message: Message) -> Mapping[bytes, bytes]:
    """Headers of an answer; each comes once."""
    assert len(dict(message["headers"])) == len(message["headers"])
    return dict(message["headers"])


@pytest.mark.parametrize(
    ("peer", "chain", "client"),
    [
        ("10.0.0.1", "203.0.113.9", "203.0.113.9"),
        ("10.0.0.1", "1.1.1.1, 203.0.113.9", "203.0.113.9"),  # the left one is a claim
        ("10.0.0.1", "203.0.113.9, 10.0.0.2", "203.0.113.9"),  # two proxies of ours
        ("10.0.0.1", "203.0.113.9,10.0.0.2,10.0.0.3", "203.0.113.9"),
        ("10.0.0.1", "10.0.0.9", "10.0.0.9"),  # somebody inside
        ("10.0.0.1", "", "10.0.0.1"),
        ("10.0.0.1", "unknown", "10.0.0.1"),
        ("10.0.0.1", "203.0.113.9, _hidden, 10.0.0.2", "10.0.0.2"),
        ("10.0.0.1", "2001:db8::1", "2001:db8::1"),
        ("fd00::1", "203.0.113.9", "203.0.113.9"),
        ("::ffff:10.0.0.1", "203.0.113.9", "203.0.113.9"),
        ("203.0.113.7", "1.1.1.1", "203.0.113.7"),  # no proxy of ours: believed in nothing
        ("192.168.0.1", "1.1.1.1", "192.168.0.1"),
    ],
)
async def test_the_address_behind_proxies(peer: str, chain: str, client: str) -> None:
    """The nearest address that is not a trusted proxy; what the client wrote left of it is air."""
    face = Face()
    header = (b"x-forwarded-for", chain.encode())
    await call(Forwarded(face, trusted=PROXIES), scope_of("/", header, client=peer))
    assert face.scope["client"][0] == client


async def test_repeated_headers_are_one_chain() -> None:
    """A client's own header stands before the proxy's, and gains nothing by it."""
    face = Face()
    forged, own = (b"x-forwarded-for", b"1.1.1.1"), (b"x-forwarded-for", b"203.0.113.9")
    await call(Forwarded(face, trusted=PROXIES), scope_of("/", forged, own))
    assert face.scope["client"][0] == "203.0.113.9"


@pytest.mark.parametrize(
    ("peer", "proto", "scheme"),
    [
        ("10.0.0.1", b"https", "https"),
        ("10.0.0.1", b"http, HTTPS", "https"),
        ("10.0.0.1", b"javascript", "http"),
        ("203.0.113.7", b"https", "http"),
    ],
)
async def test_the_scheme_behind_proxies(peer: str, proto: bytes, scheme: str) -> None:
    """Only a trusted proxy says https, and nothing but http and https is a scheme."""
    face = Face()
    header = (b"x-forwarded-proto", proto)
    await call(Forwarded(face, trusted=PROXIES), scope_of("/", header, client=peer))
    assert face.scope["scheme"] == scheme


async def test_a_good_id_is_kept() -> None:
    """The client finds its request in our log."""
    face = Face()
    answer = await call(RequestIds(face), scope_of("/", (b"x-request-id", b"abc-123")))
    assert headers_of(answer)[b"x-request-id"] == b"abc-123"
    assert face.id == "abc-123"
    assert REQUEST_ID.get() == ""


@pytest.mark.parametrize(
    "given", [b"", b"a b", b"a\nb", b"\x1b[31m", b"x" * 129, b'"', "é".encode()]
)
async def test_a_bad_id_is_replaced(given: bytes) -> None:
    """What could forge a log line is not repeated."""
    face = Face()
    answer = await call(RequestIds(face), scope_of("/", (b"x-request-id", given)))
    made = headers_of(answer)[b"x-request-id"]
    assert made != given
    assert made.decode() == face.id
    assert len(made) >= 16


async def test_ids_are_unique() -> None:
    """Within a process, and between two."""
    faces = [Face() for _ in range(200)]
    apps = [RequestIds(faces[0]), RequestIds(faces[1])]
    seen = {headers_of(await call(app, scope_of()))[b"x-request-id"] for app in apps * 100}
    assert len(seen) == 200


async def test_a_kept_answer_is_not_changed() -> None:
    """A face may send the same list of headers for every request."""
    face = Face()
    face.headers = [(b"etag", b"x")]
    app = layered(face, Settings(), Metrics("1"))
    for path in ("/v2/a", "/api/x"):
        await call(app, scope_of(path))
    assert face.headers == [(b"etag", b"x")]


async def test_figures_have_a_bounded_set_of_names() -> None:
    """A scanner that invents paths and methods fills no memory."""
    metrics = Metrics("1")
    app = Measured(Face(), metrics=metrics)
    before = len(metrics.expose()[0])
    for i in range(50):
        await call(app, scope_of(f"/v2/r{i}/manifests/t{i}", method=f"M{i}"))
        await call(app, scope_of(f"/api/v2.0/x{i}/y"))
        await call(app, scope_of(f"/{i}"))
    await call(app, scope_of("/metrics"))
    text = metrics.expose()[0].decode()
    assert 'registry_http_requests_total{code="200",handler="manifest",method="OTHER"} 50.0' in text
    assert 'operation="other"} 100.0' in text
    assert len(text) < before + 8000
    assert metrics.registry_requests.in_flight == metrics.core_requests.in_flight == 0


async def test_a_face_that_breaks_is_counted() -> None:
    """As a 500, and no longer as in flight."""

    async def broken(scope: Scope, receive: Receive, send: Send) -> None:
        raise RuntimeError

    metrics = Metrics("1")
    with pytest.raises(RuntimeError):
        await call(Measured(broken, metrics=metrics), scope_of("/v2/"))
    assert metrics.registry_requests.in_flight == 0
    assert 'code="500",handler="base"' in metrics.expose()[0].decode()


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/v2/", "base"),
        ("/v2/a/b/manifests/latest", "manifest"),
        ("/v2/a/b/blobs/sha256:00", "blob"),
        ("/v2/a/b/blobs/uploads/", "blob_upload"),
        ("/v2/a/b/tags/list", "tags"),
        ("/v2/_catalog", "catalog"),
        ("/service/token", "token"),
        ("/api/v2.0/projects/library", "projects"),
        ("/api/version", "version"),
        ("/api/", "other"),
        ("/favicon.ico", "other"),
    ],
)
def test_names_of_paths(path: str, name: str) -> None:
    """As distribution and Harbor call them."""
    assert operation(path) == name


async def test_browsers_take_nothing_for_a_page() -> None:
    """Besides `/v2`, which says so itself; and what a face says goes before."""
    face = Face()
    face.headers = [(b"content-security-policy", b"default-src 'self'")]
    answer = headers_of(await call(Bounded(face), scope_of("/api/v2.0/ping")))
    assert answer[b"x-content-type-options"] == b"nosniff"
    assert answer[b"x-frame-options"] == b"DENY"
    assert answer[b"content-security-policy"] == b"default-src 'self'"
    assert b"x-frame-options" not in headers_of(await call(Bounded(face), scope_of("/v2/")))


@pytest.mark.parametrize(("path", "given_up"), [("/api/x", True), ("/v2/x", False)])
async def test_a_body_that_crawls_is_given_up(path: str, given_up: bool) -> None:
    """The face hears that the client is gone; `/v2` has bounds of its own."""
    heard: list[str] = []

    async def reading(scope: Scope, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            heard.append(message["type"])
            if message["type"] == "http.disconnect" or len(heard) == 20:
                return

    async def crawling() -> Message:
        await asyncio.sleep(0.02)
        return {"type": "http.request", "body": b"x", "more_body": True}

    await call(Bounded(reading, seconds=0.1), scope_of(path, method="POST"), crawling)
    assert (heard[-1] == "http.disconnect") is given_up
    assert heard.count("http.disconnect") == given_up


async def test_waiting_for_the_clients_leaving_has_no_end() -> None:
    """A face that streams its answer listens for a disconnect as long as it needs."""

    async def streaming(scope: Scope, receive: Receive, send: Send) -> None:
        assert (await receive())["type"] == "http.request"
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": []})

    calls = 0

    async def late() -> Message:
        nonlocal calls
        calls += 1
        if calls == 1:
            return {"type": "http.request", "body": b"", "more_body": False}
        await asyncio.sleep(0.2)
        return {"type": "http.disconnect"}

    answer = await call(Bounded(streaming, seconds=0.05), scope_of("/api/x"), late)
    assert answer["status"] == 200
    assert calls == 2
