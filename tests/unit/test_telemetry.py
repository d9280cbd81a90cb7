"""Logs that nobody can forge, and figures under the names that dashboards know."""

import asyncio
import json
import logging
import math
import re
from collections.abc import Callable, Iterator

import pytest
from prometheus_client.parser import text_string_to_metric_families

from moorage.errors import DatabaseUnavailable
from moorage.telemetry import logs
from moorage.telemetry.durations import quantile
from moorage.telemetry.figures import Values
from moorage.telemetry.metrics import Metrics

JWT = "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJhZG1pbiJ9.c2lnbmF0dXJl"


Written = Callable[[], str]


@pytest.fixture
def written(capsys: pytest.CaptureFixture[str]) -> Iterator[Written]:
    """What went to standard error; the root logger is as before afterwards."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield lambda: capsys.readouterr().err
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.mark.parametrize("form", ["json", "console"])
@pytest.mark.parametrize(
    "hostile",
    [
        "a\nb",
        "a\r\nERROR b",
        "\x1b[31mred",
        "\u202egpj.exe",
        "\u2028x",
        "a\x00b",
        "\x9b2J",
        "\u200fx",
    ],
)
def test_an_event_is_one_line(written: Written, form: str, hostile: str) -> None:
    """Whatever a client calls itself, it cannot end a line, colour it or turn it round."""
    logs.configure("info", form)
    logging.getLogger("test").info("client left %s", hostile)
    text = written()
    assert text.count("\n") == 1
    assert not logs.UNSAFE.search(text.rstrip("\n"))
    assert "client left" in text


@pytest.mark.parametrize("form", ["json", "console"])
@pytest.mark.parametrize(
    ("message", "secret"),
    [
        ("Authorization: Basic YWRtaW46aHVudGVyMg==", "YWRtaW46aHVudGVyMg=="),
        (f"Authorization: Bearer {JWT}", JWT),
        (f"the token {JWT} is not ours", JWT),
        ("connecting to redis://:hunter22@cache:6379/0", "hunter22"),
        ("connecting to postgresql://me:hunter22@db/x", "hunter22"),
        ("GET /x?X-Amz-Signature=abcdef0123&x=1", "abcdef0123"),
        ("GET /x?access_token=abcdef0123", "abcdef0123"),
        ("POST /c/login?user=x&password=hunter22", "hunter22"),
    ],
)
def test_credentials_are_not_written(
    written: Written, form: str, message: str, secret: str
) -> None:
    """Neither in a message nor in the traceback of an error that carries one."""
    logs.configure("info", form)
    logging.getLogger("test").warning(message)
    try:
        raise RuntimeError(message)
    except RuntimeError:
        logging.getLogger("test").exception("failed")
    text = written()
    assert "failed" in text
    assert secret not in text


def test_a_traceback_stays_one_line_of_json(written: Written) -> None:
    """A log collector sees one event, and an operator the whole way to the error."""
    logs.configure("info", "json")
    logs.REQUEST_ID.set("id-1")
    try:
        raise RuntimeError("broken")
    except RuntimeError:
        logging.getLogger("test").exception("failed")
    finally:
        logs.REQUEST_ID.set("")
    (line,) = written().splitlines()
    event = json.loads(line)
    assert event["event"] == "failed"
    assert event["request_id"] == "id-1"
    assert 'raise RuntimeError("broken")' in event["exception"]


def test_only_what_is_wanted_is_written(written: Written) -> None:
    """Below the level nothing; at it, name and time are told."""
    logs.configure("warning", "json")
    logging.getLogger("test").info("small talk")
    logging.getLogger("test").warning("heed this")
    (line,) = written().splitlines()
    event = json.loads(line)
    assert (event["level"], event["logger"]) == ("warning", "test")
    assert event["timestamp"].endswith("Z")


@pytest.mark.parametrize(
    "library", ["sqlalchemy.engine.Engine", "aiosqlite", "asyncpg", "httpcore2.http11"]
)
def test_statements_are_not_written(written: Written, library: str) -> None:
    """Drivers that are asked for everything print values, and hashes of passwords among them."""
    logs.configure("debug", "json")
    logging.getLogger(library).info("INSERT INTO users VALUES ('$argon2id$')")
    logging.getLogger(library).debug("INSERT INTO users VALUES ('$argon2id$')")
    logging.getLogger("moorage").debug("heard")
    (line,) = written().splitlines()
    assert json.loads(line)["event"] == "heard"


def test_fields_with_telling_names_are_hidden() -> None:
    """Also inside of what an event carries."""
    event = {"password": "x", "headers": {"Cookie": "sid=1", "Accept": "a\nb"}, "n": 1}
    assert logs.clean(None, "", event) == {
        "password": "***",
        "headers": {"Cookie": "***", "Accept": "a\\u000ab"},
        "n": 1,
    }


def figures(metrics: Metrics, component: str = "") -> dict[str, float]:
    """Every sample by its name and labels."""
    text, kind = metrics.expose(component)
    assert kind.startswith("text/plain")
    return {
        f"{sample.name}{json.dumps(sample.labels, sort_keys=True)}": sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


def test_requests_are_counted_under_the_names_of_distribution_and_harbor() -> None:
    """Counters, cumulative buckets, sums and what is in flight."""
    metrics = Metrics("1.2.3")
    for seconds in (0.004, 0.02, 3.0, 99.0):
        metrics.registry_requests.add("manifest", "GET", 200, seconds)
    metrics.registry_requests.add("manifest", "GET", 404, 0.005)
    metrics.core_requests.add("projects", "POST", 201, 0.2)
    metrics.core_requests.in_flight += 2
    metrics.registry_requests.running["blob"] += 1
    found = figures(metrics)
    labels = '{"code": "200", "handler": "manifest", "method": "GET"}'
    assert found[f"registry_http_requests_total{labels}"] == 4
    times = "registry_http_request_duration_seconds"
    for bound, count in (("0.005", 2), ("0.025", 3), ("2.5", 3), ("5.0", 4), ("+Inf", 5)):
        labels = f'{{"handler": "manifest", "le": "{bound}", "method": "GET"}}'
        assert found[f"{times}_bucket{labels}"] == count, bound
    assert found[f'{times}_count{{"handler": "manifest", "method": "GET"}}'] == 5
    total = found[f'{times}_sum{{"handler": "manifest", "method": "GET"}}']
    assert total == pytest.approx(102.029)
    labels = '{"code": "201", "method": "POST", "operation": "projects"}'
    assert found[f"harbor_core_http_request_total{labels}"] == 1
    assert found["harbor_core_http_inflight_requests{}"] == 2
    assert found['moorage_info{"version": "1.2.3"}'] == 1
    assert found["process_resident_memory_bytes{}"] > 0


def test_components_are_the_parts_of_the_whole() -> None:
    """`?comp=` divides the figures: each is in exactly one part."""
    metrics = Metrics("1")
    metrics.registry_requests.add("blob", "GET", 200, 1)
    metrics.core_requests.add("users", "GET", 200, 1)
    metrics.observe_storage("memory", "Get", 0.1)
    metrics.background.labels("sweeper", "success").inc()
    parts = [set(figures(metrics, name)) for name in ("core", "registry", "jobservice", "exporter")]
    assert all(parts)
    assert sum(map(len, parts)) == len(set.union(*parts))
    assert set.union(*parts) == set(figures(metrics))
    with pytest.raises(ValueError, match="choose one of core, registry, jobservice, exporter"):
        metrics.expose("trivy")


def test_quantiles_for_harbors_dashboards() -> None:
    """Between the bounds of the bucket that the quantile is in; of nothing there is none."""
    metrics = Metrics("1")
    for seconds in [0.02] * 90 + [2.0] * 10:
        metrics.core_requests.add("users", "GET", 200, seconds)
    text = metrics.expose("core")[0].decode()
    name = "harbor_core_http_request_duration_seconds"
    labels = 'method="GET",operation="users",quantile='
    values = dict(re.findall(rf'^{name}{{{labels}"([\d.]+)"}} (\S+)$', text, re.MULTILINE))
    assert set(values) == {"0.5", "0.8", "0.9", "0.95", "0.99"}
    assert 0.01 <= float(values["0.5"]) <= float(values["0.9"]) <= 0.025
    assert 1.0 <= float(values["0.95"]) <= float(values["0.99"]) <= 2.5
    assert math.isnan(quantile(0.9, [0.0, 0.0], [1.0]))
    assert f'{name}_count{{method="GET",operation="users"}} 100.0' in text


@pytest.mark.anyio
async def test_a_source_that_fails_tells_nothing_and_harms_nobody() -> None:
    """Its figures are absent until it answers again; the others are there, and kept for a time."""
    metrics, asked, broken = Metrics("1"), [0], [False]

    async def well() -> Values:
        asked[0] += 1
        return {"moorage_workers": [((), 3)]}

    async def ill() -> Values:
        if broken[0]:
            raise DatabaseUnavailable
        return {"moorage_uploads_open": [((), 1)]}

    metrics.figures.add("well", well, 3600)
    metrics.figures.add("ill", ill)
    await asyncio.gather(metrics.figures.refresh(), metrics.figures.refresh())
    assert figures(metrics)["moorage_uploads_open{}"] == 1
    broken[0] = True
    await metrics.figures.refresh()
    assert "moorage_uploads_open{}" not in figures(metrics)
    assert figures(metrics)["moorage_workers{}"] == 3
    assert asked == [1]
