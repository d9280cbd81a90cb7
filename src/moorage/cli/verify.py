"""`moorage verify`: compare what is stored with what should be."""

from typing import Annotated, Any

import typer

from moorage.cli.options import Config, Data, Json, on_resources, settings, show


def verify(
    deep: Annotated[
        bool, typer.Option("--deep", help="Read every byte and compare its digest.")
    ] = False,
    orphans: Annotated[
        bool, typer.Option(help="Also list the store for objects that nothing knows.")
    ] = True,
    delete_orphans: Annotated[
        bool,
        typer.Option("--delete-orphans", help="Delete such objects, if they are over a week old."),
    ] = False,
    rate: Annotated[int, typer.Option(min=0, help="Bytes a second to read; 0 for no limit.")] = 0,
    data: Data = None,
    config: Config = None,
    json: Json = False,
) -> None:
    """Look for blobs whose object is missing or damaged, and for objects without a blob.

    A damaged blob is answered with 404 from then on, and the next push of it
    heals it. The exit status is 1 when there is one; its log names them.
    """

    async def work(resources: Any) -> dict[str, Any]:
        from moorage.cli.follow import run_job
        from moorage.gc.verify import KIND, Options

        options = Options(deep, orphans, delete_orphans, rate)
        return await run_job(resources, KIND, options.dump())

    found = on_resources(settings(config, data), work, beside=True)
    show(found, as_json=json)
    if found["damaged"]:
        raise typer.Exit(1)
