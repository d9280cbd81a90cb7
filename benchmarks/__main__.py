"""Start the servers, run the cases in turn, write the table."""

import argparse
import shutil
import sys
import tempfile
from collections import defaultdict
from contextlib import ExitStack
from pathlib import Path

from tests.support.databases import running_postgres
from tests.support.nginx import BLOBS, Nginx
from tests.support.peers import DockerRegistry
from tests.support.redis_server import RedisServer
from tests.support.requirements import find
from tests.support.serving import Registry

from benchmarks import report
from benchmarks.cases import CASES, MIB, Case, Work
from benchmarks.servers import Contents, Server

NEEDED = ("docker-registry", "initdb", "nginx", "redis-server", "skopeo", "wrk")


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3, help="how long one case takes, about")
    parser.add_argument("--quick", action="store_true", help="one short round, to try it out")
    parser.add_argument("--only", default="", help="cases whose name holds this word")
    parser.add_argument("--folder", type=Path, help="where the registries keep their data")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results.md")
    return parser.parse_args()


def start(folder: Path, stack: ExitStack) -> tuple[list[Server], list[Server], list[Server]]:
    """Start all: the two registries, the two behind nginx, and ours on PostgreSQL and Redis."""
    peer = DockerRegistry(folder / "peer")
    stack.callback(peer.stop)
    peer.start()
    ours = Registry(folder / "moorage")
    stack.enter_context(ours.running())
    behind = {"http.trusted_proxies": ["127.0.0.1/32"], "http.accel_redirect": BLOBS}
    fast = Registry(folder / "fronted", settings=behind)
    stack.enter_context(fast.running())
    blobs = fast.folder / "data" / "blobs"
    plain_front = Nginx(folder / "nginx-peer", [peer.port])
    fast_front = Nginx(folder / "nginx-moorage", [fast.port], blobs=blobs)
    for front in (plain_front, fast_front):
        stack.callback(front.stop)
        front.start()
    user = (ours.username, ours.password)
    direct = [
        Server("docker-registry", peer.host, folder / "a", lambda: peer.pids),
        Server("moorage", ours.host, folder / "b", lambda: [ours.pid], *user),
    ]
    proxied = [
        Server("docker-registry", plain_front.host, folder / "c",
               lambda: [*peer.pids, plain_front.pid]),
        Server("moorage", fast_front.host, folder / "d", lambda: [fast.pid, fast_front.pid],
               fast.username, fast.password),
    ]  # fmt: skip
    database = stack.enter_context(running_postgres(durable=True))
    database.sql("CREATE DATABASE moorage")
    cache = RedisServer(folder / "redis").start()
    stack.callback(cache.kill)
    settings = {"database.url": database.url("moorage"), "redis.url": cache.url}
    kept = Registry(folder / "recorded", settings=settings)
    stack.enter_context(kept.running())
    recorded = [
        direct[0],
        Server("moorage", kept.host, folder / "e", lambda: [kept.pid, database.pid],
               kept.username, kept.password),
    ]  # fmt: skip
    return direct, proxied, recorded


def measure(
    cases: list[Case], servers: list[Server], contents: Contents, rounds: int, seconds: float
) -> dict[tuple[str, str], list[Work]]:
    """Every case against each server in turn; who begins changes with the round."""
    results: dict[tuple[str, str], list[Work]] = defaultdict(list)
    for number in range(rounds):
        for case in cases:
            for server in servers if number % 2 == 0 else reversed(servers):
                work = case.run(server, contents, seconds)
                results[case.name, server.name].append(work)
                print(
                    f"{number + 1}/{rounds}  {case.name:40} {server.name:16} "
                    f"{report.rate(case, [work]):>12}  {report.cost(case, [work])}",
                    flush=True,
                )
    return results


def main() -> int:
    """Run it all."""
    options = arguments()
    absent = [name for name in NEEDED if find(name) is None]
    if absent:
        print(f"not on this machine: {', '.join(absent)}", file=sys.stderr)
        return 1
    rounds, seconds = (1, 1.0) if options.quick else (options.rounds, options.seconds)
    cases = [case for case in CASES if options.only in case.name]
    folder = Path(tempfile.mkdtemp(prefix="moorage-bench-", dir=options.folder))
    try:
        with ExitStack() as stack:
            direct, proxied, recorded = start(folder, stack)
            contents = Contents(folder / "contents", (MIB, 256 * MIB))
            for server in (*direct, *proxied, recorded[1]):
                server.folder.mkdir(exist_ok=True)
                contents.store(server)
            results = measure(cases, direct, contents, rounds, seconds)
            fronted = measure(
                [case for case in cases if case.proxied], proxied, contents, rounds, seconds
            )
            rows = measure(
                [case for case in cases if case.recorded], recorded, contents, rounds, seconds
            )
            memory = {server.name: server.peak() for server in direct}
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    names = [server.name for server in direct]
    tables = [
        ("Direct", report.table(cases, results, *names)),
        ("Behind nginx", report.table(cases, fronted, *names)),
        ("With PostgreSQL and Redis for Moorage", report.table(cases, rows, *names)),
    ]
    page = report.page(tables, memory, rounds)
    print(page)
    if not options.quick and not options.only:
        options.output.write_text(page)
    return 0


if __name__ == "__main__":
    sys.exit(main())
