"""`moorage move`: this installation's rows and objects into another database and store."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from moorage.cli.options import Config, Data, Json, explained, fail, settings, show
from moorage.cli.progress import progress

if TYPE_CHECKING:
    from moorage.config.settings import Settings


def move(
    to: Annotated[
        Path,
        typer.Option(
            "--to", help="Settings file of the new installation: its database and its storage."
        ),
    ],
    data: Data = None,
    config: Config = None,
    json: Json = False,
) -> None:
    """Copy everything into an empty installation, as from SQLite and files to PostgreSQL and S3.

    Stop the server first. Both sides are compared at the end, and this one
    is only read. Run it again when it was killed: it goes on. Until it is
    done, nothing starts on the new installation. Where both name the same
    storage, the objects stay where they are.
    """
    found = settings(config, data)
    if not to.is_file():
        fail(f"there is no file {to}", 2)
    target = settings(to, None)
    with explained():
        done = asyncio.run(_move(found, target))
    missing = done["missing"]
    show({**done, "missing": missing if json else len(missing)}, as_json=json)
    for key, why in missing.items():
        typer.echo(f"{key}: {why}", err=True)
    if missing:
        raise typer.Exit(1)


async def _move(found: "Settings", target: "Settings") -> dict[str, Any]:
    from contextlib import AsyncExitStack

    from moorage.blobstore import open as open_store
    from moorage.clock import SystemClock
    from moorage.db import connect
    from moorage.moving.places import identity
    from moorage.moving.transfer import Transfer
    from moorage.roles.server import locked

    _same_secret_key(found, target)
    clock = SystemClock()
    async with AsyncExitStack() as stack:
        for each in {one.data_dir.absolute(): one for one in (found, target)}.values():
            each.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
            stack.enter_context(locked(each.data_dir))
        databases, stores = [], []
        for each in (found, target):
            db = connect(each.database, data_dir=each.data_dir, clock=clock)
            stack.push_async_callback(db.close)
            databases.append(db)
        if databases[0].engine.url == databases[1].engine.url:
            fail("both name the same database")
        places = [identity(each.storage, each.data_dir) for each in (found, target)]
        if places[0] != places[1]:
            for each in (found, target):
                store = open_store(each.storage, data_dir=each.data_dir)
                stack.push_async_callback(store.close)
                stores.append(store)
        run = Transfer(*databases)
        with progress() as tell:
            ours, theirs = stores or (None, None)
            return await run.run(ours, theirs, tell)


def _same_secret_key(found: "Settings", target: "Settings") -> None:
    """The rows' secrets are encrypted under it."""
    from moorage.roles.resources import SECRET_KEY

    def key(each: "Settings") -> str | None:
        if each.auth.secret_key:
            return each.auth.secret_key.get_secret_value()
        file = each.data_dir / SECRET_KEY
        return file.read_text().strip() if file.exists() else None

    ours, theirs = key(found), key(target)
    if ours is not None and ours != theirs:
        fail(
            "the new installation needs the secret_key of this one: set auth.secret_key, or copy "
            f"{found.data_dir / SECRET_KEY} to {target.data_dir / SECRET_KEY}"
        )
