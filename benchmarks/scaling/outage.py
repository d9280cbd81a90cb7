"""How long requests take while Redis is hung, gone and flushed: pushes and pulls through nginx."""

import contextlib
import statistics
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

from tools.ha import Topology

from benchmarks.scaling.load import image, pull_image, push_image, repeat
from benchmarks.servers import Server
from benchmarks.wire import Wire

CLIENTS = 4  # that push, and as many that pull
Times = dict[str, list[float]]  # work → seconds of each


@contextlib.contextmanager
def _hung(ha: Topology) -> Iterator[None]:
    ha.redis.pause()
    yield
    ha.redis.resume()


@contextlib.contextmanager
def _killed(ha: Topology) -> Iterator[None]:
    ha.redis.kill()
    yield
    ha.redis.start()


@contextlib.contextmanager
def _flushed(ha: Topology) -> Iterator[None]:
    over = threading.Event()

    def flush() -> None:
        while not over.wait(0.5):
            ha.redis.flush()

    thread = threading.Thread(target=flush)
    thread.start()
    yield
    over.set()
    thread.join()


PHASES: dict[str, Callable[[Topology], contextlib.AbstractContextManager[None]]] = {
    "it is well": lambda ha: contextlib.nullcontext(),
    "it hangs": _hung,
    "it is killed": _killed,
    "it is flushed every half second": _flushed,
    "it is well again": lambda ha: contextlib.nullcontext(),
}


def measure(seconds: float) -> dict[str, Times]:
    """Every phase, times of whole pushes and pulls; raises WireError when a request fails."""
    counts = {"registry": 2, "core": 2, "jobservice": 1}
    found: dict[str, Times] = {}
    with (
        tempfile.TemporaryDirectory(prefix="moorage-bench-") as folder,
        Topology(Path(folder), replicas=counts, durable=True) as ha,
    ):
        host = ha.url.partition("//")[2]
        server = Server("moorage", host, Path(folder), list, "admin", ha.password)
        store = urlsplit(ha.store.endpoint).netloc
        _load(server, store, 2)
        for phase, outage in PHASES.items():
            with outage(ha):
                found[phase] = _load(server, store, seconds)
    return found


def _load(server: Server, store: str, seconds: float) -> Times:
    times: Times = defaultdict(list)
    made = image()
    first = Wire(server.host, server.headers())
    push_image(first, made, "pulled")
    first.close()

    def push(wire: Wire, number: int) -> None:
        fresh, began = image(), time.perf_counter()
        push_image(wire, fresh, f"t{number}")
        times["push"].append(time.perf_counter() - began)

    def pull(wire: Wire, number: int) -> None:
        other, began = Wire(store), time.perf_counter()
        pull_image(wire, other, made, "pulled")
        times["pull"].append(time.perf_counter() - began)
        other.close()
        time.sleep(0.02)  # or the pulls alone would fill the machine

    with ThreadPoolExecutor(2) as both:
        each = [both.submit(repeat, server, seconds, work, CLIENTS) for work in (push, pull)]
    for done in each:
        done.result()
    return times


def table(found: dict[str, Times]) -> list[str]:
    """Medians and the slowest of a hundred, by phase."""
    lines = [
        "| Redis | pushes | median | p99 | pulls | median | p99 |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for phase, times in found.items():
        cells = [phase]
        for work in ("push", "pull"):
            spent = times[work]
            p99 = statistics.quantiles(spent, n=100)[98]
            median = statistics.median(spent)
            cells += [f"{len(spent)}", f"{1e3 * median:,.0f} ms", f"{1e3 * p99:,.0f} ms"]
        lines.append(f"| {' | '.join(cells)} |")
    return lines
