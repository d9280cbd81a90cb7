"""Pictures of the main pages for the documentation, in both themes: `make screenshots`.

A registry is filled, its times are spread over a year, and Chromium looks at twelve pages.
"""

import asyncio
import base64
import random
import sqlite3
import sys
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tests.portal import past
from tests.portal.browser import Watched, chromium
from tests.portal.data import fill
from tests.portal.visitor import Site
from tests.support.serving import ROOT, Registry

from moorage.config.database import DatabaseSettings

FOLDER = ROOT / "docs" / "use" / "portal"
SIZE = {"width": 1280, "height": 800}
PAGES = {
    "sign-in": "/account/sign-in",
    "projects": "/harbor/projects",
    "repositories": "/harbor/projects/{id}/repositories",
    "artifacts": "/harbor/projects/{id}/repositories/api/artifacts-tab",
    "layers": "/harbor/projects/{id}/repositories/api/artifacts-tab/artifacts/latest?tab=layers",
    "compare": "/harbor/projects/{id}/repositories/api/compare?a=1.1.0&b=latest",
    "usage": "/harbor/projects/{id}/usage?days=365",
    "tag": "/harbor/projects/{id}/repositories/api/artifacts-tab/tags/latest",
    "members": "/harbor/projects/{id}/members",
    "robot": "/harbor/projects/{id}/robot-account?do=new",
    "rules": "/harbor/projects/{id}/tag-strategy/immutable-tag",
    "quotas": "/harbor/project-quotas",
    "jobs": "/harbor/job-service-dashboard/workers",
    "audit": "/harbor/logs",
    "search": "/harbor/search?q=api:1.1",
}
"""Name of the picture to the page."""


def spread(folder: Path, seed: int = 3) -> None:
    """Let what was pushed just now have been pushed during a year; the registry is stopped."""
    dice, now = random.Random(seed), datetime.now(UTC)
    (file,) = (folder / "data").glob("*.db")
    with sqlite3.connect(file) as database:
        for table, column in (
            ("tags", "pushed_at"),
            ("tags", "pulled_at"),
            ("manifests", "pushed_at"),
            ("projects", "created_at"),
            ("audit_log", "occurred_at"),
        ):
            rows = database.execute(f"SELECT id FROM {table} ORDER BY id DESC").fetchall()
            for place, (number,) in enumerate(rows):
                moment = now - timedelta(hours=dice.random() * 30 + place * 23)
                if column == "pulled_at":
                    moment = now - timedelta(minutes=dice.random() * 3000)
                statement = f"UPDATE {table} SET {column} = ? WHERE id = ?"
                database.execute(statement, (f"{moment:%Y-%m-%d %H:%M:%S.%f}", number))


def picture(watched: Watched, name: str) -> None:
    """What the window shows, as WebP."""
    session = watched.context.new_cdp_session(watched.page)
    shot = session.send("Page.captureScreenshot", {"format": "webp", "quality": 60})
    (FOLDER / f"{name}.webp").write_bytes(base64.b64decode(shot["data"]))
    session.detach()


def main() -> int:
    """Make them all."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        registry = Registry(
            Path(folder), settings={"http.external_url": "http://registry.example.com"}
        )
        site = Site(registry)
        with registry.running():
            with chromium() as browser:
                for theme in ("light", "dark"):
                    watched = Watched(browser, site, viewport=SIZE, color_scheme=theme).sign_in()
                    watched.page.evaluate("document.fonts.ready.then(() => true)")
                    picture(watched, f"first-push-{theme}")
            fill(site.maker(), projects=3, repositories=3, artifacts=8)
            registry.stop()
            spread(Path(folder))
            asyncio.run(past.make(DatabaseSettings(), Path(folder) / "data"))
            registry.start()
            with chromium() as browser:
                for theme in ("light", "dark"):
                    watched = Watched(browser, site, viewport=SIZE, color_scheme=theme)
                    watched.page.goto(PAGES["sign-in"])
                    picture(watched, f"sign-in-{theme}")
                    watched.sign_in()
                    for name, path in list(PAGES.items())[1:]:
                        watched.page.goto(path.format(id=site.project("payments")))
                        watched.page.evaluate("document.fonts.ready.then(() => true)")
                        picture(watched, f"{name}-{theme}")
        site.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
