"""Webhooks from a fact to a request, on both databases, with a real server at the other end."""

import asyncio
import hashlib
import hmac
import tracemalloc
from collections import Counter
from ipaddress import ip_network
from typing import Any

import pytest
from sqlalchemy import delete, select, update
from tests.support.accounts import SECRET_KEY
from tests.support.content import Content, sha256
from tests.support.jobs import worker, working
from tests.support.receivers import Receiver
from tests.support.statements import statements

from moorage import failpoints
from moorage.access.principals import Principal
from moorage.access.secretbox import SecretBox
from moorage.blobstore.memory import MemoryStore
from moorage.cache.local import NoCache
from moorage.clock import SystemClock
from moorage.db import tables
from moorage.db.engine import Database
from moorage.db.queries import Query
from moorage.errors import Conflict, Invalid, NotFound
from moorage.events import ArtifactPulled, Outbox, QuotaRefused, emit
from moorage.jobs import Kind
from moorage.jobs.history import History
from moorage.jobs.records import FINAL
from moorage.outgoing import Guard
from moorage.settings import Configurations
from moorage.webhooks import Delivery, Teller, WebhookPolicies
from moorage.webhooks.happenings import HAPPENINGS
from moorage.webhooks.records import EVENT_TYPES, Target

pytestmark = pytest.mark.anyio

ROOT = Principal("user", 1, "alice", sysadmin=True)
EVERYTHING = {"name": "all", "description": "", "event_types": EVENT_TYPES, "enabled": True}


class Site:
    """A project, whoever hears of its events, and whoever tells of them."""

    def __init__(self, db: Database) -> None:
        self.db = db
        self.content = Content(db, MemoryStore())
        self.box = SecretBox(SECRET_KEY)
        self.policies = WebhookPolicies(db, self.box)
        self.settings = Configurations(db, NoCache(), self.box)
        teller = Teller(self.settings, "registry.example")
        self.outbox = Outbox(db, {kind: [teller.hear] for kind in HAPPENINGS})
        self.teller = teller
        self.history = History(db)
        self.waits(120)

    def waits(self, seconds: float) -> None:
        """How long a target may take to answer."""
        guard = Guard((ip_network("127.0.0.0/8"),))
        self.delivery = Delivery(self.policies, guard, SystemClock(), "9", seconds)

    async def begin(self) -> "Site":
        self.project = await self.content.project("team")
        return self

    def kinds(self) -> tuple[Kind, ...]:
        return tuple(
            Kind(name, self.delivery, tries=3, backoff=0.05, light=True, share=6)
            for name in ("WEBHOOK", "SLACK")
        )

    async def policy(self, *targets: Target, **values: Any) -> int:
        return await self.policies.create(
            ROOT, self.project, {**EVERYTHING, **values}, list(targets)
        )

    async def runs(self, policy_id: int) -> list[Any]:
        page = await self.history.list(("WEBHOOK", "SLACK"), Query(size=100), vendor_id=policy_id)
        return list(page.items)

    async def ended(self, policy_id: int, seconds: float = 60) -> list[Any]:
        """Its runs, the newest first, when all have ended."""
        async with asyncio.timeout(seconds):
            while True:
                runs = await self.runs(policy_id)
                if runs and all(run.status in FINAL for run in runs):
                    return runs
                await asyncio.sleep(0.05)

    async def log(self, run: Any) -> str:
        return await self.history.log_of(run.id)


@pytest.fixture
async def site(database: Database) -> Site:
    return await Site(database).begin()


def to(receiver: Receiver, **more: Any) -> Target:
    return Target("http", receiver.url, **more)


async def test_a_push_is_told_as_harbor_tells_it(site: Site, receiver: Receiver) -> None:
    policy = await site.policy(to(receiver, auth_header="Bearer canary"), event_types=EVENT_TYPES)
    manifest = await site.content.push_image("team/app", "v1")
    await site.outbox.dispatch()
    async with working(worker(site.db, *site.kinds())):
        (told,) = await receiver.until(1)
        (run,) = await site.ended(policy)
    body = told.json
    assert (body["type"], body["operator"]) == ("PUSH_ARTIFACT", "alice")
    assert isinstance(body["occur_at"], int)
    resource = {
        "digest": sha256(manifest),
        "tag": "v1",
        "resource_url": "registry.example/team/app:v1",
    }
    assert body["event_data"]["resources"] == [resource]
    repository = body["event_data"]["repository"]
    assert repository.pop("date_created") > 0
    assert repository == {
        "name": "app",
        "namespace": "team",
        "repo_full_name": "team/app",
        "repo_type": "private",
    }
    assert told.headers["authorization"] == "Bearer canary"
    assert told.headers["content-type"] == "application/json"
    assert told.headers["user-agent"] == "moorage/9"
    assert (run.status, run.trigger, run.vendor_type) == ("Success", "EVENT", "WEBHOOK")
    log = await site.log(run)
    assert "answered with status 200" in log
    assert "canary-answer" not in log  # what a network says that its reader may not look into
    assert "canary" not in log


async def test_a_cloud_event_and_its_signature(site: Site, receiver: Receiver) -> None:
    await site.policy(to(receiver, format="CloudEvents", secret="sign here"))
    await site.content.push_image("team/app", "v1")
    await site.outbox.dispatch()
    async with working(worker(site.db, *site.kinds())):
        (told,) = await receiver.until(1)
    event = told.json
    assert (event["specversion"], event["type"]) == ("1.0", "harbor.artifact.pushed")
    assert event["source"] == f"/projects/{site.project}/webhook/policies/1"
    assert event["data"]["resources"][0]["tag"] == "v1"
    assert event["id"] == told.headers["x-moorage-event-id"]
    assert told.headers["content-type"] == "application/cloudevents+json"
    stamp = told.headers["x-moorage-timestamp"]
    signed = hmac.new(b"sign here", f"{stamp}.".encode() + told.body, hashlib.sha256)
    assert told.headers["x-moorage-signature"] == f"sha256={signed.hexdigest()}"


async def test_slack_is_told_in_words_that_call_nobody(site: Site, receiver: Receiver) -> None:
    await site.policy(Target("slack", receiver.url))
    async with site.db.write() as tx:
        fact = QuotaRefused(
            operator="<!channel> *bold*",
            project_id=site.project,
            repository="team/app",
            message="<https://evil.example|click> ```",
        )
        await emit(tx, fact)
    await site.outbox.dispatch()
    async with working(worker(site.db, *site.kinds())):
        (told,) = await receiver.until(1)
    texts = [block["text"]["text"] for block in told.json["blocks"]]
    assert any("QUOTA_EXCEED" in text for text in texts)
    said = "\n".join(texts)
    assert "<" not in said
    assert "&lt;!channel&gt;" in said
    assert said.count("```") == 2


async def test_every_event_that_content_makes(site: Site, receiver: Receiver) -> None:
    """And none of another type than the policy wants, or of another project."""
    only = await site.policy(to(receiver), name="pulls", event_types=("PULL_ARTIFACT",))
    await site.policy(to(receiver))
    await site.content.project("other")
    await site.content.push_image("other/app", "v1")
    manifest = await site.content.push_image("team/app", "v1")
    pulled = ArtifactPulled(
        operator="bob",
        project_id=site.project,
        repository="team/app",
        digest=sha256(manifest),
        tag="v1",
        count=2,
    )
    await site.db.run(emit, pulled)
    await site.content.manifests.delete(ROOT, "team/app", sha256(manifest))
    await site.outbox.dispatch()
    async with site.db.read() as tx:
        types = (await tx.execute(select(tables.executions.c.extra))).scalars().all()
    told = Counter(each["event_type"] for each in types)
    assert told == {"PUSH_ARTIFACT": 1, "PULL_ARTIFACT": 2, "DELETE_ARTIFACT": 1}
    (run,) = await site.runs(only)
    assert run.extra["event_type"] == "PULL_ARTIFACT"


async def test_many_facts_and_policies_cost_a_few_statements(
    site: Site, receiver: Receiver
) -> None:
    async def cost(count: int) -> int:
        async with site.db.write() as tx:
            facts = [
                QuotaRefused(
                    operator="x", project_id=site.project, repository=f"team/r{n}", message="full"
                )
                for n in range(count)
            ]
            await emit(tx, *facts)
        with statements() as seen:
            await site.outbox.dispatch()
        return len(seen)

    few = await cost(2)
    for number in range(5):
        await site.policy(to(receiver), name=f"p{number}")
    some, many = await cost(2), await cost(100)
    assert few < some <= many
    assert many - some <= 6  # rows of one INSERT are bounded


async def test_a_refusal_is_tried_again_with_the_same_id(site: Site, receiver: Receiver) -> None:
    receiver.answers = [500, "reset", 200]
    policy = await site.policy(to(receiver))
    await site.content.push_image("team/app", "v1")
    await site.outbox.dispatch()
    async with working(worker(site.db, *site.kinds())):
        told = await receiver.until(3)
        (run,) = await site.ended(policy)
    assert run.status == "Success"
    assert len({each.headers["x-moorage-event-id"] for each in told}) == 1
    assert "127.0.0.1" in await site.log(run)


async def test_one_that_never_accepts_is_given_up(site: Site, receiver: Receiver) -> None:
    receiver.answers = [500] * 10
    policy = await site.policy(to(receiver))
    await site.content.push_image("team/app", "v1")
    await site.outbox.dispatch()
    async with working(worker(site.db, *site.kinds())):
        (run,) = await site.ended(policy)
    assert (run.status, len(receiver.told)) == ("Error", 3)
    assert run.status_message.endswith("answers with status 500")


async def test_a_redirect_leads_nowhere(site: Site, receiver: Receiver) -> None:
    receiver.answers = ["redirect"] * 3
    policy = await site.policy(to(receiver))
    await site.content.push_image("team/app", "v1")
    await site.outbox.dispatch()
    async with working(worker(site.db, *site.kinds())):
        (run,) = await site.ended(policy)
    assert "redirect, which is not followed" in run.status_message
    assert len(receiver.told) == 3


@pytest.mark.parametrize("how", ["never", "late", "endless"])
async def test_a_bad_receiver_costs_bounded_time_and_memory_and_delays_nobody(
    site: Site, receiver: Receiver, how: str
) -> None:
    """Late and never are given up after the time-out; of a gigabyte next to nothing is read."""
    if how != "endless":
        site.waits(1)
    async with Receiver().listening("/good") as good:
        receiver.answers = [how] * 100
        bad = await site.policy(to(receiver), name="bad")
        quick = await site.policy(to(good), name="good")
        for number in range(8):
            await site.content.push_image("team/app", f"v{number}")
        await site.outbox.dispatch()
        tracemalloc.start()
        try:
            async with working(worker(site.db, *site.kinds(), slots=10)):
                began = asyncio.get_running_loop().time()
                await good.until(8, 240)
                assert {run.status for run in await site.ended(quick, 240)} == {"Success"}
                runs = await site.ended(bad, 240)
                lasted = asyncio.get_running_loop().time() - began
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert {run.status for run in runs} == {"Success" if how == "endless" else "Error"}
    assert lasted < 240
    assert peak < 32 << 20
    assert receiver.sent < 64 << 20


async def test_a_private_address_is_not_told(site: Site) -> None:
    """Not the machine itself, not its network, not the address of a cloud's metadata.

    CVE-2020-13788, CVE-2026-111590, GHSA-2phj-cp9f-qq6w.
    """
    site.delivery = Delivery(site.policies, Guard(), SystemClock(), "9", 20.0)
    for number, host in enumerate(
        ("localhost", "127.0.0.1", "169.254.169.254", "[::1]", "10.1.1.1")
    ):
        policy = await site.policy(Target("http", f"http://{host}:9/"), name=f"p{number}")
        await site.content.push_image("team/app", f"v{number}")
        await site.outbox.dispatch()
        async with working(worker(site.db, Kind("WEBHOOK", site.delivery))):
            runs = await site.ended(policy)
        assert all("no public address" in run.status_message for run in runs), host


async def test_what_changed_meanwhile_is_not_sent(site: Site, receiver: Receiver) -> None:
    """A policy that was deleted, disabled, or has another address in that place."""
    gone = await site.policy(to(receiver), name="gone")
    off = await site.policy(to(receiver), name="off")
    moved = await site.policy(to(receiver), name="moved")
    await site.content.push_image("team/app", "v1")
    await site.outbox.dispatch()
    await site.policies.delete(ROOT, site.project, gone)
    disabled = {**EVERYTHING, "name": "off", "enabled": False}
    await site.policies.update(ROOT, site.project, off, disabled, [to(receiver)])
    other = Target("http", "http://127.0.0.1:9/elsewhere")
    renamed = {**EVERYTHING, "name": "moved"}
    await site.policies.update(ROOT, site.project, moved, renamed, [other])
    async with working(worker(site.db, *site.kinds())):
        for policy in (gone, off, moved):
            (run,) = await site.ended(policy)
            assert run.status == "Stopped"
    assert receiver.told == []


async def test_an_event_is_told_once_when_the_hand_over_fails(
    site: Site, receiver: Receiver
) -> None:
    """What the failed one had queued is rolled back with it."""
    policy = await site.policy(to(receiver))
    await site.content.push_image("team/app", "v1")
    failpoints.arm("outbox.dispatching=error")
    try:
        with pytest.raises(failpoints.Injected):
            await site.outbox.dispatch()
    finally:
        failpoints.arm("")
    assert await site.runs(policy) == []
    await site.outbox.dispatch()
    assert await site.outbox.dispatch() == 0
    assert len(await site.runs(policy)) == 1


async def test_nothing_is_told_of_what_did_not_commit(site: Site, receiver: Receiver) -> None:
    policy = await site.policy(to(receiver))

    async def step(tx: Any) -> None:
        fact = QuotaRefused(operator="x", project_id=site.project, repository="team/a", message="m")
        await emit(tx, fact)
        raise RuntimeError

    with pytest.raises(RuntimeError):
        await site.db.run(step)
    await site.outbox.dispatch()
    assert await site.runs(policy) == []


async def test_notifications_can_be_switched_off(site: Site, receiver: Receiver) -> None:
    policy = await site.policy(to(receiver))
    await site.settings.change(ROOT, {"notification_enable": False})
    await site.content.push_image("team/app", "v1")
    await site.outbox.dispatch()
    assert await site.runs(policy) == []


async def test_secrets_stay_with_their_address_and_nowhere_else(
    site: Site, receiver: Receiver
) -> None:
    first = to(receiver, auth_header="canary-header", secret="canary-secret")
    policy = await site.policy(first)
    await site.content.push_image("team/app", "v1")
    await site.outbox.dispatch()
    async with site.db.read() as tx:
        for table in (tables.webhook_policies, tables.tasks, tables.executions, tables.outbox):
            assert "canary" not in str((await tx.execute(select(table))).all())
    shown = await site.policies.get(site.project, policy)
    assert shown.targets[0].auth_header is None
    assert "canary" not in repr(await site.policies.opened(policy))

    async def secrets() -> tuple[str | None, str | None]:
        opened = await site.policies.opened(policy)
        assert opened is not None
        return opened.targets[0].auth_header, opened.targets[0].secret

    update_ = site.policies.update
    await update_(ROOT, site.project, policy, EVERYTHING, [to(receiver)])
    assert await secrets() == ("canary-header", "canary-secret")
    await update_(ROOT, site.project, policy, EVERYTHING, [to(receiver, auth_header="")])
    assert await secrets() == ("", "canary-secret")
    thief = Target("http", "http://127.0.0.1:9/thief")
    await update_(ROOT, site.project, policy, EVERYTHING, [thief])
    assert await secrets() == ("", "")


async def test_a_new_secret_key_takes_the_secrets_along(site: Site, receiver: Receiver) -> None:
    policy = await site.policy(to(receiver, auth_header="kept"))
    newer = WebhookPolicies(site.db, SecretBox("another key, long enough", [SECRET_KEY]))
    await site.db.run(newer.seal_anew)
    alone = WebhookPolicies(site.db, SecretBox("another key, long enough"))
    opened = await alone.opened(policy)
    assert opened is not None
    assert opened.targets[0].auth_header == "kept"


@pytest.mark.parametrize(
    ("values", "target"),
    [
        ({"name": ""}, {}),
        ({"name": "x" * 256}, {}),
        ({"event_types": ()}, {}),
        ({"event_types": ("MAKE_COFFEE",)}, {}),
        ({}, {"kind": "smtp"}),
        ({}, {"format": "XML"}),
        ({}, {"kind": "slack", "format": "CloudEvents"}),
        ({}, {"address": "ftp://example.org"}),
        ({}, {"address": "http://user:pass@example.org"}),
        ({}, {"address": "example.org/hook"}),
        ({}, {"address": "http://exa mple.org"}),
        ({}, {"auth_header": "a\r\nX-Injected: b"}),
        ({}, {"secret": "x" * 5000}),
    ],
)
async def test_what_cannot_be_a_policy(
    site: Site, values: dict[str, Any], target: dict[str, Any]
) -> None:
    good = {"kind": "http", "address": "https://example.org/hook"}
    with pytest.raises(Invalid):
        await site.policy(Target(**{**good, **target}), **values)
    with pytest.raises(Invalid):
        await site.policy(**values)
    assert (await site.policies.list(site.project, Query())).total == 0


async def test_names_are_unique_in_a_project_and_ids_count_there_only(
    site: Site, receiver: Receiver
) -> None:
    one, two = await site.policy(to(receiver)), await site.policy(to(receiver), name="two")
    with pytest.raises(Conflict):
        await site.policy(to(receiver))
    with pytest.raises(Conflict):
        await site.policies.update(ROOT, site.project, two, EVERYTHING, [to(receiver)])
    other = await site.content.project("other")
    await site.policies.create(ROOT, other, EVERYTHING, [to(receiver)])
    for act in (site.policies.get, lambda p, i: site.policies.delete(ROOT, p, i)):
        with pytest.raises(NotFound):
            await act(other, one)
    async with site.db.write() as tx:
        await tx.execute(update(tables.webhook_policies).values(enabled=False))
        await tx.execute(delete(tables.outbox))
    with pytest.raises(NotFound):
        await site.db.run(site.teller.test, "alice", site.project, one)
