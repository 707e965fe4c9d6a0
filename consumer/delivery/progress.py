"""How far one stream is: what it sent and what of that is settled, counted, told, and trimmed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from consumer.delivery.settled import SettledBatches

if TYPE_CHECKING:
    from collections.abc import Iterable

    from consumer.delivery.calls import Call
    from consumer.delivery.health import StreamHealth
    from consumer.delivery.in_flight import Settled
    from consumer.delivery.shared import SharedOfTable
    from consumer.delivery.stats import DeliveryStats
    from consumer.spool import SpooledBatch


class StreamProgress:
    """Counts what one stream sends and settles, and lets settled batches leave the spool.

    Owned by the thread of the stream; others use `told` alone.

    Args:
        shared: what all streams of the table are given.
        health: of the stream; hears of rows that got through.
        stats: of the stream, owned by its thread.

    Attributes:
        settled: batches that the stream has done with, until they are trimmed.
        hurried: whether settled batches are to leave the spool at once.
        told: the statistics as others may see them.
    """

    def __init__(self, shared: SharedOfTable, health: StreamHealth, stats: DeliveryStats) -> None:
        self.settled = SettledBatches(shared)
        self.hurried = False
        self.told = stats.copy()
        self._shared = shared
        self._health = health
        self._stats = stats

    def sent(self, call: Call) -> None:
        """Count a call that was sent just now."""
        self._stats.rows_sent += call.rows
        self._stats.calls_sent += 1

    def acknowledged(self, what: Settled, offset: int) -> None:
        """Count rows and note batches that an acknowledgement up to `offset` has settled."""
        stats = self._stats
        if what.rows:
            self._health.progressed()
        stats.rows_acked += what.rows
        stats.last_acked_offset = max(offset, stats.last_acked_offset)
        stats.last_ack_time = self._shared.wall_clock()
        self.note_settled(what.batches)
        if self._shared.ages is not None:  # last: what fails here leaves nothing uncounted
            self._shared.ages.acknowledged(what.batches)

    def note_settled(self, batches: Iterable[SpooledBatch]) -> None:
        """Note batches of which no row is left to be sent."""
        batches = list(batches)
        self.settled.note(
            [batch.batch_id for batch in batches], sum(batch.rows.nbytes for batch in batches)
        )

    def trim_if_due(self, *, idle: bool) -> None:
        """Let settled batches leave the spool, if it is time: `idle` when nothing is on its way.

        Raises:
            SpoolError: that cannot be written. They are tried again with the next ones.
        """
        if (self.hurried or self.settled.is_due(idle=idle)) and self.settled.trim():
            self.tell()

    def tell(self) -> None:
        """Let others see the statistics as they are now."""
        told = self._stats.copy()
        with self._shared.changed:
            self.told = told
            self._shared.changed.notify_all()

    def tell_in_flight(self, calls: int, rows: int) -> None:
        """Let others see the statistics, with what is on its way now."""
        self._stats.inflight_calls = calls
        self._stats.inflight_rows = rows
        self.tell()
