"""What the verbs share: their options, their way to the settings, and their way to fail."""

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import Awaitable, Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, TypeVar

import typer

# A verb imports what it needs when it runs: `moorage version` waits for no database library.
if TYPE_CHECKING:
    from moorage.config.settings import Settings

T = TypeVar("T")

Config = Annotated[
    Path | None,
    typer.Option("--config", "-c", help="Settings file; moorage.toml here unless given."),
]
Data = Annotated[
    Path | None, typer.Option("--data", help="Data directory; goes before the setting data_dir.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]


def fail(message: str, status: int = 1) -> NoReturn:
    """Say what is wrong on standard error, and end."""
    typer.secho(f"moorage: {message}", err=True, fg="red" if sys.stderr.isatty() else None)
    raise typer.Exit(status)


def settings(config: Path | None, data: Path | None, **http: Any) -> "Settings":
    """The settings of this call; ends the process when they cannot be used."""
    from moorage import failpoints
    from moorage.config.loading import BadSettings, load
    from moorage.telemetry import logs

    try:
        found = load(os.environ, config)
        failpoints.arm(os.environ.get("MOORAGE_FAILPOINTS", ""))
    except (BadSettings, ValueError) as error:
        fail(str(error), 2)
    given = {key: value for key, value in http.items() if value is not None}
    changes: dict[str, Any] = {"http": found.http.model_copy(update=given)} if given else {}
    if data is not None:
        changes["data_dir"] = data
    found = found.model_copy(update=changes)
    logs.configure(found.log.level, found.log.format)
    return found


@contextlib.contextmanager
def explained() -> Iterator[None]:
    """Turn failures that have a message into that message."""
    from moorage.accounts.keys import WrongSecretKey
    from moorage.db.migrator import Occupied, SchemaTooNew
    from moorage.errors import DatabaseUnavailable, MoorageError
    from moorage.roles.server import CannotStart

    try:
        yield
    except DatabaseUnavailable as error:
        fail(f"{because(error)}. Look at the settings database.*, or run `moorage doctor`")
    except MoorageError as error:
        fail(because(error))
    except (CannotStart, SchemaTooNew, Occupied, WrongSecretKey, ValueError, OSError) as error:
        fail(str(error))


def because(error: BaseException) -> str:
    """A failure and what caused it, on one line and without credentials."""
    from moorage.telemetry.logs import one_line

    own = str(error).strip().rstrip(".") or type(error).__name__
    cause = str(error.__cause__ or "").strip().partition("\n")[0]
    return one_line(f"{own} ({cause})" if cause and cause not in own else own)


def on_resources(
    found: "Settings", work: Callable[[Any], Awaitable[T]], *, beside: bool = False
) -> T:
    """Run `work` on an installation that nobody else is writing to.

    A SQLite database belongs to one process: while a server runs, its API is the way in. Work that
    only touches what no process keeps in memory may run `beside` it.
    """
    from moorage import __version__
    from moorage.db.migrator import arrived, status
    from moorage.roles.opening import opened
    from moorage.roles.server import CannotStart, locked
    from moorage.telemetry.metrics import Metrics

    async def run(*, alone: bool) -> T:
        async with opened(found, Metrics(__version__)) as resources:
            if not (await status(resources.db)).ready:
                fail("the database has no schema yet: run `moorage migrate` or start the server")
            await arrived(resources.db)
            if alone:
                await resources.keys.start()
            resources.alone = alone
            return await work(resources)

    with explained(), contextlib.ExitStack() as stack:
        alone = True
        if not found.database.postgres:
            found.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
            try:
                stack.enter_context(locked(found.data_dir))
            except CannotStart:
                if not beside:
                    raise
                alone = False
        return asyncio.run(run(alone=alone))
    raise AssertionError("unreachable")


def _plain(value: object) -> str:
    """What JSON has no form for; times as RFC 3339 has them."""
    return value.isoformat() if isinstance(value, datetime) else str(value)


def show(values: dict[str, Any], *, as_json: bool) -> None:
    """Print a result: JSON, or a line a value."""
    if as_json:
        typer.echo(json.dumps(values, default=_plain))
        return
    width = max(map(len, values), default=0)
    for name, value in values.items():
        typer.echo(f"{name:<{width}}  {'-' if value is None else value}")


def table(rows: list[dict[str, Any]], *, as_json: bool) -> None:
    """Print a list: JSON, a table on a terminal, tab-separated lines in a pipe."""
    if as_json:
        typer.echo(json.dumps(rows, default=_plain))
        return
    if not rows:
        return
    if not sys.stdout.isatty():
        for row in rows:
            typer.echo("\t".join(map(str, row.values())))
        return
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    grid = Table(*rows[0], box=None, header_style="bold")
    for row in rows:
        grid.add_row(*(escape(str(value)) for value in row.values()))
    Console().print(grid)
