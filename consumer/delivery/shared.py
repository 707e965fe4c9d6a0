"""What all streams of one table are given."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable

    from consumer.delivery.ages import AcknowledgementAges
    from consumer.delivery.options import DeliveryOptions
    from consumer.delivery.origin import Origins
    from consumer.delivery.partitions import TableBatches
    from consumer.delivery.pause import Pause
    from consumer.sinks import ZerobusSink
    from consumer.spool import Spool


@dataclass(frozen=True, slots=True)
class SharedOfTable:
    """What every stream of a table is given: made once per table, used by all their threads.

    Attributes:
        table: `catalog.schema.table`.
        schema_id: the descriptor that new batches are encoded for; a stream is opened
            for it at start, also when nothing waits. Older batches get theirs.
        options: limits, waits and pauses; they hold for each stream.
        streams: how many there are.
        spool: holds the batches.
        sink: opens the streams.
        batches: reads the batches, divides them among the streams, and trims them.
        recent: messages that refused rows may come from.
        ages: is told which batches are acknowledged; None when nobody wants to know.
        pause: while it is on nothing is sent.
        changed: notified with every change of a stream's statistics.
        clock: monotonic seconds.
        wall_clock: seconds since 1970.
        chance: random numbers from 0 to 1, for the pauses.
    """

    table: str
    schema_id: str
    options: DeliveryOptions
    streams: int
    spool: Spool
    sink: ZerobusSink
    batches: TableBatches
    recent: Origins
    ages: AcknowledgementAges | None
    pause: Pause
    changed: threading.Condition
    clock: Callable[[], float]
    wall_clock: Callable[[], float]
    chance: Callable[[], float]

    def name_of(self, index: int) -> str:
        """A stream in words: the table, and which of its streams it is, from 0."""
        if self.streams == 1:
            return self.table
        return f"{self.table} (stream {index + 1} of {self.streams})"
