"""`moorage import`: what another registry has."""

from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from moorage.cli.backup import PlaceConfig
from moorage.cli.options import (
    Config,
    Data,
    Json,
    explained,
    fail,
    on_resources,
    settings,
    show,
    table,
)
from moorage.cli.progress import progress

if TYPE_CHECKING:
    from moorage.access.principals import Principal
    from moorage.config.settings import Settings
    from moorage.config.storage import StorageSettings
    from moorage.moving.storage.adoption import Options

app = typer.Typer(help="Take over what another registry has.", no_args_is_help=True)


class Phase(StrEnum):
    """Which part of an import of storage."""

    all = "all"
    prepare = "prepare"
    tags = "tags"
    verify = "verify"


ReportFile = Annotated[
    Path | None, typer.Option("--report", help="Write the whole report into this file, as JSON.")
]
NewSecrets = Annotated[
    Path | None,
    typer.Option(
        "--secrets-file",
        help="New secrets of robot accounts and new passwords of users go into this file, "
        "readable by its owner only.",
    ),
]
RegistrySecrets = Annotated[
    Path | None,
    typer.Option(
        "--registry-secrets",
        help="File with the secrets of the other registries' accounts, which no API tells: a "
        'line of JSON for each, {"name": "docker hub", "secret": "…"}.',
    ),
]
OfArtifacts = Annotated[
    bool,
    typer.Option(
        "--artifacts",
        help="Also give tags, labels and descriptions to what is here already, "
        "by an import of storage or a replication.",
    ),
]


@app.command("storage")
def storage(
    place: Annotated[
        str,
        typer.Argument(
            help="The folder or bucket of the old registry, as s3://BUCKET/FOLDER; "
            "unless given, the storage of the settings."
        ),
    ] = "",
    phase: Annotated[
        Phase,
        typer.Option(
            "--phase",
            help="prepare while the old registry goes on, tags when it takes no more pushes, "
            "verify at last; all unless given.",
        ),
    ] = Phase.all,
    project: Annotated[
        str, typer.Option("--project", help="Project of repositories that name none.")
    ] = "",
    public: Annotated[
        bool, typer.Option("--public", help="Make projects public that are not there yet.")
    ] = False,
    copy: Annotated[
        bool,
        typer.Option(
            "--copy", help="Copy the bytes into the storage of the settings; else they stay in it."
        ),
    ] = False,
    report: ReportFile = None,
    place_config: PlaceConfig = None,
    data: Data = None,
    config: Config = None,
    json: Json = False,
) -> None:
    """Take over the storage of a distribution or a Harbor, in place: nothing in it is changed.

    The first part of a repository's name is its project, made when it is
    missing. What is broken there is reported and left out. Run it again
    when it was killed, or to take over what came since. Until
    `moorage import adopt`, nothing in that storage is ever deleted, so that
    the old registry can go on with it.
    """
    found = settings(config, data)

    async def work(resources: Any) -> Any:
        from moorage.moving.storage.adoption import Options

        where, here = _source(found, place, place_config)
        if not here and not copy:
            fail(
                f"{place} is not the storage of the settings: set [storage] to it to take it over "
                "in place, or give --copy"
            )
        return await _take_over(resources, where, phase, Options(project, public, copy=not here))

    done = on_resources(found, work)
    written(done, report, as_json=json)
    if done.unverified:
        raise typer.Exit(1)


def _source(
    found: "Settings", place: str, place_config: Path | None
) -> tuple["StorageSettings", bool]:
    """The storage of the old registry, and whether it is that of the settings."""
    from moorage.moving.places import identity
    from moorage.moving.places import place as named

    base = settings(place_config, None).storage if place_config else found.storage
    where = named(place, base) if place else found.storage
    return where, identity(where, found.data_dir) == identity(found.storage, found.data_dir)


async def _take_over(
    resources: Any, where: "StorageSettings", phase: Phase, options: "Options"
) -> Any:
    """The report on what is here now of that storage."""
    from moorage.blobstore import open as open_store
    from moorage.moving.storage.adoption import PHASES, Adoption
    from moorage.moving.storage.inventory import Inventory

    data_dir = resources.settings.data_dir
    source = open_store(where, data_dir=data_dir)
    inventory = Inventory(data_dir)
    try:
        with progress() as tell:
            run = Adoption(
                resources.db,
                source,
                resources.ground.store,
                inventory,
                resources.projects,
                await first_administrator(resources),
                options,
                tell,
            )
            return await run.run(PHASES if phase == Phase.all else [phase.value])
    finally:
        inventory.close()
        await source.close()


@app.command("adopt")
def adopt(data: Data = None, config: Config = None, json: Json = False) -> None:
    """Let garbage collection delete what was taken over in place, once the old registry is gone.

    From then on it must not be started on that storage again.
    """

    async def work(resources: Any) -> dict[str, Any]:
        from moorage.artifacts import adopted

        await resources.db.run(adopted.adopt)
        return {"adopted": True}

    show(on_resources(settings(config, data), work), as_json=json)


async def first_administrator(resources: Any) -> "Principal":
    """Who owns the projects that are made."""
    from sqlalchemy import select

    from moorage.access.principals import Principal
    from moorage.db.tables import users

    await resources.prepare()
    query = select(users.c.id, users.c.username).where(users.c.sysadmin).order_by(users.c.id)
    async with resources.db.read() as tx:
        row = (await tx.execute(query.limit(1))).one()
    return Principal("user", row.id, row.username, sysadmin=True)


def written(done: Any, report: Path | None, *, as_json: bool) -> None:
    """Print a report, and write it where that was asked for."""
    import json

    if report is not None:
        report.write_text(json.dumps(done.dump(), indent=1) + "\n")
    if as_json:
        show(done.dump(), as_json=True)
        return
    show(done.summary(), as_json=False)
    for line in (*done.problems[:20], *done.repairs[:20]):
        reference = f" {line['reference']}" if line["reference"] else ""
        typer.echo(f"{line['repository']}{reference}: {line['what']}", err=True)
    more = max(0, len(done.problems) - 20) + max(0, len(done.repairs) - 20)
    if more:
        typer.echo(f"and {more} more lines; --report FILE has them all", err=True)


@app.command("harbor")
def harbor(
    url: Annotated[str, typer.Argument(help="Address of the Harbor, as https://harbor.example.")],
    to: Annotated[
        str, typer.Option("--to", help="Address of this registry; http.external_url unless given.")
    ] = "",
    username: Annotated[str, typer.Option("--username", help="An administrator there.")] = "admin",
    password_file: Annotated[
        Path | None,
        typer.Option("--password-file", help="File with that password; asked for unless given."),
    ] = None,
    to_username: Annotated[
        str, typer.Option("--to-username", help="An administrator here.")
    ] = "admin",
    to_password_file: Annotated[
        Path | None,
        typer.Option("--to-password-file", help="File with that password; asked for unless given."),
    ] = None,
    secrets_file: NewSecrets = None,
    registry_secrets: RegistrySecrets = None,
    artifacts: OfArtifacts = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would be carried, and what not.")
    ] = False,
    insecure: Annotated[
        bool, typer.Option("--insecure", help="Take any certificate of both sides; for trials.")
    ] = False,
    report: ReportFile = None,
    data: Data = None,
    config: Config = None,
    json: Json = False,
) -> None:
    """Carry a Harbor's projects, members, users, robots, rules, settings, … over its API.

    Both sides are only spoken to over HTTP, so this registry serves
    meanwhile. What is here already is left as it is; run it again when it was
    killed. Secrets that no API tells are made anew. The exit status is 1
    when something was left.
    """
    import asyncio

    from moorage.moving.harbor.others import read_secrets

    found = settings(config, data)
    here = to or found.http.external_url
    if not here:
        fail("give --to, the address of this registry: http.external_url is not set", 2)
    if secrets_file is None and not dry_run:
        fail("give --secrets-file: robot accounts and users get new secrets", 2)
    theirs = username, _password(password_file, f"Password of {username} at {url}")
    ours = to_username, _password(to_password_file, f"Password of {to_username} at {here}")
    secrets = None if dry_run else secrets_file
    with explained():
        given = read_secrets(registry_secrets) if registry_secrets is not None else {}
        done = asyncio.run(
            _carry(found, (url, *theirs), (here, *ours), secrets, given, artifacts, not insecure)
        )
    _told(done, report, as_json=json)


def _password(file: Path | None, ask: str) -> str:
    if file is None:
        return str(typer.prompt(ask, hide_input=True, err=True))
    try:
        return file.read_text().rstrip("\r\n")
    except OSError as error:
        fail(f"cannot read {file}: {error.strerror}", 2)


async def _carry(
    found: "Settings",
    theirs: tuple[str, str, str],
    ours: tuple[str, str, str],
    secrets: Path | None,
    given: Mapping[str, str],
    artifacts: bool,
    verify: bool,
) -> Any:
    from moorage.moving.harbor.carrying import Carrying
    from moorage.moving.harbor.client import Harbor
    from moorage.moving.harbor.robots import SecretsFile
    from moorage.outgoing import EVERYWHERE, Guard, HttpProxies

    # Both addresses are the operator's own arguments: private networks are fine.
    guard = Guard(EVERYWHERE, found.outgoing.ca_file, HttpProxies(found.outgoing))
    file = SecretsFile(secrets) if secrets is not None else None
    try:
        async with (
            Harbor(guard, *theirs, verify=verify) as there,
            Harbor(guard, *ours, verify=verify) as here,
        ):
            with progress() as tell:
                carrying = Carrying(there, here, file, tell, given, artifacts=artifacts)
                return await carrying.run()
    finally:
        if file is not None:
            file.close()


def _told(done: Any, report: Path | None, *, as_json: bool) -> None:
    import json

    if report is not None:
        report.write_text(json.dumps(done.dump(), indent=1) + "\n")
    if as_json:
        show(done.dump(), as_json=True)
    else:
        rows = [
            {"kind": name, "made": each.made, "there": each.there, "left": each.left}
            for name, each in done.kinds.items()
        ]
        table(rows, as_json=False)
        for line in done.lines:
            typer.echo(f"{line['kind']}: {line['name']}: {line['why']}", err=True)
    if any(each.left for each in done.kinds.values()):
        raise typer.Exit(1)
