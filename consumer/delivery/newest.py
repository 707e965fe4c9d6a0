"""A table's newest batches in memory: who keeps up need not read them back from the spool.

Every batch is in the spool already. Whoever asks for what follows a batch gets it from memory if
all of that is there, else from the spool, as at the start and after an outage. Order is the spool's
in both cases.

This is not in the spool itself: what is read there is what the disk has, checksum and all, and is
read under its lock, which a commit holds until the disk has it.
"""

from __future__ import annotations

import threading
from bisect import bisect_right
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from consumer.spool import SpooledBatch

# What a batch's objects take beside its rows.
_BATCH_OVERHEAD: Final = 1024


class NewestBatches:
    """The batches of one table, from memory as far back as it reaches. Thread-safe.

    Args:
        table: whose batches they are; others are refused.
        max_bytes: row bytes kept in memory; the oldest go first.
        read: reads the batches that follow a batch id, about so many bytes of them, from the spool.
    """

    def __init__(
        self, table: str, max_bytes: int, read: Callable[[int, int], list[SpooledBatch]]
    ) -> None:
        self._table = table
        self._max_bytes = max_bytes
        self._read = read
        self._lock = threading.Lock()
        self._ids: list[int] = []
        self._batches: list[SpooledBatch] = []
        self._nbytes = 0
        self._news = 0
        # All that is behind this batch is in memory; None when that is true of none.
        self._all_behind: int | None = None

    @property
    def nbytes(self) -> int:
        """Memory that is used, about."""
        return self._nbytes

    def reach(self, batch_id: int) -> bool:
        """Whether all that follows a batch is in memory."""
        with self._lock:
            return self._reach(batch_id)

    def _reach(self, batch_id: int) -> bool:
        return self._all_behind is not None and batch_id >= self._all_behind

    def offer(self, batch: SpooledBatch) -> None:
        """Keep a batch that was just appended; all of the table's are to be offered, in order.

        Raises:
            ValueError: the batch is of another table.
        """
        if batch.table != self._table:
            raise ValueError(f"a batch for {batch.table} was handed to {self._table}'s delivery")
        with self._lock:
            self._news += 1
            if self._all_behind is None:
                self._all_behind = batch.batch_id - 1
            self._ids.append(batch.batch_id)
            self._batches.append(batch)
            self._nbytes += batch.rows.nbytes + _BATCH_OVERHEAD
            while self._nbytes > self._max_bytes:
                self._drop(1)

    def look_again(self) -> None:
        """Batches were appended that were not offered: what follows must be read."""
        with self._lock:
            self._news += 1
            self._drop(len(self._ids))
            self._all_behind = None

    def forget(self, batch_id: int) -> None:
        """Nobody asks any more for batches up to this one."""
        with self._lock:
            self._drop(bisect_right(self._ids, batch_id))

    def batches_after(self, batch_id: int, limit_bytes: int) -> list[SpooledBatch]:
        """The batches behind `batch_id`, in order, about `limit_bytes` of them.

        At least one when there is one.

        Raises:
            SpoolError: the spool cannot be read.
        """
        with self._lock:
            if self._reach(batch_id):
                return self._kept_after(batch_id, limit_bytes)
            news = self._news
        found = self._read(batch_id, limit_bytes)
        with self._lock:
            if not found and news == self._news:
                self._all_behind = batch_id
        return found

    def _kept_after(self, batch_id: int, limit_bytes: int) -> list[SpooledBatch]:
        found: list[SpooledBatch] = []
        nbytes = 0
        for index in range(bisect_right(self._ids, batch_id), len(self._ids)):
            batch = self._batches[index]
            nbytes += batch.rows.nbytes
            if found and nbytes > limit_bytes:
                break
            found.append(batch)
        return found

    def _drop(self, number: int) -> None:
        """Let go of the oldest ones: from now on memory reaches back to the last of these."""
        if number:
            self._all_behind = self._ids[number - 1]
            self._nbytes -= sum(
                batch.rows.nbytes + _BATCH_OVERHEAD for batch in self._batches[:number]
            )
            del self._ids[:number], self._batches[:number]
