"""The part of a client that pushes: blobs in every way there is, manifests, kept promises."""

import json
import random
import threading
import time
from collections.abc import Mapping, Sequence

from tests.faults.clients import Door, Findings, Lost, Over, Pace, Session, Wire, sha256
from tests.faults.history import FAIL, OK, History
from tests.faults.topology import LEASE
from tests.faults.world import FROZEN, LIMITED, SCRATCH, USUAL, Made, World
from tests.support.images import INDEX, MANIFEST
from tests.support.replicas import Answer

Promises = dict[str, float]
"""Digest to the moment until which the blob may be named, on the history's clock."""


class Pusher(threading.Thread):
    """A thread with a client's means."""

    def __init__(
        self,
        name: str,
        seed: str,
        world: World,
        doors: Sequence[Door],
        session: Session,
        stranger: Session,
        history: History,
        findings: Findings,
        over: threading.Event,
        pace: Pace,
    ) -> None:
        super().__init__(name=name, daemon=True)
        self.rng = random.Random(f"{seed}-{name}")
        self.world = world
        self.wire = Wire(name, self.rng, doors, session, history, findings, over, pace)
        self.stranger = Wire(
            f"{name}-stranger", self.rng, doors, stranger, history, findings, over, pace
        )
        self.findings = findings
        self.history = history
        self.over = over
        self.made = 0

    def unexpected(self, what: str, answer: Answer) -> None:
        told = answer.body[:300].decode(errors="replace")
        self.findings.add("answer", f"{self.name} {what}: {answer.status} {told}")

    # --- manifests

    def deliver_all(self, made: Made, contents: Sequence[bytes], tag: str) -> None:
        promises: Promises = {}
        for data in contents:
            until = self.deliver(made.repository, data)
            if until is None:
                return
            promises[sha256(data)] = until
        self.put(made, tag, promises)

    def put(self, made: Made, tag: str, promises: Promises) -> None:
        """The manifest, until somebody says what became of it."""
        path = f"/v2/{made.repository}/manifests/{tag or made.digest}"
        kind = {"Content-Type": INDEX if made.children else MANIFEST}
        args = {
            "repo": made.repository,
            "tag": tag,
            "digest": made.digest,
            "subject": made.subject,
            "blobs": list(made.blobs),
            "children": list(made.children),
        }

        def judge(answer: Answer) -> tuple[str, str | None]:
            if answer.status == 201:
                return OK, made.digest
            if answer.status not in (400, 403, 404, 412):
                self.unexpected(f"PUT {path}", answer)
            return FAIL, answer.body[:300].decode(errors="replace")

        def again(door: Door | None, attempt: int) -> Answer:
            return self.wire.ask(
                "put", args, "PUT", path, made.payload, kind,
                door=door, attempt=attempt, judge=judge,
            )  # fmt: skip

        answer = self.wire.insist(again)
        if answer.status == 201:
            self.world.pushed(made)
        elif (answer.status == 403 and made.repository != LIMITED) or (
            answer.status == 412 and made.repository != FROZEN
        ):
            self.unexpected(f"PUT {path}", answer)
        elif answer.status == 400 and b"MANIFEST_BLOB_UNKNOWN" in answer.body:
            self.judge_unknown(made, promises, answer)

    def judge_unknown(self, made: Made, promises: Promises, answer: Answer) -> None:
        """I4: what was promised can be named while the promise holds."""
        now = self.history.now()
        for entry in json.loads(answer.body)["errors"][0]["detail"]:
            digest = entry["digest"]
            if now < promises.get(digest, 0) and made.repository != SCRATCH:
                until = promises[digest]
                what = f"{made.repository}@{digest} was promised until {until:.2f}, unknown at"
                self.findings.add("I4", f"{what} {now:.2f}: {made.digest}")

    # --- blobs

    def deliver(self, repository: str, data: bytes) -> float | None:
        """Get a blob there, any way; until when it may be named, or None."""
        ways = (self.by_head, self.by_mount, self.at_once, self.in_two, self.in_chunks)
        weights = (3, 2, 3, 3, 2)
        for _ in range(25):
            (way,) = self.rng.choices(ways, weights)
            since = self.history.now()
            try:
                lasts = way(repository, data)
            except Lost:
                if self.over.is_set():
                    raise Over from None
                time.sleep(self.rng.uniform(0.1, 0.8))
                continue
            if lasts:
                return since + lasts
            if lasts is None:
                return None
        return None

    def blob(
        self,
        way: str,
        repository: str,
        digest: str,
        method: str,
        path: str,
        body: bytes | None = None,
        expected: Sequence[int] = (201,),
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """One request about a blob or an upload."""

        def judge(answer: Answer) -> tuple[str, str | None]:
            status = answer.status
            if status not in expected and not (status == 403 and repository == LIMITED):
                self.unexpected(f"{method} {path}", answer)
            return (OK if status < 400 else FAIL), digest

        args = {"repo": repository, "digest": digest}
        return self.wire.ask(way, args, method, path, body, headers, judge=judge)

    def by_head(self, repository: str, data: bytes) -> float | None:
        digest = sha256(data)
        path = f"/v2/{repository}/blobs/{digest}"
        answer = self.blob("head blob", repository, digest, "HEAD", path, expected=(200, 404))
        return LEASE / 2 if answer.status == 200 else 0

    def by_mount(self, repository: str, data: bytes) -> float | None:
        digest = sha256(data)
        query = f"mount={digest}&from={self.rng.choice(USUAL)}"
        path = f"/v2/{repository}/blobs/uploads/?{query}"
        answer = self.blob("mount", repository, digest, "POST", path, expected=(201, 202))
        if answer.status == 202:
            where = answer.headers["location"]
            self.blob("cancel", repository, digest, "DELETE", where, expected=(204, 404))
            return 0
        return LEASE if answer.status == 201 else None

    def at_once(self, repository: str, data: bytes) -> float | None:
        digest = sha256(data)
        path = f"/v2/{repository}/blobs/uploads/?digest={digest}"
        answer = self.blob("push at once", repository, digest, "POST", path, data)
        return LEASE if answer.status == 201 else None

    def begin(self, repository: str, digest: str) -> str:
        path = f"/v2/{repository}/blobs/uploads/"
        answer = self.blob("begin", repository, digest, "POST", path, expected=(202,))
        return answer.headers.get("location", "")

    def in_two(self, repository: str, data: bytes) -> float | None:
        digest = sha256(data)
        where = self.begin(repository, digest)
        if not where:
            return None
        path = f"{where}?digest={digest}"
        answer = self.blob("push", repository, digest, "PUT", path, data, (201, 404))
        return self.lasting(answer)

    def in_chunks(self, repository: str, data: bytes) -> float | None:
        """Pieces by turns to all replicas; after each loss, from where the registry is."""
        digest = sha256(data)
        where = self.begin(repository, digest)
        if not where:
            return None
        offset = lost = 0
        size = max(1, len(data) // self.rng.randint(1, 4))
        while offset < len(data):
            piece = data[offset : offset + size]
            span = {"Content-Range": f"{offset}-{offset + len(piece) - 1}"}
            try:
                answer = self.blob(
                    "chunk", repository, digest, "PATCH", where, piece, (202, 404, 416), span
                )
            except Lost:
                lost += 1
                if lost > 10:
                    raise
                time.sleep(self.rng.uniform(0.1, 0.8))
                answer = self.blob(
                    "progress", repository, digest, "GET", where, expected=(204, 404)
                )
            if answer.status in (403, 404):
                return 0 if answer.status == 404 else None
            if answer.status == 416 and not lost:
                self.unexpected(f"PATCH {where} at {offset}", answer)
            last = int(answer.headers["range"].partition("-")[2])
            offset = last + 1 if last else 0
        path = f"{where}?digest={digest}"
        return self.lasting(self.blob("finish", repository, digest, "PUT", path, None, (201, 404)))

    def lasting(self, answer: Answer) -> float | None:
        if answer.status == 404:  # the session ended: of itself, or by a request that was lost
            return 0
        return LEASE if answer.status == 201 else None

    def abandon(self) -> None:
        """Begin, send something, and never come back."""
        data = self.rng.randbytes(50_000)
        where = self.begin(USUAL[0], sha256(data))
        self.blob("chunk", USUAL[0], sha256(data), "PATCH", where, data, (202, 404))
