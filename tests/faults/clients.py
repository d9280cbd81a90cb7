"""Clients that write down what they ask, and what the answer tells them.

Wire.ask       one request, one record; raises Lost when it stays open
Wire.insist    asks again, elsewhere, until there is an answer
Session        a bearer token that is renewed before it ends
"""

import hashlib
import json
import random
import threading
import time
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException, IncompleteRead
from typing import Any

from tests.faults.history import FAIL, OK, UNKNOWN, History, Record
from tests.support.images import INDEX, MANIFEST
from tests.support.replicas import Answer

PATIENCE = 60.0  # seconds without a byte after which a client gives a request up


class Lost(Exception):
    """No answer, or one that leaves open whether the request was done."""

    def __init__(self, what: str, status: int = 0) -> None:
        super().__init__(what)
        self.status = status


class Over(Exception):
    """The run has ended."""


@dataclass
class Findings:
    """What is wrong beyond any doubt, found while it happened."""

    wrong: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)
    say: Callable[[str], None] = lambda _: None

    def add(self, invariant: str, what: str) -> None:
        """Note a violation of `invariant`, as I3."""
        with self.lock:
            self.wrong.append(f"{invariant}: {what}")
        self.say(self.wrong[-1])


class Pace:
    """So many requests a second of all clients together; 0: as fast as they come."""

    def __init__(self, rate: float) -> None:
        self.rate = rate
        self._next = time.monotonic()
        self._lock = threading.Lock()

    def take(self) -> None:
        """Wait for one's turn."""
        if not self.rate:
            return
        with self._lock:
            at = max(self._next, time.monotonic() - 1)
            self._next = at + 1 / self.rate
        time.sleep(max(0.0, at - time.monotonic()))


@dataclass(frozen=True)
class Door:
    """Where requests are sent: nginx, or one process."""

    name: str
    port: int


class Session:
    """One person's credentials, shared by threads."""

    def __init__(self, door: Door, username: str, password: str, scopes: Sequence[str]) -> None:
        pair = b64encode(f"{username}:{password}".encode()).decode()
        self.basic = f"Basic {pair}"
        self._door = door
        self._scopes = scopes
        self._token = ""
        self._until = 0.0
        self._lock = threading.Lock()

    def bearer(self) -> str:
        """A token that is good for some minutes; Basic when none can be had now."""
        with self._lock:
            if time.monotonic() > self._until:
                self._renew()
            return f"Bearer {self._token}" if self._token else self.basic

    def _renew(self) -> None:
        scopes = "&".join(f"scope=repository:{scope}" for scope in self._scopes)
        path = f"/service/token?service=harbor-registry&{scopes}"
        try:
            with closing(HTTPConnection("127.0.0.1", self._door.port, timeout=10)) as wire:
                wire.request("GET", path, headers={"Authorization": self.basic})
                answer = wire.getresponse()
                body = answer.read()
            if answer.status == 200:
                self._token = json.loads(body)["token"]
                self._until = time.monotonic() + 600
        except (OSError, HTTPException):
            pass  # the old one is good for another twenty minutes


class Wire:
    """Requests of one client."""

    def __init__(
        self,
        name: str,
        rng: random.Random,
        doors: Sequence[Door],
        session: Session,
        history: History,
        findings: Findings,
        over: threading.Event,
        pace: "Pace",
    ) -> None:
        """The first of the doors is the one in front, through which most requests go."""
        self.name = name
        self.rng = rng
        self.doors = doors
        self.session = session
        self.history = history
        self.findings = findings
        self.over = over
        self.pace = pace
        self._open: dict[int, HTTPConnection] = {}

    def door(self, front: float = 0.7) -> Door:
        """The one in front, or any of the others."""
        if len(self.doors) == 1 or self.rng.random() < front:
            return self.doors[0]
        return self.rng.choice(self.doors[1:])

    def ask(
        self,
        op: str,
        args: Mapping[str, Any],
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        *,
        door: Door | None = None,
        attempt: int = 1,
        api: bool = False,
        judge: Callable[[Answer], tuple[str, str | None]] | None = None,
    ) -> Answer:
        """One request. `judge` says the outcome of an answer below 500, and what it tells."""
        self.pace.take()
        door = self.doors[0] if api else door or self.door()
        authorization = self.session.basic if api else self.session.bearer()
        sent = {"Authorization": authorization, "Accept": f"{MANIFEST}, {INDEX}, */*"}
        if body is not None:
            sent["Content-Type"] = "application/json" if api else "application/octet-stream"
            sent["Content-Length"] = str(len(body))
        record = self.history.begin(self.name, op, args, door.name, attempt)
        record.size = len(body or b"")
        try:
            answer = self._exchange(door, method, path, body, sent | dict(headers or {}))
        except (OSError, HTTPException) as error:
            self.history.end(record, UNKNOWN, 0, repr(error)[:200])
            raise Lost(f"{method} {path}: {error!r}") from None
        record.size = max(record.size, len(answer.body))
        return self._judged(record, answer, f"{method} {path.partition('?')[0]}", judge)

    def _judged(
        self,
        record: Record,
        answer: Answer,
        what: str,
        judge: Callable[[Answer], tuple[str, str | None]] | None,
    ) -> Answer:
        status = answer.status
        if status >= 500 or status in (408, 429):
            if (
                status == 503
                and answer.headers.get("server") != "nginx"
                and ("retry-after" not in answer.headers)
            ):
                self.findings.add("I9", f"{what}: 503 without Retry-After")
            told = answer.body[:300].decode(errors="replace")
            self.history.end(record, UNKNOWN, status, told)
            raise Lost(f"{what}: {status} {told}", status)
        outcome, value = judge(answer) if judge else (OK if status < 400 else FAIL, None)
        self.history.end(record, outcome, status, value)
        return answer

    def _exchange(
        self, door: Door, method: str, path: str, body: bytes | None, headers: Mapping[str, str]
    ) -> Answer:
        # A server may close a connection that rests, and then nobody knows of a write.
        wire = self._open.pop(door.port, None) if method in ("GET", "HEAD") else None
        fresh = wire is None
        if wire is None:
            wire = HTTPConnection("127.0.0.1", door.port, timeout=PATIENCE)
        try:
            try:
                wire.request(method, path, body, dict(headers))
                reply = wire.getresponse()
            except (OSError, HTTPException):
                # On one that was used before every client sends it again.
                if fresh:
                    raise
                wire.close()
                wire = HTTPConnection("127.0.0.1", door.port, timeout=PATIENCE)
                wire.request(method, path, body, dict(headers))
                reply = wire.getresponse()
            names = {name.lower(): text for name, text in reply.getheaders()}
            content = reply.read()
            if method != "HEAD" and len(content) != int(names.get("content-length", len(content))):
                raise IncompleteRead(content)
            if not reply.will_close and door.port not in self._open:
                self._open[door.port] = wire
                wire = None
            return Answer(reply.status, names, content)
        finally:
            if wire is not None:
                wire.close()

    def insist(self, again: Callable[[Door | None, int], Answer], tries: int = 40) -> Answer:
        """Repeat until there is an answer; raises Lost in the end, and Over when all ends."""
        door: Door | None = None
        for attempt in range(1, tries + 1):
            try:
                return again(door, attempt)
            except Lost as error:
                last = error
                if self.over.is_set():
                    raise Over from None
                if attempt > 1:
                    time.sleep(self.rng.uniform(0.1, 0.7))
                door = self.doors[0] if attempt > 2 else None
        raise last

    def close(self) -> None:
        """Close what is open."""
        for wire in self._open.values():
            wire.close()
        self._open.clear()


def sha256(data: bytes) -> str:
    """The digest of bytes."""
    return "sha256:" + hashlib.sha256(data).hexdigest()
