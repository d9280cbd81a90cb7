"""Write docs/reference from the code: settings, commands, errors, metrics and so on.

    python -m tools.reference            write the pages
    python -m tools.reference --check    say which pages differ; exit 1 when any does

Each page is a function that returns Markdown; `PAGES` names its file. A test compares them with
what is committed, so the reference cannot drift from the code.
"""

import asyncio
import inspect
import re
import sys
from collections.abc import Callable, Iterator
from enum import Enum
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

import typer
from prometheus_client.core import Metric
from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from moorage import failpoints
from moorage.access import roles
from moorage.blobstore import measured as store
from moorage.cli.app import app
from moorage.config.settings import Settings
from moorage.distribution.problems import INTERNAL, NO_ENDPOINT, NO_METHOD, problem_of
from moorage.distribution.routes import ROUTES
from moorage.errors import MoorageError
from moorage.jobs.records import FINAL
from moorage.roles import background
from moorage.telemetry.figures import FIGURES, Values
from moorage.telemetry.metrics import COMPONENTS, Metrics
from moorage.telemetry.proxies import AWAY, DENIED, LIMITED
from moorage.web import measured as requests
from tools import chart
from tools.limits import LIMITS

__all__ = ["FOLDER", "PAGES", "Settings", "page", "walk"]

FOLDER = Path(__file__).parents[1] / "docs" / "reference"
NOTE = "This page is written by `make docs` from the code; do not edit it."


def head(title: str, *paragraphs: str) -> list[str]:
    """The first lines of a page."""
    return [f"# {title}", "", NOTE, *(line for text in paragraphs for line in ("", text)), ""]


def table(columns: list[str], rows: list[list[str]]) -> list[str]:
    """A Markdown table; bars inside cells are escaped."""
    lines = [columns, ["---"] * len(columns), *rows]
    escaped = ([cell.replace("|", "\\|") for cell in line] for line in lines)
    return [*(f"| {' | '.join(line)} |" for line in escaped), ""]


# --- settings ---------------------------------------------------------------------------------


def model_of(annotation: Any) -> type[BaseModel] | None:
    """The model of a section, also of one that may be absent."""
    for each in (annotation, *get_args(annotation)):
        if inspect.isclass(each) and issubclass(each, BaseModel):
            return each
    return None


def walk(model: type[BaseModel], path: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """Every setting under a model with its dotted path; sections first yield themselves."""
    for name, field in model.model_fields.items():
        inner = model_of(field.annotation)
        if inner is None or get_origin(field.annotation) in (tuple, list, dict):
            yield path + name, field
    for name, field in model.model_fields.items():
        inner = model_of(field.annotation)
        if inner is not None and get_origin(field.annotation) not in (tuple, list, dict):
            yield f"{path}{name}.", field
            yield from walk(inner, f"{path}{name}.")


def kind_of(annotation: Any) -> str:
    """A type as an operator would say it."""
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin in (Union, UnionType):
        kinds = dict.fromkeys(kind_of(each) for each in inner if each is not NoneType)
        return " or ".join(kinds)
    if origin is Literal:
        return ", ".join(f"`{each}`" for each in inner)
    if origin in (tuple, list, frozenset, set):
        return f"list of {kind_of(inner[0])}s"
    if origin is dict:
        return f"table of {kind_of(inner[1])}"
    if inspect.isclass(annotation) and issubclass(annotation, Enum):
        return ", ".join(f"`{each.value}`" for each in annotation)
    names = {str: "text", int: "integer", float: "number", bool: "`true` or `false`"}
    if annotation is SecretStr:
        return "secret"
    if annotation is Path:
        return "path"
    if annotation in (IPv4Network, IPv6Network):
        return "network"
    return names.get(annotation, getattr(annotation, "__name__", str(annotation)))


def default_of(field: FieldInfo) -> str:
    """The default as it would be written."""
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True, validated_data={})
    if value is None or value == "" or value == ():
        return "none"
    if isinstance(value, SecretStr):
        return "none" if not value.get_secret_value() else "secret"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, (tuple, list, frozenset)):
        return ", ".join(f"`{each}`" for each in value)
    return f"`{value}`"


def settings() -> list[str]:
    """Every setting by its path."""
    lines = head(
        "Settings",
        "Later sources win: `moorage.toml`, then the environment, then secret files. "
        "The variable of `database.host` is `MOORAGE_DATABASE__HOST`; "
        "`MOORAGE_DATABASE__PASSWORD_FILE` names a file that holds the value. "
        "An unknown name stops the start.",
    )
    columns = ["setting", "kind", "default", "meaning"]
    rows: list[list[str]] = []
    for path, field in walk(Settings):
        if path.endswith("."):
            lines += [*(table(columns, rows) if rows else []), f"## {path[:-1]}", ""]
            section = model_of(field.annotation)
            said = field.description or inspect.getdoc(section) or ""
            lines += [said.splitlines()[0], ""] if said else []
            rows = []
        else:
            row = [f"`{path}`", kind_of(field.annotation), default_of(field)]
            rows.append([*row, field.description or ""])
    return [*lines, *(table(columns, rows) if rows else [])]


# --- the other pages --------------------------------------------------------------------------


def errors() -> list[str]:
    """What `/v2` answers for each failure."""
    found = [
        (problem_of(cls()), inspect.cleandoc(cls.__doc__ or "").splitlines()[0])
        for cls in _tree(MoorageError)
    ]
    found += [
        (NO_ENDPOINT, "No such path under `/v2`."),
        (NO_METHOD, "The path does not take this method; `Allow` names those that it does."),
        (INTERNAL, "Anything else; the log says what."),
    ]
    rows = [
        [
            str(problem.status),
            f"`{problem.code}`",
            meaning,
            f"after {problem.retry_after} s" if problem.retry_after else "",
        ]
        for problem, meaning in found
    ]
    paragraph = (
        'The body is `{"errors": [{"code": …, "message": …, "detail": …}]}` '
        "(OCI distribution-spec, error codes); the message says more than this table. "
        "An answer to `HEAD` has no body."
    )
    rights = (
        "A caller who lacks a right gets 401 too: `WWW-Authenticate` says which token would do, "
        "and the client asks for that."
    )
    columns = ["status", "code", "meaning", "retry"]
    return [
        *head("Errors of /v2", paragraph, rights),
        *table(columns, sorted(rows, key=lambda row: row[0])),
    ]


def _tree(parent: type[MoorageError]) -> Iterator[type[MoorageError]]:
    """The classes of errors below one, each before its own."""
    for cls in parent.__subclasses__():
        if cls.__module__ == parent.__module__:  # others are made by a face, for itself
            yield cls
            yield from _tree(cls)


def routes() -> list[str]:
    """The endpoints of `/v2`."""
    rows = [
        [route.method, f"`{route.path}`", route.right or "signed in", route.summary]
        for route in ROUTES
    ]
    title = head("Endpoints of /v2", "The right is one in the repository of the path.")
    return [*title, *table(["method", "path", "right", "what it does"], rows)]


def permissions() -> list[str]:
    """The matrix of project roles."""
    letters = {"A": "project admin", "M": "maintainer", "D": "developer", "G": "guest",
               "L": "limited guest", "P": "anyone, public project"}  # fmt: skip
    rows = [
        [f"`{resource}`", action, *("yes" if letter in holders else "" for letter in letters)]
        for resource, actions in roles.MATRIX.items()
        for action, holders in actions.items()
    ]
    paragraph = "System administrators may do everything in every project."
    columns = ["resource", "action", *letters.values()]
    return [*head("Permissions", paragraph), *table(columns, rows)]


def failure_points() -> list[str]:
    """The named places where a test can make the process crash."""
    source = inspect.getsource(failpoints)
    described = dict(re.findall(r'^    "([a-z.]+)",(?:  # (.*))?$', source, re.MULTILINE))
    rows = [[f"`{name}`", described.get(name, "")] for name in failpoints.NAMES]
    actions = (
        '`MOORAGE_FAILPOINTS="blob.committed=crash;gc.locked=sleep(2)"` arms them, for tests. '
        "The actions are `crash`, `error` and `sleep(seconds)`; `3*crash` lets three passes go by. "
        "A server that is armed refuses to listen on anything but a loopback address."
    )
    return [*head("Failpoints", actions), *table(["name", "the step that it follows"], rows)]


def limits() -> list[str]:
    """What nobody has to set."""
    paragraph = "None of these is a setting. [Settings](settings.md) has those that are."
    columns = ["what", "limit", "why it is fixed"]
    return [*head("Limits", paragraph), *table(columns, [list(row) for row in LIMITS])]


def metrics() -> list[str]:
    """Every metric of a process, with its labels."""
    rows = [
        [f"`{name}`", family.type, labels, family.documentation, f"`{_component(name)}`"]
        for family in measured()
        for name in [family.name + ("_total" if family.type == "counter" else "")]
        for labels in [", ".join(f"`{label}`" for label in _labels(family))]
    ]
    values = {
        "handler": [name for _, name in requests.HANDLERS] + ["base"],
        "operation": [*sorted(requests.RESOURCES), "token", "other"],
        "driver": ["the setting `storage.driver`"],
        "action": re.findall(r'measure\("(\w+)"\)', inspect.getsource(store)),
        "work": re.findall(r'Work\("([a-z ]+)"', inspect.getsource(background)),
        "outcome": ["success", "failure"],
        "type": ["the kind of the task, such as `GARBAGE_COLLECTION`"],
        "status": [status.lower() for status in FINAL],
        "project": ["the name of a project that is a cache"],
        "kind": ["manifest", "blob", "tags"],
        "reason": [LIMITED, DENIED, AWAY],
    }
    return [
        *head(
            "Metrics",
            "Each process answers `/metrics` for itself, in the text format of Prometheus; "
            "`?comp=core`, `registry`, `jobservice` or `exporter` asks for a part.",
            "On Linux the usual `process_*` figures are there as well, with the exporter's.",
        ),
        *table(["metric", "kind", "labels", "meaning", "part"], rows),
        "## Values of labels",
        "",
        *table(
            ["label", "values"],
            [[f"`{name}`", ", ".join(dict.fromkeys(found))] for name, found in values.items()],
        ),
        "`method` and `code` are those of HTTP. "
        "No label holds the name of a repository or an account.",
        "",
        "The figures of the installation, which are those with names of projects, queues and "
        "components, come from one process and from `--role exporter`; ask one of them. "
        "They are at most ten seconds old, and five minutes where every artifact or blob counts.",
    ]


def measured() -> list[Metric]:
    """The metrics of a process in which everything happened once."""
    figures = Metrics("")
    figures.registry_requests.add("base", "GET", 200, 0.0)
    figures.registry_requests.running["base"] = 0
    figures.core_requests.add("token", "GET", 200, 0.0)
    figures.observe_storage("filesystem", "Stat", 0.0)
    figures.background.labels("collector", "success").inc()
    figures.observe_task("RETENTION", "Success", 0.0)
    figures.pools.labels("node", "worker", "10").set(1)
    proxies = figures.proxies
    proxies.requests.labels("hub", "GET").inc()
    proxies.asked("hub", "GET", 429)
    for hit in (True, False):
        proxies.looked("hub", "blob", hit=hit)
    proxies.stale.labels("hub", "tags").inc()
    proxies.unkept.labels("hub", "quota").inc()
    for counter in (proxies.spared_bytes, proxies.fetched_bytes):
        counter.labels("hub").inc(0)
    figures.figures.add("the table", _one_of_each)
    asyncio.run(figures.figures.refresh())
    found = figures.registry.collect()
    return [family for family in found if not family.name.startswith("process_")]


async def _one_of_each() -> Values:
    return {name: [([""] * len(figure.labels), 0.0)] for name, figure in FIGURES.items()}


def _labels(family: Metric) -> list[str]:
    if not family.samples:
        raise ValueError(f"{family.name} has no sample: let `measured` make one")
    return [label for label in family.samples[0].labels if label not in ("le", "quantile")]


def _component(name: str) -> str:
    parts = (part for part, prefixes in COMPONENTS.items() if name.startswith(prefixes))
    return next(parts, "exporter")


def commands() -> list[str]:
    """Every verb of the command line with its options."""
    lines = head("Command line", "`moorage VERB --help` says the same.")
    for path, command in _verbs(typer.main.get_command(app), "moorage"):
        lines += [f"## {path}", "", _plain(command.help or ""), ""]
        rows = [
            [
                ", ".join(f"`{name}`" for name in option.opts) or f"`{option.name}`",
                _plain(getattr(option, "help", None) or ""),
            ]
            for option in command.params
            if option.name != "help"
        ]
        lines += table(["option", "meaning"], rows) if rows else []
    return lines


def _plain(text: str) -> str:
    return " ".join(inspect.cleandoc(text).split())


def _verbs(group: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Every command under a group; which library's classes they are is Typer's business."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from _verbs(command, f"{path} {name}")
        elif not command.hidden:
            yield f"{path} {name}", command


def chart_values() -> list[str]:
    """The values of the Helm chart."""
    lines = head(
        "Values of the Helm chart",
        "The values of harbor-helm work as they stand. A key without a meaning here is accepted, "
        "says so below and in the notes of an installation; one that would be unsafe to ignore "
        "stops the render. [Kubernetes](../operate/kubernetes.md) says how to use them.",
    )
    for name, about, rows in chart.sections():
        lines += [f"## {name}", "", about, ""] if name else []
        lines += table(["value", "default", "meaning"], [[f"`{k}`", d, a] for k, d, a in rows])
    return lines


PAGES: dict[str, Callable[[], list[str]]] = {
    "settings.md": settings,
    "commands.md": commands,
    "errors.md": errors,
    "routes.md": routes,
    "permissions.md": permissions,
    "failpoints.md": failure_points,
    "metrics.md": metrics,
    "limits.md": limits,
    "chart-values.md": chart_values,
}


def page(name: str) -> str:
    """The text of one page."""
    return "\n".join(PAGES[name]()).rstrip() + "\n"


def main(arguments: list[str]) -> int:
    """Write the pages, or compare them."""
    status = 0
    for name in PAGES:
        file = FOLDER / name
        text = page(name)
        if arguments == ["--check"]:
            if not file.exists() or file.read_text() != text:
                print(f"{file.name} differs from the code: run `make docs`")
                status = 1
        else:
            FOLDER.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
