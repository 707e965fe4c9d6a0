"""Batches from the pipeline to the delivery: in memory while it keeps up, else by disk.

Every batch is in the spool already. Handing it over in memory saves reading it back;
when the hand-over is full, or at start, the reader falls back to the spool and returns
to memory once it has caught up. Order is the spool's in both cases.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from consumer.spool import SpooledBatch

# What a batch's objects take beside its rows.
_BATCH_OVERHEAD: Final = 1024


class SpooledBatches(Protocol):
    """A place that batches of a table are read from: a spool, or a cache before it."""

    def batches_after(self, batch_id: int, limit_bytes: int, *, table: str) -> list[SpooledBatch]:
        """The batches of a table behind `batch_id`, about `limit_bytes` of them, at least one."""


class Handover:
    """One table's batches, offered by one thread and taken by another.

    Args:
        spool: where the batches are.
        table: whose batches they are; others are refused.
        max_bytes: row bytes kept in memory before falling back to the spool.
        read_bytes: row bytes read from the spool at once.
    """

    def __init__(
        self, spool: SpooledBatches, table: str, *, max_bytes: int, read_bytes: int
    ) -> None:
        self._spool = spool
        self._table = table
        self._max_bytes = max_bytes
        self._read_bytes = read_bytes
        self._lock = threading.Lock()
        self._batches: deque[SpooledBatch] = deque()
        self._nbytes = 0
        self._news = 0
        self._last_taken = 0
        self._lagging = True  # what an earlier run left comes first

    @property
    def lagging(self) -> bool:
        """Whether the next batch is not in memory, and the spool must be read."""
        with self._lock:
            return self._lagging

    def offer(self, batch: SpooledBatch) -> None:
        """Hand over a batch that was just appended; all of the table's, in order.

        Raises:
            ValueError: the batch is of another table.
        """
        if batch.table != self._table:
            raise ValueError(f"a batch for {batch.table} was handed to {self._table}'s delivery")
        with self._lock:
            self._news += 1
            if self._lagging:
                return
            self._nbytes += batch.rows.nbytes + _BATCH_OVERHEAD
            if self._nbytes > self._max_bytes:
                self._lagging = True
                return
            self._batches.append(batch)

    def look_again(self) -> None:
        """Something was appended that was not offered: read the spool."""
        with self._lock:
            self._news += 1
            self._lagging = True

    def take(self) -> list[SpooledBatch]:
        """The next batches, each once, in order; empty when there are none.

        Raises:
            SpoolError: the spool cannot be read.
        """
        with self._lock:
            # What is in memory was offered before the hand-over fell behind.
            batches = [batch for batch in self._batches if batch.batch_id > self._last_taken]
            self._batches.clear()
            self._nbytes = 0
            lagging = self._lagging
            news = self._news
        if not batches and lagging:
            batches = self._spool.batches_after(
                self._last_taken, self._read_bytes, table=self._table
            )
            with self._lock:
                if not batches and self._news == news:
                    self._lagging = False
        if batches:
            self._last_taken = batches[-1].batch_id
        return batches
