"""The times and sizes by which content lives."""

from dataclasses import dataclass, replace

from moorage.settings import Current

HOUR = 3600.0


@dataclass(frozen=True)
class Rules:
    """How long promises last and what may be stored; times in seconds, sizes in bytes."""

    lease: float = 24 * HOUR  # how long a blob that nothing references stays pushable
    drain: float = HOUR  # how long bytes stay after their last reference: running pulls finish
    trash: float = 24 * HOUR  # how long a deleted artifact can be restored
    upload_age: float = 24 * HOUR  # how long an upload may rest
    max_blob: int | None = None  # largest blob
    sparse: bool = False  # whether a manifest may name content that is not there
    limited: bool = True  # whether what does not fit into a project's quota is refused

    @property
    def retention(self) -> float:
        """How long the bytes of a collected blob stay."""
        return max(self.drain, self.trash)

    async def now(self, settings: Current) -> "Rules":
        """The rules with what an administrator changed since the start."""
        limited = (await settings.current()).quota_per_project_enable
        return self if limited == self.limited else replace(self, limited=limited)
