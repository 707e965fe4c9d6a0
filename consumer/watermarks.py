"""Is there room in the spool? Two marks, so that the answer does not flutter."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from consumer.spool_types import SpoolStats

ROOM_AGAIN: Final = 2
"""The disk has room again when so many times `min_free` is free."""


@dataclass(slots=True)
class Watermarks:
    """Whether the spool is above its high mark, or was and is not yet below the low one.

    Args:
        high: fill of the spool, 0 to 1, from which on it counts as nearly full.
        low: fill below which it no longer does.
        min_free: bytes free on the disk below which it counts as nearly full, too.
    """

    high: float
    low: float
    min_free: int
    above: bool = False

    def look(self, stats: SpoolStats) -> bool:
        """Take the spool's present state in; return whether it is above."""
        mark = self.low if self.above else self.high
        self.above = stats.fill >= mark or self.disk_is_low(stats)
        return self.above

    def disk_is_low(self, stats: SpoolStats) -> bool:
        """Whether the disk has too little room; once above, until it has much more."""
        needed = (ROOM_AGAIN if self.above else 1) * self.min_free
        return stats.disk_is_full or stats.disk_free_bytes < needed

    def why(self, stats: SpoolStats) -> str:
        """What makes it so, for people."""
        if stats.disk_is_full:
            return "the disk of the spool is full"
        if stats.disk_free_bytes < self.min_free:
            return f"only {stats.disk_free_bytes >> 20} MiB are free on the disk of the spool"
        return f"the spool is {stats.fill:.0%} full"
