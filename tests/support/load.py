"""Clients of a registry that is changed under them: they push, pull and call, and note what fails.

Load(front, 3)        three clients; `with` starts them and ends them
load.pushed           what was acknowledged: repository and tag → manifest
load.failed           every answer that was not the right one, and every one that never came
"""

import json
import random
import threading
import time
from collections.abc import Callable
from typing import Self

from tests.support.content import image, sha256
from tests.support.images import MANIFEST
from tests.support.replicas import Answer, Calls


class Load:
    """Some clients at work."""

    def __init__(self, front: Calls, clients: int, pages: tuple[str, ...] = ()) -> None:
        """`front` is nginx; `pages` are paths that anybody may read."""
        self.pushed: dict[tuple[str, str], bytes] = {}
        self.failed: list[str] = []
        self.over = threading.Event()
        self.clients = [_Client(self, front, number, pages) for number in range(clients)]

    def __enter__(self) -> Self:
        for client in self.clients:
            client.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        for client in self.clients:
            client.join(90)
        assert not [client.name for client in self.clients if client.is_alive()]

    @property
    def requests(self) -> int:
        """How many answers came."""
        return sum(client.requests for client in self.clients)

    def go_on(self, rounds: int = 2, seconds: float = 120) -> None:
        """Return when each client has done so many more rounds."""
        wanted = [client.rounds + rounds for client in self.clients]
        until = time.monotonic() + seconds
        while any(c.rounds < most for c, most in zip(self.clients, wanted, strict=True)):
            assert time.monotonic() < until, f"no load: {self.failed[-3:]}"
            time.sleep(0.05)


class _Client(threading.Thread):
    """One of them."""

    def __init__(self, load: Load, front: Calls, number: int, pages: tuple[str, ...]) -> None:
        super().__init__(name=f"client {number}", daemon=True)
        self._load, self._front, self._pages = load, front, pages
        self._rng = random.Random(number)
        self._repository = f"library/load-{number}"
        self.rounds = self.requests = 0

    def run(self) -> None:
        acts: tuple[Callable[[], None], ...] = (self._push, self._pull, self._call)
        while not self._load.over.is_set():
            for act in acts:
                try:
                    act()
                except Exception as error:
                    self._load.failed.append(f"{self.name} {act.__name__}: {error!r}")
            self.rounds += 1

    def _ask(
        self, method: str, path: str, body: bytes | None = None, kind: str = "", *, right: int
    ) -> Answer:
        headers = {"Content-Type": kind} if kind else {}
        answer = self._front.ask(method, path, body, headers)
        self.requests += 1
        assert answer.status == right, (method, path, answer)
        return answer

    # --- what it does

    def _push(self) -> None:
        """An image of a config and a layer, in two pieces, under a new tag; a tag is taken away."""
        name, tag = self._repository, f"t{self.rounds}"
        config = json.dumps({"round": self.rounds, "of": name}).encode()
        layer = self._rng.randbytes(200_000)
        self._ask("POST", f"/v2/{name}/blobs/uploads/?digest={sha256(config)}", config, right=201)
        where = self._ask("POST", f"/v2/{name}/blobs/uploads/", right=202).headers["location"]
        where = self._ask("PATCH", where, layer[:90_000], right=202).headers["location"]
        mark = "&" if "?" in where else "?"
        self._ask("PUT", f"{where}{mark}digest={sha256(layer)}", layer[90_000:], right=201)
        document = image(config, [layer])
        for each in (tag, "moving"):
            path = f"/v2/{name}/manifests/{each}"
            self._ask("PUT", path, document, MANIFEST, right=201)
        self._load.pushed[name, tag] = document
        self._ask("PUT", f"/v2/{name}/manifests/gone", document, MANIFEST, right=201)
        self._ask("DELETE", f"/v2/{name}/manifests/gone", right=202)

    def _pull(self) -> None:
        """What was pushed last, and something older, with all bytes."""
        mine = [tag for (name, tag) in list(self._load.pushed) if name == self._repository]
        for tag in {mine[-1], self._rng.choice(mine), "moving"} if mine else ():
            wanted = self._load.pushed[self._repository, mine[-1] if tag == "moving" else tag]
            path = f"/v2/{self._repository}/manifests/{tag}"
            assert self._ask("GET", path, right=200).body == wanted, path
            for entry in json.loads(wanted)["layers"]:
                blob = f"/v2/{self._repository}/blobs/{entry['digest']}"
                body = self._ask("GET", blob, right=200).body
                assert sha256(body) == entry["digest"], blob

    def _call(self) -> None:
        """Lists, a label that is made and goes, a token, pages."""
        _, _, short = self._repository.partition("/")
        for path in (
            f"/v2/{self._repository}/tags/list?n=5",
            "/api/v2.0/projects",
            f"/api/v2.0/projects/library/repositories/{short}/artifacts?with_label=true",
            "/api/v2.0/audit-logs?page_size=5",
            "/api/v2.0/jobservice/queues",
            f"/service/token?service=harbor-registry&scope=repository:{self._repository}:pull",
            *self._pages,
        ):
            self._ask("GET", path, right=200)
        label = json.dumps({"name": f"{short}-{self.rounds}", "scope": "g"}).encode()
        made = self._ask("POST", "/api/v2.0/labels", label, "application/json", right=201)
        self._ask("DELETE", made.headers["location"], right=200)
