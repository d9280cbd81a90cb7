"""Charts and rankings of the portal, and the history of a tag: drawn without scripts, for whom."""

import re
from typing import Any

import pytest
from tests.portal.browser import Watched
from tests.portal.data import CANARY
from tests.portal.visitor import Site, Visitor

APP = "repositories/api"


def member(site: Site, name: str) -> Visitor:
    """One of the people of `tests.portal.data`."""
    return site.visitor(name, "Work-2026-Long")


def test_a_project_shows_what_is_pulled_and_held(site: Site) -> None:
    """Three charts with a table each, and who is most in each ranking."""
    page = site.admin().get(f"/harbor/projects/{site.project('payments')}/usage")
    assert page.count('<svg class="columns"') == 3
    assert page.count("As a table") == 3
    for title in ("Repositories by pulls", "Who pulls most", "Repositories by storage"):
        assert f'aria-label="{title}"' in page
    assert "mara" in page
    assert "not signed in" in page
    assert CANARY not in page
    assert "Shared with others" in page


@pytest.mark.usefixtures("same_hour")
def test_periods_are_in_the_address(site: Site) -> None:
    """A month by days, a year by weeks; what is strange is a month."""
    where = f"/harbor/projects/{site.project('payments')}/{APP}/usage-tab"
    admin = site.admin()
    slots = {days: admin.get(f"{where}?days={days}").count("<title>") for days in (30, 90, 365, 7)}
    plots = 3
    assert slots[30] == slots[7]
    assert 30 < slots[30] <= plots * 30 + 1
    assert slots[90] <= plots * 90 + 1
    assert slots[365] <= plots * 53 + 1
    year = admin.get(f"{where}?days=365")
    assert 'aria-current="true">A year' in year
    assert "by week" in year


def test_who_pulls_is_shown_to_project_admins_alone(site: Site) -> None:
    """A maintainer and a developer see the rest; a stranger on a public project sees no storage."""
    number = site.project("payments")
    for name in ("jonas", "mara"):
        for end in ("usage", f"{APP}/usage-tab"):
            page = member(site, name).get(f"/harbor/projects/{number}/{end}")
            assert '<svg class="columns"' in page
            assert "Who pulls most" not in page
    nobody = site.visitor().get(f"/harbor/projects/{site.project('checkout')}/usage")
    assert "Repositories by pulls" in nobody
    assert "Who pulls most" not in nobody
    assert "Storage" not in re.sub("<nav.*?</nav>", "", nobody, flags=re.DOTALL)


def test_a_repository_shows_its_figures_where_its_list_begins(site: Site) -> None:
    """To each as far as they may read them; not to whoever has begun to do something."""
    where = f"/harbor/projects/{site.project('payments')}/{APP}"
    admin = site.admin()
    for end in (
        "",
        "/artifacts-tab",
        "/artifacts-tab?view=artifacts",
        "/artifacts-tab?sort=version",
    ):
        figures = _figures(admin.get(f"{where}{end}"))
        assert list(figures) == ["Pulls in 30 days", "Storage", "Artifacts"], end
        assert "on the 30 days before" in figures["Pulls in 30 days"]
        assert figures["Pulls in 30 days"].count('class="bar"') == 30
    for end in (
        "?q=1",
        "?page=2",
        "?size=50",
        "?view=artifacts&type=IMAGE",
        "?do=delete&id=latest",
    ):
        assert not _figures(admin.get(f"{where}/artifacts-tab{end}")), end
    public = f"/harbor/projects/{site.project('checkout')}/{APP}"
    assert list(_figures(site.visitor().get(public))) == ["Pulls in 30 days"]


def test_words_and_bars_of_a_figure_stand_beside_each_other(browser: Any, site: Site) -> None:
    """As narrow or wide as the figures are."""
    watched = Watched(browser, site).sign_in()
    watched.page.goto(f"/harbor/projects/{site.project('payments')}/{APP}/artifacts-tab")
    gaps = {}
    for width in (390, 500, 760, 1000, 1100, 1280):
        watched.page.set_viewport_size({"width": width, "height": 800})
        gaps[width] = watched.page.evaluate(GAP)
    assert min(gaps.values()) >= 6, gaps


GAP = """
document.querySelector('.stats .spark').getBoundingClientRect().left
    - document.querySelector('.stats .beside-bars').getBoundingClientRect().right
"""
"""Pixels between what is said of a figure and its bars."""


def _figures(page: str) -> dict[str, str]:
    """What stands at the head of a page: each title to its HTML."""
    return dict(re.findall(r"<article><h2>(.*?)</h2>(.*?)</article>", page, re.DOTALL))


def test_a_tag_has_its_history(site: Site) -> None:
    """Made, moved and deleted: the page is there when the tag is gone."""
    maker = site.maker()
    maker.project("histories")
    first = maker.image("histories/app", "edge", seed="one")
    second = maker.image("histories/app", "edge", seed="two")
    list_ = f"/harbor/projects/{site.project('histories')}/repositories/app/artifacts-tab"
    admin = site.admin()
    admin.done(f"{list_}/artifacts/{second}?tab=tags", op="untag", name="edge")
    page = admin.get(f"{list_}/tags/edge")
    order = [page.index(f">{kind}<") for kind in ("Deleted", "Moved", "Created")]
    assert order == sorted(order)
    for digest in (first, second):
        assert f'href="{list_}/artifacts/{digest}"' in page
    assert "Nothing was pulled in this time." in page
    assert "Nothing is known of this tag" in admin.get(f"{list_}/tags/none")


def test_tags_lead_to_their_history(site: Site) -> None:
    """From the tags of an artifact, and from the ranking of the repository."""
    where = f"/harbor/projects/{site.project('payments')}/{APP}"
    admin = site.admin()
    link = f'href="{where}/artifacts-tab/tags/latest"'
    assert link in admin.get(f"{where}/artifacts-tab/artifacts/latest?tab=tags")
    assert link in admin.get(f"{where}/usage-tab")


def test_a_project_without_pulls_says_so(site: Site) -> None:
    """Instead of an empty plot."""
    maker = site.maker()
    maker.project("quiet")
    page = site.admin().get(f"/harbor/projects/{site.project('quiet')}/usage")
    assert '<svg class="columns"' not in page
    assert page.count("Nothing was pulled in this time.") >= 3
