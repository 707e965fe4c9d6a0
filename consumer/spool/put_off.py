"""Writes that wait in memory until a full disk has room again.

A start on a full disk writes nothing that cannot wait, and batches that Zerobus has acknowledged
are not sent again by this process, though they cannot be deleted yet. Whatever is in here when
the process is killed is done once more by the next run.
"""

from __future__ import annotations

import logging
import math
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterable, Mapping

    from consumer.spool.batches import Removed
    from consumer.spool.types import Transaction

_LOG = logging.getLogger(__name__)

_TRY_EVERY: Final = 1.0


class PutOff:
    """Writes that wait for room. Used under the spool's lock.

    Args:
        clock: monotonic seconds.

    Attributes:
        schemas: descriptors by their id.
        batches: acknowledged, and not yet deleted, by id; no longer counted as waiting.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self.schemas: dict[str, bytes] = {}
        self.batches: dict[int, Removed] = {}
        self._changes: list[Callable[[Transaction], object]] = []
        self._clock = clock
        self._tried_at = -math.inf

    def __bool__(self) -> bool:
        return bool(self.schemas or self.batches or self._changes)

    def keep_change(self, change: Callable[[Transaction], object]) -> None:
        """Keep a change; it may be made more than once, if its transaction is taken back."""
        self._changes.append(change)

    def is_due(self) -> bool:
        """Whether the last try is long enough ago to try again."""
        return self._clock() - self._tried_at >= _TRY_EVERY

    def keep_batches(self, batches: Mapping[int, Removed], error: Exception | None = None) -> None:
        """Keep batches to be deleted, by id; `error` is why that failed, if it was tried."""
        if error is not None:
            self._tried_at = self._clock()
        before = len(self.batches)
        self.batches.update(batches)
        if self.batches and not before:
            _LOG.error(
                "%s. What Zerobus acknowledges stays in the file until that is possible; if the "
                "consumer is killed before, it is sent again",
                error,
            )

    def batches_deleted(self, batch_ids: Iterable[int]) -> None:
        """Batches are deleted, and that is committed."""
        before = len(self.batches)
        for batch_id in batch_ids:
            self.batches.pop(batch_id, None)
        if before and not self.batches:
            _LOG.warning("all acknowledged batches are deleted from the spool now")

    def write(self, db: sqlite3.Connection) -> None:
        """Write schemas and changes, inside a transaction; `written` when it is committed."""
        if self.schemas:
            db.executemany("INSERT OR IGNORE INTO schemas VALUES (?, ?)", self.schemas.items())
        for change in self._changes:
            change(db)

    def written(self) -> None:
        """Forget schemas and changes: the transaction that wrote them was committed."""
        self.schemas.clear()
        self._changes.clear()

    def pending_rows(self) -> dict[str, int]:
        """Rows of the batches, by table."""
        rows: dict[str, int] = {}
        for each in self.batches.values():
            rows[each.table] = rows.get(each.table, 0) + each.rows
        return rows
