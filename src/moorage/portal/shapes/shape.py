"""What every shape of the API has, and how its times are read."""

from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict


def _moment(value: Any) -> Any:
    """A time, or None for what the API prints for "never"."""
    return None if isinstance(value, str) and (not value or value.startswith("0001-")) else value


Moment = Annotated[datetime | None, BeforeValidator(_moment)]


class Shape(BaseModel):
    """One document of the API."""

    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True)
