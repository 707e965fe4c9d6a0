"""Batches on their way into the window of a stream, from memory or from the spool."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from consumer.delivery.in_flight import InFlight
    from consumer.delivery.progress import StreamProgress
    from consumer.delivery.shared import SharedOfTable

# Bounds what many tiny batches cost beside their rows.
_MAX_BATCHES: Final = 10_000
# How long a stream waits that is too far ahead of the others of its table.
_AHEAD_SECONDS: Final = 1.0
# Bounds what is read in one go for a stream to which hardly any row belongs.
_MOST_LOOKED_THROUGH: Final = 64


class Supply:
    """Takes the rows of one stream out of the table's batches, as many as keep calls full.

    Owned by the thread of the stream.

    Args:
        shared: what all streams of the table are given.
        index: which of them it is, from 0.
        in_flight: where the rows go.
        progress: is told of batches that have no row for this stream.

    Attributes:
        look_again_in: seconds after `load` when there may be more, even if nobody says so.
    """

    def __init__(
        self, shared: SharedOfTable, index: int, in_flight: InFlight, progress: StreamProgress
    ) -> None:
        self.look_again_in: float | None = None
        self._batches = shared.batches
        self._index = index
        self._read_bytes = shared.options.read_bytes
        self._max_bytes = shared.options.max_inflight_bytes
        self._in_flight = in_flight
        self._progress = progress

    def load(self) -> None:
        """Fill the window with what is there, within bounds of memory.

        Raises:
            SpoolError: the spool cannot be read. What was taken before is kept.
        """
        in_flight = self._in_flight
        self.look_again_in = None
        looked_through = 0
        while (
            in_flight.uncut_bytes + in_flight.inflight_bytes < self._max_bytes
            and in_flight.batches < _MAX_BATCHES
        ):
            if not self._batches.may_take(self._index):
                self.look_again_in = _AHEAD_SECONDS
                break
            parts = self._batches.next_parts(self._index, self._read_bytes)
            if not parts:
                break
            for part in parts:
                if len(part.rows):
                    in_flight.append(part)
                else:
                    self._progress.settled.note([part.batch_id])
                    looked_through += 1
            if looked_through >= _MOST_LOOKED_THROUGH:
                self.look_again_in = 0.0
                break
