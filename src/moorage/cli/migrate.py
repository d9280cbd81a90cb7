"""`moorage migrate`: bring the database to this version's schema."""

import asyncio
from typing import TYPE_CHECKING, Annotated

import typer

from moorage.cli.options import Config, Data, Json, explained, settings, show

if TYPE_CHECKING:
    from moorage.config.settings import Settings
    from moorage.db.migrator import Status


def migrate(
    plan: Annotated[
        bool, typer.Option("--plan", "--status", help="Only list what is, and would be, applied.")
    ] = False,
    check: Annotated[
        bool, typer.Option("--check", help="Only say by exit status 3 that something is missing.")
    ] = False,
    data: Data = None,
    config: Config = None,
    json: Json = False,
) -> None:
    """Apply missing schema revisions, one transaction each; safe to run twice or at once."""
    found = settings(config, data)
    with explained():
        if not found.database.postgres:
            found.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        status, applied = asyncio.run(_migrate(found, apply=not (plan or check)))
    show(
        {
            "current": status.current or "(empty)",
            "pending": ", ".join(status.pending) or "(none)",
            "applied": ", ".join(applied) or "(none)",
        },
        as_json=json,
    )
    if check and status.pending:
        raise typer.Exit(3)


async def _migrate(found: "Settings", *, apply: bool) -> "tuple[Status, list[str]]":
    from moorage.clock import SystemClock
    from moorage.db import connect, migrator

    db = connect(found.database, data_dir=found.data_dir, clock=SystemClock())
    try:
        applied = await migrator.migrate(db) if apply else []
        return await migrator.status(db), applied
    finally:
        await db.close()
