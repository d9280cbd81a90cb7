"""One client of many: it pushes, pulls, moves, deletes and does what else clients do, at random.

Each act is a handful of requests; every request is a record of the history. What an answer must be
whatever else happens is judged here at once (I3, I4, I8, I10); what depends on the order of things
is left to the checker.
"""

import json
import time
from collections.abc import Callable, Mapping, Sequence

from tests.faults import world as places
from tests.faults.clients import Door, Lost, Over, sha256
from tests.faults.history import FAIL, OK, UNKNOWN
from tests.faults.pushing import Pusher
from tests.faults.world import COPIES, FROZEN, KEEP, LIMITED, SCRATCH, USUAL, Made
from tests.support.content import image, index
from tests.support.images import MANIFEST
from tests.support.replicas import Answer

FULL = 350  # images, beyond which more is deleted
LIMIT_STEP = 1_000_000


class Client(Pusher):
    """A thread that acts until it is told to stop."""

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
            (self.retain, 0.6),
            (self.collect, 0.6),
            (self.trespass, 2),
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
