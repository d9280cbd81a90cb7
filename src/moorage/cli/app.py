"""`moorage`, with its verbs."""

from typing import Annotated

import typer

from moorage import __version__
from moorage.cli import (
    backup,
    doctor,
    gc,
    importing,
    jobs,
    migrate,
    move,
    openapi,
    quota,
    restore,
    robot,
    serve,
    user,
    verify,
)

app = typer.Typer(
    name="moorage",
    help="An OCI artifact registry.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("serve")(serve.serve)
app.command("migrate")(migrate.migrate)
app.command("doctor")(doctor.doctor)
app.command("gc")(gc.gc)
app.command("verify")(verify.verify)
app.add_typer(backup.app, name="backup")
app.command("restore")(restore.restore)
app.command("move")(move.move)
app.add_typer(importing.app, name="import")
app.command("openapi")(openapi.openapi)
app.add_typer(user.app, name="user")
app.add_typer(robot.app, name="robot")
app.add_typer(quota.app, name="quota")
app.add_typer(jobs.app, name="jobs")


@app.command()
def version() -> None:
    """Print the version."""
    typer.echo(__version__)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """An OCI artifact registry."""
