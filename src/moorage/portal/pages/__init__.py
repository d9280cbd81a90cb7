"""Every page: its path, what shows it, and what takes its form.

Paths are Harbor's where Harbor has the page, so links in chats and wikis stay good.
"""

from collections.abc import Awaitable, Callable, Sequence

from starlette.responses import Response

from moorage.portal.pages import (
    account,
    artifacts,
    audit,
    cleaning,
    completions,
    jobs,
    labels,
    members,
    people,
    projects,
    quotas,
    registries,
    replication_rules,
    replication_runs,
    repositories,
    retention,
    robots,
    rules,
    search,
    signin,
    system,
    trash,
    usage,
    webhooks,
)
from moorage.portal.visits import Visit

Page = Callable[[Visit], Awaitable[Response]]

ROUTES: Sequence[tuple[str, Page, Page | None]] = (
    *signin.ROUTES,
    *search.ROUTES,
    *completions.ROUTES,
    *projects.ROUTES,
    *repositories.ROUTES,
    *usage.ROUTES,
    *artifacts.ROUTES,
    *members.ROUTES,
    *labels.ROUTES,
    *robots.ROUTES,
    *webhooks.ROUTES,
    *rules.ROUTES,
    *retention.ROUTES,
    *trash.ROUTES,
    *audit.ROUTES,
    *people.ROUTES,
    *quotas.ROUTES,
    *cleaning.ROUTES,
    *registries.ROUTES,
    *replication_runs.ROUTES,
    *replication_rules.ROUTES,
    *jobs.ROUTES,
    *system.ROUTES,
    *account.ROUTES,
)
"""Path, page, and what is done with its form. The first that fits answers."""
