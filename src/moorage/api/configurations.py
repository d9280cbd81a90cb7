"""The operator's settings: /configurations.

The schemas have a property for each setting of `Configuration`; a secret can be written only.
"""

from typing import Any, ClassVar

from fastapi import APIRouter
from pydantic import SecretStr, create_model
from starlette.responses import Response

from moorage.api.access import Admin, Api
from moorage.api.wire import Text, Wire, reply
from moorage.config.configuration import Configuration
from moorage.settings import Configurations

router = APIRouter(tags=["configure"])


class StringConfigItem(Wire):
    """A text, and whether it can be changed here."""

    kept: ClassVar[frozenset[str]] = frozenset({"value", "editable"})
    value: str = ""
    editable: bool = False


class BoolConfigItem(Wire):
    """A switch, and whether it can be changed here."""

    kept: ClassVar[frozenset[str]] = frozenset({"value", "editable"})
    value: bool = False
    editable: bool = False


class IntegerConfigItem(Wire):
    """A number, and whether it can be changed here."""

    kept: ClassVar[frozenset[str]] = frozenset({"value", "editable"})
    value: int = 0
    editable: bool = False


class InternalConfigurationValue(Wire):
    """A value of any kind, and whether it can be changed here."""

    value: bool | int | str = ""
    editable: bool = False


class ScanAllPolicy(Wire):
    """When everything is scanned; `/system/scanAll/schedule` tells it."""

    type: str = ""
    parameter: dict[str, int] | None = None


_ITEMS: dict[type, type[Wire]] = {
    str: StringConfigItem,
    bool: BoolConfigItem,
    int: IntegerConfigItem,
}
_TYPES = {name: type(field.default) for name, field in Configuration.model_fields.items()}

ConfigurationsResponse = create_model(
    "ConfigurationsResponse",
    __base__=Wire,
    scan_all_policy=(ScanAllPolicy | None, None),
    uaa_client_secret=(StringConfigItem | None, None),  # in the schema of clients; never told
    **{name: (_ITEMS[kind] | None, None) for name, kind in _TYPES.items() if kind is not SecretStr},  # type: ignore[call-overload]  # fields that come from a table
)
ConfigurationsReq = create_model(
    "Configurations",
    __base__=Wire,
    **{
        name: ((Text if kind in (str, SecretStr) else kind) | None, None)
        for name, kind in _TYPES.items()
    },  # type: ignore[call-overload]  # fields that come from a table
)


async def _items(configurations: Configurations) -> dict[str, Wire]:
    """Every setting but the secrets."""
    values = await configurations.current()
    return {
        name: _ITEMS[kind](value=getattr(values, name), editable=name not in configurations.fixed)
        for name, kind in _TYPES.items()
        if kind in _ITEMS
    }


@router.get("/configurations", response_model=ConfigurationsResponse)
async def get_configurations(api: Api, _: Admin) -> Response:
    """The settings that can be changed while the server runs; no secrets."""
    return reply(await _items(api.configurations))


@router.put("/configurations")
async def update_configurations(api: Api, who: Admin, body: ConfigurationsReq) -> Response:
    """Change settings, all or none; what the body leaves out stays."""
    values: dict[str, Any] = body.model_dump(exclude_unset=True)
    await api.configurations.change(who, values)
    return Response(status_code=200)


@router.get("/internalconfig", response_model=dict[str, InternalConfigurationValue])
async def get_internalconfig(api: Api, _: Admin) -> Response:
    """The same for Harbor's own services; Moorage's roles read their database instead."""
    return reply(await _items(api.configurations))
