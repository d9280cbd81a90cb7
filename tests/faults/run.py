"""One run: a topology, clients, nemeses, and at the end everything that must hold.

furnish ─► clients work ─┬─► nemesis, heal, ready? ─► nemesis, … ─► over
                         └─► samples of memory, descriptors, connections
over ─► every replica is read ─► jobs end ─► processes stop ─► rows and objects are compared
"""

import contextlib
import json
import os
import random
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from tests.faults import world as places
from tests.faults.checker import Violation, Window, check, failed, judge_errors
from tests.faults.clients import Findings, Pace
from tests.faults.history import History, Record
from tests.faults.nemeses import NEMESES, Nemesis
from tests.faults.settle import after_all, read_everything
from tests.faults.topology import Topology
from tests.faults.workload import Client
from tests.faults.world import World, furnish

Say = Callable[[str], None]


@dataclass(frozen=True)
class Course:
    """What a run is to do."""

    seed: str
    seconds: float  # at least
    ops: int = 0  # requests, at least
    most: float = 1e9  # seconds after which it ends in any case
    rate: float = 20.0  # requests a second
    clients: int = 8
    pause: float = 2.0  # seconds without a fault between two of them, at least
    nemeses: Sequence[Nemesis] = NEMESES
    script: Sequence[Nemesis] = ()  # these, in this order, once, instead of any at random
    every: float = 15.0  # seconds between samples
    strikes: int = 0  # faults, at least


@dataclass
class Sample:
    """One process at one moment."""

    at: float
    memory: int
    descriptors: int
    sockets: int
    database: int  # connections
    start: int  # how often it had been started


@dataclass
class Outcome:
    """What came of it."""

    course: Course
    windows: list[Window] = field(default_factory=list)
    samples: dict[str, list[Sample]] = field(default_factory=dict)
    violations: list[Violation] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    records: Sequence[Record] = ()
    seconds: float = 0.0


class Run:
    """A run on a topology that is up."""

    def __init__(self, topology: Topology, course: Course, say: Say = lambda _: None) -> None:
        self.topology = topology
        self.course = course
        self.say = say
        self.rng = random.Random(course.seed)
        self.world = World(random.Random(f"{course.seed}-world"))
        self.history = History(topology.folder / "history.jsonl")
        self.findings = Findings(say=say)
        self.over = threading.Event()
        self.outcome = Outcome(course)

    def go(self) -> Outcome:
        """Do all of it; what is wrong is in the outcome."""
        furnish(self.topology, self.world)
        clients = self._clients()
        self.history.began = time.monotonic()
        for client in clients:
            client.start()
        watch = threading.Thread(target=self._watch, daemon=True)
        watch.start()
        try:
            self._torment()
        finally:
            self.over.set()
            for client in clients:
                client.join(90)
            watch.join(30)
        stuck = [client.name for client in clients if client.is_alive()]
        if stuck:
            self.findings.add("client", f"{stuck} have not ended")
        self.outcome.seconds = self.history.now()
        self._judge(clients[0])
        return self.outcome

    def _clients(self) -> list[Client]:
        session = places.admin(self.topology)
        stranger = places.outsider(self.topology)
        doors = places.doors(self.topology)
        pace = Pace(self.course.rate)
        return [
            Client(
                *(f"c{n}", self.course.seed, self.world, doors, session, stranger),
                *(self.history, self.findings, self.over, pace),
            )
            for n in range(self.course.clients)
        ]

    # --- trouble

    def _torment(self) -> None:
        possible = []
        for nemesis in self.course.script or self.course.nemeses:
            if why := nemesis.lacking():
                self.outcome.skipped[nemesis.id] = why
            else:
                possible.append(nemesis)
        time.sleep(self.course.pause)
        if self.course.script:
            for nemesis in possible:
                self._strike(nemesis)
                time.sleep(self.course.pause)
            self._calm(60)
            return
        turn: list[Nemesis] = []
        while not self._ended():
            if not possible:
                time.sleep(1)
                continue
            if not turn:  # each once, in an order that the seed tells, before any comes again
                turn = self.rng.sample(possible, len(possible))
            self._strike(turn.pop())
            time.sleep(self.course.pause)
        self._calm(60)

    def _ended(self) -> bool:
        late = self.history.now() >= self.course.seconds
        if self.course.ops:
            late = late and len(self.history.records) >= self.course.ops
        late = late and len(self.outcome.windows) >= self.course.strikes
        return late or self.history.now() >= self.course.most

    def _strike(self, nemesis: Nemesis) -> None:
        window = Window(nemesis.id, nemesis.says, self.history.now(), harmless=nemesis.harmless)
        self.outcome.windows.append(window)
        self.say(f"{window.begin:8.1f} {nemesis.id} {nemesis.says}")
        try:
            with nemesis.strike(self.topology, self.rng):
                window.struck = self.history.now()
                lasts = self.rng.uniform(*nemesis.seconds)
                time.sleep(lasts)
        except Exception as error:  # the others are still to come
            self.findings.add("nemesis", f"{nemesis.id}: {error!r}")
            self._revive()
        window.heal = self.history.now()
        began = time.monotonic()
        try:
            self.topology.await_ready(300)
        except AssertionError as error:
            self.findings.add("I9", f"after {nemesis.id}: {error}")
        window.ready = time.monotonic() - began
        self._calm(45)

    def _revive(self) -> None:
        """Start what a nemesis that failed has left behind."""
        for each in self.topology.processes:
            if not each.alive:
                each.launch()

    def _calm(self, most: float) -> None:
        """Wait until no request has failed for some seconds."""
        until = time.monotonic() + most
        while time.monotonic() < until:
            since = self.history.now() - 3
            recent = self.history.records[-400:]
            if not any(failed(r) and (r.complete or 0) > since for r in recent):
                return
            time.sleep(0.25)

    # --- figures

    def _watch(self) -> None:
        while not self.over.wait(self.course.every):
            for each in self.topology.processes:
                with contextlib.suppress(OSError, AssertionError):
                    usage = each.usage()
                    found = Sample(self.history.now(), *usage, each.starts)
                    self.outcome.samples.setdefault(each.name, []).append(found)
            self._count_metrics()
            done = len(self.history.records)
            self.say(f"{self.history.now():8.1f} {done} requests, {len(self.findings.wrong)} wrong")

    def _count_metrics(self) -> None:
        """Cycles of the collector and what it took, over all starts of a process."""
        for each in self.topology.processes:
            with contextlib.suppress(OSError, ValueError):
                with urllib.request.urlopen(f"{each.url}/metrics", timeout=5) as answer:
                    text = answer.read().decode()
                for line in text.splitlines():
                    name, _, value = line.rpartition(" ")
                    if name in METRICS:
                        key = f"{METRICS[name]}|{each.name}|{each.starts}"
                        self.outcome.counts[key] = int(float(value))

    # --- judgement

    def _judge(self, client: Client) -> None:
        self.say("reading everything on every replica")
        self.over.clear()
        client.wire.pace.rate = 0
        self.topology.await_ready(300)
        try:
            wrong = read_everything(client, self.history, self.topology)
        finally:
            client.wire.close()
        self.history.close()
        outcome = self.outcome
        outcome.records = self.history.records
        self.say("comparing")
        for each in self.findings.wrong:
            invariant, _, what = each.partition(": ")
            outcome.violations.append(Violation(invariant, what))
        outcome.violations += [Violation("I1", each) for each in wrong]
        outcome.violations += check(outcome.records)
        outcome.violations += judge_errors(outcome.records, outcome.windows)
        for invariant, each in after_all(self.topology):
            outcome.violations.append(Violation(invariant, each))

    def complaint(self) -> str:
        """All that helps to find out why: seed, faults, and for each key its history and rows."""
        outcome = self.outcome
        lines = [f"seed {self.course.seed}; history in {self.history.path}"]
        lines += [f"{w.begin:.1f}-{w.heal:.1f} {w.id} {w.says}" for w in outcome.windows]
        for each in outcome.violations[:20]:
            lines.append(str(each))
            if each.key is not None:
                lines += self._rows(*each.key)
        lines.append(f"{len(outcome.violations)} violations")
        return "\n".join(lines)

    def _rows(self, repository: str, reference: str) -> list[str]:
        """What the database says of a tag or digest."""
        query = (
            "SELECT r.name, m.digest, m.tagged, t.name, b.digest, b.storage_key, l.lease_until "
            "FROM repositories r JOIN manifests m ON m.repository_id = r.id "
            "LEFT JOIN tags t ON t.manifest_id = m.id "
            "LEFT JOIN manifest_blobs mb ON mb.manifest_id = m.id "
            "LEFT JOIN blobs b ON b.digest = mb.digest "
            "LEFT JOIN repository_blobs l ON l.repository_id = r.id AND l.digest = mb.digest "
            f"WHERE r.name LIKE '%{repository.partition('/')[2]}' "
            f"AND (m.digest = '{reference}' OR t.name = '{reference}')"
        )
        with contextlib.suppress(Exception):
            found = self.topology.rows(query)
            return [f"    row {row}" for row in found] or ["    no row"]
        return ["    the database does not answer"]


METRICS = {
    'moorage_background_runs_total{outcome="success",work="collector"}': "cycles",
    'moorage_background_runs_total{work="collector",outcome="success"}': "cycles",
    "moorage_gc_collected_blobs_total": "collected",
}


def dump(outcome: Outcome, path: Path) -> None:
    """All figures but the records, which are in the history."""
    document = {
        "seed": outcome.course.seed,
        "rate": outcome.course.rate,
        "seconds": outcome.seconds,
        "requests": len(outcome.records),
        "windows": [asdict(window) for window in outcome.windows],
        "samples": {name: [asdict(s) for s in each] for name, each in outcome.samples.items()},
        "violations": [str(each) for each in outcome.violations],
        "skipped": outcome.skipped,
        "counts": dict(outcome.counts),
    }
    path.write_text(json.dumps(document, indent=1))


def total(outcome: Outcome, name: str) -> int:
    """A figure of all processes and all their starts."""
    return sum(n for key, n in outcome.counts.items() if key.startswith(f"{name}|"))


def new_seed() -> str:
    """A seed nobody chose, unless TESTS_SEED does."""
    return os.environ.get("TESTS_SEED") or os.urandom(4).hex()


def summary(outcome: Outcome) -> str:
    """One line."""
    done = len(outcome.records)
    struck = Counter(window.id for window in outcome.windows)
    return json.dumps(
        {
            "seed": outcome.course.seed,
            "seconds": round(outcome.seconds),
            "requests": done,
            "faults": dict(struck),
            "violations": len(outcome.violations),
            "cycles": total(outcome, "cycles"),
            "collected": total(outcome, "collected"),
        }
    )
