"""`moorage robot`: accounts of machines."""

from typing import Annotated, Any

import typer

from moorage.cli.options import Config, Data, Json, fail, on_resources, settings, show, table

app = typer.Typer(help="Accounts of machines.", no_args_is_help=True)

ACTIONS = {"pull": ("pull",), "push": ("pull", "push"), "delete": ("pull", "push", "delete")}


@app.command("create")
def create(
    name: Annotated[str, typer.Argument(help="Name, without prefix and project.")],
    project: Annotated[str, typer.Option(help="Project that it may use.")],
    may: Annotated[str, typer.Option(help="pull, push (and pull), or delete (and both).")] = "pull",
    days: Annotated[int | None, typer.Option(help="Days that it lives; -1 for ever.")] = None,
    data: Data = None,
    config: Config = None,
    json: Json = False,
) -> None:
    """Make a robot account of a project and print its secret, once."""
    if may not in ACTIONS:
        raise typer.BadParameter(f"choose one of {', '.join(ACTIONS)}", param_hint="--may")

    async def work(resources: Any) -> Any:
        from moorage.accounts.records import Permission

        access = frozenset(("repository", action) for action in ACTIONS[may])
        return await resources.robots.create(
            await _administrator(resources),
            name=name,
            level="project",
            permissions=[Permission("project", project, access)],
            duration=days,
        )

    made = on_resources(settings(config, data), work)
    show({"id": made.robot.id, "name": made.robot.name, "secret": made.secret}, as_json=json)


@app.command("list")
def list_(data: Data = None, config: Config = None, json: Json = False) -> None:
    """List all robot accounts."""

    async def work(resources: Any) -> list[dict[str, Any]]:
        from moorage.db.queries import Query

        page = await resources.robots.list(Query(size=1000))
        return [
            {
                "id": robot.id,
                "name": robot.name,
                "disabled": robot.disabled,
                "expires": robot.expires_at or "never",
            }
            for robot in page.items
        ]

    table(on_resources(settings(config, data), work), as_json=json)


@app.command("refresh")
def refresh(
    robot_id: Annotated[int, typer.Argument(help="Id of the robot account.")],
    data: Data = None,
    config: Config = None,
    json: Json = False,
) -> None:
    """Give a robot account a new secret and print it, once; the old one ends."""

    async def work(resources: Any) -> str:
        secret: str = await resources.robots.refresh(await _administrator(resources), robot_id)
        return secret

    show({"secret": on_resources(settings(config, data), work)}, as_json=json)


async def _administrator(resources: Any) -> Any:
    """Whoever runs this on the server's own machine acts as its first administrator."""
    from moorage.access.principals import Principal
    from moorage.db.queries import Query

    page = await resources.users.list(Query(size=1000))
    for user in page.items:
        if user.sysadmin:
            return Principal("user", user.id, user.username, sysadmin=True)
    return fail("there is no administrator yet: start the server once")
