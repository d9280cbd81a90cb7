"""How values become JSON: the rules of go-swagger, which Harbor's clients rely on.

    a field declared as      when it is zero
    str, int, bool, float    omitted, unless the class keeps it
    X | None                 omitted when None, printed when zero
    list[X]                  null
    dict                     omitted, unless the class keeps it
    datetime | None          0001-01-01T00:00:00.000Z

A request body uses the same classes: fields that it does not name are ignored, so nobody can set
what the handler does not read.
"""

import re
from datetime import UTC, datetime
from functools import cache
from typing import Annotated, Any, ClassVar, get_args, get_origin

import orjson
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, WithJsonSchema, model_validator
from starlette.responses import Response

from moorage.db.queries import LARGEST

YEAR_ONE = "0001-01-01T00:00:00.000Z"
"""How Go prints a time that was never set."""

_LONE_SURROGATE = re.compile(r"[\ud800-\udfff]")


def _storable(text: str) -> str:
    if "\0" in text:
        raise ValueError("a text cannot hold a NUL character")
    if _LONE_SURROGATE.search(text):
        raise ValueError("a text cannot hold half of a surrogate pair")
    return text


Text = Annotated[str, AfterValidator(_storable)]
"""A string that every database can store."""


def _all_storable(value: Any) -> Any:
    if isinstance(value, str):
        return _storable(value)
    parts = [*value, *value.values()] if isinstance(value, dict) else value
    if isinstance(parts, list):
        for each in parts:
            _all_storable(each)
    return value


Anything = Annotated[Any, AfterValidator(_all_storable)]
"""JSON whose strings every database can store."""
Number = Annotated[int, Field(ge=0, le=LARGEST)]
"""The id of something, 0 for nothing; one that a database can be asked for."""


Json = Annotated[Any, WithJsonSchema({"type": "object", "additionalProperties": True})]
"""A JSON object that is printed as it was kept: made by `verbatim`, absent when None."""


def verbatim(text: str | None) -> Any:
    """A `Json` of its text; one without fields is absent."""
    return orjson.Fragment(text) if text and text != "{}" else None


_PLAIN = frozenset({str, int, bool, float, type(None)})
"""What JSON knows by itself."""


class Wire(BaseModel):
    """A schema of the REST API."""

    model_config = ConfigDict(extra="ignore", populate_by_name=True)
    kept: ClassVar[frozenset[str]] = frozenset()
    """Fields that are printed also when they are zero (`x-omitempty: false`)."""

    @model_validator(mode="before")
    @classmethod
    def _null_is_absent(cls, data: Any) -> Any:
        """Go reads null as "not there", so clients send it for whatever they leave out."""
        if isinstance(data, dict) and None in data.values():
            return {name: value for name, value in data.items() if value is not None}
        return data


def render(value: Any) -> Any:
    """`value` as data for a JSON encoder."""
    if type(value) in _PLAIN:
        return value
    if isinstance(value, Wire):
        return _rendered(value)
    if isinstance(value, list | tuple):
        return [render(item) for item in value]
    if isinstance(value, dict):
        return {key: render(item) for key, item in value.items()}
    if isinstance(value, datetime):
        return print_time(value)
    return value


def _rendered(value: Wire) -> dict[str, Any]:
    found: dict[str, Any] = {}
    held = value.__dict__
    for name, alias, rule in _plan(type(value)):
        item = held[name]
        if rule == "time":
            found[alias] = print_time(item)
        elif item and type(item) in _PLAIN:
            found[alias] = item  # most fields of most answers
        elif rule == "list":
            found[alias] = [render(each) for each in item] if item else None
        elif (item is not None) if rule == "pointer" else (bool(item) or rule == "kept"):
            found[alias] = render(item)
    return found


def print_time(moment: datetime | None) -> str:
    """A time in UTC with milliseconds, as go-openapi prints it."""
    if moment is None:
        return YEAR_ONE
    if moment.tzinfo is not UTC:
        moment = moment.astimezone(UTC)
    return moment.isoformat(timespec="milliseconds")[:-6] + "Z"  # for its +00:00


def reply(value: Any, *, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """An answer with `value` as compact JSON."""
    return Response(
        orjson.dumps(render(value)), status, headers=headers, media_type="application/json"
    )


@cache
def _plan(schema: type[Wire]) -> tuple[tuple[str, str, str], ...]:
    plan = []
    for name, field in schema.model_fields.items():
        annotation = field.annotation
        arguments = get_args(annotation)
        if name in schema.kept:
            rule = "kept"
        elif get_origin(annotation) is list:
            rule = "list"
        elif datetime in (annotation, *arguments):
            rule = "time"
        elif type(None) in arguments:
            rule = "pointer"
        else:
            rule = "value"
        plan.append((name, field.serialization_alias or field.alias or name, rule))
    return tuple(plan)
