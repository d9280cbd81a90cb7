"""Work that goes on by itself, again and again, in any number of processes at once."""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from moorage.artifacts.typed import Types
from moorage.artifacts.usageaging import UsageAging
from moorage.audit import Forwarder, Recorder
from moorage.audit.entries import RENDERINGS
from moorage.errors import StorageUnavailable, Unavailable
from moorage.events import Fact, Outbox, Subscriber
from moorage.gc import Collector, Janitor, Sweeper
from moorage.projects.storagedays import StorageDays
from moorage.replication import hear as replicate
from moorage.replication.hearing import FACTS as REPLICATED
from moorage.roles import memory
from moorage.roles.resources import Resources
from moorage.telemetry.metrics import Metrics
from moorage.webhooks.happenings import HAPPENINGS

log = logging.getLogger(__name__)

_LONGEST = 60.0


@dataclass(frozen=True)
class Work:
    """One kind of work: `run` does a batch and says whether there may be more at once."""

    name: str
    interval: float  # seconds between batches when there is no more
    run: Callable[[], Awaitable[bool]]


def subscribers(resources: Resources) -> Mapping[type[Fact], Sequence[Subscriber]]:
    """Who hears of which fact. One without a subscriber is dropped when its turn comes."""
    recorder = Recorder(resources.configurations)
    found: dict[type[Fact], list[Subscriber]] = {kind: [recorder.hear] for kind in RENDERINGS}
    for kind in HAPPENINGS:
        found[kind].append(resources.teller.hear)
    for kind in REPLICATED:
        found[kind].append(replicate)
    return found


def works(resources: Resources) -> list[Work]:
    """What a jobservice does."""
    settings, db = resources.settings.gc, resources.db
    metrics = resources.ground.metrics
    outbox = Outbox(db, subscribers(resources))
    types = Types(db)
    forwarder = Forwarder(db, resources.configurations, resources.syslog)

    async def dispatch() -> bool:
        handed = await outbox.dispatch()
        if handed:  # perhaps there is something to tell
            resources.ground.bell.nudge()
        return handed > 0

    aging = UsageAging(db, resources.settings.usage)
    found = [
        Work("outbox", 2.0, dispatch),
        Work("audit forwarding", 2.0, forwarder.run_once),
        Work("types of artifacts", 60.0, lambda: _some(types.fill())),
        Work("sessions", 600.0, lambda: _none(resources.sessions.tidy())),
        Work("sign-ins", 600.0, lambda: _none(resources.oidc_accounts.tidy())),
        Work("storage by day", 600.0, StorageDays(db).note),
        Work("old figures of usage", 3600.0, aging.run_once),
    ]
    if settings.enabled:
        collector = Collector(db, resources.rules, settings.batch)
        sweeper = Sweeper(db, resources.ground.store)
        janitor = Janitor(db, resources.rules)

        async def collect() -> bool:
            done = await collector.run_once()
            metrics.collected_blobs.inc(done.blobs)
            metrics.collected_bytes.inc(done.size)
            return done.reviewed >= settings.batch

        async def sweep() -> bool:
            try:
                done = await sweeper.run_once()
            except StorageUnavailable:
                metrics.failed_deletes.inc()
                raise
            metrics.swept_objects.inc(done.objects)
            return done.objects > 0

        async def tidy() -> bool:
            return (await janitor.run_once()).uploads > 0

        every = settings.interval_seconds
        found += [
            Work("collector", every, collect),
            Work("sweeper", every, sweep),
            Work("janitor", every, tidy),
        ]
    return found


def flushes(resources: Resources) -> list[Work]:
    """What every process does that answers pulls or checks tokens, and its own upkeep."""

    async def rotate() -> bool:
        await resources.keys.tend()
        return False

    return [
        Work("pull statistics", 5.0, lambda: _none(resources.counts.flush())),
        Work("access tokens' use", 5.0, lambda: _none(resources.access_tokens.flush())),
        Work("refused sign-ins", 5.0, lambda: _none(resources.logins.flush())),
        Work("signing keys", 3600.0, rotate),
        Work("proxy projects", 5.0, lambda: _none(resources.through.proxies.refresh())),
        Work("memory", memory.EVERY, memory.tidy),
    ]


async def _some(work: Awaitable[int]) -> bool:
    return await work > 0


async def _none(work: Awaitable[object]) -> bool:
    await work
    return False


async def keep_going(work: Work, metrics: Metrics) -> None:
    """Run for ever. A failure is logged, changes nothing, and is tried again more slowly."""
    pause = work.interval
    while True:
        # Replicas that started together do not ask together.
        await asyncio.sleep(pause * random.uniform(0.8, 1.2))  # noqa: S311
        try:
            more = True
            while more:
                more = await work.run()
        except Unavailable as error:
            log.warning("%s: %s", work.name, error.message)
        except Exception:
            log.exception("%s failed", work.name)
        else:
            metrics.background.labels(work.name, "success").inc()
            pause = work.interval
            continue
        metrics.background.labels(work.name, "failure").inc()
        pause = min(pause * 2, max(_LONGEST, work.interval))
