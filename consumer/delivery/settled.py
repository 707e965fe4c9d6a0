"""Batches that a stream has done with, until they leave the spool."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

    from consumer.delivery.shared import SharedOfTable

_TRIM_BATCHES: Final = 64
_TRIM_BYTES: Final = 4 << 20
# Settled batches wait no longer while the spool has not much room.
_TRIM_WHEN_SHORT: Final = 0.2


class SettledBatches:
    """The batches of which one stream has no row left to send, and when to trim them.

    A trim is a commit of its own, so several batches wait for it: until they are many, large, or
    the time has come. Owned by the thread of the stream.

    Args:
        shared: whose `batches` are told what is settled.
    """

    def __init__(self, shared: SharedOfTable) -> None:
        self._shared = shared
        self._batch_ids: list[int] = []
        self._nbytes = 0
        self._trimmed_at = 0.0

    def note(self, batch_ids: Iterable[int], nbytes: int = 0) -> None:
        """Note settled batches; `nbytes` of their rows count towards the next trim."""
        self._batch_ids += batch_ids
        self._nbytes += nbytes

    def trim_at(self, *, idle: bool) -> float | None:
        """When to trim at the latest, in monotonic seconds; None when nothing is to be trimmed.

        Args:
            idle: nothing is on its way, so that a trim delays no acknowledgement.
        """
        if not (self._batch_ids or self._shared.batches.are_complete):
            return None
        interval = self._shared.options.trim_interval
        if self._shared.spool.space.is_short:
            interval = 0.0 if idle else min(_TRIM_WHEN_SHORT, interval)
        return self._trimmed_at + interval

    def is_due(self, *, idle: bool) -> bool:
        """Whether to trim now: `idle` says that nothing is on its way that it could delay."""
        if len(self._batch_ids) >= _TRIM_BATCHES or self._nbytes >= _TRIM_BYTES:
            return True
        at = self.trim_at(idle=idle)
        return at is not None and self._shared.clock() >= at

    def trim(self) -> bool:
        """Remove what all streams of the table have settled from the spool.

        Returns:
            Whether there was anything that this stream, or all of them, had settled.

        Raises:
            SpoolError: that cannot be written; the batches are tried again after the interval.
        """
        if not (self._batch_ids or self._shared.batches.are_complete):
            return False
        batch_ids, self._batch_ids, self._nbytes = self._batch_ids, [], 0
        self._trimmed_at = self._shared.clock()
        self._shared.batches.settled(batch_ids)
        self._shared.batches.trim()
        return True
