"""The pages of a spool's file and of its write-ahead log: how many, and where they go."""

from __future__ import annotations

import errno
import os
import sqlite3
from typing import TYPE_CHECKING, Final

from consumer.errors import SpoolDiskFull
from consumer.spool import file as spool_file
from consumer.spool import layout

if TYPE_CHECKING:
    from pathlib import Path

# Free pages are handed back to the file system when they are at least this much and
# more than half of the file, a little with each trim: what an outage left behind.
_VACUUM_FROM_BYTES: Final = 64 << 20
_VACUUM_STEP_PAGES: Final = 512
_NO_ROOM: Final = frozenset({errno.ENOSPC, errno.EDQUOT})


class Pages:
    """The pages of one spool. Used under the spool's lock.

    Args:
        db: the spool's connection.
        path: its file.
    """

    def __init__(self, db: sqlite3.Connection, path: Path) -> None:
        self._db = db
        self._path = path
        self._log = spool_file.beside(path, "-wal")

    @property
    def used_bytes(self) -> int:
        """Pages in use and the write-ahead log."""
        return self.in_use_bytes + self.log_bytes

    @property
    def in_use_bytes(self) -> int:
        """Bytes of the file that hold something, also what this transaction has written."""
        [(pages,)] = self._db.execute("PRAGMA page_count")
        return int(pages) * layout.PAGE_BYTES - self.free_bytes

    @property
    def free_bytes(self) -> int:
        """Bytes of the file that hold nothing."""
        [(free,)] = self._db.execute("PRAGMA freelist_count")
        return int(free) * layout.PAGE_BYTES

    @property
    def log_bytes(self) -> int:
        """Bytes of the write-ahead log."""
        try:
            return self._log.stat().st_size
        except FileNotFoundError:
            return 0

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

    def cut_log_back(self) -> None:
        """Copy the log into the file, if the disk has room for that."""
        try:
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_FULL:
                raise

    def return_free(self) -> None:
        """Hand some of what is free in the file back to the disk, if that is much."""
        [(pages,)] = self._db.execute("PRAGMA page_count")
        free = self.free_bytes
        if free * 2 > pages * layout.PAGE_BYTES and free >= _VACUUM_FROM_BYTES:
            for _ in range(_VACUUM_STEP_PAGES):  # sqlite3 steps a pragma once: one page
                self._db.execute("PRAGMA incremental_vacuum")
