"""How much room a spool's file takes, may take, and has left."""

from __future__ import annotations

import errno
import logging
import os
import sqlite3
import stat
from typing import TYPE_CHECKING, Final

from consumer.errors import SpoolDiskFull, SpoolError, SpoolFull
from consumer.spool import file as spool_file
from consumer.spool import layout
from consumer.spool.lock import RESERVE_SUFFIX, open_own

if TYPE_CHECKING:
    from pathlib import Path

_LOG = logging.getLogger(__name__)

RESERVE_BYTES: Final = 32 << 20
"""Twice what the write-ahead log has when it is copied into the file."""

_ROOM_FACTOR: Final = 2
"""The reserve is taken back when so many times its size is free."""

# What remains for state, births and the last rows of dead nodes when batches find no room.
_SPARE_FRACTION: Final = 16
_MOST_SPARE_BYTES: Final = 32 << 20
# After a refusal there is room again for so many batches of that size.
_ROOM_FOR: Final = 4
# Free pages are handed back to the file system when they are at least this much and
# more than half of the file, a little with each trim: what an outage left behind.
_VACUUM_FROM_BYTES: Final = 64 << 20
_VACUUM_STEP_PAGES: Final = 512
_NO_ROOM: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
# What the log has of each commit beside rows: pages of trees, of the free list, of the ledger.
_COMMIT_BYTES: Final = 6 * layout.PAGE_BYTES
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
        self._log = spool_file.beside(path, "-wal")
        self._spare = min(_MOST_SPARE_BYTES, max_bytes // _SPARE_FRACTION)
        self.held_back = 0
        self._at_most = max_bytes  # bytes in use, as far as they were counted
        self._not_looked = 0
        self._promised = 0  # bytes of the append that was checked last
        self._began: tuple[int, int] | None = None  # bytes in file and log before this transaction
        self._no_room = False  # on the disk, for a batch
        self._refused = 0  # bytes of the batches that found no room, 0 while there is some

    @property
    def is_full(self) -> bool:
        """Whether a batch was refused, and `look_for_room` has found none since."""
        return self._refused > 0

    @property
    def is_short(self) -> bool:
        """Whether half of the room may be used up, or none was found; any thread may ask."""
        return self._at_most > self.max_bytes // 2 or self.is_full or self.reserve.given_up

    @property
    def used_bytes(self) -> int:
        """Pages in use and the write-ahead log."""
        return self._pages_in_use() + self._log_bytes()

    @property
    def room(self) -> int:
        """Bytes that file and log may grow by, beside the append that was checked last.

        What is written is in both of them until the log is copied. What the transaction under way
        has written is in the file already, and in the log when it is committed.
        """
        pages, wrote = self._pages_in_use(), 0
        if self._db.in_transaction:
            if self._began is None:
                self._began = pages, self._log_bytes()
            begun, log = self._began
            wrote = max(0, pages - begun)
            used = begun + log
        else:
            used = pages + self._log_bytes()
        return max(0, self.max_bytes - used - 2 * max(self._promised, wrote) - _COMMIT_BYTES)

    def note_begin(self) -> None:
        """A transaction begins.

        While there is much room, what is in use is looked at when somebody asks how much that is,
        which hardly any transaction does.
        """
        self._began = (self._pages_in_use(), self._log_bytes()) if self.is_short else None

    def check(self, needed: int, *, spare: bool) -> None:
        """Refuse what does not fit.

        Raises:
            SpoolFull: so many bytes do not fit, once in the log and once in the file.
        """
        limit = self.max_bytes - self.held_back - (0 if spare else self._spare)
        self._promised = needed
        grows = 2 * needed + _COMMIT_BYTES
        # Looking costs 0.1 ms. What else is written between two looks is little.
        self._at_most += grows
        self._not_looked += 1
        if self._at_most <= limit and self._not_looked < _LOOK_EVERY:
            return
        used = self.used_bytes
        self._at_most, self._not_looked = used + grows, 0
        if needed and self._at_most > limit:
            self._at_most = used
            kept = f", {self.held_back} are held back" if self.held_back else ""
            raise SpoolFull(
                f"the spool {self._path} is full: {needed} bytes do not fit, "
                f"{used} of {self.max_bytes} are used (spool.max_bytes){kept}"
            )

    def shorten_log(self, needed: int) -> None:
        """Before an append of so many bytes, outside of a transaction: let no log be in its way.

        What else was written, such as births, is in log and file until the log is copied.
        """
        if self.is_near(needed) and self._log_bytes() > self._spare and self.has_room_for_log:
            self._cut_log_back()
            self._not_looked = _LOOK_EVERY

    def is_near(self, needed: int) -> bool:
        """Whether an append of so many bytes may come near the end of the room."""
        grows = 2 * needed + _COMMIT_BYTES
        return self._at_most + grows > self.max_bytes - self.held_back - self._spare

    def note_refusal(self, size: int, *, by_disk: bool = False) -> None:
        """Batches of so many bytes found no room, in the spool or on the disk."""
        self._refused = max(self._refused, size, 1)
        self._no_room = self._no_room or by_disk

    def note_taken(self, *, batches: int) -> None:
        """Note that batches found room, on the disk as well if there were any."""
        self._no_room = self._no_room and not batches

    @property
    def disk_is_full(self) -> bool:
        """Whether the reserve is missing, or the disk had no room for a batch, and has little."""
        few = self.reserve.free_bytes < RESERVE_BYTES
        return self.reserve.missing or (self._no_room and few)

    @property
    def has_room_for_log(self) -> bool:
        """Whether a log that is deleted could be made again."""
        return self.reserve.free_bytes >= RESERVE_BYTES // 2

    def look_for_room(self, *, nothing_waits: bool) -> bool:
        """Whether batches find room; after a refusal there must be a good deal more than they need.

        On the edge of being full every second batch would be lost, and no node's data be whole.
        """
        if self._refused:
            wanted = min(max(self._spare, _ROOM_FOR * self._refused), self.max_bytes // 2)
            # Of a large commit; nothing else cuts it back now. On a full disk others take the room.
            if self._log_bytes() > self._spare and not self._no_room:
                self._cut_log_back()
            left = self.max_bytes - self._spare - self.used_bytes
            on_disk = self.reserve.free_bytes + self._free_pages()
            fits = left >= wanted and on_disk >= wanted and not self.reserve.is_needed()
            # Waiting makes no more room in a spool that is empty, but perhaps on its disk.
            enough = not self._no_room or on_disk >= _ROOM_FOR * self._refused
            if fits or (nothing_waits and enough):
                self._refused = 0
        return not self._refused

    def claim(self, descriptor: int) -> None:
        """Before a commit: let the file have the room for what goes into the log now.

        Then the log can be copied, and begun anew, on a disk on which not a byte is free; which
        is what a trim needs.

        Raises:
            SpoolDiskFull: there is none.
        """
        [(pages,)] = self._db.execute("PRAGMA page_count")
        size = os.fstat(descriptor).st_size
        missing = int(pages) * layout.PAGE_BYTES - size
        if missing > 0 and hasattr(os, "posix_fallocate"):
            try:
                os.posix_fallocate(descriptor, size, missing)
            except OSError as error:
                if error.errno in _NO_ROOM:
                    raise SpoolDiskFull(
                        f"no room on the disk for the spool {self._path}: free some space"
                    ) from error

    def begin_log_anew(self) -> bool:
        """Copy the log into the file, so that it is written over; False if that cannot be now."""
        try:
            # Waits for nobody. A reader keeps the log as it is, as does a file that cannot grow.
            [(_, pages, copied)] = self._db.execute("PRAGMA wal_checkpoint(PASSIVE)")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_FULL:
                raise
            return False
        return bool(pages == copied)

    def keep_for_trims(self) -> None:
        """Refuse an ordinary batch while the reserve's space is needed for trims.

        Raises:
            SpoolDiskFull: it is.
        """
        if self.reserve.is_needed():
            raise SpoolDiskFull(
                f"no room on the disk for the spool {self._path}: its reserve is there for what is "
                "acknowledged; free some space"
            )

    def return_free_pages(self) -> None:
        """Hand some of what is free in the file back to the disk, if that is much."""
        [(pages,)] = self._db.execute("PRAGMA page_count")
        free = self._free_pages()
        if free * 2 > pages * layout.PAGE_BYTES and free >= _VACUUM_FROM_BYTES:
            for _ in range(_VACUUM_STEP_PAGES):  # sqlite3 steps a pragma once: one page
                self._db.execute("PRAGMA incremental_vacuum")

    def _cut_log_back(self) -> None:
        """Copy the log into the file, if the disk has room for that."""
        try:
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_FULL:
                raise

    def _pages_in_use(self) -> int:
        [(pages,)] = self._db.execute("PRAGMA page_count")
        return int(pages) * layout.PAGE_BYTES - self._free_pages()

    def _log_bytes(self) -> int:
        try:
            return self._log.stat().st_size
        except FileNotFoundError:
            return 0

    def _free_pages(self) -> int:
        """Bytes of the file that hold nothing."""
        [(free,)] = self._db.execute("PRAGMA freelist_count")
        return int(free) * layout.PAGE_BYTES


class Reserve:
    """Space that is kept for the moment when the disk has none left: the file `<path>.reserve`.

    SQLite needs free space even to delete, for a trim is written to the log first: on a full
    disk the spool could never be emptied again. So some is given up then, and taken back when
    there is room. Used under the spool's lock.

    Args:
        path: the spool's file.
        size: bytes to keep; 0 keeps nothing.

    Attributes:
        given_up: the space was needed, and was not taken back since, while anything waited.
    """

    def __init__(self, path: Path, size: int = RESERVE_BYTES) -> None:
        self._path = spool_file.beside(path, RESERVE_SUFFIX)
        self._directory = path.parent
        self._size = size
        self._missing = True
        self.given_up = False
        self._said = ""
        self.take_back()

    @property
    def missing(self) -> bool:
        """Whether the reserve is not there: it was given up, or could not be taken."""
        return self._missing

    @property
    def free_bytes(self) -> int:
        """Bytes that are free on the disk of the spool."""
        try:
            found = os.statvfs(self._directory)
        except OSError:  # deleted, with the spool in it
            return 0
        return found.f_bavail * found.f_frsize

    def give_up(self) -> bool:
        """Free the space; returns whether there was any to free."""
        if self._missing:
            return False
        self._path.unlink(missing_ok=True)
        self._missing = self.given_up = True
        _LOG.error("the disk of the spool is full: the reserve %s is given up", self._path)
        return True

    def is_needed(self) -> bool:
        """Whether the reserve was given up, and the disk has not that much room again."""
        if self.given_up:
            self.take_back()
        return self.given_up and self.free_bytes < self._size

    def take_back(self) -> None:
        """Take the space again if there is enough of it."""
        if not self._missing or not self._size:
            return
        if self._is_taken():
            self._missing = self.given_up = False
            return
        if self.free_bytes < _ROOM_FACTOR * self._size:
            return
        try:
            descriptor = open_own(self._path)
        except (OSError, SpoolError) as error:
            self._complain(str(error))
            return
        try:
            _allocate(descriptor, self._size)
        except OSError as error:
            self._complain(f"{self._path}: {error.strerror}")
            self._path.unlink(missing_ok=True)
            return
        finally:
            os.close(descriptor)
        self._missing = self.given_up = False

    def _complain(self, why: str) -> None:
        """Log why there is no reserve, once for each reason."""
        if why != self._said:
            self._said = why
            _LOG.warning("no reserve for the spool: %s", why)

    def _is_taken(self) -> bool:
        """Whether the reserve of an earlier run is there: a file of its own, and large enough."""
        try:
            found = self._path.lstat()
        except FileNotFoundError:
            return False
        taken = found.st_blocks * 512 >= self._size
        return stat.S_ISREG(found.st_mode) and found.st_nlink == 1 and taken


def pages_of(size: int) -> int:
    """Bytes of the pages that a batch of so many bytes takes, with a page for its bookkeeping."""
    return (size // layout.PAGE_BYTES + 2) * layout.PAGE_BYTES


def _allocate(descriptor: int, size: int) -> None:
    """Make a file take so many bytes of the disk."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(descriptor, 0, size)
        return
    block = bytes(1 << 20)
    for start in range(0, size, len(block)):
        os.pwrite(descriptor, block[: size - start], start)
