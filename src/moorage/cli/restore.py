"""`moorage restore`: put a backup back into an empty installation."""

import asyncio
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from moorage.cli.backup import Id, Place, PlaceConfig, backups
from moorage.cli.options import Config, Data, Json, explained, settings, show
from moorage.cli.progress import progress

if TYPE_CHECKING:
    from moorage.config.settings import Settings


def restore(
    place: Place,
    id: Id = "",
    database_only: Annotated[
        bool,
        typer.Option(
            "--database-only",
            help="Put only the rows back, onto the objects where they are; "
            "what is missing there is said.",
        ),
    ] = False,
    place_config: PlaceConfig = None,
    data: Data = None,
    config: Config = None,
    json: Json = False,
) -> None:
    """Put a backup back into the database and the store that the settings name, which are empty.

    The database may be of the other kind than the one that was backed up,
    and so may the store. A restore that was killed is begun again.
    """
    found = settings(config, data)
    with explained():
        done = asyncio.run(_restore(found, place, id, place_config, objects=not database_only))
    show(done, as_json=json)


async def _restore(
    found: "Settings", place: str, id: str, place_config: Path | None, *, objects: bool
) -> dict[str, Any]:
    import contextlib

    from moorage.blobstore import open as open_store
    from moorage.clock import SystemClock
    from moorage.db import connect
    from moorage.moving.restore import Restore
    from moorage.roles.resources import SECRET_KEY
    from moorage.roles.server import locked

    file = found.data_dir / SECRET_KEY
    known = _secret_key(found, file)
    async with backups(found, place, place_config, write=False) as there:
        backup = await there.find(id)
        run = Restore(there.place, backup)
        found.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        key = await run.secret_key(known, file)

        def keep() -> None:
            if key is not None:
                _write(file, key)

        alone = contextlib.nullcontext() if found.database.postgres else locked(found.data_dir)
        with alone:
            db = connect(found.database, data_dir=found.data_dir, clock=SystemClock())
            store = open_store(found.storage, data_dir=found.data_dir)
            try:
                with progress() as tell:
                    done = await run.run(db, store, tell, objects=objects, keep=keep)
            finally:
                await store.close()
                await db.close()
    return done


def _secret_key(found: "Settings", file: Path) -> str | None:
    if found.auth.secret_key:
        return found.auth.secret_key.get_secret_value()
    return file.read_text().strip() if file.exists() else None


def _write(file: Path, key: str) -> None:
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as stream:
        stream.write(key + "\n")
        stream.flush()
        os.fsync(stream.fileno())
    folder = os.open(file.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
