"""The operator's endpoints, and work that goes on by itself."""

import asyncio
import logging
from collections.abc import Mapping
from contextlib import suppress
from ipaddress import ip_network
from types import SimpleNamespace

import httpx2
import pytest

from moorage.config.health import MetricsSettings
from moorage.errors import DatabaseUnavailable, StorageUnavailable
from moorage.ops import Operations, Probe
from moorage.roles import background
from moorage.roles.background import Work
from moorage.telemetry.metrics import Metrics
from moorage.web.requests import Forwarded

pytestmark = pytest.mark.anyio


def probe(answer: str | Exception) -> Probe:
    """A part that says this, or fails like this."""

    async def ask() -> str:
        if isinstance(answer, Exception):
            raise answer
        return answer

    return ask


async def get(operations: Operations, path: str, method: str = "GET") -> httpx2.Response:
    """One request."""
    transport = httpx2.ASGITransport(app=operations)
    async with httpx2.AsyncClient(transport=transport, base_url="http://test") as client:
        return await client.request(method, path)


def operations(**parts: str | Exception) -> Operations:
    """Endpoints of a process that has started."""
    made = Operations(Metrics("1"))
    made.probes = {name: probe(answer) for name, answer in parts.items()}
    return made


@pytest.mark.parametrize(
    ("parts", "status", "state"),
    [
        ({"database": "", "storage": ""}, 200, "ready"),
        ({"database": "", "storage": "full"}, 200, "degraded"),
        ({"database": "", "storage": StorageUnavailable("away")}, 200, "degraded"),
        ({"database": "", "storage": "", "redis": "down"}, 200, "degraded"),
        ({"database": DatabaseUnavailable("away"), "storage": ""}, 503, "unready"),
    ],
)
async def test_ready_is_who_reaches_the_database(
    parts: Mapping[str, str | Exception], status: int, state: str
) -> None:
    """Everything else is told of and takes nobody out of the balancer."""
    answer = await get(operations(**parts), "/readyz")
    assert (answer.status_code, answer.json()["status"]) == (status, state)
    wrong = {name: str(said) for name, said in parts.items() if str(said)}
    assert answer.json()["parts"] == {name: wrong.get(name, "healthy") for name in parts}


async def test_before_the_start_and_after_the_end() -> None:
    """It lives, and nobody is sent to it."""
    starting = Operations(Metrics("1"))
    assert (await get(starting, "/readyz")).status_code == 503
    assert (await get(starting, "/healthz")).status_code == 200
    leaving = operations(database="")
    leaving.leaving = True
    assert (await get(leaving, "/readyz")).json()["why"] == "shutting down"
    assert (await get(leaving, "/healthz")).status_code == 200


async def test_a_part_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts are asked at once and for a short time: a probe of the orchestrator waits no longer."""
    monkeypatch.setattr("moorage.ops.endpoints._PATIENCE", 0.05)

    async def never() -> str:
        await asyncio.Event().wait()
        return ""

    hanging = operations(database="")
    hanging.probes = {**hanging.probes, "storage": never, "redis": never}
    async with asyncio.timeout(60):
        answer = await get(hanging, "/readyz")
    assert answer.status_code == 200
    assert answer.json()["parts"]["storage"] == "no answer in 0.05 s"


async def test_what_is_wrong_with_a_probe_is_not_told() -> None:
    """A failure that nobody foresaw makes the part unhealthy, and shows no inside of it."""
    broken = operations(database="", storage=RuntimeError("password=hunter22"))
    answer = await get(broken, "/readyz")
    assert answer.status_code == 200
    assert answer.json()["parts"]["storage"] == "failed; the log says why"
    assert "hunter22" not in answer.text


async def test_only_reading() -> None:
    """Nothing here changes anything."""
    for path in ("/healthz", "/readyz", "/metrics"):
        answer = await get(operations(database=""), path, "POST")
        assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD")


async def test_metrics_by_component() -> None:
    """All, a part, or a sentence that names the parts."""
    asked = operations(database="")
    every = await get(asked, "/metrics")
    assert "moorage_info" in every.text
    assert every.headers["content-type"].startswith("text/plain; version=")
    core = await get(asked, "/metrics?comp=core")
    assert "harbor_core_http" in core.text
    assert "moorage_info" not in core.text
    unknown = await get(asked, "/metrics?comp=%1b[31m")
    assert (unknown.status_code, "choose one of" in unknown.text) == (400, True)
    assert "\x1b" not in unknown.text


@pytest.mark.parametrize(
    ("client", "headers", "status"),
    [
        ("127.0.0.1", {}, 200),
        ("10.1.2.3", {}, 200),
        ("::ffff:192.168.0.1", {}, 200),
        ("fe80::1%eth0", {}, 200),
        ("203.0.113.7", {}, 404),
        ("2001:db8::1", {}, 404),
        ("", {}, 404),
        ("127.0.0.1", {"X-Forwarded-For": "10.0.0.1"}, 404),
        ("127.0.0.1", {"Forwarded": "for=10.0.0.1"}, 404),
        ("198.51.100.1", {"X-Forwarded-For": "203.0.113.7"}, 404),
        ("198.51.100.1", {"X-Forwarded-For": "10.0.0.1"}, 200),
    ],
)
async def test_metrics_are_for_those_who_are_near(
    client: str, headers: Mapping[str, str], status: int
) -> None:
    """They name every project, also to who may see none; a proxy is believed if it is trusted."""
    asked = Operations(Metrics("1"), MetricsSettings().allow)
    app = Forwarded(asked, trusted=[ip_network("198.51.100.0/24")])
    transport = httpx2.ASGITransport(app=app, client=(client, 50_000))
    async with httpx2.AsyncClient(transport=transport, base_url="http://test") as asking:
        answer = await asking.get("/metrics", headers=headers)
        assert answer.status_code == status
        assert ("moorage_info" in answer.text) is (status == 200)
        assert (await asking.get("/healthz", headers=headers)).status_code == 200


class Enough(Exception):
    """The work has paused as often as the test wants."""


async def pauses_of(work: Work, metrics: Metrics, count: int) -> list[float]:
    """Let the work go on for so many pauses, which take no time; how long each would be."""
    found: list[float] = []

    async def sleep(seconds: float) -> None:
        found.append(seconds)
        if len(found) == count:
            raise Enough
        await asyncio.sleep(0)

    with pytest.MonkeyPatch.context() as patch, suppress(Enough):
        patch.setattr(background, "asyncio", SimpleNamespace(sleep=sleep))
        await background.keep_going(work, metrics)
    return found


def runs(metrics: Metrics, outcome: str) -> float:
    """How often the work had this outcome."""
    labels = {"work": "sweeper", "outcome": outcome}
    return metrics.registry.get_sample_value("moorage_background_runs_total", labels) or 0


async def test_work_goes_on_while_there_is_more() -> None:
    """No pause between batches, and one after the last."""
    metrics, left = Metrics("1"), [True] * 20

    async def batch() -> bool:
        return bool(left and left.pop())

    assert len(await pauses_of(Work("sweeper", 5, batch), metrics, 2)) == 2
    assert not left
    assert runs(metrics, "success") == 1


@pytest.mark.parametrize("error", [DatabaseUnavailable("away"), RuntimeError("a bug")])
async def test_work_that_fails_is_tried_again(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    """More and more slowly; an outage is a line in the log, a bug is one with its traceback."""
    metrics, tries = Metrics("1"), []

    async def batch() -> bool:
        tries.append(1)
        if len(tries) < 5:
            raise error
        return False

    with caplog.at_level(logging.WARNING):
        first, *slower, after = await pauses_of(Work("sweeper", 5, batch), metrics, 6)
    assert runs(metrics, "failure") == 4
    assert runs(metrics, "success") == 1
    assert [first, *slower] == sorted([first, *slower])
    assert slower[-1] > 4 * first
    assert after < slower[0]
    traced = [record for record in caplog.records if record.exc_info]
    assert len(traced) == (4 if isinstance(error, RuntimeError) else 0)
