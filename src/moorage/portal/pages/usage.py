"""How much is pulled and held: of a project, a repository, an artifact and a tag; a tag's history.

`?days=` is the period. Who pulled is asked for where the visitor may read the project's log.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import quote

from starlette.responses import Response

from moorage.portal import charts, parts
from moorage.portal.charts import PERIODS, Chart, Period, Point, Rank, Ranking
from moorage.portal.client import Listing, quoted
from moorage.portal.parts import Cell, Column, Crumb, Row, Table
from moorage.portal.places import USAGE, Place
from moorage.portal.rendering import filesize, short_digest, thousands
from moorage.portal.scope import PROJECTS, Scope, scope
from moorage.portal.shapes.usage import PullDay, Pulled, RepositoryStorage, StorageDay, TagMove
from moorage.portal.visits import Visit

MOST_NAMES = 10


async def project(visit: Visit) -> Response:
    """The page of a project."""
    here = await scope(visit)
    days, top = _days(visit), MOST_NAMES
    pulls = f"{here.api}/usage/pulls"
    asked: list[Any] = [
        visit.all(PullDay, pulls, days=days),
        visit.all(Pulled, f"{pulls}/repositories", days=days, page_size=top),
        _callers(visit, here, pulls, days),
        of_quota(here, StorageDay, f"{here.api}/usage/storage", days=days),
        of_quota(here, RepositoryStorage, f"{here.api}/usage/storage/repositories", page_size=top),
    ]
    pulled, repositories, callers, stored, largest = await asyncio.gather(*asked)
    _ = visit.gettext

    def link(name: str) -> Cell:
        short = name.partition("/")[2]
        where = f"{here.path}/repositories/{quote(short, safe='')}/{USAGE}"
        return parts.link(short, where, tone="package")

    rankings = [_ranking(visit, _("Repositories by pulls"), _("Repository"), repositories, link)]
    if callers is not None:
        rankings.append(_by_caller(visit, callers))
    if largest is not None:
        rankings.append(_largest(visit, largest, link))
    return await _render(
        visit,
        here.head("usage"),
        [*_pulls(visit, pulled.items), *_stored(visit, stored)],
        rankings,
    )


async def repository(visit: Visit, found: Place) -> Response:
    """The page of a repository."""
    here, days, top = found.here, _days(visit), MOST_NAMES
    pulls = f"{found.api}/usage/pulls"
    asked: list[Any] = [
        visit.all(PullDay, pulls, days=days),
        visit.all(Pulled, f"{pulls}/tags", days=days, page_size=top),
        visit.all(Pulled, f"{pulls}/artifacts", days=days, page_size=top),
        _callers(visit, here, pulls, days),
        of_quota(here, StorageDay, f"{found.api}/usage/storage", days=days),
    ]
    pulled, tags, artifacts, callers, stored = await asyncio.gather(*asked)
    _ = visit.gettext
    rankings = [
        _ranking(
            visit,
            _("Tags by pulls"),
            _("Tag"),
            tags,
            lambda name: parts.link(name, found.tag(name), tone="tag"),
            sizes=False,
        ),
        _ranking(
            visit,
            _("Artifacts by pulls"),
            _("Artifact"),
            artifacts,
            lambda name: parts.link(short_digest(name), f"{found.artifact(name)}?tab=usage"),
        ),
    ]
    if callers is not None:
        rankings.append(_by_caller(visit, callers))
    plots = [*_pulls(visit, pulled.items), *_stored(visit, stored)]
    return await _render(visit, found.head(USAGE), plots, rankings)


async def artifact(visit: Visit, found: Place, digest: str) -> dict[str, Any]:
    """What the page of an artifact shows of its pulls."""
    days = _days(visit)
    pulls = f"{found.api}/usage/pulls"
    pulled = await visit.all(PullDay, pulls, days=days, digest=digest)
    return {"plots": _pulls(visit, pulled.items), "periods": _periods(visit, tab="usage")}


async def tag(visit: Visit, found: Place) -> Response:
    """The page of a tag: where it pointed, and how often it was asked for. Also of one that is
    gone."""
    _ = visit.gettext
    view = visit.view("days")
    name, days = found.tagged, _days(visit)
    moves, pulled = await asyncio.gather(
        visit.all(
            TagMove,
            f"{found.api}/tag-history",
            q=f"tag={quoted(name)}",
            page=view.page,
            page_size=view.size,
        ),
        visit.all(PullDay, f"{found.api}/usage/pulls", days=days, tag=name),
    )
    gone = bool(moves.items) and moves.items[0].kind == "deleted"
    show = parts.Item(_("Show the artifact"), found.artifact(name), icon="box")
    return await visit.render(
        "usage.html",
        title=name,
        glyph="tag",
        crumbs=found.crumbs(Crumb(name)),
        actions=[] if gone else [show],
        periods=_periods(visit),
        plots=_pulls(visit, pulled.items, sizes=False),
        rankings=(),
        sections=[_history(visit, found, view, moves)],
    )


def _history(visit: Visit, found: Place, view: parts.View, moves: Listing[TagMove]) -> Table:
    _ = visit.gettext
    kinds = {
        "created": (_("Created"), "signed"),
        "moved": (_("Moved"), "teal"),
        "deleted": (_("Deleted"), "red"),
        "restored": (_("Restored"), "violet"),
    }

    def at(digest: str) -> Cell:
        if not digest:
            return parts.text("")
        return parts.link(short_digest(digest), found.artifact(digest))

    rows = [
        Row(
            [
                parts.chips(kinds.get(move.kind, (move.kind, "plain"))),
                at(move.previous),
                at(move.digest),
                parts.text(move.operator),
                parts.time(move.time),
            ]
        )
        for move in moves.items
    ]
    return Table(
        _("History"),
        [
            Column(_("What happened")),
            Column(_("Pointed at")),
            Column(_("Points at")),
            Column(_("By")),
            Column(_("When")),
        ],
        rows,
        moves.total,
        view,
        _("Nothing is known of this tag"),
        _("Moves are kept from the first one on that this version saw."),
        "clock",
    )


# --- what is asked


async def _callers(visit: Visit, here: Scope, pulls: str, days: int) -> Listing[Pulled] | None:
    if not here.may("log", "list"):
        return None
    return await visit.all(Pulled, f"{pulls}/callers", days=days, page_size=MOST_NAMES)


async def of_quota(here: Scope, shape: type[Any], path: str, **query: int) -> Listing[Any] | None:
    """What those may read who may read the quota."""
    return await here.visit.all(shape, path, **query) if here.may("quota", "read") else None


def _days(visit: Visit) -> int:
    """The period; a strange one is the shortest."""
    said = visit.query.get("days", "")
    return int(said) if said in map(str, PERIODS) else PERIODS[0]


# --- what is drawn


async def _render(
    visit: Visit, head: dict[str, Any], plots: Sequence[Chart], rankings: Sequence[Ranking]
) -> Response:
    return await visit.render(
        "usage.html", **head, periods=_periods(visit), plots=plots, rankings=rankings
    )


def _periods(visit: Visit, **kept: str) -> Sequence[Period]:
    _ = visit.gettext
    current = _days(visit)
    labels = {30: _("30 days"), 90: _("90 days"), 365: _("A year")}
    return [
        Period(
            labels[days],
            visit.here(**kept, days=str(days) if days != PERIODS[0] else ""),
            days == current,
        )
        for days in PERIODS
    ]


def _pulls(visit: Visit, found: Sequence[PullDay], *, sizes: bool = True) -> Sequence[Chart]:
    """Pulls, and what they weigh."""
    _ = visit.gettext
    pulls = [Point(each.day, (each.pulls,)) for each in found]
    plots = [
        _plot(
            visit,
            _("Pulls"),
            thousands(sum(each.pulls for each in found)),
            pulls,
            (_("Pulls"),),
            sum,
            size=False,
            empty=_("Nothing was pulled in this time."),
        )
    ]
    if sizes:
        heavy = [Point(each.day, (each.bytes,)) for each in found]
        plots.append(
            _plot(
                visit,
                _("Bytes pulled"),
                filesize(sum(each.bytes for each in found)),
                heavy,
                (_("Bytes"),),
                sum,
                size=True,
                empty=_("Nothing was pulled in this time."),
            )
        )
    return plots


def _stored(visit: Visit, found: Listing[StorageDay] | None) -> Sequence[Chart]:
    """Bytes held, alone and shared."""
    if found is None:
        return ()
    _ = visit.gettext
    points = [Point(each.day, (each.physical, each.shared)) for each in found.items]
    last = filesize(sum(points[-1].values)) if points else ""
    return [
        _plot(
            visit,
            _("Storage"),
            last,
            points,
            (_("Only here"), _("Shared with others")),
            lambda week: week[-1],
            size=True,
            empty=_("The first figures come within a day."),
        )
    ]


def _plot(
    visit: Visit,
    title: str,
    figure: str,
    points: Sequence[Point],
    names: Sequence[str],
    merge: Callable[[Sequence[int]], int],
    *,
    size: bool,
    empty: str,
) -> Chart:
    _ = visit.gettext
    if not any(sum(point.values) for point in points):
        return Chart(title, "", "", "", names, empty=empty)
    merged = charts.by_week(points, merge)
    note = _("by day") if merged is points else _("by week")
    slots, ys, xs = charts.draw(merged, names, size=size)
    top = max(merged, key=lambda point: sum(point.values))
    summary = _(
        "%(title)s from %(first)s to %(last)s, %(note)s; the most is %(most)s, from %(day)s.",
        title=title,
        first=points[0].day.isoformat(),
        last=points[-1].day.isoformat(),
        note=note,
        most=filesize(sum(top.values)) if size else thousands(sum(top.values)),
        day=top.day.isoformat(),
    )
    return Chart(title, figure, note, summary, names, slots, ys, xs)


def _ranking(
    visit: Visit,
    title: str,
    label: str,
    found: Listing[Pulled],
    cell: Callable[[str], Cell],
    *,
    sizes: bool = True,
) -> Ranking:
    _ = visit.gettext
    most = max((each.pulls for each in found.items), default=0)
    ranks = [
        Rank(
            cell(each.name),
            each.pulls / most if most else 0.0,
            [thousands(each.pulls), filesize(each.bytes)][: 2 if sizes else 1],
        )
        for each in found.items
    ]
    columns = [label, _("Pulls"), _("Bytes")][: 3 if sizes else 2]
    return Ranking(
        title, columns, ranks, _more(visit, found), _("Nothing was pulled in this time.")
    )


def _by_caller(visit: Visit, found: Listing[Pulled]) -> Ranking:
    _ = visit.gettext
    nobody = _("not signed in")
    return _ranking(
        visit, _("Who pulls most"), _("Account"), found, lambda name: parts.text(name or nobody)
    )


def _largest(
    visit: Visit, found: Listing[RepositoryStorage], cell: Callable[[str], Cell]
) -> Ranking:
    _ = visit.gettext
    sums = [each.physical + each.shared for each in found.items]
    most = max(sums, default=0)
    ranks = [
        Rank(
            cell(each.name),
            whole / most if most else 0.0,
            [filesize(each.physical), filesize(each.shared)],
        )
        for each, whole in zip(found.items, sums, strict=True)
    ]
    return Ranking(
        _("Repositories by storage"),
        [_("Repository"), _("Only here"), _("Shared")],
        ranks,
        _more(visit, found),
        _("The first figures come within a day."),
    )


def _more(visit: Visit, found: Listing[Any]) -> str:
    if found.total <= len(found.items):
        return ""
    return visit.gettext(
        "the first %(shown)s of %(total)s", shown=len(found.items), total=thousands(found.total)
    )


ROUTES = ((PROJECTS + "/{project}/usage", project, None),)
