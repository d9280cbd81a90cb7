"""Reads the settings.

    moorage.toml  <  MOORAGE_HTTP__PORT=8080  <  MOORAGE_DATABASE__PASSWORD_FILE=/run/secrets/db

Harbor's CONFIG_OVERWRITE_JSON stands between the first two, for the section `configuration`.
Each later one goes before those to its left, key by key. A key that does not exist stops the start
and is named, with the one that was probably meant.
"""

import difflib
import json
import logging
import re
import tomllib
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, SecretStr, ValidationError

from moorage.config.settings import Settings

log = logging.getLogger(__name__)

PREFIX = "MOORAGE_"
OVERWRITE = "CONFIG_OVERWRITE_JSON"
"""Harbor's variable for the settings that its API could change otherwise."""
FILE = "moorage.toml"
SHORT = {
    "MOORAGE_ADMIN_PASSWORD": "auth.admin_password",
    "MOORAGE_SECRET_KEY": "auth.secret_key",
}
"""Names without a section, for what nearly everybody sets."""

NOT_SETTINGS = frozenset({"MOORAGE_CONFIG", "MOORAGE_FAILPOINTS"})
"""Variables with other meanings: the path of the file, and the test build's failpoints."""

LINKS = re.compile(
    r"MOORAGE(_[A-Z0-9]+)*_(SERVICE_(HOST|PORT(_[A-Z0-9_]+)?)|PORT(_\d+_(TCP|UDP|SCTP)(_[A-Z]+)?)?)"
)
"""What Kubernetes sets in every pod beside a Service whose name starts with `moorage`."""


class BadSettings(Exception):
    """The settings cannot be used; the message says which and what to do."""


def load(environment: Mapping[str, str], file: Path | None = None) -> Settings:
    """The settings of this process.

    `file` must exist if it is given; else MOORAGE_CONFIG, else `moorage.toml` here if there is one.
    Raises BadSettings.
    """
    tree = _from_file(environment, file)
    for path, value in _from_harbor(environment):
        _put(tree, path, value)
    for path, text in _from_environment(environment):
        _put(tree, path, text)
    try:
        return Settings.model_validate(tree)
    except ValidationError as error:
        raise BadSettings("\n".join(_explain(error))) from None


def _from_file(environment: Mapping[str, str], file: Path | None) -> dict[str, Any]:
    chosen = file or (Path(named) if (named := environment.get("MOORAGE_CONFIG")) else None)
    if chosen is None and not _here():
        return {}
    path = chosen or Path(FILE)
    try:
        with path.open("rb") as stream:
            return tomllib.load(stream)
    except OSError as error:
        raise BadSettings(f"cannot read {path}: {error.strerror}") from None
    except tomllib.TOMLDecodeError as error:
        raise BadSettings(f"{path}: {error}") from None


def _here() -> bool:
    """Whether there is a file that nobody named; not in a folder that is closed to this user, as
    root's own is to a service that root starts from there."""
    try:
        return Path(FILE).exists()
    except PermissionError:
        return False


def _from_harbor(environment: Mapping[str, str]) -> Iterator[tuple[str, Any]]:
    """Path and value of each setting in CONFIG_OVERWRITE_JSON; others are told of and left out.

    Such files are older than this server: they name settings that Harbor has given up since.
    """
    text = environment.get(OVERWRITE, "").strip()
    if not text:
        return
    try:
        values = json.loads(text)
    except ValueError:
        values = None
    if not isinstance(values, dict):
        raise BadSettings(f"{OVERWRITE} is not a JSON object")
    known = set(paths())
    for name, value in values.items():
        if (path := f"configuration.{name}") in known:
            yield path, value
        else:
            log.warning("%s: no setting has the name %.64s; it is left out", OVERWRITE, name)


def _from_environment(environment: Mapping[str, str]) -> Iterator[tuple[str, Any]]:
    """Path and value of each setting; those of files last."""
    known = set(paths())
    texts = set(paths(kinds=(str, SecretStr)))  # a text may itself look like JSON
    for name in sorted(environment, key=lambda name: (name.endswith("_FILE"), name)):
        if not name.startswith(PREFIX) or name in NOT_SETTINGS:
            continue
        text = environment[name]
        path = _path(name)
        if path not in known and _is_link(name, text):
            continue
        if path not in known and name.endswith("_FILE") and _path(name[:-5]) in known:
            path = _path(name[:-5])
            try:
                text = Path(text).read_text().rstrip("\r\n")
            except OSError as error:
                raise BadSettings(f"{name}: cannot read that file: {error.strerror}") from None
        yield path, text if path in texts else _value(text)


def _is_link(name: str, text: str) -> bool:
    """Whether this was set by Kubernetes; a port alone, as people write it, was not."""
    if not LINKS.fullmatch(name):
        return False
    return not name.endswith("_PORT") or "_SERVICE_" in name or "://" in text


def _path(name: str) -> str:
    return SHORT.get(name) or name.removeprefix(PREFIX).lower().replace("__", ".")


def _put(tree: dict[str, Any], path: str, value: Any) -> None:
    *sections, key = path.split(".")
    for section in sections:
        tree = tree.setdefault(section, {})
        if not isinstance(tree, dict):
            raise BadSettings(f"{section} is a section, not a value")
    tree[key] = value


def _value(text: str) -> Any:
    """Lists and objects are written as JSON, everything else as it is."""
    if text[:1] in ("[", "{"):
        try:
            return json.loads(text)
        except ValueError:
            return text
    return text


def _explain(error: ValidationError) -> Iterator[str]:
    """One line for each thing that is wrong, never with the value: it may be a secret."""
    for found in error.errors(include_url=False, include_context=False, include_input=False):
        path = ".".join(map(str, found["loc"])) or "settings"
        if found["type"] == "extra_forbidden":
            yield f"unknown setting {path} ({variable(path)}){_hint(path)}"
        elif found["type"] == "model_type":
            yield f"{path} is a section: set its keys, such as {next(_keys(path), path)}"
        else:
            yield f"{path} ({variable(path)}): {found['msg']}"


def _hint(path: str) -> str:
    """The key or section that was probably meant."""
    known = list(paths())
    sections = {key.rpartition(".")[0] for key in known}
    others = [name.removeprefix(PREFIX).lower() for name in (*SHORT, *NOT_SETTINGS)]
    # A key by its last name alone comes first: `port` is nearer to `portal` than to `http.port`.
    near = [key for key in known if key.rpartition(".")[2] == path]
    near = near or difflib.get_close_matches(path, [*known, *sections, *others], n=1)
    if not near:
        return ""
    return f"; did you mean {variable(near[0]) if near[0] in others else near[0]}?"


def _keys(section: str) -> Iterator[str]:
    return (path for path in paths() if path.startswith(f"{section}."))


def variable(path: str) -> str:
    """The environment variable of a setting."""
    return PREFIX + path.upper().replace(".", "__")


def paths(
    model: type[BaseModel] = Settings, prefix: str = "", kinds: Collection[Any] | None = None
) -> Iterator[str]:
    """Every setting's path, such as `http.port`; only those of some kinds when these are given."""
    for name, field in model.model_fields.items():
        section = _section(field.annotation)
        if section is not None:
            yield from paths(section, f"{prefix}{name}.", kinds)
        elif kinds is None or field.annotation in kinds:
            yield prefix + name


def _section(annotation: Any) -> type[BaseModel] | None:
    """The model behind `X` or `X | None`."""
    for candidate in (annotation, *get_args(annotation)):
        if isinstance(candidate, type) and issubclass(candidate, BaseModel):
            return candidate
    return None
