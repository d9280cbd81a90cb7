"""The lists of projects that are a cache: of tags and of referrers, with those of there.

What the registry behind said of tags is believed as long as a tag is, and longer while it is away.
"""

import asyncio

from moorage.artifacts.listing import Listing
from moorage.artifacts.manifests import Manifests
from moorage.artifacts.records import Referrer
from moorage.artifacts.room import fitting
from moorage.db.engine import Database
from moorage.errors import Invalid, MoorageError, NotFound, RepositoryUnknown, Unreachable
from moorage.proxy.proxies import PAUSED, Upstream
from moorage.proxy.pulling import AWAY, Through, told
from moorage.remotes import Listed

LISTS, LONGEST, KEPT = 200, 10_000, 256 << 10
"""Lists of tags of one project that are kept; tags of one that is, and their characters."""
PATIENCE = 60.0
"""Seconds that a client waits for all pages of such a list."""
DESCRIPTOR = 256
"""Bytes of an entry of a list of referrers, beside the texts in it."""


class ThroughListing(Listing):
    """As `Listing`, with the tags of the registry behind."""

    def __init__(self, db: Database, through: Through) -> None:
        super().__init__(db)
        self._through = through

    async def tags(self, repository: str, *, last: str | None, limit: int | None) -> list[str]:
        """Those of both; of this one alone while the other is away."""
        proxies = self._through.proxies
        upstream = await proxies.of(repository)
        name = upstream.name(repository)
        missing: RepositoryUnknown | None = None
        found: set[str] = set()
        try:
            found.update(await super().tags(repository, last=last, limit=limit))
        except RepositoryUnknown as error:
            missing = error
        try:
            theirs = await self._theirs(upstream, name, needed=missing is not None)
        except NotFound:
            theirs = []
        except MoorageError as error:
            if missing is not None and isinstance(error, AWAY):
                raise told(error) from error
            theirs = []
        if missing is not None and not theirs:
            raise missing
        found.update(tag for tag in theirs if last is None or tag > last)
        return sorted(found)[:limit]

    async def _theirs(self, upstream: Upstream, name: str, *, needed: bool) -> list[str]:
        """The tags there, asked for once however many want them; raises why there are none.

        `needed`: there are none here, so that a registry that is down is asked all the same.
        """
        proxies = self._through.proxies
        async with upstream.asking.setdefault(name, asyncio.Lock()):
            moment = proxies.monotonic()
            when, known = upstream.lists.get(name, (0.0, None))
            if known is not None and when > moment - self._through.ttl:
                return known
            if not upstream.reachable(moment) and (known is not None or not needed):
                return self._stale(upstream, known)
            try:
                tags = await _tags(upstream, name)
            except NotFound:
                upstream.lists.pop(name, None)
                raise
            except (*AWAY, Invalid) as error:
                if isinstance(error, Unreachable):
                    upstream.down_until = proxies.monotonic() + PAUSED
                if known is None:
                    raise
                return self._stale(upstream, known)
            upstream.lists.pop(name, None)
            if len(tags) <= LONGEST and sum(map(len, tags)) <= KEPT:
                while len(upstream.lists) >= LISTS:
                    del upstream.lists[next(iter(upstream.lists))]
                upstream.lists[name] = proxies.monotonic(), tags
            return tags

    def _stale(self, upstream: Upstream, known: list[str] | None) -> list[str]:
        self._through.counters.stale.labels(upstream.project, "tags").inc()
        return known or []


class ThroughManifests(Manifests):
    """As `Manifests`, with the referrers that the registry behind lists."""

    def bound(self, through: Through) -> "ThroughManifests":
        """The same, which knows where to ask."""
        self._through = through
        return self

    async def referrers(
        self,
        repository: str,
        digest: str,
        *,
        artifact_type: str | None,
        after: str | None,
        limit: int,
        room: int,
    ) -> tuple[list[Referrer], str | None]:
        """Those of both, where the project asks the other one."""
        found, more = await super().referrers(
            repository, digest, artifact_type=artifact_type, after=after, limit=limit, room=room
        )
        upstream = await self._through.proxies.of(repository)
        if not upstream.referrers or after is not None or more is not None:
            return found, more
        try:
            theirs = await upstream.remote.referrers(
                upstream.name(repository), digest, artifact_type or ""
            )
        except MoorageError:
            return found, more
        known = {each.digest for each in found}
        more_of_them = [each for each in theirs[:limit] if each.digest not in known]
        count = fitting(map(_weight, more_of_them), max(room - sum(map(_weight, found)), 0))
        found += [
            Referrer(each.digest, each.media_type, each.size, each.artifact_type, each.annotations)
            for each in more_of_them[:count]
        ]
        return sorted(found, key=lambda each: each.digest), None


async def _tags(upstream: Upstream, name: str) -> list[str]:
    try:
        async with asyncio.timeout(PATIENCE):
            return await upstream.remote.tags(name)
    except TimeoutError:
        raise Unreachable(f"{upstream.remote.endpoint.host} takes too long to list tags") from None


def _weight(each: Referrer | Listed) -> int:
    """Bytes that it takes up in an answer, about."""
    texts = sum(len(name) + len(str(value)) for name, value in each.annotations.items())
    return DESCRIPTOR + len(each.media_type) + len(each.artifact_type) + texts
