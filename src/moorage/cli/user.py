"""`moorage user`: accounts of people, when nobody can sign in to do it."""

import sys
from typing import Annotated, Any

import typer

from moorage.cli.options import Config, Data, Json, fail, on_resources, settings, show, table

app = typer.Typer(help="Accounts of people.", no_args_is_help=True)

Username = Annotated[str, typer.Argument(help="User name.")]


def _password() -> str:
    """From a terminal or a pipe; never from the command line, where all can see it."""
    if sys.stdin.isatty():
        return str(typer.prompt("Password", hide_input=True, confirmation_prompt=True))
    text = sys.stdin.readline().rstrip("\n")
    if not text:
        fail("give the password on standard input")
    return text


@app.command("create")
def create(
    username: Username,
    email: Annotated[str | None, typer.Option(help="Mail address.")] = None,
    admin: Annotated[bool, typer.Option("--admin", help="Make a system administrator.")] = False,
    data: Data = None,
    config: Config = None,
    json: Json = False,
) -> None:
    """Make an account; its password is read from the terminal or standard input."""
    password = _password()

    async def work(resources: Any) -> int:
        from moorage.access.principals import COMMAND_LINE

        made: int = await resources.users.create(
            COMMAND_LINE, username, password, email=email, sysadmin=admin
        )
        return made

    show({"id": on_resources(settings(config, data), work), "username": username}, as_json=json)


@app.command("list")
def list_(data: Data = None, config: Config = None, json: Json = False) -> None:
    """List all accounts."""

    async def work(resources: Any) -> list[dict[str, Any]]:
        from moorage.db.queries import Query

        page = await resources.users.list(Query(size=1000))
        return [
            {"id": u.id, "username": u.username, "email": u.email or "", "admin": u.sysadmin}
            for u in page.items
        ]

    table(on_resources(settings(config, data), work), as_json=json)


@app.command("password")
def password(username: Username, data: Data = None, config: Config = None) -> None:
    """Set a password that was forgotten; the new one is read as in `create`."""
    new = _password()

    async def work(resources: Any) -> None:
        from moorage.access.principals import COMMAND_LINE

        await resources.users.reset_password(COMMAND_LINE, username, new)

    on_resources(settings(config, data), work)
    typer.echo(f"{username} has a new password")
