"""Rows that leave their batch for the dead letters, and come back as a batch when that is asked.

Each in one commit with what the ledger says.
"""

from __future__ import annotations

import logging
from collections import Counter
from typing import TYPE_CHECKING

from consumer.rows import EncodedRows
from consumer.spool import accounts
from consumer.spool.letters import DAMAGED_ROW, Kept, Place
from consumer.spool.shares import LetterKind, messages_kept
from consumer.spool.types import UNKNOWN_ORIGIN, DeadLetterShare

if TYPE_CHECKING:
    from collections.abc import Callable

    from consumer.errors import SpoolDamaged
    from consumer.log_budget import LogBudget
    from consumer.spool.batches import BatchStore, Removed, Stored
    from consumer.spool.database import Database
    from consumer.spool.letters import LetterStore
    from consumer.spool.types import Origin, SpooledBatch

_LOG = logging.getLogger(__name__)


class DeadLetterQueue:
    """Sets rows of a spool's batches aside. Thread-safe.

    Args:
        file: the spool's.
        batches: what is spooled.
        store: what is set aside.
        clock: seconds since 1970.
        budget: says how many damaged batches are logged.
    """

    def __init__(
        self,
        file: Database,
        batches: BatchStore,
        store: LetterStore,
        clock: Callable[[], float],
        budget: LogBudget,
    ) -> None:
        self._db = file.connection
        self._file = file
        self._batches = batches
        self._store = store
        self._clock = clock
        self._budget = budget

    @property
    def dropped(self) -> int:
        """Rows that could neither be delivered nor kept, since the file was opened."""
        return self._store.dropped_rows.total()

    def shares(self) -> dict[LetterKind, DeadLetterShare]:
        """What dead letters of each kind take, may take, and have cost since the file was opened.

        Messages are counted when it is asked for. Those that found no room are in the ledger.

        Raises:
            SpoolError: the file cannot be read, or is closed.
        """
        with self._file.locked():
            kept = self._store.count() | {LetterKind.UNREADABLE: messages_kept(self._db)}
        return {
            kind: DeadLetterShare(*use, self._store.shares[kind], self._store.dropped_rows[kind])
            for kind, use in kept.items()
        }

    def set_aside(
        self,
        batch: SpooledBatch,
        start: int,
        stop: int,
        *,
        reason: str,
        error: str,
        origin: Origin = UNKNOWN_ORIGIN,
    ) -> bool:
        """Keep rows that cannot be delivered as a dead letter, so that the others can go on.

        Doing it again, after a crash before the batch was trimmed, changes nothing, also when
        the letter was retried or dropped meanwhile. When there are too many dead letters the
        rows are dropped, which is counted and said.

        Args:
            batch: the rows' batch.
            start: the first of its rows that is kept.
            stop: the row behind the last one that is kept.
            reason: why they cannot be delivered, as a word.
            error: what was said of them.
            origin: the message that they come from.

        Returns:
            Whether they are kept, and were not before.

        Raises:
            SpoolError: the file cannot be written, or is closed.
        """
        part = EncodedRows(batch.rows.array.slice(start, stop - start)).to_blob()
        first_row = batch.position(start)
        place = Place(batch.table, batch.schema_id, batch.batch_id, first_row, stop - start)

        def keep() -> Kept:
            with self._file.transaction():
                if accounts.is_aside(self._db, batch.batch_id, first_row):
                    return Kept.BEFORE
                kept = self._keep(place, reason, error, part, origin)
                accounts.put_aside(self._db, batch.batch_id, first_row, stop - start)
                return kept

        kept = self._file.make_room(keep)
        if kept is Kept.NOT_AT_ALL:
            self._note_dropped(place, reason, error)
        return kept is Kept.NOW

    def put_damaged(self, batch_id: int, stored: Stored, error: SpoolDamaged) -> None:
        """Take a batch whose bytes are not what was written out, and keep it whole.

        Raises:
            SpoolError: the file cannot be written.
        """
        table = stored.table

        def move() -> tuple[Removed, Place, Kept]:
            with self._file.transaction():
                removed = self._batches.remove(batch_id)
                assert removed is not None  # it was just read
                # Those of its rows that were set aside before have a letter of their own.
                left = removed.rows - accounts.take_aside(self._db, batch_id)
                place = Place(table, stored.schema_id, batch_id, DAMAGED_ROW, left)
                if left <= 0:
                    return removed, place, Kept.BEFORE
                return removed, place, self._keep(place, "damaged", str(error), stored.blob)

        removed, place, kept = self._file.make_room(move)
        self._batches.note_removed(removed)
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

    def send_again(self) -> dict[str, int]:
        """Make batches of dead letters for which that was asked, behind all others: some of them.

        One that is damaged, or whose schema is lost, stays a dead letter, and that is logged.

        Returns:
            The rows of each table.

        Raises:
            SpoolError: the file cannot be written, or is closed.
        """
        again: Counter[str] = Counter()
        with self._file.exclusive():  # nobody may see the file changed and the count not
            with self._file.transaction():
                letters, unsent = self._store.take_again()
                for each in letters:
                    self._batches.insert(each.table, each.schema_id, self._clock(), each.content)
            for each in letters:
                self._batches.note_inserted(each.table, each.content.rows, each.content.size)
                again[each.table] += each.content.rows
        for name, table, problem in unsent:
            if self._budget.allows("damaged_letter", table, ours=True):
                _LOG.error(
                    "dead letter %s for %s cannot be sent again, and stays one: %s",
                    name,
                    table,
                    problem,
                    extra={"letter": name, "table": table},
                )
        return dict(again)

    def _keep(
        self, place: Place, reason: str, error: str, blob: bytes, origin: Origin = UNKNOWN_ORIGIN
    ) -> Kept:
        """Keep a dead letter, or say in the ledger that there is no room for it."""
        kept = self._store.keep(place, reason, error, blob, origin)
        if kept is Kept.NOT_AT_ALL:
            accounts.drop_rows(self._db, place.table, place.rows, accounts.DEAD_LETTERS_FULL)
        return kept

    def _note_dropped(self, place: Place, reason: str, error: str) -> None:
        with self._file.exclusive():
            self._store.note_dropped(place, reason, error)
