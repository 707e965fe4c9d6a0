"""How much room a spool's file takes, may take, and has left."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, Final

from consumer import spool_file
from consumer.errors import SpoolFull

if TYPE_CHECKING:
    from pathlib import Path

    from consumer.reserve import Reserve

# What remains for state, births and the last rows of dead nodes when batches find no room.
_SPARE_FRACTION: Final = 16
_MOST_SPARE_BYTES: Final = 32 << 20
# After a refusal there is room again for so many batches of that size.
_ROOM_FOR: Final = 4
# Free pages are handed back to the file system when they are at least this much and
# more than half of the file, a little with each trim: what an outage left behind.
_VACUUM_FROM_BYTES: Final = 64 << 20
_VACUUM_STEP_PAGES: Final = 512
_LOOK_EVERY: Final = 16
"""Appends after which the used bytes are looked at, however much room there seems to be."""


class SpoolSpace:
    """The room of one spool. Used under the spool's lock.

    Args:
        db: the spool's connection.
        path: its file.
        max_bytes: bound of the pages in use plus the write-ahead log.
        reserve: space on its disk.

    Attributes:
        held_back: so many of `max_bytes` are kept from batches, for the moment when the gate
            to the edge closes.
    """

    def __init__(
        self, db: sqlite3.Connection, path: Path, max_bytes: int, reserve: Reserve
    ) -> None:
        self.max_bytes = max_bytes
        self.reserve = reserve
        self._db = db
        self._path = path
        self._spare = min(_MOST_SPARE_BYTES, max_bytes // _SPARE_FRACTION)
        self.held_back = 0
        self._at_most = max_bytes  # bytes in use, as far as they were counted
        self._not_looked = 0
        self._refused = 0  # bytes of the batches that found no room, 0 while there is some

    @property
    def is_full(self) -> bool:
        """Whether a batch was refused, and `look_for_room` has found none since."""
        return self._refused > 0

    @property
    def used_bytes(self) -> int:
        """Pages in use and the write-ahead log."""
        [(pages,)] = self._db.execute("PRAGMA page_count")
        return int(pages) * spool_file.PAGE_BYTES - self._free_pages() + self._log_bytes()

    def check(self, needed: int, *, spare: bool) -> None:
        """Refuse what does not fit.

        Raises:
            SpoolFull: so many bytes do not fit, once in the log and once in the file.
        """
        limit = self.max_bytes - self.held_back - (0 if spare else self._spare)
        # Looking costs 0.1 ms. What else is written between two looks is little.
        self._at_most += 2 * needed
        self._not_looked += 1
        if self._at_most <= limit and self._not_looked < _LOOK_EVERY:
            return
        used = self.used_bytes
        self._at_most, self._not_looked = used + 2 * needed, 0
        if needed and self._at_most > limit:
            self._at_most = used
            kept = f", {self.held_back} are held back" if self.held_back else ""
            raise SpoolFull(
                f"the spool {self._path} is full: {needed} bytes do not fit, "
                f"{used} of {self.max_bytes} are used (spool.max_bytes){kept}"
            )

    def note_refusal(self, size: int) -> None:
        """Batches of so many bytes found no room, in the spool or on the disk."""
        self._refused = max(self._refused, size, 1)

    def look_for_room(self, *, nothing_waits: bool) -> bool:
        """Whether there is room; after a refusal, for a good deal more than was refused.

        On the edge of being full every second batch would be lost, and no node's data be whole.
        """
        if self._refused:
            wanted = min(max(self._spare, _ROOM_FOR * self._refused), self.max_bytes // 2)
            if self._log_bytes() > self._spare:  # of a large commit; nothing else cuts it back now
                self._cut_log_back()
            left = self.max_bytes - self._spare - self.used_bytes
            on_disk = self.reserve.free_bytes + self._free_pages()
            if nothing_waits or (left >= wanted and on_disk >= wanted):
                self._refused = 0
        return not self._refused

    def return_free_pages(self) -> None:
        """Hand some of what is free in the file back to the disk, if that is much."""
        [(pages,)] = self._db.execute("PRAGMA page_count")
        free = self._free_pages()
        if free * 2 > pages * spool_file.PAGE_BYTES and free >= _VACUUM_FROM_BYTES:
            for _ in range(_VACUUM_STEP_PAGES):  # sqlite3 steps a pragma once: one page
                self._db.execute("PRAGMA incremental_vacuum")

    def _cut_log_back(self) -> None:
        """Copy the log into the file, if the disk has room for that."""
        try:
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_FULL:
                raise

    def _log_bytes(self) -> int:
        try:
            return spool_file.beside(self._path, "-wal").stat().st_size
        except FileNotFoundError:
            return 0

    def _free_pages(self) -> int:
        """Bytes of the file that hold nothing."""
        [(free,)] = self._db.execute("PRAGMA freelist_count")
        return int(free) * spool_file.PAGE_BYTES
