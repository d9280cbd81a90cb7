"""A registry of some size, filled in a minute: what the portal's pages are measured on.

    Size(30, 400, 20_000)   over the API  projects, people, robots, rules, charts, one repository
                            by rows       copies of it (copies), a year of use (past), log and runs

Everything is there that `paths` names, so that each page has something to show. On SQLite it is
made once for a run of the tests, and every process of them has a copy (`prepared`, `copied`).
"""

import asyncio
import fcntl
import json
import os
import random
import shutil
from collections.abc import Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import insert, select, text
from tests.portal import elsewhere, past
from tests.portal.copies import Copies
from tests.portal.data import Maker, fill, repository
from tests.portal.visitor import Site
from tests.support.serving import Registry

from moorage.clock import SystemClock
from moorage.config.database import DatabaseSettings
from moorage.db import Database, connect
from moorage.db.tables import audit_log, executions, repositories, tags, tasks

APP = "payments/api"
_ROWS = 5000


@dataclass(frozen=True)
class Size:
    """How much there is."""

    projects: int = 30
    repositories: int = 400
    artifacts: int = 20_000
    pulls: int = 200_000
    """Rows of them in the audit log."""
    runs: int = 50
    """Of each replication, collection and webhook."""

    @property
    def each(self) -> int:
        """Artifacts of a repository."""
        return max(4, self.artifacts // self.repositories)

    @property
    def large(self) -> int:
        """How much more the largest repository holds, in copies."""
        return self.repositories // 20


@contextmanager
def filled(folder: Path, size: Size, url: str = "") -> Iterator[Site]:
    """A running registry, on SQLite or in the PostgreSQL database that `url` names."""
    settings = _settings()
    database = DatabaseSettings()
    if url:
        settings["database.url"] = url
        database = DatabaseSettings(url=url)
    registry = Registry(folder, settings=settings)
    with registry.running():
        site = Site(registry)
        try:
            _over_the_api(site, size)
            data = registry.folder / "data"
            apart(_by_rows(database, data, size))
            yield site
        finally:
            site.close()


def apart(work: Coroutine[Any, Any, object]) -> None:
    """Do it in a thread of its own: where a browser is driven, this one has a loop that runs."""
    with ThreadPoolExecutor(1) as threads:
        threads.submit(asyncio.run, work).result()


def prepared(folder: Path, size: Size) -> Path:
    """The folder of a filled registry that was stopped; the first process that asks makes it."""
    folder.mkdir(parents=True, exist_ok=True)
    known = folder / "about.json"
    with (folder / "making").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not known.exists():
            shutil.rmtree(folder / "registry", ignore_errors=True)
            with filled(folder / "registry", size) as site:
                about = {"password": site.registry.password, "elsewhere": site.elsewhere}
                site.registry.stop()
            known.write_text(json.dumps(about))
    return folder


@contextmanager
def copied(folder: Path, origin: Path) -> Iterator[Site]:
    """A running registry with all that `prepared` made; its blobs are the same files."""
    about = json.loads((origin / "about.json").read_text())
    shutil.copytree(origin / "registry" / "data", folder / "data", copy_function=_copy)
    registry = Registry(folder, settings=_settings(), password=about["password"])
    with registry.running():
        site = Site(registry)
        try:
            site.elsewhere.update(about["elsewhere"])
            here = {"url": registry.url, "access_key": registry.username}
            here |= {"access_secret": registry.password, "credential_type": "basic"}
            site.maker().api("PUT", f"/registries/{site.elsewhere['registry']}", here)
            yield site
        finally:
            site.close()


def _copy(source: str, target: str) -> str:
    """Nobody changes a blob that is there; all else is written to."""
    if "/blobs/" in source:
        os.link(source, target)
        return target
    return shutil.copy2(source, target)


def _settings() -> dict[str, object]:
    # A delivery to somebody who never answers lasts until a test has found and stopped it.
    return {"outgoing.allow": '["127.0.0.0/8"]', "webhooks.timeout_seconds": 60}


def _over_the_api(site: Site, size: Size) -> None:
    maker = site.maker()
    fill(maker, projects=size.projects, repositories=0)
    maker.people([f"person-{n}" for n in range(size.projects)])
    number = site.project("payments")
    for n in range(size.projects):
        member = {"role_id": 3, "member_user": {"username": f"person-{n}"}}
        maker.api("POST", f"/projects/{number}/members", member)
    labels = maker.api("GET", "/labels", scope="p", project_id=str(number)).json()
    repository(maker, APP, size.each, labels)
    maker.api("PUT", "/projects/payments/repositories/api", {"description": "**The** payments API"})
    site.elsewhere.update(elsewhere.connect(maker, site.registry, note="mirror"))
    _operations(maker, number)


def _operations(maker: Maker, number: int) -> None:
    """What an administrator set up, and something in the trash."""
    maker.image(APP, "0.0.1-gone")
    maker.api("DELETE", "/projects/payments/repositories/api/artifacts/0.0.1-gone")
    everywhere = [{"resource": "repository", "action": "pull"}]
    reads = {"kind": "project", "namespace": "*", "access": everywhere}
    robot = {"name": "scan", "level": "system", "duration": -1, "permissions": [reads]}
    maker.api("POST", "/robots", robot)
    maker.api("POST", "/usergroups", {"group_name": "Backend", "group_type": 3})
    for name in ("base", "end of life"):
        maker.api("POST", "/labels", {"name": name, "color": "#0065AB", "scope": "g"})
    maker.api("PUT", "/configurations", {"self_registration": True})
    maker.api("POST", "/system/gc/schedule", {"schedule": {"type": "Manual"}})
    rule = {
        "action": "retain",
        "template": "latestPushedK",
        "params": {"latestPushedK": 10},
        "tag_selectors": [{"kind": "doublestar", "decoration": "matches", "pattern": "**"}],
        "scope_selectors": {
            "repository": [{"kind": "doublestar", "decoration": "repoMatches", "pattern": "**"}]
        },
    }
    policy = {"algorithm": "or", "rules": [rule], "trigger": {"kind": "Schedule", "settings": {}}}
    where = {"scope": {"level": "project", "ref": number}}
    made = maker.api("POST", "/retentions", {**policy, **where})
    retention = made.headers["location"].rpartition("/")[2]
    maker.api("POST", f"/retentions/{retention}/executions", {"dry_run": True})


async def _by_rows(settings: DatabaseSettings, data: Path, size: Size) -> None:
    db = connect(settings, data_dir=data, clock=SystemClock())
    try:
        copies = Copies(db, data / "blobs")
        await copies.make(APP, total=size.repositories, large=size.large)
        await past.Year(db).make()
        await _log(db, size.pulls)
        await _runs(db, size.runs)
        if settings.url is not None:
            async with db.engine.connect() as connection:
                free = await connection.execution_options(isolation_level="AUTOCOMMIT")
                await free.execute(text("VACUUM ANALYZE"))  # as the server does it by itself
    finally:
        await db.close()


async def _log(db: Database, pulls: int) -> None:
    """A year of pulls in the audit log."""
    dice, now = random.Random(11), datetime.now(UTC)
    query = select(repositories.c.project_id, repositories.c.name, tags.c.name.label("tag"))
    async with db.read() as tx:
        found = (
            await tx.execute(query.join(tags, tags.c.repository_id == repositories.c.id))
        ).all()
    moments = sorted(dice.random() for _ in range(pulls))
    rows: list[dict[str, Any]] = []
    for moment in moments:
        row = dice.choice(found)
        rows.append(
            {
                "occurred_at": now - timedelta(days=365 * (1 - moment)),
                "project_id": row.project_id,
                "username": dice.choice(past.CALLERS),
                "operation": "pull",
                "resource_type": "artifact",
                "resource": f"{row.name}:{row.tag}",
                "description": f"pull artifact {row.name}:{row.tag}",
            }
        )
    for start in range(0, len(rows), _ROWS):
        async with db.write() as tx:
            await tx.execute(insert(audit_log), rows[start : start + _ROWS])


async def _runs(db: Database, wanted: int) -> None:
    """What ran once, again and again."""
    async with db.read() as tx:
        ended = select(executions).where(executions.c.unfinished == 0)
        found = [row._asdict() for row in await tx.execute(ended)]
        done = [row._asdict() for row in await tx.execute(select(tasks))]
    by_policy: dict[tuple[str, int], list[dict[str, Any]]] = {}
    for row in found:
        by_policy.setdefault((row["vendor_type"], row["vendor_id"]), []).append(row)
    for runs in by_policy.values():
        for place in reversed(range(wanted - len(runs))):  # later ones have higher ids
            row = runs[place % len(runs)]
            ago = timedelta(hours=7 * (place + 1))
            async with db.write() as tx:
                values = _earlier(row, ago) | {"dedupe": None}
                made = insert(executions).values(values).returning(executions.c.id)
                number = (await tx.execute(made)).scalar_one()
                own = [_earlier(t, ago) for t in done if t["execution_id"] == row["id"]]
                if own:
                    await tx.execute(insert(tasks), [{**t, "execution_id": number} for t in own])


def _earlier(row: dict[str, Any], ago: timedelta) -> dict[str, Any]:
    """The same row some time before, without its id."""
    return {
        name: value - ago if isinstance(value, datetime) else value
        for name, value in row.items()
        if name != "id"
    }
