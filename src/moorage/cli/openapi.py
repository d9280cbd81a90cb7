"""`moorage openapi`: the REST API's document."""

import json as json_

import typer


def openapi() -> None:
    """Print the OpenAPI document of the REST API."""
    from moorage.api.app import create_api

    typer.echo(json_.dumps(create_api(None).openapi(), indent=1))  # type: ignore[arg-type]
