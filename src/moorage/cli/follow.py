"""A job from the command line: ask for it, do it unless a server does, and show how far it is."""

import asyncio
import contextlib
from typing import Any

from moorage.cli.options import fail

OPERATOR = "command line"
"""Who asks, in the audit log."""


async def run_job(resources: Any, kind: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """Ask for one job and wait for it; its results. Ends the process when it failed.

    Beside a running server on SQLite, the server does it; else this process helps.
    """
    from moorage.jobs import ERROR, STOPPED
    from moorage.roles.jobs import worker

    made = await resources.jobs.start(OPERATOR, kind, arguments)
    helping = None
    if resources.alone:
        helping = asyncio.create_task(worker(resources, only=[kind]).live())
    try:
        task = await _shown(resources, made)
    except (KeyboardInterrupt, asyncio.CancelledError):
        await resources.jobs.stop(OPERATOR, made)
        raise
    finally:
        if helping is not None:
            helping.cancel()
            await asyncio.gather(helping, return_exceptions=True)
    if task.status == ERROR:
        fail(f"{task.status_message}. Its log: moorage jobs logs {task.id}")
    if task.status == STOPPED:
        fail("it was stopped")
    return dict(task.extra)


async def _shown(resources: Any, execution_id: int) -> Any:
    """The task of an execution once it has ended; its progress on standard error meanwhile."""
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    from moorage.db.queries import Query
    from moorage.jobs.records import FINAL, PENDING

    columns = SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn()
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        line = progress.add_task("waiting for a worker")
        while True:
            (task,) = (await resources.history.tasks_of(execution_id, Query(size=1))).items
            if task.status in FINAL:
                return task
            if task.status != PENDING:
                progress.update(line, description=task.check_in or "working")
            await asyncio.sleep(0.2)


async def print_log(resources: Any, task_id: int, *, follow: bool) -> None:
    """Print what a task said; with `follow` until it has ended."""
    import typer

    if not follow:
        await resources.history.task(task_id)
        typer.echo(await resources.history.log(task_id), nl=False)
        return
    with contextlib.suppress(KeyboardInterrupt):
        async for text in resources.history.follow(task_id):
            typer.echo(text, nl=False)
