"""`moorage gc`: collect garbage now."""

from dataclasses import asdict
from typing import Annotated, Any

import typer

from moorage.cli.options import Config, Data, Json, on_resources, settings, show


def gc(
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would be collected.")
    ] = False,
    delete_untagged: Annotated[
        bool,
        typer.Option("--delete-untagged", help="Also delete artifacts that have no tag."),
    ] = False,
    workers: Annotated[
        int, typer.Option(min=1, max=10, help="Transactions side by side; PostgreSQL only.")
    ] = 1,
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

    Beside a running server the server does it, and its history tells of it.
    What was pushed within gc.lease_seconds is held, for a push that may
    still be running: the result says how much that is, and until when.
    """

    async def work(resources: Any) -> dict[str, Any]:
        from moorage.cli.follow import run_job
        from moorage.gc import held
        from moorage.gc.job import KIND, Options

        options = Options(delete_untagged, dry_run, workers, empty_trash)
        done = await run_job(resources, KIND, options.dump())
        kept = asdict(await held(resources.db))
        return {
            "manifests": done["purged_manifests"],
            "blobs": done["purged_blobs"],
            "size": done["freed_space"],
            "deleted_objects": done["deleted_objects"],
            "freed_bytes": done["deleted_space"],
            **{f"held_{name}": value for name, value in kept.items()},
        }

    show(on_resources(settings(config, data), work, beside=True), as_json=json)
