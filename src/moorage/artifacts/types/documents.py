"""YAML that somebody pushed, read within limits.

No types are guessed: every scalar stays the text that it is, so a version 1.10 is not 1.1. Aliases
are refused, because nine of them can stand for a billion nodes.
"""

import asyncio
from typing import Any

import yaml as pyyaml

from moorage.errors import Invalid, TooLarge

MAX_YAML = 256 << 10
"""Bytes."""
MAX_EVENTS = 50_000
MAX_DEPTH = 32

# libyaml, where PyYAML was built with it.
_Loader: Any = getattr(pyyaml, "CBaseLoader", pyyaml.BaseLoader)


async def yaml(data: bytes, name: str) -> dict[str, Any]:
    """The mapping in a YAML file; raises Invalid, TooLarge."""
    if len(data) > MAX_YAML:
        raise TooLarge(f"{name} has more than {MAX_YAML >> 10} KiB")
    return await asyncio.to_thread(_load, data, name)


def _load(data: bytes, name: str) -> dict[str, Any]:
    try:
        _check(data, name)
        document = pyyaml.load(data, _Loader)  # noqa: S506  a base loader makes texts only
    except (pyyaml.YAMLError, ValueError, RecursionError) as error:
        raise Invalid(f"{name} is not valid YAML") from error
    if not isinstance(document, dict):
        raise Invalid(f"{name} is not a YAML mapping")
    return document


def _check(data: bytes, name: str) -> None:
    depth = 0
    for count, event in enumerate(pyyaml.parse(data, _Loader)):
        if isinstance(event, pyyaml.AliasEvent):
            raise Invalid(f"{name} uses a YAML alias, which is not read")
        depth += isinstance(event, pyyaml.CollectionStartEvent)
        depth -= isinstance(event, pyyaml.CollectionEndEvent)
        if depth > MAX_DEPTH or count > MAX_EVENTS:
            raise TooLarge(f"{name} has too many parts")
