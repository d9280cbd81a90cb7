"""How the rest of the domain reads the operator's settings."""

from typing import Protocol

from moorage.config.configuration import Configuration


class Current(Protocol):
    """Where the settings of this moment come from."""

    async def current(self) -> Configuration:
        """The settings, with every change that was acknowledged before this call."""


class Fixed:
    """Settings that never change."""

    def __init__(self, values: Configuration | None = None) -> None:
        self._values = values or Configuration()

    async def current(self) -> Configuration:
        return self._values
