"""`moorage gc`: collect garbage now."""

from dataclasses import asdict
from functools import partial
from typing import Annotated, Any

import typer

from moorage.cli.options import Config, Data, Json, on_resources, settings, show


def gc(
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would be collected.")
    ] = False,
    empty_trash: Annotated[
        bool,
        typer.Option(
            "--empty-trash", help="Also delete what could still be restored, to free space now."
        ),
    ] = False,
    data: Data = None,
    config: Config = None,
    json: Json = False,
) -> None:
    """Collect what nothing refers to, without waiting for its turn.

    What was pushed within gc.lease_seconds is held, for a push that may
    still be running: the result says how much that is, and until when.
    """
    found = settings(config, data)
    collect = partial(_collect, empty_trash=empty_trash)
    show(on_resources(found, _preview if dry_run else collect), as_json=json)


async def _preview(resources: Any) -> dict[str, Any]:
    from moorage.gc import Collector

    collected = await Collector(resources.db, resources.rules).preview()
    return {**asdict(collected), **await _held(resources)}


async def _held(resources: Any) -> dict[str, Any]:
    from moorage.gc import held

    found = await held(resources.db)
    return {f"held_{name}": value for name, value in asdict(found).items()}


async def _collect(resources: Any, *, empty_trash: bool) -> dict[str, Any]:
    from rich.progress import Progress, SpinnerColumn, TextColumn

    from moorage.gc import Collector, Janitor, Sweeper
    from moorage.gc.collector import Collected

    rules = resources.rules
    collector = Collector(resources.db, rules)
    sweeper = Sweeper(resources.db, resources.ground.store)
    total, objects, freed = Collected(), 0, 0
    with Progress(SpinnerColumn(), TextColumn("{task.description}"), transient=True) as progress:
        line = progress.add_task("collecting")
        await Janitor(resources.db, rules).run_once()
        while (done := await collector.run_once(ignore_review=True)).reviewed:
            total += done
            progress.update(line, description=f"{total.blobs} blobs into the trash")
        if empty_trash:
            await sweeper.empty()
        while (swept := await sweeper.run_once()).objects:
            objects, freed = objects + swept.objects, freed + swept.size
            progress.update(line, description=f"{objects} objects deleted")
    freed_now = {"deleted_objects": objects, "freed_bytes": freed}
    return {**asdict(total), **freed_now, **await _held(resources)}
