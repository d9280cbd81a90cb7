"""Who is asked for which figures: the process for its own, the exporter for the installation's."""

import asyncio
import os
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from pathlib import Path

from sqlalchemy.pool import QueuePool

from moorage import __version__
from moorage.gc import figures as of_storage
from moorage.jobs import figures as of_jobs
from moorage.projects import figures as of_projects
from moorage.roles.health import Health
from moorage.roles.resources import Resources
from moorage.telemetry.figures import Values

SOON = 10.0
"""Seconds for which figures of few rows are good."""
SLOW = 300.0
"""Seconds for which figures of all rows are good."""


def install(resources: Resources, health: Health | None) -> None:
    """Let scrapes of this process tell its figures, and with `health` the installation's."""
    figures, db = resources.ground.metrics.figures, resources.db
    figures.add("this process", partial(_process, resources))
    if health is None:
        return
    sources: Mapping[str, tuple[Callable[[], Awaitable[Values]], float]] = {
        "health": (partial(_health, health), SOON),
        "settings": (partial(_system, resources), SOON),
        "database": (partial(_database, resources), SOON),
        "projects": (partial(of_projects.figures, db), SOON),
        "jobs": (partial(of_jobs.figures, db, resources.dashboard.kinds), SOON),
        "garbage": (partial(of_storage.figures, db), SOON),
        "artifacts": (partial(of_projects.slow_figures, db), SLOW),
        "storage": (partial(of_storage.slow_figures, db), SLOW),
    }
    for name, (ask, seconds) in sources.items():
        figures.add(name, ask, seconds)


async def _process(resources: Resources) -> Values:
    """The pool, the cache and the disks; nothing is asked over a network."""
    pool, cache = resources.db.engine.pool, resources.ground.cache.health()
    tier = (str(cache["tier"]),)
    found: dict[str, list[tuple[tuple[str, ...], float]]] = {
        "moorage_cache_hits": [(tier, cache.get("hits", 0))],
        "moorage_cache_misses": [(tier, cache.get("misses", 0))],
        "moorage_cache_degraded": [((), float(cache["status"] != "healthy"))],
        "moorage_disk_free_bytes": [],
        "moorage_disk_size_bytes": [],
    }
    if isinstance(pool, QueuePool):
        found["moorage_database_connections"] = [
            (("busy",), pool.checkedout()),
            (("idle",), pool.checkedin()),
        ]
        found["moorage_database_pool_size"] = [((), pool.size())]
    for disk, folder in _folders(resources):
        state = await asyncio.to_thread(os.statvfs, folder)
        found["moorage_disk_free_bytes"].append(((disk,), state.f_bavail * state.f_frsize))
        found["moorage_disk_size_bytes"].append(((disk,), state.f_blocks * state.f_frsize))
    return found


def _folders(resources: Resources) -> list[tuple[str, Path]]:
    """Disks that may fill up: that of the blobs where they are files, and that of the rest."""
    folders = [("data", resources.settings.data_dir)]
    storage = resources.settings.storage
    if storage.driver == "filesystem":
        root = storage.filesystem.rootdirectory or resources.settings.data_dir / "blobs"
        folders.append(("blobs", root))
    return folders


async def _health(health: Health) -> Values:
    found = await health.check()
    return {
        "harbor_health": [((), float(not any(found.values())))],
        "harbor_up": [((name,), float(not wrong)) for name, wrong in found.items()],
    }


async def _database(resources: Resources) -> Values:
    waiting = await resources.db.commits_waiting()
    return {} if waiting is None else {"moorage_database_commits_waiting": [((), waiting)]}


async def _system(resources: Resources) -> Values:
    settings = await resources.configurations.current()
    labels = settings.auth_mode, __version__, settings.self_registration
    return {"harbor_system_info": [(labels, 1.0)]}
