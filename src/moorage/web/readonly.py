"""Read-only mode, for every face."""

from moorage.errors import ReadOnly
from moorage.settings import Current

SAFE = frozenset({"GET", "HEAD", "OPTIONS"})


async def check_writable(method: str, settings: Current) -> None:
    """Raises ReadOnly for a request that changes something while changes are switched off."""
    if method not in SAFE and (await settings.current()).read_only:
        raise ReadOnly("the system is in read only mode. Any modification is prohibited.")
