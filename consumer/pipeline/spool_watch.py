"""A watch over the room in the spool, with two marks, so that its answer does not flutter."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from consumer.config import SpoolSection
    from consumer.pipeline.telemetry import Telemetry
    from consumer.spool import Spool, SpoolStats

_LOG = logging.getLogger(__name__)

_LOOK_EVERY: Final = 1.0
_LOG_EVERY: Final = 10.0
"""A state that changes to and fro is logged no more often, and the last one in any case."""

ROOM_AGAIN: Final = 2
"""The disk has room again when so many times `min_free` is free."""


class SpoolWatch:
    """The spool's state, looked at about every second by the decoding thread.

    Args:
        spool: the spool.
        section: its configuration, with the marks.
        telemetry: where rows that are lost here are counted.
        clock: monotonic seconds.

    Attributes:
        stats: as they were found last.
    """

    def __init__(
        self, spool: Spool, section: SpoolSection, telemetry: Telemetry, clock: Callable[[], float]
    ) -> None:
        self.stats: SpoolStats = spool.stats()
        self._spool = spool
        self._clock = clock
        self._telemetry = telemetry
        self._marks = Watermarks(section.high_watermark, section.low_watermark, section.min_free)
        self._looked_at = self._told_at = -math.inf
        self._told_above = False
        self._letters_dropped = 0
        if spool.salvage is not None and spool.salvage.rows_lost:
            telemetry.add_dropped(spool.salvage.rows_lost, "spool_damaged")

    @property
    def above(self) -> bool:
        """Whether the spool or its disk is nearly full, by its watermarks, or refused a batch."""
        return self._marks.above or self.stats.is_full

    def look(self) -> None:
        """Take the present state in, if the last look is old enough."""
        now = self._clock()
        if now - self._looked_at < _LOOK_EVERY:
            return
        self._looked_at = now
        self._spool.health.look_at_files()
        self._spool.catch_up()
        self.stats = stats = self._spool.stats()
        self._marks.look(stats)
        if self.above != self._told_above and now - self._told_at >= _LOG_EVERY:
            self._told_above, self._told_at = self.above, now
            self._tell(stats)
        self._count_letters()

    def _tell(self, stats: SpoolStats) -> None:
        if self.above:
            _LOG.warning(
                "the spool is nearly full: %s, %d rows wait for Zerobus. When nothing fits in any "
                "more, messages are dropped. See why Zerobus takes no rows (stream_state), or "
                "give the spool more room (spool.max_bytes, its disk)",
                self._marks.why(stats),
                stats.rows,
                extra={"fill": round(stats.fill, 3), "disk_free_bytes": stats.disk_free_bytes},
            )
        else:
            _LOG.info(
                "the spool is not nearly full any more: %.0f%% of it are used",
                100 * stats.fill,
                extra={"fill": round(stats.fill, 3)},
            )

    def _count_letters(self) -> None:
        dropped = self._spool.letters.dropped
        if dropped > self._letters_dropped:
            self._telemetry.add_dropped(dropped - self._letters_dropped, "dead_letters_full")
            self._letters_dropped = dropped

    def status(self) -> dict[str, Any]:
        """What is wrong with the spool, and what it may take, for /status. JSON-compatible."""
        stats, salvage = self.stats, self._spool.salvage
        return {
            "max_bytes": stats.max_bytes,
            "why": self._marks.why(stats) if self.above else "",
            "disk_is_full": stats.disk_is_full,
            "reserve_missing": stats.reserve_missing,
            "dead_letter_rows_dropped": self._spool.letters.dropped,
            "damage": str(self._spool.health.damage or ""),
            "gone": str(self._spool.health.gone or ""),
            "salvage": salvage.as_dict() if salvage is not None else None,
        }


@dataclass(slots=True)
class Watermarks:
    """Whether the spool is above its high mark, or was and is not yet below the low one.

    Args:
        high: fill of the spool, 0 to 1, from which on it counts as nearly full.
        low: fill, 0 to 1, below which it no longer counts as nearly full.
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
        """Why the spool or its disk counts as nearly full: a piece of a sentence for people."""
        if stats.disk_is_full:
            return "the disk of the spool is full"
        if stats.disk_free_bytes < self.min_free:
            return f"only {stats.disk_free_bytes >> 20} MiB are free on the disk of the spool"
        return f"the spool is {stats.fill:.0%} full"
