"""Hooks of schemathesis: names of things that are there, and a caller who keeps the account.

The process gets SCHEMA_NAMES, a JSON object: path parameter to a value that exists.
"""

import json
import os
from typing import Any

import schemathesis

NAMES: dict[str, Any] = json.loads(os.environ.get("SCHEMA_NAMES", "{}"))


@schemathesis.hook
def map_path_parameters(_: Any, parameters: dict[str, Any] | None) -> dict[str, Any] | None:
    """Two of three values become one that exists: what is made up is mostly a 404."""
    if not isinstance(parameters, dict):
        return parameters
    return {
        name: NAMES[name] if name in NAMES and len(repr(value)) % 3 else value
        for name, value in parameters.items()
    }


@schemathesis.hook
def filter_case(_: Any, case: Any) -> bool:
    """Nobody changes the account that calls."""
    parameters = case.path_parameters
    mine = isinstance(parameters, dict) and str(parameters.get("user_id")) == str(NAMES["caller"])
    return not mine or case.method == "GET"
