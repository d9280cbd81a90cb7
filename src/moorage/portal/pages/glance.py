"""What a repository is at a glance: the figures above the list of its tags."""

import asyncio
from collections.abc import Sequence

from moorage.portal.pages.usage import of_quota
from moorage.portal.parts import Stat
from moorage.portal.places import Place
from moorage.portal.rendering import filesize, thousands
from moorage.portal.shapes.artifacts import Repository
from moorage.portal.shapes.usage import PullDay, StorageDay
from moorage.portal.visits import Visit

DAYS = 30


async def figures(visit: Visit, found: Place) -> Sequence[Stat]:
    """Pulls of the last days, bytes held and artifacts, as far as the visitor may read them."""
    pulled, stored, repository = await asyncio.gather(
        visit.all(PullDay, f"{found.api}/usage/pulls", days=2 * DAYS),
        of_quota(found.here, StorageDay, f"{found.api}/usage/storage", days=2),
        found.repository(),
    )
    stats = [_pulls(visit, pulled.items)]
    if stored is not None and stored.items:
        stats.append(_storage(visit, stored.items[-1]))
    if repository is not None:
        stats.append(_artifacts(visit, repository))
    return stats


def _pulls(visit: Visit, days: Sequence[PullDay]) -> Stat:
    """Those of the period, beside those of the one before."""
    _ = visit.gettext
    counts = [day.pulls for day in days]
    before, last = counts[:-DAYS], counts[-DAYS:]
    note = ""
    if sum(before):
        change = format(round(100 * (sum(last) / sum(before) - 1)), "+,d")
        note = _("%(change)s %% on the %(days)s days before", change=change, days=DAYS)
    title = _("Pulls in %(days)s days", days=DAYS)
    return Stat(title, thousands(sum(last)), note, bars=last if any(last) else ())


def _storage(visit: Visit, day: StorageDay) -> Stat:
    _ = visit.gettext
    note = _("%(size)s of it only here", size=filesize(day.physical))
    return Stat(_("Storage"), filesize(day.physical + day.shared), note)


def _artifacts(visit: Visit, repository: Repository) -> Stat:
    _ = visit.gettext
    note = _("%(count)s pulls so far", count=thousands(repository.pull_count))
    return Stat(_("Artifacts"), thousands(repository.artifact_count), note)
