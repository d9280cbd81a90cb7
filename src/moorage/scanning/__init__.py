"""Scanners: which there are, which one a project uses, and what their adapters say.

Registrations   rows: where a scanner is, and its credential
Adapter         the adapter's API over HTTP
"""

from moorage.scanning.adapter import Adapter, Metadata
from moorage.scanning.registrations import Registration, Registrations, Settings

__all__ = ["Adapter", "Metadata", "Registration", "Registrations", "Settings"]
