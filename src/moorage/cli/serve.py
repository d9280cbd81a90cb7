"""`moorage serve`: the server, all of it or one role."""

import sys
from typing import Annotated

import typer

from moorage.cli.options import Config, Data, explained, settings


def serve(
    role: Annotated[
        str,
        typer.Option(
            help="all, registry, core, jobservice, exporter or portal; only `all` takes SQLite, "
            "and `portal` needs only portal.core_url."
        ),
    ] = "all",
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on.")] = None,
    data: Data = None,
    config: Config = None,
) -> None:
    """Serve the registry until SIGTERM."""
    found = settings(config, data, host=host, port=port)
    if role == "exporter" and port is None:
        http = found.http.model_copy(update={"port": found.metrics.port})
        found = found.model_copy(update={"http": http})
    from moorage.roles.faces import Role
    from moorage.roles.server import run

    if role not in list(Role):
        raise typer.BadParameter(f"choose one of {', '.join(Role)}", param_hint="--role")
    with explained():
        run(found, Role(role), announce)


def announce(url: str, first: tuple[str, str] | None) -> None:
    """Tell where the server is and, once, the administrator's name and password."""
    ready = f"Moorage is ready at {url}"
    if first is None:
        typer.echo(ready)
        sys.stdout.flush()
        return
    name, password = first
    registry = url.partition("://")[2]
    lines = [
        ready,
        "",
        f"user      {name}",
        f"password  {password}",
        "",
        "This password is shown once. Keep it, or set another one.",
        f"To push and pull:  docker login -u {name} {registry}",
    ]
    width = max(map(len, lines))
    typer.echo(f"┌{'─' * (width + 2)}┐")
    for line in lines:
        typer.echo(f"│ {line:<{width}} │")
    typer.echo(f"└{'─' * (width + 2)}┘")
    sys.stdout.flush()
