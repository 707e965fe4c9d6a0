"""Rows that cannot be sent leave their stream: each is kept as a dead letter with its message."""

from __future__ import annotations

from typing import TYPE_CHECKING

from consumer.errors import FailureKind

if TYPE_CHECKING:
    from consumer.delivery.calls import Piece
    from consumer.delivery.health import StreamHealth
    from consumer.delivery.shared import SharedOfTable
    from consumer.delivery.stats import DeliveryStats


class LettersOfStream:
    """Keeps rows of one stream in the spool's dead letters.

    Args:
        shared: what all streams of the table are given.
        health: logs what is set aside.
        stats: of the stream; what is set aside is counted here.
    """

    def __init__(self, shared: SharedOfTable, health: StreamHealth, stats: DeliveryStats) -> None:
        self._shared = shared
        self._health = health
        self._stats = stats

    def keep_too_large(self, record: Piece) -> None:
        """Keep a record that no call can carry.

        Raises:
            SpoolError: that cannot be written.
        """
        error = f"the record has {record.nbytes} bytes, more than a call to Zerobus may have"
        if self._keep(record, FailureKind.TOO_LARGE, error):
            self._health.warn("set_aside", "row %d of batch %d: %s", *_place(record), error)

    def keep_refused(self, record: Piece, words: str) -> None:
        """Keep a record that Zerobus refuses; `words` is what the service said.

        Raises:
            SpoolError: that cannot be written.
        """
        if self._keep(record, FailureKind.POISON, words):
            self._health.warn(
                "poison",
                "row %d of batch %d is refused, kept as a dead letter: %s",
                *_place(record),
                words,
            )

    def _keep(self, record: Piece, reason: FailureKind, error: str) -> bool:
        """Make a dead letter of a record; False when it was one before a crash."""
        shared, batch = self._shared, record.batch
        [encoded] = record.records()
        descriptor = shared.spool.schemas.descriptor(batch.schema_id)
        kept = shared.spool.letters.set_aside(
            batch,
            record.start,
            record.stop,
            reason=reason.value,
            error=error,
            origin=shared.recent.origin(encoded, descriptor),
        )
        self._stats.rows_set_aside += kept
        return kept


def _place(record: Piece) -> tuple[int, int]:
    return record.batch.position(record.start), record.batch.batch_id
