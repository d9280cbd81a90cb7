"""`moorage backup`: copies of everything, in a folder or a bucket."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from moorage.cli.options import (
    Config,
    Data,
    Json,
    explained,
    fail,
    on_resources,
    settings,
    show,
    table,
)
from moorage.cli.progress import progress

if TYPE_CHECKING:
    from moorage.config.settings import Settings
    from moorage.moving.backup import Backups

app = typer.Typer(help="Make, list, verify and prune backups.", no_args_is_help=True)

Place = Annotated[
    str,
    typer.Argument(
        help="Folder, or s3://BUCKET/FOLDER, gs://BUCKET/FOLDER, azure://CONTAINER/FOLDER."
    ),
]
PlaceConfig = Annotated[
    Path | None,
    typer.Option(
        "--place-config",
        help="Settings file whose section storage has region, endpoint and keys of that bucket; "
        "the settings of this installation unless given.",
    ),
]
Id = Annotated[str, typer.Option("--id", help="Which backup; the newest unless given.")]


@app.command("create")
def create(
    place: Place,
    place_config: PlaceConfig = None,
    with_secret_key: Annotated[
        bool,
        typer.Option(
            "--with-secret-key",
            help="Put auth.secret_key into the backup too: whoever reads it can then read "
            "every secret in it.",
        ),
    ] = False,
    data: Data = None,
    config: Config = None,
    json: Json = False,
) -> None:
    """Back everything up while the server runs: rows as of one moment, then the objects they name.

    Objects that an earlier backup at this place has are not copied again.
    Secrets stay encrypted under auth.secret_key, which is not in the backup
    unless asked for. The exit status is 1 when an object was missing or
    damaged; the rest is in the backup.
    """
    found = settings(config, data)

    async def work(resources: Any) -> dict[str, Any]:
        async with backups(found, place, place_config) as there:
            with progress() as tell:
                made = await there.create(
                    resources.db,
                    resources.ground.store,
                    tell,
                    secret_key=resources.secret_key if with_secret_key else None,
                )
            return {**made.summary, "failed": made.facts["failed"]}

    done = on_resources(found, work, beside=True)
    failed = done.pop("failed")
    show({**done, "failed": failed} if json else done, as_json=json)
    for key, why in failed.items():
        typer.echo(f"{key}: {why}", err=True)
    if failed:
        raise typer.Exit(1)


@app.command("list")
def list_(
    place: Place,
    place_config: PlaceConfig = None,
    data: Data = None,
    config: Config = None,
    json: Json = False,
) -> None:
    """List the complete backups at a place, the newest first."""
    found = settings(config, data)

    async def work() -> list[dict[str, Any]]:
        async with backups(found, place, place_config, write=False) as there:
            return [backup.summary for backup in await there.every()]

    with explained():
        table(asyncio.run(work()), as_json=json)


@app.command("verify")
def verify(
    place: Place,
    id: Id = "",
    deep: Annotated[
        bool, typer.Option("--deep", help="Read every byte and compare its digest.")
    ] = False,
    place_config: PlaceConfig = None,
    data: Data = None,
    config: Config = None,
    json: Json = False,
) -> None:
    """Compare a backup with its checksums; status 1 when something in it is missing or damaged."""
    found = settings(config, data)

    async def work() -> tuple[str, list[str]]:
        async with backups(found, place, place_config, write=False) as there:
            backup = await there.find(id)
            with progress() as tell:
                return backup.id, await there.verify(backup, tell, deep=deep)

    with explained():
        name, wrong = asyncio.run(work())
    show({"backup": name, "wrong": wrong if json else len(wrong)}, as_json=json)
    for line in wrong:
        typer.echo(line, err=True)
    if wrong:
        raise typer.Exit(1)


@app.command("prune")
def prune(
    place: Place,
    keep_last: Annotated[int, typer.Option("--keep-last", min=0, help="So many, the newest.")] = 0,
    keep_daily: Annotated[
        int, typer.Option("--keep-daily", min=0, help="The newest of each of so many days.")
    ] = 0,
    keep_weekly: Annotated[
        int, typer.Option("--keep-weekly", min=0, help="The newest of each of so many weeks.")
    ] = 0,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only tell what would be deleted.")
    ] = False,
    place_config: PlaceConfig = None,
    data: Data = None,
    config: Config = None,
    json: Json = False,
) -> None:
    """Delete old backups, and the objects that no other backup needs.

    Days and weeks are those of UTC, and only those that have a backup count.
    The newest backup always stays, and so does the newest one that is
    without damage. What a run that was killed has left goes with the next.
    No backup can be made at this place meanwhile.
    """
    found = settings(config, data)
    if not (keep_last or keep_daily or keep_weekly):
        fail("say what to keep: --keep-last, --keep-daily or --keep-weekly", 2)

    async def work() -> dict[str, Any]:
        from moorage.clock import SystemClock
        from moorage.moving.pruning import Keep, Pruning, told

        async with backups(found, place, place_config, existing=True) as there:
            keep = Keep(keep_last, keep_daily, keep_weekly)
            with progress() as tell:
                done = await Pruning(there, SystemClock()).run(keep, tell, dry_run=dry_run)
            return told(done, dry_run=dry_run)

    with explained():
        done = asyncio.run(work())
    if not json:
        for name in ("kept", "removed", "abandoned"):
            done[name] = " ".join(done[name]) or None
    show(done, as_json=json)


@asynccontextmanager
async def backups(
    found: "Settings",
    place: str,
    place_config: Path | None,
    *,
    write: bool = True,
    existing: bool = False,
) -> "AsyncIterator[Backups]":
    """Those at a place; `existing`: it is not made where it is missing."""
    import contextlib

    from moorage.blobstore import open as open_store
    from moorage.clock import SystemClock
    from moorage.moving.backup import Backups
    from moorage.moving.places import alone_at, for_owner_only
    from moorage.moving.places import place as named

    base = settings(place_config, None).storage if place_config else found.storage
    where = named(place, base)
    root = where.filesystem.rootdirectory
    if (
        (existing or not write)
        and where.driver == "filesystem"
        and root is not None
        and not root.is_dir()
    ):
        fail(f"there is no folder {root}")
    with for_owner_only(), alone_at(where) if write else contextlib.nullcontext():
        store = open_store(where, data_dir=found.data_dir)
        try:
            yield Backups(store, SystemClock())
        finally:
            await store.close()
