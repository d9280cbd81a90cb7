"""Requests whose answer may never come, and what is known of things after them.

    Wire      one request; `Lost` when nobody knows whether it was done
    Cell      what is known of a tag or image: the last answer, and what lost requests may still do
    Notes     what all clients share: what went wrong, how often what happened

A request that got no answer stays open until every replica has been killed: a frozen one may wake
up and do it. So its outcome is added to what its cell may turn out to be.
"""

import json
import threading
from base64 import b64encode
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from typing import Generic, TypeVar

from tests.support.images import INDEX, MANIFEST
from tests.support.replicas import Answer
from tests.support.serving import Registry

T = TypeVar("T")


class Lost(Exception):
    """No answer, or `try again`: the request may have been done, or may still be."""


@dataclass
class Notes:
    """What all clients share: what went wrong, what happened, which layers were deleted when."""

    wrong: list[str] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    deletes: dict[tuple[str, str], list[float]] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def count(self, what: str) -> None:
        with self.lock:
            self.counts[what] = self.counts.get(what, 0) + 1

    def deleted(self, repository: str, digest: str, until: float) -> None:
        """Somebody asked to delete a blob, and was answered at `until`."""
        with self.lock:
            self.deletes.setdefault((repository, digest), []).append(until)

    def undisturbed(self, repository: str, digest: str, since: float) -> bool:
        """Whether nobody tried to delete a blob since then."""
        with self.lock:
            return all(until < since for until in self.deletes.get((repository, digest), []))


class Wire:
    """Requests to any replica, as the administrator."""

    def __init__(self, registries: Sequence[Registry], notes: Notes) -> None:
        self.registries = registries
        self.notes = notes
        self.patience = 20.0  # seconds, of which a frozen replica costs all
        first = registries[0]
        pair = b64encode(f"{first.username}:{first.password}".encode()).decode()
        self._authorization = f"Basic {pair}"

    def log_in(self, repositories: Sequence[str]) -> None:
        """Take a token, as clients do; it is good for all replicas."""
        scopes = "&".join(f"scope=repository:{name}:pull,push,delete" for name in repositories)
        path = f"/service/token?service=harbor-registry&{scopes}"
        answer = self.ask(0, "GET", path, headers={"Authorization": self._authorization})
        self._authorization = f"Bearer {json.loads(answer.body)['token']}"

    def ask(
        self,
        replica: int,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """One answer; raises Lost."""
        registry = self.registries[replica % len(self.registries)]
        sent = {"Authorization": self._authorization, "Accept": f"{MANIFEST}, {INDEX}, */*"}
        if body is not None:
            sent["Content-Type"] = "application/octet-stream"
        what = f"{method} {path.partition('?')[0]}"
        try:
            with closing(HTTPConnection("127.0.0.1", registry.port, timeout=self.patience)) as wire:
                wire.request(method, path, body, sent | dict(headers or {}))
                reply = wire.getresponse()
                names = {name.lower(): text for name, text in reply.getheaders()}
                answer = Answer(reply.status, names, reply.read())
        except (OSError, HTTPException) as error:
            self.notes.count("lost")
            raise Lost(f"{what}: {error!r}") from None
        self.notes.count(f"{method} {answer.status}")
        if answer.status == 503:
            if "retry-after" not in answer.headers:
                self.notes.wrong.append(f"{what}: 503 without Retry-After")
            raise Lost(f"{what}: 503 {answer.body[:200]!r}")
        if answer.status >= 500 or answer.status in (401, 405, 408, 429):
            self.notes.wrong.append(f"{what}: {answer.status} {answer.body[:300]!r}")
            raise Lost(what)
        return answer


@dataclass
class Cell(Generic[T]):
    """One tag's digest (None: no such tag), or whether an image is there."""

    value: T
    loose: set[T] = field(default_factory=set)

    @property
    def possible(self) -> set[T]:
        return {self.value, *self.loose}

    @property
    def sure(self) -> bool:
        return self.possible == {self.value}
