"""The queue of a spool's batches: what waits, in order, and what leaves it."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Final

from consumer.errors import SpoolDamaged, SpoolDiskFull, SpoolError, SpoolFileGone
from consumer.rows import EncodedRows
from consumer.spool import accounts
from consumer.spool.types import SpooledBatch

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from consumer.spool.batches import BatchStore, Removed
    from consumer.spool.database import Database
    from consumer.spool.dead_letter_queue import DeadLetterQueue
    from consumer.spool.put_off import PutOff
    from consumer.spool.quota import Quota

# So many batches whose trim was put off are deleted in one transaction.
_TRIM_AGAIN: Final = 64


class BatchQueue:
    """Reads batches, trims them, and counts those that wait. Thread-safe.

    Args:
        file: the spool's.
        batches: its table of batches.
        quota: the room of the file.
        put_off: has the trims that a full disk had no room for.
        letters: take batches that are damaged.
    """

    def __init__(
        self,
        file: Database,
        batches: BatchStore,
        quota: Quota,
        put_off: PutOff,
        letters: DeadLetterQueue,
    ) -> None:
        self._file = file
        self._batches = batches
        self._quota = quota
        self._put_off = put_off
        self._letters = letters
        self._damaged: set[int] = set()  # that there was no room to set aside

    @property
    def waits(self) -> bool:
        """Whether the file holds batches, or ones whose trim was put off."""
        return bool(self._batches.totals.batches or self._put_off.batches)

    def pending_rows(self, table: str) -> int:
        """Rows of a table that are spooled and not yet acknowledged."""
        with self._file.exclusive():
            return self._batches.pending_rows().get(table, 0)

    def pending(self) -> dict[str, int]:
        """Rows that are in the file, by table: also those whose trim was put off."""
        with self._file.exclusive():
            rows = self._batches.pending_rows()
            for table, put_off in self._put_off.pending_rows().items():
                rows[table] = rows.get(table, 0) + put_off
            return rows

    # ------------------------------------------------------------------ reading

    def after(
        self, batch_id: int, limit_bytes: int, table: str, known: Mapping[int, SpooledBatch]
    ) -> list[SpooledBatch]:
        """The batches of a table that follow one, in order: see `Spool.batches_after`."""
        found: list[SpooledBatch] = []
        size = 0
        with self._file.locked():
            while True:
                before = batch_id
                for each in self._batches.following(table, batch_id):
                    batch_id = each.batch_id
                    if found and size + each.size > limit_bytes:
                        return found
                    batch = known.get(batch_id) or self._read(batch_id)
                    if batch is not None:
                        found.append(batch)
                        size += each.size
                if found or batch_id == before:
                    return found

    def _read(self, batch_id: int) -> SpooledBatch | None:
        found = self._batches.fetch(batch_id)
        if found is None:
            raise self._file.health.note_damage(
                SpoolDamaged(
                    f"the spool {self._file.path} is damaged: batch {batch_id} is in its index "
                    "only; check the disk, and start again, which saves what can be read of it"
                )
            )
        try:
            rows = EncodedRows.from_blob(found.blob)
        except SpoolDamaged as error:
            try:
                self._letters.put_damaged(batch_id, found, error)
                self._damaged.discard(batch_id)
            except (SpoolDiskFull, SpoolFileGone):
                self._damaged.add(batch_id)  # those behind it are not to wait for room
            return None
        return SpooledBatch(batch_id, found.table, found.schema_id, found.appended_at, rows)

    # ------------------------------------------------------------------ trimming

    def trim(self, batch_ids: Iterable[int]) -> None:
        """Remove batches that are done with, or put that off: see `Spool.trim`."""
        with self._file.exclusive():
            ids = list(batch_ids)
            if self._put_off.batches and not self._put_off.is_due():
                self._put_off_trim(ids)
                return
            try:
                self._trim_now(ids)
                for start in range(0, len(waiting := list(self._put_off.batches)), _TRIM_AGAIN):
                    self._trim_now(waiting[start : start + _TRIM_AGAIN])
            except (SpoolDiskFull, SpoolFileGone) as error:
                self._put_off_trim(ids, error)
            reserve = self._quota.reserve
            if reserve.missing and self._file.health.gone is None:
                reserve.take_back()
                reserve.given_up &= self.waits

    def catch_up(self) -> None:
        """Write what was put off, and take the reserve, if there is room."""
        with self._file.exclusive(), contextlib.suppress(SpoolError):
            if self._file.health.gone is not None:
                return
            with self._file.locked():
                for batch_id in sorted(self._damaged):
                    self._damaged.discard(batch_id)
                    if self._batches.find(batch_id) is not None:
                        self._read(batch_id)
            if self._put_off:
                self.trim([])
                self._file.write(self._put_off.write)
                self._put_off.written()
            self._quota.reserve.take_back()

    def _trim_now(self, batch_ids: Sequence[int]) -> None:
        removed = self._file.make_room(lambda: self._remove(batch_ids))
        for batch_id, each in removed.items():
            if batch_id not in self._put_off.batches:
                self._batches.note_removed(each)
        self._put_off.batches_deleted(batch_ids)

    def _remove(self, batch_ids: Iterable[int]) -> dict[int, Removed]:
        with self._file.transaction():
            found = {batch_id: self._batches.remove(batch_id) for batch_id in batch_ids}
            removed = {batch_id: each for batch_id, each in found.items() if each is not None}
            accounts.acknowledge(self._file.connection, removed, time.time())
            self._quota.pages.return_free()
        return removed

    def _put_off_trim(self, batch_ids: Iterable[int], error: Exception | None = None) -> None:
        with self._file.locked():
            found = {each: self._batches.find(each) for each in batch_ids}
        removed = {
            batch_id: each
            for batch_id, each in found.items()
            if each is not None and batch_id not in self._put_off.batches
        }
        for each in removed.values():
            self._batches.note_removed(each)
        self._put_off.keep_batches(removed, error)
