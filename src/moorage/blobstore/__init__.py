"""Where blob bytes are: one Protocol, several drivers, opened from the settings."""

from moorage.blobstore.opening import open

__all__ = ["open"]
