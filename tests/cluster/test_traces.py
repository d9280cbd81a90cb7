"""Traces over two processes: what a collector gets, and what the logs say of it."""

import gzip
import json
import sys
import threading
import time
import urllib.request
from base64 import b64encode
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from tests.support.serving import Registry

from moorage.config.settings import Settings
from moorage.roles.faces import Role
from moorage.roles.server import CannotStart, run

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
ASKED = {"traceparent": f"00-{TRACE}-{PARENT}-01", "X-Request-Id": "asked-1"}


class Collector:
    """Takes spans as a collector does: OTLP, protobuf over HTTP."""

    def __init__(self) -> None:
        self.spans: list[dict[str, Any]] = []
        self.paths: set[str] = set()
        told = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.headers.get("Content-Encoding") == "gzip":
                    body = gzip.decompress(body)
                told.paths.add(self.path)
                told.spans += _spans(ExportTraceServiceRequest.FromString(body))
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:
                """Quiet."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/v1/traces"


def _spans(request: ExportTraceServiceRequest) -> Iterator[dict[str, Any]]:
    for resource in request.resource_spans:
        outer = {each.key: each.value.string_value for each in resource.resource.attributes}
        for scope in resource.scope_spans:
            for span in scope.spans:
                inner = {
                    each.key: each.value.string_value or each.value.int_value
                    for each in span.attributes
                }
                ids = span.trace_id.hex(), span.span_id.hex(), span.parent_span_id.hex()
                yield {"name": span.name, "ids": ids, **outer, **inner}


@pytest.fixture
def collector() -> Iterator[Collector]:
    """A collector that listens."""
    made = Collector()
    thread = threading.Thread(target=made.server.serve_forever)
    thread.start()
    yield made
    made.server.shutdown()
    thread.join()
    made.server.server_close()


def tracing(endpoint: str, **settings: object) -> dict[str, object]:
    """Settings with traces on."""
    return {
        "trace.enabled": True,
        "trace.endpoint": endpoint,
        "trace.attributes": {"deployment.environment.name": "test"},
        "log.format": "json",
        "log.level": "debug",
        **settings,
    }


def get(url: str, headers: dict[str, str] | None = None) -> bytes:
    """A page or a document."""
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers or {})) as answer:
        body: bytes = answer.read()
        return body


def lines(registry: Registry, path: str) -> list[dict[str, Any]]:
    """The lines of a log that tell of answered requests to a path, under the id that was asked."""
    found = [json.loads(line) for line in registry.log().splitlines() if line.startswith("{")]
    return [
        line
        for line in found
        if f"{path} is answered" in line["event"] and line.get("request_id") == "asked-1"
    ]


def collect(registry: Registry) -> None:
    """Let a garbage collection run to its end."""
    basic = b64encode(f"{registry.username}:{registry.password}".encode()).decode()
    headers = {"Authorization": f"Basic {basic}", "Content-Type": "application/json"}
    body = json.dumps({"schedule": {"type": "Manual"}}).encode()
    url = registry.url + "/api/v2.0/system/gc"
    urllib.request.urlopen(urllib.request.Request(url + "/schedule", body, headers)).close()
    until = time.monotonic() + 60
    while json.loads(get(url, headers))[0]["job_status"] != "Success":
        assert time.monotonic() < until
        time.sleep(0.1)


@pytest.mark.slow
def test_a_request_through_the_portal_is_one_trace(tmp_path: Path, collector: Collector) -> None:
    """Its spans hang together, both logs name its ids, and what is left is sent at the end."""
    settings = tracing(collector.url)
    with Registry(tmp_path / "core", settings=settings).running() as core:
        settings = tracing(collector.url, **{"portal.core_url": core.url})
        with Registry(tmp_path / "portal", settings=settings, role="portal").running() as portal:
            get(portal.url + "/account/sign-in?token=hidden", ASKED)
            collect(core)
            portal.stop()
            core.stop()
            (page,) = lines(portal, "/account/sign-in")
            called = lines(core, "/api/v2.0/systeminfo")
    assert collector.paths == {"/v1/traces"}
    ours = [span for span in collector.spans if span["ids"][0] == TRACE]
    (outer,) = [span for span in ours if span["moorage.role"] == "portal"]
    inner = [span for span in ours if span["moorage.role"] == "all"]
    assert outer["ids"] == (TRACE, page["span_id"], PARENT)
    assert outer["url.path"] == "/account/sign-in"
    assert (outer["service.name"], outer["deployment.environment.name"]) == ("moorage", "test")
    assert inner
    for span in inner:
        assert span["ids"][2] == outer["ids"][1]
    for span in ours:
        assert (span["moorage.request_id"], span["http.response.status_code"]) == ("asked-1", 200)
    assert page["trace_id"] == TRACE
    assert {line["trace_id"] for line in called} == {TRACE}
    assert [span for span in collector.spans if span["name"] == "job GARBAGE_COLLECTION"]
    assert "hidden" not in repr(collector.spans)
    assert not [span for span in collector.spans if span.get("url.path") in ("/readyz", "/healthz")]


@pytest.mark.slow
def test_a_collector_that_is_away(tmp_path: Path) -> None:
    """Requests are answered as ever; the log says so once, without tracebacks."""
    settings = tracing("http://127.0.0.1:9/v1/traces", **{"log.level": "info"})
    with Registry(tmp_path / "a", settings=settings).running() as registry:
        for _ in range(20):
            get(registry.url + "/api/v2.0/systeminfo")
        registry.stop()
        assert registry.log().count("traces are lost") == 1
        assert "Traceback" not in registry.log()


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """The start ends with a sentence that says what to install."""
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    settings = Settings.model_validate(
        {"trace": {"enabled": True}, "portal": {"core_url": "http://127.0.0.1:9"}}
    )
    with pytest.raises(CannotStart, match=r"moorage\[otel\]"):
        run(settings, Role.PORTAL, lambda *_: None)
