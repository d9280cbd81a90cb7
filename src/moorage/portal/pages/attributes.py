"""What an artifact's configuration says of it, under names that people know."""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from moorage.portal import parts
from moorage.portal.i18n import N_
from moorage.portal.parts import Cell
from moorage.portal.visits import Visit

_NAMES = {
    "os": N_("Operating system"),
    "architecture": N_("Architecture"),
    "author": N_("Author"),
    "created": N_("Created"),
    "Cmd": N_("Command"),
    "Entrypoint": N_("Entry point"),
    "Env": N_("Environment"),
    "ExposedPorts": N_("Ports"),
    "Labels": N_("Labels of the image"),
    "StopSignal": N_("Stop signal"),
    "User": N_("User"),
    "Volumes": N_("Volumes"),
    "WorkingDir": N_("Working directory"),
    "apiVersion": N_("API version"),
    "appVersion": N_("Version of the application"),
    "description": N_("Description"),
    "name": N_("Name"),
    "version": N_("Version"),
}
"""Of images, and of charts; others are called what their configuration calls them."""
_WORDS = re.compile(r"(?<=[a-z])(?=[A-Z])|_")

Line = tuple[str, Cell]
"""A name, and what it says."""


def attributes(visit: Visit, found: Mapping[str, Any]) -> tuple[Sequence[Line], int]:
    """Plain values first, then those of an image's inner configuration, each by name: as many as
    a page shows, and how many there are. Who pushes may give it hundreds of thousands."""
    inner = found.get("config")
    said = _said(found, str | int | float)
    said += _said(inner, str | list | dict) if isinstance(inner, dict) else []
    shown = said[: parts.MOST_LINES]
    return [(_name(visit, name), _cell(name, value)) for name, value in shown], len(said)


def _said(found: Mapping[str, Any], kinds: Any) -> list[tuple[str, Any]]:
    return [
        (name, value)
        for name, value in sorted(found.items())
        if isinstance(value, kinds) and value not in ("", [], {})
    ]


def _name(visit: Visit, name: str) -> str:
    if known := _NAMES.get(name):
        return visit.gettext(known)
    words = _WORDS.sub(" ", name[: parts.LONGEST_LINE])
    return words[:1].upper() + words[1:]


def _cell(name: str, value: Any) -> Cell:
    if isinstance(value, dict):  # labels have values; ports and volumes are names alone
        return parts.each(f"{key}={said}" if said else key for key, said in value.items())
    if isinstance(value, list):
        return parts.each(str(said) for said in value)
    if name == "created" and (moment := _moment(value)):
        return parts.time(moment)
    return parts.text(str(value)[: parts.LONGEST_LINE])


def _moment(value: object) -> datetime | None:
    """A time that can be one: not the zero that tools write who know none."""
    try:
        moment = datetime.fromisoformat(str(value))
        return moment if moment.tzinfo and moment.astimezone(UTC).year > 1 else None
    except (ValueError, OverflowError):
        return None
