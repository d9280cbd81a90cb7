"""Clients that remember what they were told, for registries whose servers die meanwhile.

A worker pushes, pulls, moves and deletes at random. Only it touches its own tags and images, so it
knows what they are; layers are everybody's.
"""

import hashlib
import json
import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from tests.support.content import image, index, sha256
from tests.support.images import INDEX, MANIFEST
from tests.support.replicas import Answer
from tests.support.wires import Cell, Lost, Wire

LEASE = 8.0
AGE = 6.0
REPOSITORIES = ("library/a", "library/b", "small/c")
LIMITED = "small/c"


@dataclass
class Image:
    """A manifest and the blobs that it needs."""

    payload: bytes
    blobs: Sequence[bytes]
    children: Sequence[str] = ()
    subject: str = ""
    there: Cell[bool] = field(default_factory=lambda: Cell(False))

    @property
    def digest(self) -> str:
        return sha256(self.payload)


Key = tuple[str, str]  # repository; tag or digest


class Worker(threading.Thread):
    """One client; `tags` and `images` are its memory."""

    def __init__(self, name: str, seed: str, wire: Wire, layers: Sequence[bytes]) -> None:
        super().__init__(name=name, daemon=True)
        self.rng = random.Random(f"{seed}-{name}")
        self.wire = wire
        self.notes = wire.notes
        self.layers = layers
        self.tags: dict[Key, Cell[str | None]] = {}
        self.images: dict[Key, Image] = {}
        self.until = 0.0
        self.made = 0

    def again(self) -> "Worker":
        """A thread that goes on with this one's memory."""
        next_one = Worker(self.name, f"{self.rng.random()}", self.wire, self.layers)
        next_one.tags, next_one.images, next_one.made = self.tags, self.images, self.made
        return next_one

    def run(self) -> None:
        acts: list[tuple[Callable[[], None], int]] = [
            (self.push, 8),
            (self.pull, 8),
            (self.move, 4),
            (self.delete_image, 3),
            (self.delete_tag, 3),
            (self.push_index, 2),
            (self.push_referrer, 2),
            (self.delete_layer, 1),
            (self.delete_own_blob, 1),
            (self.abandon, 1),
        ]
        while time.monotonic() < self.until and not self.notes.wrong:
            (act,) = self.rng.choices([a for a, _ in acts], [w for _, w in acts])
            try:
                act()
            except Lost:
                time.sleep(self.rng.uniform(0.05, 0.5))
            except Exception as error:
                self.fail(f"{act.__name__}: {error!r}")

    def fail(self, what: str) -> None:
        self.notes.wrong.append(f"{self.name}: {what}")

    def ask(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Ask any replica."""
        return self.wire.ask(self.rng.randrange(99), method, path, body, headers)

    # --- pushing

    def push(self) -> None:
        """An image of layers that others push too, and a config of its own."""
        repository = self.rng.choice(REPOSITORIES)
        self.made += 1
        config = json.dumps({"by": self.name, "n": self.made}).encode()
        layers = self.rng.sample(self.layers, self.rng.randint(1, 4))
        made = Image(image(config, layers), (config, *layers))
        self.images[repository, made.digest] = made
        tag = f"{self.name}-{self.rng.randrange(4)}"
        self.store(repository, made, tag)

    def push_index(self) -> None:
        """An index of two images."""
        repository = self.rng.choice(REPOSITORIES)
        mine = [made for at, made in self.images.items() if at[0] == repository and plain(made)]
        if len(mine) < 2:
            return
        children = self.rng.sample(mine, 2)
        payload = index([child.payload for child in children])
        made = self.images.get((repository, sha256(payload)))
        if made is None or (made.there.sure and not made.there.value):
            made = Image(payload, (), [child.digest for child in children])
            self.images[repository, made.digest] = made
            self.store(repository, made, f"{self.name}-{self.rng.randrange(4)}")

    def push_referrer(self) -> None:
        """Something without a tag that goes when its subject does."""
        found = self.some(plain)
        if found is None:
            return
        repository, subject = found
        self.made += 1
        signature = f"signature {self.name} {self.made}".encode()
        about = {"mediaType": MANIFEST, "digest": subject.digest, "size": len(subject.payload)}
        payload = image(signature, [], subject=about)
        made = Image(payload, (signature,), subject=subject.digest)
        self.images[repository, made.digest] = made
        self.store(repository, made, "")

    def store(self, repository: str, made: Image, tag: str) -> None:
        """Blobs, then the manifest, until it is acknowledged or given up."""
        promises = {}
        for data in made.blobs:
            promised = self.deliver(repository, data)
            if promised is None:
                return
            promises[sha256(data)] = promised
        self.put(repository, made, tag, promises)

    def put(
        self,
        repository: str,
        made: Image,
        tag: str,
        promises: Mapping[str, tuple[float, float]],
    ) -> None:
        path = f"/v2/{repository}/manifests/{tag or made.digest}"
        kind = INDEX if made.children else MANIFEST
        for _ in range(6):
            try:
                answer = self.ask("PUT", path, made.payload, {"Content-Type": kind})
            except Lost:
                self.loosen(repository, made, tag)
                time.sleep(self.rng.uniform(0.05, 0.6))
                continue
            if answer.status == 201:
                made.there.value = True
                if tag:
                    self.tag(repository, tag).value = made.digest
                return
            code = answer.body.decode(errors="replace")
            if answer.status == 403 and repository == LIMITED:
                return
            if answer.status == 400 and "MANIFEST_BLOB_UNKNOWN" in code:
                self.judge(repository, made, promises, code)
                return
            self.fail(f"PUT {path}: {answer.status} {code[:300]}")
            return

    def judge(
        self,
        repository: str,
        made: Image,
        promises: Mapping[str, tuple[float, float]],
        code: str,
    ) -> None:
        """I4: what was promised is there while the promise lasts."""
        if whole(made):
            self.fail(f"{repository}@{made.digest} is there and cannot be tagged: {code[:300]}")
        missing = [entry["digest"] for entry in json.loads(code)["errors"][0]["detail"]]
        for digest in missing:
            since, until = promises.get(digest, (0.0, 0.0))
            kept = self.notes.undisturbed(repository, digest, since)
            if time.monotonic() < until and kept:
                self.fail(f"{repository}@{digest} was promised and is unknown: {made.digest}")
        if made.children and all(whole(self.images[repository, child]) for child in made.children):
            self.fail(f"{repository}: children of {made.digest} are unknown: {missing}")

    def loosen(self, repository: str, made: Image, tag: str) -> None:
        made.there.loose.add(True)
        if tag:
            self.tag(repository, tag).loose.add(made.digest)

    def tag(self, repository: str, tag: str) -> Cell[str | None]:
        return self.tags.setdefault((repository, tag), Cell(None))

    def deliver(self, repository: str, data: bytes) -> tuple[float, float] | None:
        """Get a blob there, any way; from when and until when it is promised, or None."""
        ways = (self.by_head, self.by_mount, self.at_once, self.in_two, self.in_chunks)
        for _ in range(8):
            way = self.rng.choice(ways)
            since = time.monotonic()
            try:
                lasts = way(repository, data)
            except Lost:
                time.sleep(self.rng.uniform(0.05, 0.6))
                continue
            if lasts:
                return since, since + lasts
        return None

    def by_head(self, repository: str, data: bytes) -> float:
        answer = self.ask("HEAD", f"/v2/{repository}/blobs/{sha256(data)}")
        if answer.status == 404:
            return 0
        return self.expect(answer, 200) and LEASE / 2

    def by_mount(self, repository: str, data: bytes) -> float:
        source = self.rng.choice(REPOSITORIES)
        query = f"mount={sha256(data)}&from={source}"
        answer = self.ask("POST", f"/v2/{repository}/blobs/uploads/?{query}")
        if answer.status == 202:
            self.ask("DELETE", answer.headers["location"])
            return 0
        return self.created(repository, answer)

    def at_once(self, repository: str, data: bytes) -> float:
        path = f"/v2/{repository}/blobs/uploads/?digest={sha256(data)}"
        return self.created(repository, self.ask("POST", path, data))

    def in_two(self, repository: str, data: bytes) -> float:
        began = time.monotonic()
        where = self.begin(repository)
        answer = self.ask("PUT", f"{where}?digest={sha256(data)}", data)
        if answer.status == 404 and time.monotonic() - began > AGE:  # waited for a start
            return 0
        return self.created(repository, answer)

    def begin(self, repository: str) -> str:
        answer = self.ask("POST", f"/v2/{repository}/blobs/uploads/")
        assert answer.status == 202, answer
        return answer.headers["location"]

    def in_chunks(self, repository: str, data: bytes) -> float:
        """Pieces by turns to all replicas; after each loss, from where the registry is."""
        where = self.begin(repository)
        offset, alive, lost = 0, time.monotonic(), 0
        step = max(1, len(data) // self.rng.randint(1, 4))
        while offset < len(data):
            piece = data[offset : offset + step]
            span = f"{offset}-{offset + len(piece) - 1}"
            before = time.monotonic()
            try:
                answer = self.ask("PATCH", where, piece, {"Content-Range": span})
            except Lost:
                lost += 1
                if lost > 6:
                    raise
                time.sleep(self.rng.uniform(0.05, 0.6))
                answer = self.ask("GET", where)
            if answer.status == 404 and time.monotonic() - alive > AGE:
                return 0
            if answer.status == 416 and not lost:
                self.fail(f"{where}: 416 at {offset}: {answer.headers}")
            if answer.status == 403 and repository == LIMITED:
                return 0
            if answer.status not in (202, 204, 416):
                self.fail(f"{where}: {answer.status} {answer.body[:200]!r}")
                return 0
            if answer.status == 202:
                alive = before
            last = int(answer.headers["range"].partition("-")[2])
            offset = last + 1 if last else 0
        answer = self.ask("PUT", f"{where}?digest={sha256(data)}")
        if answer.status == 404 and (lost or time.monotonic() - alive > AGE):
            return 0
        return self.created(repository, answer)

    def created(self, repository: str, answer: Answer) -> float:
        if answer.status == 403 and repository == LIMITED:
            return 0
        return self.expect(answer, 201) and LEASE

    def expect(self, answer: Answer, status: int) -> bool:
        if answer.status != status:
            what = f"{answer.status} instead of {status}"
            self.fail(f"{what}: {answer.headers} {answer.body[:300]!r}")
        return answer.status == status

    def abandon(self) -> None:
        """Begin, send something, and never come back."""
        where = self.begin("library/a")
        self.ask("PATCH", where, self.rng.randbytes(50_000))

    # --- tags, deletes

    def move(self) -> None:
        """An image of ours under another tag."""
        found = self.some(lambda made: whole(made) and not made.subject)
        if found is not None:
            self.put(found[0], found[1], f"{self.name}-{self.rng.randrange(4)}", {})

    def delete_tag(self) -> None:
        sure = [at for at, cell in self.tags.items() if cell.sure and cell.value]
        if not sure:
            return
        repository, tag = self.rng.choice(sure)
        cell = self.tags[repository, tag]
        try:
            answer = self.ask("DELETE", f"/v2/{repository}/manifests/{tag}")
        except Lost:
            cell.loose.add(None)
            raise
        if self.expect(answer, 202):
            cell.value = None
            self.absent(repository, tag)

    def delete_image(self) -> None:
        found = self.some(lambda made: whole(made))
        if found is None:
            return
        repository, made = found
        held = any(
            made.digest in other.children and True in other.there.possible
            for at, other in self.images.items()
            if at[0] == repository
        )
        try:
            answer = self.ask("DELETE", f"/v2/{repository}/manifests/{made.digest}")
        except Lost:
            for gone in self.falls_with(repository, made):
                gone.there.loose.add(False)
            for cell in self.pointing(repository, made.digest):
                cell.loose.add(None)
            raise
        if answer.status == 412 and held:
            return
        if self.expect(answer, 202):
            for gone in self.falls_with(repository, made):
                gone.there.value = False
            for cell in self.pointing(repository, made.digest):
                if cell.value == made.digest:
                    cell.value = None
                cell.loose.add(None)
            self.absent(repository, made.digest)

    def falls_with(self, repository: str, made: Image) -> Iterator[Image]:
        yield made
        for at, other in self.images.items():
            if at[0] == repository and other.subject == made.digest:
                yield other

    def pointing(self, repository: str, digest: str) -> list[Cell[str | None]]:
        return [
            cell
            for at, cell in self.tags.items()
            if at[0] == repository and digest in cell.possible
        ]

    def absent(self, repository: str, reference: str) -> None:
        """What was just deleted is not found, by any replica."""
        cell = self.tags.get((repository, reference))
        made = self.images.get((repository, reference))
        if (cell is not None and not cell.sure) or (made is not None and not made.there.sure):
            return
        answer = self.ask("HEAD", f"/v2/{repository}/manifests/{reference}")
        if answer.status != 404:
            self.fail(f"{repository}:{reference} is back: {answer.status} {answer.headers}")

    def delete_layer(self) -> None:
        """A layer that somebody may be about to name, or has named."""
        repository, data = REPOSITORIES[0], self.rng.choice(self.layers)
        digest = sha256(data)
        self.notes.deleted(repository, digest, float("inf"))  # until we know better
        answer = self.ask("DELETE", f"/v2/{repository}/blobs/{digest}")
        if answer.status not in (202, 404, 412):
            self.expect(answer, 202)
        with self.notes.lock:
            self.notes.deletes[repository, digest].remove(float("inf"))
        self.notes.deleted(repository, digest, time.monotonic())

    def delete_own_blob(self) -> None:
        """Gone once it is acknowledged."""
        repository = REPOSITORIES[1]
        self.made += 1
        data = f"for a moment {self.name} {self.made}".encode()
        if self.deliver(repository, data) is None:
            return
        path = f"/v2/{repository}/blobs/{sha256(data)}"
        answer = self.ask("DELETE", path)
        if answer.status == 404:  # its lease was short
            return
        if self.expect(answer, 202) and self.ask("GET", path).status != 404:
            self.fail(f"{path} is still there")

    # --- pulling

    def some(self, wanted: Callable[[Image], bool]) -> tuple[str, Image] | None:
        """An image of ours."""
        found = [(at[0], made) for at, made in self.images.items() if wanted(made)]
        return self.rng.choice(found) if found else None

    def pull(self) -> None:
        """By tag or by digest; all bytes."""
        if self.rng.random() < 0.5 and self.tags:
            (repository, tag), cell = self.rng.choice(list(self.tags.items()))
            self.look(self.rng.randrange(99), repository, tag, cell)
            return
        found = self.some(whole)
        if found is not None:
            self.fetch(self.rng.randrange(99), *found)

    def look(self, replica: int, repository: str, tag: str, cell: Cell[str | None]) -> str | None:
        """What a tag names now."""
        answer = self.wire.ask(replica, "HEAD", f"/v2/{repository}/manifests/{tag}")
        seen = answer.headers["docker-content-digest"] if answer.status == 200 else None
        if answer.status not in (200, 404) or seen not in cell.possible:
            self.fail(f"replica {replica}: {repository}:{tag} is {seen}, may be {cell.possible}")
        return seen

    def fetch(self, replica: int, repository: str, made: Image) -> None:
        """I1, I3: the image is there, byte for byte."""
        answer = self.wire.ask(replica, "GET", f"/v2/{repository}/manifests/{made.digest}")
        if answer.status != 200 or answer.body != made.payload:
            self.fail(f"{repository}@{made.digest} is lost: {answer.status} {answer.body[:200]!r}")
            return
        for data in made.blobs:
            answer = self.wire.ask(replica, "GET", f"/v2/{repository}/blobs/{sha256(data)}")
            if answer.status != 200 or answer.body != data:
                got = hashlib.sha256(answer.body).hexdigest()
                what = f"{repository}@{sha256(data)} of {made.digest}"
                self.fail(f"{what}: {answer.status}, {len(answer.body)} bytes, {got}")

    # --- after a round

    def settle(self) -> None:
        """Nothing is under way any more: learn what became of the lost, see that the rest is so."""
        for (repository, tag), cell in self.tags.items():
            seen = {
                self.look(replica, repository, tag, cell)
                for replica in range(len(self.wire.registries))
            }
            if len(seen) != 1:
                self.fail(f"replicas see {repository}:{tag} as {seen}")
            cell.value, cell.loose = seen.pop(), set()
        for (repository, digest), made in self.images.items():
            if not made.there.sure:
                answer = self.ask("HEAD", f"/v2/{repository}/manifests/{digest}")
                made.there = Cell(answer.status == 200)
            if made.there.value:
                self.fetch(self.rng.randrange(99), repository, made)
            else:
                self.absent(repository, digest)
        for (repository, tag), cell in self.tags.items():
            if cell.value and not self.images[repository, cell.value].there.value:
                self.fail(f"{repository}:{tag} names {cell.value}, which is not there")


def plain(made: Image) -> bool:
    """Whether an image is surely there, and neither an index nor about another one."""
    return whole(made) and not made.children and not made.subject


def whole(made: Image) -> bool:
    """Whether an image is surely there."""
    return made.there.sure and made.there.value
