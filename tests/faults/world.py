"""What all clients know together: projects, repositories, images that were pushed, names of tags.

alpha/…    private; `frozen` keeps its tags as they are, `scratch` is deleted as a whole
beta/…     public; `keep` has a retention policy, `copies` gets copies
small/c    has a quota that pushes run into
outside/…  of somebody who is a member of nothing else
"""

import json
import random
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field

from tests.faults.clients import Door, Session, sha256
from tests.faults.topology import PASSWORD, Topology
from tests.support.replicas import Answer, Calls

USUAL = ("alpha/app", "alpha/web", "alpha/db", "beta/app", "beta/tools")
FROZEN, SCRATCH, KEEP, COPIES, LIMITED = (
    "alpha/frozen",
    "alpha/scratch",
    "beta/keep",
    "beta/copies",
    "small/c",
)
REPOSITORIES = (*USUAL, FROZEN, SCRATCH, KEEP, COPIES, LIMITED)
OUTSIDER, OUTSIDE = "outsider", "outside/own"
OUTSIDERS_PASSWORD = "Aa1-canary-password-of-the-outsider"
LIMIT = 20_000_000
TAGS = 4  # of a repository at a time
USES = 40  # requests after which a tag gets a new name, so that each has a short history

SIZES = (4_096, 65_536, 1 << 20, 6 << 20, 12 << 20, 24 << 20)
WEIGHTS = (60, 25, 12, 2, 0.6, 0.4)


@dataclass
class Made:
    """An image, index or referrer that somebody pushes or has pushed."""

    repository: str
    payload: bytes
    blobs: Sequence[str] = ()
    children: Sequence[str] = ()
    subject: str = ""

    @property
    def digest(self) -> str:
        return sha256(self.payload)


@dataclass
class World:
    """Shared by all clients; every method may be called from any thread."""

    rng: random.Random
    layers: list[bytes] = field(default_factory=list)
    quota_id: int = 0
    retention_id: int = 0
    limit: int = LIMIT

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self._live: dict[str, OrderedDict[str, Made]] = {
            name: OrderedDict() for name in REPOSITORIES
        }
        self._uses: dict[tuple[str, int], int] = {}
        self._frozen = 0
        if not self.layers:
            sizes = [*SIZES[:4] * 2, 300_000, 2_000_000, 5 << 20, 20_000]
            self.layers = [self.rng.randbytes(size) for size in sizes]

    def layer(self, rng: random.Random) -> bytes:
        """One that others push too, or a new one."""
        if rng.random() < 0.4:
            return rng.choice(self.layers)
        (size,) = rng.choices(SIZES, WEIGHTS)
        return rng.randbytes(rng.randint(size // 2, size))

    def tag(self, rng: random.Random, repository: str) -> str:
        """The name of one of a repository's present tags."""
        slot = rng.randrange(TAGS)
        with self._lock:
            used = self._uses[repository, slot] = self._uses.get((repository, slot), -1) + 1
        return f"t{slot}-{used // USES}"

    def frozen_tag(self, rng: random.Random) -> str:
        """A new tag that will never move, or one of the last ones."""
        with self._lock:
            if rng.random() < 0.5:
                self._frozen += 1
            return f"v{max(0, self._frozen - rng.randrange(5))}"

    def pushed(self, made: Made) -> None:
        """Somebody was told that it is there."""
        with self._lock:
            self._live[made.repository][made.digest] = made

    def gone(self, repository: str, digest: str) -> None:
        """Somebody asked to delete it."""
        with self._lock:
            self._live[repository].pop(digest, None)

    def some(self, rng: random.Random, *, plain: bool = False) -> Made | None:
        """An image that is there, unless somebody deletes it at this moment."""
        with self._lock:
            found = [
                made
                for name in USUAL
                for made in self._live[name].values()
                if not plain or not (made.children or made.subject)
            ]
        return rng.choice(found) if found else None

    def several(self, rng: random.Random, repository: str, count: int) -> list[Made]:
        """Some plain images of one repository, or none."""
        with self._lock:
            found = [
                made
                for made in self._live[repository].values()
                if not (made.children or made.subject)
            ]
        return rng.sample(found, count) if len(found) >= count else []

    def oldest(self, rng: random.Random) -> Made | None:
        """One of those that have been there for long."""
        with self._lock:
            found = [made for name in USUAL for made in list(self._live[name].values())[:6]]
        return rng.choice(found) if found else None

    @property
    def living(self) -> int:
        """How many images are there, about."""
        with self._lock:
            return sum(len(self._live[name]) for name in USUAL)


def furnish(topology: Topology, world: World) -> None:
    """Make projects, people and rules."""
    calls = Calls(topology.of("core")[0])

    def post(path: str, document: object, method: str = "POST") -> Answer:
        body = json.dumps(document).encode()
        answer = calls.ask(method, f"/api/v2.0{path}", body, {"Content-Type": "application/json"})
        assert answer.status in (200, 201), (path, answer)
        return answer

    private, public = {"public": "false"}, {"public": "true"}
    post("/projects", {"project_name": "alpha", "metadata": private})
    post("/projects", {"project_name": "beta", "metadata": public})
    limited = {"project_name": "small", "metadata": private, "storage_limit": LIMIT}
    small = post("/projects", limited).headers["location"].rpartition("/")[2]
    quotas = json.loads(calls.ask("GET", f"/api/v2.0/quotas?reference_id={small}").body)
    world.quota_id = int(quotas[0]["id"])
    person = {"username": OUTSIDER, "password": OUTSIDERS_PASSWORD, "realname": OUTSIDER}
    post("/users", {**person, "email": "outsider@example.com"})
    post("/projects", {"project_name": "outside", "metadata": private})
    member = {"role_id": 2, "member_user": {"username": OUTSIDER}}
    post("/projects/outside/members", member)

    def selector(pattern: str, decoration: str) -> dict[str, str]:
        return {"kind": "doublestar", "decoration": decoration, "pattern": pattern}

    frozen = {
        "template": "immutable_template",
        "action": "immutable",
        "tag_selectors": [selector("**", "matches")],
        "scope_selectors": {"repository": [selector("frozen", "repoMatches")]},
    }
    post("/projects/alpha/immutabletagrules", frozen)
    beta = json.loads(calls.ask("GET", "/api/v2.0/projects/beta").body)["project_id"]
    rule = {
        "action": "retain",
        "template": "latestPushedK",
        "params": {"latestPushedK": 3},
        "tag_selectors": [selector("**", "matches")],
        "scope_selectors": {"repository": [selector("keep", "repoMatches")]},
    }
    policy = {
        "algorithm": "or",
        "rules": [rule],
        "trigger": {"kind": "Schedule", "settings": {"cron": ""}},
        "scope": {"level": "project", "ref": beta},
    }
    made = post("/retentions", policy).headers["location"]
    world.retention_id = int(made.rpartition("/")[2])


def doors(topology: Topology) -> list[Door]:
    """nginx first, then each registry behind its tap."""
    found = [Door("nginx", topology.nginx.port)]
    for each in topology.of("registry"):
        assert each.front is not None
        found.append(Door(each.name, each.front.port))
    return found


def admin(topology: Topology) -> Session:
    """The administrator, for all repositories."""
    scopes = [f"{name}:pull,push,delete" for name in REPOSITORIES]
    return Session(doors(topology)[0], "admin", PASSWORD, scopes)


def outsider(topology: Topology) -> Session:
    """Somebody who may do nothing here but in a project of their own."""
    scopes = [f"{name}:pull,push" for name in (*REPOSITORIES, OUTSIDE)]
    return Session(doors(topology)[0], OUTSIDER, OUTSIDERS_PASSWORD, scopes)
