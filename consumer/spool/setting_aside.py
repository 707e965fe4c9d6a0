"""Rows that leave their batch for the dead letters, in one commit with what the ledger says."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from consumer.rows import EncodedRows
from consumer.spool import ledger
from consumer.spool.letters import Kept

if TYPE_CHECKING:
    import sqlite3

    from consumer.errors import SpoolDamaged
    from consumer.log_budget import LogBudget
    from consumer.spool.batches import BatchStore
    from consumer.spool.database import Database
    from consumer.spool.letters import LetterStore
    from consumer.spool.types import SpooledBatch

_LOG = logging.getLogger(__name__)

# Where a damaged batch, whose rows cannot be told apart, begins: no row of it does.
_DAMAGED_ROW: Final = -1

Place = tuple[str, str, int, int, int]
"""Table, schema id, batch id, first row, number of rows."""


class SettingAside:
    """Sets rows of a spool's batches aside.

    Args:
        db: the spool's connection.
        file: the same with its lock.
        batches: what is spooled.
        letters: what is set aside.
        budget: says how many damaged batches are logged.
    """

    def __init__(
        self,
        db: sqlite3.Connection,
        file: Database,
        batches: BatchStore,
        letters: LetterStore,
        budget: LogBudget,
    ) -> None:
        self._db = db
        self._file = file
        self._batches = batches
        self._letters = letters
        self._budget = budget

    def put(
        self,
        batch: SpooledBatch,
        start: int,
        stop: int,
        *,
        reason: str,
        error: str,
        origin: tuple[str | None, bytes | None],
    ) -> bool:
        """Keep rows of a batch that cannot be delivered as a dead letter, or drop them.

        Args:
            batch: the rows' batch.
            start: the first of its rows that is kept.
            stop: the row behind the last one that is kept.
            reason: why they cannot be delivered, as a word.
            error: what was said of them.
            origin: topic and payload of the message that they come from, where known.

        Returns:
            Whether they are kept, and were not before.
        """
        part = EncodedRows(batch.rows.array.slice(start, stop - start)).to_blob()
        first_row = batch.position(start)
        place = (batch.table, batch.schema_id, batch.batch_id, first_row, stop - start)

        def keep() -> Kept:
            with self._file.transaction():
                if ledger.is_aside(self._db, batch.batch_id, first_row):
                    return Kept.BEFORE
                kept = self._keep(place, reason, error, part, origin)
                ledger.put_aside(self._db, batch.batch_id, first_row, stop - start)
                return kept

        kept = self._file.make_room(keep)
        if kept is Kept.NOT_AT_ALL:
            self._note_dropped(place, reason, error)
        return kept is Kept.NOW

    def put_damaged(
        self, batch_id: int, table: str, schema_id: str, blob: bytes, error: SpoolDamaged
    ) -> None:
        """Take a batch whose bytes are not what was written out, and keep it whole."""
        with self._file.transaction():
            removed = self._batches.remove(batch_id)
            assert removed is not None  # it was just read
            # Those of its rows that were set aside before have a letter of their own.
            left = removed.rows - ledger.take_aside(self._db, batch_id)
            place = (table, schema_id, batch_id, _DAMAGED_ROW, left)
            kept = self._keep(place, "damaged", str(error), blob)
        self._batches.take_off(removed)
        if kept is Kept.NOT_AT_ALL:
            self._note_dropped(place, "damaged", str(error))
        if self._budget.allows("damaged_batch", table, ours=True):
            _LOG.error(
                "spooled batch %d (%d rows for %s) is damaged and was set aside: %s",
                batch_id,
                removed.rows,
                table,
                error,
                extra={"batch_id": batch_id, "rows": removed.rows, "table": table},
            )

    def _keep(
        self,
        place: Place,
        reason: str,
        error: str,
        blob: bytes,
        origin: tuple[str | None, bytes | None] = (None, None),
    ) -> Kept:
        """Keep a dead letter, or say in the ledger that there is no room for it."""
        kept = self._letters.keep(place, reason, error, blob, origin)
        if kept is Kept.NOT_AT_ALL:
            ledger.drop_rows(self._db, place[0], place[-1], ledger.DEAD_LETTERS_FULL)
        return kept

    def _note_dropped(self, place: Place, reason: str, error: str) -> None:
        with self._file.mutex:
            self._letters.note_dropped(place, reason, error)
