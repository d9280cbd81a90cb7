"""One client of many: it pushes, pulls, moves, deletes and does what else clients do, at random.

Each act is a handful of requests; every request is a record of the history. What an answer must be
whatever else happens is judged here at once (I3, I4, I8, I10); what depends on the order of things
is left to the checker.
"""

import json
import random
import threading
import time
from collections.abc import Callable, Mapping, Sequence

from tests.faults import world as places
from tests.faults.clients import Door, Findings, Lost, Over, Pace, Session, Wire, sha256
from tests.faults.history import FAIL, OK, UNKNOWN, History
from tests.faults.topology import LEASE
from tests.faults.world import COPIES, FROZEN, KEEP, LIMITED, SCRATCH, USUAL, Made, World
from tests.support.content import image, index
from tests.support.images import INDEX, MANIFEST
from tests.support.replicas import Answer

Promises = dict[str, float]
"""Digest to the moment until which the blob may be named, on the history's clock."""

FULL = 350  # images, beyond which more is deleted


class Client(threading.Thread):
    """A thread that acts until it is told to stop."""

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

    def acts(self) -> list[tuple[Callable[[], None], float]]:
        """What it does, and how often."""
        full = 3 if self.world.living > FULL else 1
        return [
            (self.push, 8 / full),
            (self.pull, 10),
            (self.look, 6),
            (self.move, 4),
            (self.delete_tag, 3),
            (self.delete_image, 4 * full),
            (self.push_index, 2 / full),
            (self.push_referrer, 2 / full),
            (self.push_frozen, 1),
            (self.push_limited, 1),
            (self.push_kept, 1),
            (self.push_scratch, 1),
            (self.delete_scratch, 0.3),
            (self.copy, 1),
            (self.raise_quota, 0.2),
            (self.retain, 0.3),
            (self.collect, 0.3),
            (self.trespass, 1),
            (self.abandon, 0.5),
        ]

    def run(self) -> None:
        while not self.over.is_set():
            found = self.acts()
            (act,) = self.rng.choices([each for each, _ in found], [often for _, often in found])
            try:
                act()
            except Over:
                break
            except Lost:
                time.sleep(self.rng.uniform(0.05, 0.4))
            except Exception as error:
                self.findings.add("client", f"{self.name}.{act.__name__}: {error!r}")
        self.wire.close()
        self.stranger.close()

    # --- pushing

    def push(self) -> None:
        """An image of one to six layers."""
        self.image(self.rng.choice(USUAL))

    def push_limited(self) -> None:
        """An image that may be too much for its project."""
        self.image(LIMITED)

    def push_kept(self) -> None:
        """An image of which a policy keeps the last ones."""
        self.image(KEEP)

    def push_scratch(self) -> None:
        """An image in a repository that goes as a whole."""
        self.image(SCRATCH)

    def push_frozen(self) -> None:
        """An image under a tag that, once there, stays as it is."""
        self.image(FROZEN, self.world.frozen_tag(self.rng), layers=1)

    def image(self, repository: str, tag: str = "", layers: int = 0) -> None:
        """Blobs, then the manifest."""
        self.made += 1
        config = json.dumps({"by": self.name, "n": self.made, "at": self.history.now()}).encode()
        count = layers or self.rng.choice((1, 1, 2, 2, 3, 4, 6))
        contents = [self.world.layer(self.rng) for _ in range(count)]
        contents = list({sha256(data): data for data in contents}.values())
        made = Made(repository, image(config, contents), [sha256(d) for d in (config, *contents)])
        self.deliver_all(made, [config, *contents], tag or self.world.tag(self.rng, repository))

    def push_index(self) -> None:
        """An index of two images."""
        repository = self.rng.choice(USUAL)
        children = self.world.several(self.rng, repository, 2)
        if not children:
            return
        self.made += 1
        payload = index(
            [child.payload for child in children],
            annotations={"of": f"{self.name} {self.made} {self.history.now()}"},
        )
        made = Made(repository, payload, children=[child.digest for child in children])
        self.put(made, self.world.tag(self.rng, repository), {})

    def push_referrer(self) -> None:
        """A signature without a tag, which goes when its subject does."""
        subject = self.world.some(self.rng, plain=True)
        if subject is None:
            return
        self.made += 1
        signature = f"signature {self.name} {self.made} {self.history.now()}".encode()
        about = {
            "mediaType": MANIFEST,
            "digest": subject.digest,
            "size": len(subject.payload),
        }
        payload = image(signature, [], subject=about)
        made = Made(subject.repository, payload, [sha256(signature)], subject=subject.digest)
        self.deliver_all(made, [signature], "")

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

    def unexpected(self, what: str, answer: Answer) -> None:
        told = answer.body[:300].decode(errors="replace")
        self.findings.add("answer", f"{self.name} {what}: {answer.status} {told}")

    # --- tags and deletes

    def move(self) -> None:
        """An image that is there under another tag."""
        made = self.world.some(self.rng)
        if made is not None and not made.subject:
            self.put(made, self.world.tag(self.rng, made.repository), {})

    def delete_tag(self) -> None:
        repository = self.rng.choice(USUAL)
        self.remove("delete tag", repository, self.world.tag(self.rng, repository))

    def delete_image(self) -> None:
        made = self.world.oldest(self.rng)
        if made is not None:
            answer = self.remove("delete", made.repository, made.digest)
            if answer.status != 412:
                self.world.gone(made.repository, made.digest)

    def remove(self, op: str, repository: str, reference: str) -> Answer:
        """A tag or an image; asked again when nobody knows, as scripts do."""
        path = f"/v2/{repository}/manifests/{reference}"
        name = "digest" if op == "delete" else "tag"

        def judge(answer: Answer) -> tuple[str, str | None]:
            if answer.status not in (202, 404, 412):
                self.unexpected(f"DELETE {path}", answer)
            return (OK if answer.status in (202, 404) else FAIL), None

        def again(door: Door | None, attempt: int) -> Answer:
            args = {"repo": repository, name: reference}
            return self.wire.ask(op, args, "DELETE", path, door=door, attempt=attempt, judge=judge)

        return self.wire.insist(again, 3)

    def delete_scratch(self) -> None:
        """A repository with all that is in it."""
        project, _, name = SCRATCH.partition("/")
        path = f"/api/v2.0/projects/{project}/repositories/{name}"
        self.api("delete repository", {"repo": SCRATCH}, "DELETE", path, (200, 404))

    # --- pulling

    def look(self) -> None:
        """What a tag names now."""
        repository = self.rng.choice(USUAL)
        self.head(repository, self.world.tag(self.rng, repository))

    def head(self, repository: str, tag: str, door: Door | None = None) -> None:
        """One look at a tag."""

        def judge(answer: Answer) -> tuple[str, str | None]:
            return self.seen(f"HEAD {repository}:{tag}", answer)

        path = f"/v2/{repository}/manifests/{tag}"
        args = {"repo": repository, "tag": tag}
        self.wire.ask("look", args, "HEAD", path, door=door, judge=judge)

    def seen(self, what: str, answer: Answer) -> tuple[str, str | None]:
        """The digest of an answer, None when there is nothing."""
        if answer.status == 200:
            return OK, answer.headers.get("docker-content-digest", "")
        if answer.status == 404:
            return OK, None
        self.unexpected(what, answer)
        return UNKNOWN, None

    def pull(self) -> None:
        """By tag or by digest, with all its bytes."""
        repository = self.rng.choice(USUAL)
        made = self.world.some(self.rng)
        if made is not None and self.rng.random() < 0.5:
            payload = self.manifest(made.repository, made.digest)
            repository = made.repository
        else:
            payload = self.manifest(repository, self.world.tag(self.rng, repository))
        if payload is None:
            return
        manifest = json.loads(payload)
        for entry in [*manifest.get("layers", []), *filter(None, [manifest.get("config")])]:
            self.fetch(repository, entry["digest"], entry["size"])

    def manifest(self, repository: str, reference: str, door: Door | None = None) -> bytes | None:
        """A manifest's bytes, or None when there is none."""

        def judge(answer: Answer) -> tuple[str, str | None]:
            outcome, value = self.seen(f"GET {repository} {reference}", answer)
            if value and sha256(answer.body) != value:
                self.findings.add("I3", f"{repository} {reference}: {sha256(answer.body)}, {value}")
            if value and reference.startswith("sha256:") and value != reference:
                self.findings.add("I3", f"{repository}@{reference} answers {value}")
            return outcome, value

        by = "digest" if reference.startswith("sha256:") else "tag"
        path = f"/v2/{repository}/manifests/{reference}"
        answer = self.wire.ask(
            "pull", {"repo": repository, by: reference}, "GET", path, door=door, judge=judge
        )
        return answer.body if answer.status == 200 else None

    def fetch(self, repository: str, digest: str, size: int, door: Door | None = None) -> int:
        """A blob; all bytes or a clear no (I3). The status."""

        def judge(answer: Answer) -> tuple[str, str | None]:
            if answer.status not in (200, 404):
                self.unexpected(f"GET {repository}@{digest}", answer)
            if answer.status == 200 and sha256(answer.body) != digest:
                what = f"{repository}@{digest}: {len(answer.body)} of {size} bytes"
                self.findings.add("I3", f"{what}, {sha256(answer.body)}")
            return OK, str(answer.status)

        path = f"/v2/{repository}/blobs/{digest}"
        args = {"repo": repository, "digest": digest}
        return self.wire.ask("fetch", args, "GET", path, door=door, judge=judge).status

    # --- the other interfaces

    def api(
        self,
        op: str,
        args: Mapping[str, object],
        method: str,
        path: str,
        expected: Sequence[int],
        document: object = None,
    ) -> Answer:
        """One request to the REST API."""

        def judge(answer: Answer) -> tuple[str, str | None]:
            if answer.status not in expected:
                self.unexpected(f"{method} {path}", answer)
            return (OK if answer.status < 400 else FAIL), None

        body = json.dumps(document).encode() if document is not None else None
        return self.wire.ask(op, args, method, path, body, api=True, judge=judge)

    def copy(self) -> None:
        """An image of one project to another one."""
        made = self.world.some(self.rng, plain=True)
        if made is None:
            return
        project, _, name = COPIES.partition("/")
        origin = f"{made.repository}@{made.digest}"
        path = f"/api/v2.0/projects/{project}/repositories/{name}/artifacts?from={origin}"
        args = {"repo": COPIES, "digest": made.digest, "from": made.repository}
        # 409: the copy of another client is not committed yet.
        self.api("copy", args, "POST", path, (201, 404, 409))

    def raise_quota(self) -> None:
        """A little more room; never less than there was."""
        self.world.limit += LIMIT_STEP
        path = f"/api/v2.0/quotas/{self.world.quota_id}"
        document = {"hard": {"storage": self.world.limit}}
        self.api("quota", {}, "PUT", path, (200,), document)

    def retain(self) -> None:
        """Apply the retention policy now."""
        path = f"/api/v2.0/retentions/{self.world.retention_id}/executions"
        self.api("retain", {}, "POST", path, (201, 409), {"dry_run": False})

    def collect(self) -> None:
        """Collect garbage on demand, beside what runs by itself."""
        document = {"schedule": {"type": "Manual"}, "parameters": {"delete_untagged": False}}
        self.api("collect", {}, "POST", "/api/v2.0/system/gc/schedule", (201, 409, 412), document)

    def trespass(self) -> None:
        """I10: somebody from outside learns nothing of what is private, not even that it exists."""
        made = self.world.some(self.rng)
        if made is None or not made.repository.startswith("alpha/"):
            return
        there = made.blobs[0] if made.blobs else made.digest
        nowhere = sha256(there.encode())
        statuses = []
        for kind, digest in (("manifests", made.digest), ("blobs", there), ("blobs", nowhere)):
            path = f"/v2/{made.repository}/{kind}/{digest}"
            answer = self.stranger.ask("trespass", {"repo": made.repository}, "GET", path)
            statuses.append(answer.status)
        mount = f"mount={there}&from={made.repository}"
        path = f"/v2/{places.OUTSIDE}/blobs/uploads/?{mount}"
        answer = self.stranger.ask("trespass", {"repo": made.repository}, "POST", path)
        if answer.status == 202:
            where = answer.headers["location"]
            self.stranger.ask("trespass", {"repo": places.OUTSIDE}, "DELETE", where)
        if set(statuses) != {statuses[0]} or statuses[0] not in (401, 403, 404):
            self.findings.add("I10", f"{made.repository}: {statuses} to an outsider")
        if answer.status != 202:
            self.findings.add("I10", f"mount of {made.repository}@{there}: {answer.status}")


LIMIT_STEP = 1_000_000
