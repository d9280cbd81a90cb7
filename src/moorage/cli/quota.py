"""`moorage quota`: what projects may store and do store."""

from typing import Annotated, Any

import typer

from moorage.cli.options import Config, Data, Json, fail, on_resources, settings, show, table

app = typer.Typer(help="What projects may store, and do store.", no_args_is_help=True)


@app.command("list")
def list_(data: Data = None, config: Config = None, json: Json = False) -> None:
    """List the projects with their limits, the largest first; sizes in bytes."""

    async def work(resources: Any) -> list[dict[str, Any]]:
        return [
            {
                "project": quota.project_name,
                "used": quota.used,
                "limit": quota.hard,
                "percent": round(quota.used * 100 / quota.hard, 1) if quota.hard > 0 else "",
            }
            for quota in await _all(resources)
        ]

    table(on_resources(settings(config, data), work), as_json=json)


@app.command("usage")
def usage(
    project: Annotated[str, typer.Argument(help="Project; everything unless given.")] = "",
    data: Data = None,
    config: Config = None,
    json: Json = False,
) -> None:
    """Count bytes three ways: as clients see them, as quotas do, and as objects in the store."""

    async def work(resources: Any) -> dict[str, Any]:
        from dataclasses import asdict

        if not project:
            return asdict(await resources.usage.total())
        found = await resources.projects.by_name(project)
        return asdict(await resources.usage.of_project(found.id))

    show(on_resources(settings(config, data), work), as_json=json)


@app.command("recount")
def recount(
    project: Annotated[list[str] | None, typer.Argument(help="Projects; all unless given.")] = None,
    data: Data = None,
    config: Config = None,
    json: Json = False,
) -> None:
    """Count anew what projects hold, and correct what their quotas say.

    Pushes into a project wait while it is counted.
    """

    async def work(resources: Any) -> list[dict[str, Any]]:
        from rich.console import Console
        from rich.progress import track

        from moorage.artifacts import ledger

        known = {quota.project_name: quota.project_id for quota in await _all(resources)}
        missing = sorted(set(project or ()) - known.keys())
        if missing:
            fail(f"no project {', '.join(missing)}")
        chosen = sorted(set(project or known))
        corrected = []
        console = Console(stderr=True)
        for name in track(chosen, "counting", console=console, transient=True):
            before, after = await resources.db.run(ledger.recount, known[name])
            if before != after:
                corrected.append({"project": name, "was": before, "is": after})
        return corrected

    found = on_resources(settings(config, data), work)
    if not found and not json:
        typer.echo("every quota was right")
        return
    table(found, as_json=json)


async def _all(resources: Any) -> list[Any]:
    from moorage.db.queries import Query

    found: list[Any] = []
    while True:
        number = len(found) // 1000 + 1
        query = Query(sort=(("used.storage", True),), page=number, size=1000)
        page = await resources.quotas.list(query)
        found += page.items
        if len(page.items) < 1000:
            return found
