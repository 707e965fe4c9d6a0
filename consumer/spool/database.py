"""The open SQLite file of a spool: one connection for all threads, and what may go wrong.

SQLite lets one writer in at a time anyway, and waits in steps of milliseconds when two
connections collide. So there is one lock, held for each transaction.
"""

from __future__ import annotations

import contextlib
import logging
import sqlite3
import threading
from typing import TYPE_CHECKING, Final, TypeVar

from consumer.errors import (
    SpoolDamaged,
    SpoolDiskFull,
    SpoolError,
    SpoolFileGone,
    SpoolLocked,
)
from consumer.spool import file as spool_file
from consumer.spool.health import FileHealth

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from consumer.spool.lock import FileLock
    from consumer.spool.quota import Quota

_LOG = logging.getLogger(__name__)

_LOCKED_TIMES: Final = 6
"""So often ten seconds are waited for another program that writes, or keeps others from it."""

Result = TypeVar("Result")


class Database:
    """The file of one spool. Thread-safe.

    Args:
        path: the file.
        connection: to it, used by nobody else.
        lock: held on it; released by `close`.
        quota: its room.
        taken_back: called when a transaction is.

    Attributes:
        path: the file.
        connection: to it; used inside of `locked`, `snapshot` and `transaction`.
        health: whether the file is sound, and still there.
        closed: whether `close` was called.
    """

    def __init__(
        self,
        path: Path,
        connection: sqlite3.Connection,
        lock: FileLock,
        quota: Quota,
        taken_back: Callable[[], None],
    ) -> None:
        self.connection = connection
        self._mutex = threading.RLock()
        self.health = FileHealth(path, lock, self._mutex, quota.pages)
        self.closed = False
        self.path = path
        self._file_lock = lock
        self._quota = quota
        self._taken_back = taken_back

    def close(self) -> None:
        """Copy the log into the file and give up the lock.

        The log stays as it is when the file is gone, or its disk full.
        """
        self.health.close()
        if self.health.gone is not None or not self._quota.has_room_for_log:
            self._file_lock.keep_log()
        self.closed = True
        self.connection.close()
        self._file_lock.release()

    # ------------------------------------------------------------------ reading and writing

    def exclusive(self) -> AbstractContextManager[bool]:
        """No other thread reads or writes meanwhile; whoever has it may enter again."""
        return self._mutex

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Nobody else reads or writes; errors of SQLite say what they mean.

        Raises:
            SpoolError: the file cannot be read, or is closed.
        """
        with self._mutex:
            self._refuse_closed()
            try:
                yield
            except sqlite3.Error as error:
                raise self._meaning_of(error) from error

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """A transaction: all that is written inside is committed at its end, or taken back.

        Raises:
            SpoolFileGone: the file was deleted or replaced.
            SpoolDiskFull: its disk is full.
            SpoolLocked: another program has kept it locked for a minute.
            SpoolError: it cannot be written.
        """
        with self._mutex:  # and all that `locked` does, without another generator in between
            self._refuse_closed()
            if (gone := self.health.gone) is not None:
                raise SpoolFileGone(str(gone), kept=gone.kept)
            try:
                self._begin()
                try:
                    self._quota.note_begin()
                    yield
                    self._quota.pages.claim(self._file_lock.fileno())
                    self.connection.execute("COMMIT")
                except BaseException:
                    self._taken_back()
                    if self.connection.in_transaction:
                        self.connection.execute("ROLLBACK")
                    raise
            except sqlite3.Error as error:
                raise self._meaning_of(error) from error

    def _begin(self) -> None:
        """Begin to write as soon as no other program does: rows wait for it, and are not lost.

        Raises:
            sqlite3.Error: another one does for too long, or it is not possible.
        """
        for _ in range(_LOCKED_TIMES - 1):
            try:
                self.connection.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError as error:
                meaning = self._meaning_of(error)
                if not isinstance(meaning, SpoolLocked):
                    raise
                _LOG.warning("%s; until then rows wait", meaning)
            else:
                return
        self.connection.execute("BEGIN IMMEDIATE")

    @contextlib.contextmanager
    def snapshot(self) -> Iterator[sqlite3.Connection]:
        """A transaction to read in: all that is read is of one moment.

        Raises:
            SpoolError: the file cannot be read, or is closed.
        """
        with self.locked():
            self.connection.execute("BEGIN")
            try:
                yield self.connection
            finally:
                if self.connection.in_transaction:
                    self.connection.execute("COMMIT")

    def write(self, change: Callable[[sqlite3.Connection], Result]) -> Result:
        """Commit what a function writes; it is called twice if the log could not grow.

        Raises:
            SpoolError: the file cannot be written, or is closed.
        """

        def write() -> Result:
            with self.transaction():
                return change(self.connection)

        return self.try_twice(write)

    def _refuse_closed(self) -> None:
        if self.closed:
            raise SpoolError(f"the spool {self.path} is closed")

    def _meaning_of(self, error: sqlite3.Error) -> SpoolError:
        """Translate an error of SQLite; if it tells of a damaged file, that is remembered."""
        meaning = spool_file.spool_error(error, self.path)
        if isinstance(meaning, SpoolDamaged):
            self.health.note_damage(meaning)
        return meaning

    def try_twice(self, write: Callable[[], Result]) -> Result:
        """Write; if the log cannot grow, once more from its beginning."""
        try:
            return write()
        except SpoolDiskFull:
            with self.locked():
                if not self._quota.pages.begin_log_anew():
                    raise
            return write()

    def make_room(self, write: Callable[[], Result]) -> Result:
        """Do what makes room, with the reserve's space if there is no other."""
        try:
            return self.try_twice(write)
        except SpoolDiskFull:
            with self._mutex:
                if not self._quota.reserve.give_up():
                    raise
            return self.try_twice(write)

    def shorten_log(self, needed: int) -> None:
        """Before an append of so many bytes: let no log be in its way."""
        with self.locked():
            if self.health.gone is None:
                self._quota.shorten_log(needed)
