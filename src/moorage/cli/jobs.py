"""`moorage jobs`: what is done in the background."""

from typing import Annotated, Any

import typer

from moorage.cli.options import Config, Data, Json, on_resources, settings, table

app = typer.Typer(help="What is done in the background.", no_args_is_help=True)

TaskId = Annotated[int, typer.Argument(help="The task's number, as `moorage jobs list` shows it.")]


@app.command("list")
def list_(
    running: Annotated[bool, typer.Option("--running", help="Only what has not ended.")] = False,
    kind: Annotated[list[str] | None, typer.Option(help="Only of these kinds.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=10000, help="Tasks at most.")] = 50,
    data: Data = None,
    config: Config = None,
    json: Json = False,
) -> None:
    """List tasks, the newest first."""

    async def work(resources: Any) -> list[dict[str, Any]]:
        from moorage.db.queries import Query
        from moorage.jobs import PENDING, RUNNING

        statuses = (PENDING, RUNNING) if running else ()
        page = await resources.history.all_tasks(
            Query(size=limit), kinds=kind or (), statuses=statuses
        )
        return [
            {
                "id": task.id,
                "execution": task.execution_id,
                "kind": task.kind,
                "status": task.status,
                "runs": task.runs,
                "created": task.created_at.isoformat(timespec="seconds"),
                "progress": task.status_message or task.check_in,
            }
            for task in page.items
        ]

    table(on_resources(settings(config, data), work, beside=True), as_json=json)


@app.command("logs")
def logs(
    task: TaskId,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on until the task has ended.")
    ] = False,
    data: Data = None,
    config: Config = None,
) -> None:
    """Print what a task said, from whichever process does it."""

    async def work(resources: Any) -> None:
        from moorage.cli.follow import print_log

        await print_log(resources, task, follow=follow)

    on_resources(settings(config, data), work, beside=True)


@app.command("stop")
def stop(task: TaskId, data: Data = None, config: Config = None) -> None:
    """Stop a task: at once if it waits, within seconds if it runs."""

    async def work(resources: Any) -> None:
        from moorage.cli.follow import OPERATOR

        await resources.history.task(task)
        await resources.jobs.stop_task(OPERATOR, task)

    on_resources(settings(config, data), work, beside=True)
    typer.echo(f"task {task} is stopped, or about to")
