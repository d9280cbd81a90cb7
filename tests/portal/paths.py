"""Every page of the portal, for tests that look at all of them."""

from collections.abc import Sequence

from tests.portal.crawl import Found, crawl
from tests.portal.visitor import Site

APP = "/harbor/projects/{id}/repositories/api"
CHART = "/harbor/projects/{id}/repositories/charts%2Fpayments"

PATHS: Sequence[str] = (
    "/harbor/projects",
    "/harbor/projects?public=true&type=normal",
    "/harbor/projects?do=new",
    "/harbor/projects?do=proxy",
    "/harbor/projects/{cache}/repositories",
    "/harbor/projects/{cache}/summary",
    "/harbor/projects/{cache}/usage",
    "/harbor/projects/{cache}/usage?days=365",
    "/harbor/projects/{cache}/configs",
    "/harbor/projects/{id}/repositories",
    "/harbor/projects/{id}/repositories?do=delete&id=api",
    "/harbor/projects/{id}/summary",
    "/harbor/projects/{id}/members",
    "/harbor/projects/{id}/members?do=new",
    "/harbor/projects/{id}/labels",
    "/harbor/projects/{id}/labels?do=new",
    "/harbor/projects/{id}/robot-account",
    "/harbor/projects/{id}/robot-account?do=new",
    "/harbor/projects/{id}/webhook",
    "/harbor/projects/{id}/webhook?do=new",
    "/harbor/projects/{id}/webhook/1",
    "/harbor/projects/{id}/tag-strategy/tag-retention",
    "/harbor/projects/{id}/tag-strategy/tag-retention?do=new",
    "/harbor/projects/{id}/tag-strategy/tag-retention?do=schedule",
    "/harbor/projects/{id}/tag-strategy/immutable-tag",
    "/harbor/projects/{id}/tag-strategy/immutable-tag?do=new",
    "/harbor/projects/{id}/trash",
    "/harbor/projects/{id}/logs",
    "/harbor/projects/{id}/configs",
    APP + "/artifacts-tab",
    APP + "/artifacts-tab?view=artifacts",
    APP + "/artifacts-tab?view=artifacts&type=IMAGE&tagged=*&label=1",
    APP + "/artifacts-tab?do=delete&id=latest",
    APP + "/artifacts-tab?do=untag&id=latest",
    APP + "/artifacts-tab?do=copy&id=latest",
    APP + "/artifacts-tab?do=label&id=latest",
    APP + "/info-tab",
    APP + "/usage-tab",
    APP + "/usage-tab?days=365",
    APP + "/artifacts-tab/tags/latest",
    APP + "/artifacts-tab/tags/none",
    APP + "/artifacts-tab/artifacts/{tag}?tab=usage",
    APP + "/info-tab?do=edit",
    APP + "/compare?a=latest&b={tag}",
    APP + "/artifacts-tab/artifacts/{tag}",
    APP + "/artifacts-tab/artifacts/{tag}?tab=tags",
    APP + "/artifacts-tab/artifacts/{tag}?tab=children",
    APP + "/artifacts-tab/artifacts/{tag}?tab=referrers",
    APP + "/artifacts-tab/artifacts/latest?tab=layers",
    APP + "/artifacts-tab/artifacts/latest?do=tag",
    APP + "/artifacts-tab/artifacts/latest?do=copy",
    APP + "/artifacts-tab/artifacts/latest?do=delete",
    CHART + "/artifacts-tab",
    CHART + "/artifacts-tab/artifacts/0.4.2",
    CHART + "/artifacts-tab/artifacts/0.4.2?tab=readme.md",
    CHART + "/artifacts-tab/artifacts/0.4.2?tab=values.yaml",
    CHART + "/artifacts-tab/artifacts/0.4.2?tab=dependencies",
    "/harbor/search?q=api",
    "/harbor/search?q=api&kind=artifacts",
    "/harbor/search?q=nothing-like-that",
    "/harbor/logs",
    "/harbor/users",
    "/harbor/users?do=new",
    "/harbor/users?do=password&id=2",
    "/harbor/users?tokens=1",
    "/harbor/groups",
    "/harbor/groups?do=new",
    "/harbor/robot-accounts",
    "/harbor/robot-accounts?do=new",
    "/harbor/labels",
    "/harbor/labels?do=new",
    "/harbor/project-quotas",
    "/harbor/project-quotas?do=default",
    "/harbor/registries",
    "/harbor/registries?do=new",
    "/harbor/registries?do=edit&id={registry}",
    "/harbor/registries?do=delete&id={registry}",
    "/harbor/replications",
    "/harbor/replications?do=new",
    "/harbor/replications?do=edit&id={rule}",
    "/harbor/replications?do=delete&id={rule}",
    "/harbor/replications/{rule}",
    "/harbor/replications/{rule}?do=preview",
    "/harbor/replications/{run}/tasks",
    "/harbor/replications/{run}/tasks?task={task}",
    "/harbor/clearing-job/gc",
    "/harbor/clearing-job/gc?do=run",
    "/harbor/clearing-job/audit-log-purge",
    "/harbor/clearing-job/audit-log-purge?do=schedule",
    "/harbor/job-service-dashboard/pending-jobs",
    "/harbor/job-service-dashboard/workers",
    "/harbor/job-service-dashboard/schedules",
    "/harbor/configs/auth",
    "/harbor/configs/ldap",
    "/harbor/configs/oidc",
    "/harbor/configs/setting",
    "/harbor/configs/audit",
    "/harbor/health",
    "/account/profile",
    "/account/tokens",
    "/account/tokens?do=new",
)


LARGE = "/harbor/projects/{large}/repositories/api"
LONG: Sequence[str] = (
    LARGE + "/artifacts-tab",
    LARGE + "/artifacts-tab?size=50",
    LARGE + "/artifacts-tab?size=100",
    LARGE + "/artifacts-tab?size=100&page=3&sort=version",
    LARGE + "/artifacts-tab?size=100&sort=-pull_time",
    LARGE + "/artifacts-tab?size=100&q=1.",
    LARGE + "/artifacts-tab?view=artifacts&size=50",
    LARGE + "/artifacts-tab?view=artifacts&size=100",
    LARGE + "/artifacts-tab/tags/latest",
    LARGE + "/artifacts-tab/artifacts/latest",
    LARGE + "/compare?a={first}&b=latest",
    LARGE + "/usage-tab?days=365",
    "/harbor/projects?size=50",
    "/harbor/projects?size=100",
    "/harbor/projects/{id}/members?size=50",
    "/harbor/projects/{id}/logs?size=50",
    "/harbor/projects/{id}/logs?size=100",
    "/harbor/projects/{id}/tag-strategy/tag-retention?do=preview&size=50",
    "/harbor/projects/{id}/tag-strategy/tag-retention?do=preview&size=100",
    "/harbor/logs?size=50",
    "/harbor/logs?size=100",
    "/harbor/users?size=50",
    "/harbor/project-quotas?size=50",
    "/harbor/replications/1?size=50",
    "/harbor/clearing-job/gc?size=50",
    "/harbor/search?q=api&kind=artifacts&size=50",
)
"""Lists of 50 and of 100, in a registry of some size."""


STRANGERS: Sequence[str] = (
    "/account/sign-in",
    "/account/sign-up",
    "/oidc-onboard?username=mara",
    "/harbor/projects",
    "/harbor/projects/{public}/repositories",
    "/harbor/projects/{public}/usage",
    "/harbor/projects/{public}/repositories/api/artifacts-tab",
    "/harbor/health",
)
"""Pages of somebody who is not signed in."""
NO_PAGES = (
    *("/", "/harbor", "/harbor/projects/1", "/account/sign-out", "/account/language"),
    *("/harbor/palette", "/harbor/completions"),
)
"""Paths that lead elsewhere, or answer a script."""


def paths(site: Site) -> list[str]:
    """The pages of what `tests.portal.data` made."""
    project, tag = site.project("payments"), site.newest()
    return [path.format(id=project, tag=tag, **site.elsewhere) for path in PATHS]


def long(site: Site) -> list[str]:
    """Pages with a lot on them, where there is much: of the largest repository, and long lists."""
    first = site.newest("checkout/api", "push_time")
    large, project = site.project("checkout"), site.project("payments")
    return [path.format(large=large, id=project, first=first) for path in LONG]


def everything(site: Site, *more: str) -> Found:
    """Each page that an administrator can get to, listed here or not; for `more`, see `crawl`."""
    return crawl(site.admin(), paths(site), *more)


def every(site: Site) -> list[str]:
    """Their addresses, with those that are listed and look like another one."""
    return list(dict.fromkeys([*paths(site), *everything(site).pages.values()]))


def strangers(site: Site) -> list[str]:
    """Those that need no account."""
    return [path.format(public=site.project("checkout")) for path in STRANGERS]
