"""The OpenAPI document: what FastAPI cannot know of these answers.

every operation     names the errors that it can answer with, in their one form
an empty list       is null, as `wire` prints it
an empty body       has no content
"""

from typing import Any

from fastapi import FastAPI
from fastapi.routing import APIRoute

ERROR = "Errors"

ALWAYS = {
    400: "The request is not understood, or asks for what cannot be.",
    401: "Sign in first.",
    403: "The caller has no permission for this.",
    404: "Not found.",
    422: "A parameter or the body has not the form of the schema.",
    429: "Too many failed sign-ins; wait.",
    500: "A bug.",
    503: "A part that is needed is not available; try again.",
}
CHANGING = {
    409: "There is one already.",
    412: "The state of things does not allow it.",
    413: "The body is too large.",
    507: "The disk is full.",
}

_SCHEMA = {
    "type": "object",
    "properties": {
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"code": {"type": "string"}, "message": {"type": "string"}},
                "required": ["code", "message"],
            },
        }
    },
    "required": ["errors"],
}


def operation_id(route: APIRoute) -> str:
    """The name of the operation in generated clients: `list_projects` as `listProjects`."""
    first, *rest = route.name.split("_")
    return first + "".join(word.title() for word in rest)


def describe(app: FastAPI) -> None:
    """Let `app` serve its document with all this in it."""
    plain = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _completed(plain())
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]  # as FastAPI's documentation says


def _completed(document: dict[str, Any]) -> dict[str, Any]:
    schemas = document["components"]["schemas"]
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    for schema in schemas.values():
        for field in schema.get("properties", {}).values():
            _allow_null(field)
    schemas[ERROR] = _SCHEMA
    for path in document["paths"].values():
        for method, operation in path.items():
            _complete(method, operation)
    return document


def _allow_null(field: dict[str, Any]) -> None:
    if field.get("type") == "array":
        field["type"] = ["array", "null"]
    elif field.get("type") == "string" and field.get("format") == "date-time":
        field["type"] = ["string", "null"]


def _complete(method: str, operation: dict[str, Any]) -> None:
    responses = operation["responses"]
    for answer in responses.values():
        content = answer.get("content", {})
        if content.get("application/json", {}).get("schema") == {}:
            del answer["content"]
    errors = ALWAYS if method in ("get", "head") else ALWAYS | CHANGING
    for status, description in errors.items():
        responses[str(status)] = {"description": description}
        if method != "head":
            schema = {"$ref": f"#/components/schemas/{ERROR}"}
            responses[str(status)]["content"] = {"application/json": {"schema": schema}}
