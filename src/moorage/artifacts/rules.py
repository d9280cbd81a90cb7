"""The times and sizes by which content lives."""

from dataclasses import dataclass

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

    @property
    def retention(self) -> float:
        """How long the bytes of a collected blob stay."""
        return max(self.drain, self.trash)
