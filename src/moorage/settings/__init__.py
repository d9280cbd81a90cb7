"""What an operator changes while the server runs."""

from moorage.settings.configurations import Configurations
from moorage.settings.current import Current, Fixed

__all__ = ["Configurations", "Current", "Fixed"]
