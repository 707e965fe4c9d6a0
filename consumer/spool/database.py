"""The open SQLite file of a spool: one connection for all threads, and what may go wrong.

SQLite lets one writer in at a time anyway, and waits in steps of milliseconds when two
connections collide. So there is one lock, held for each transaction.
"""

from __future__ import annotations

import contextlib
import logging
import sqlite3
import threading
from typing import TYPE_CHECKING, TypeVar

from consumer.errors import SpoolDamaged, SpoolDiskFull, SpoolError, SpoolFileGone
from consumer.spool import file as spool_file
from consumer.spool.open_files import OpenFiles
from consumer.spool.opening import ask_for_check

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from consumer.spool.lock import FileLock
    from consumer.spool.space import SpoolSpace

_LOG = logging.getLogger(__name__)

Result = TypeVar("Result")


class Database:
    """The file of one spool. Thread-safe.

    Args:
        path: the file.
        connection: to it, used by nobody else.
        lock: held on it; released by `close`.
        space: its room.
        taken_back: called when a transaction is.

    Attributes:
        mutex: while it is held, no other thread reads or writes.
        damage: the first sign that the file is damaged.
        gone: the file, or its log, was deleted or replaced; nothing is written any more.
    """

    def __init__(
        self,
        path: Path,
        connection: sqlite3.Connection,
        lock: FileLock,
        space: SpoolSpace,
        taken_back: Callable[[], None],
    ) -> None:
        self.connection = connection
        self.mutex = threading.RLock()
        self.damage: SpoolDamaged | None = None
        self.gone: SpoolFileGone | None = None
        self.closed = False
        self._path = path
        self._lock = lock
        self._space = space
        self._taken_back = taken_back
        self._files = OpenFiles(path, lock.fileno())

    def close(self) -> None:
        """Copy the log into the file and give up the lock.

        The log stays as it is when the file is gone, or its disk full.
        """
        if self.gone is not None:
            self._files.take_logs_away()
        if self.gone is not None or not self._space.has_room_for_log:
            self._lock.keep_log()
        self.closed = True
        self.connection.close()
        self._lock.release()

    # ------------------------------------------------------------------ reading and writing

    @contextlib.contextmanager
    def reading(self) -> Iterator[None]:
        """Nobody else reads or writes; errors of SQLite say what they mean.

        Raises:
            SpoolError: the file cannot be read, or is closed.
        """
        with self.mutex:
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
            SpoolError: it cannot be written.
        """
        with self.mutex:  # and all that `reading` does, without another generator in between
            self._refuse_closed()
            if self.gone is not None:
                raise SpoolFileGone(str(self.gone), kept=self.gone.kept)
            try:
                self.connection.execute("BEGIN IMMEDIATE")
                try:
                    self._space.note_begin()
                    yield
                    self._space.claim(self._lock.fileno())
                    self.connection.execute("COMMIT")
                except BaseException:
                    self._taken_back()
                    if self.connection.in_transaction:
                        self.connection.execute("ROLLBACK")
                    raise
            except sqlite3.Error as error:
                raise self._meaning_of(error) from error

    def _refuse_closed(self) -> None:
        if self.closed:
            raise SpoolError(f"the spool {self._path} is closed")

    def _meaning_of(self, error: sqlite3.Error) -> SpoolError:
        """Translate an error of SQLite; if it tells of a damaged file, that is remembered."""
        meaning = spool_file.spool_error(error, self._path)
        if isinstance(meaning, SpoolDamaged):
            self.note_damage(meaning)
        return meaning

    def try_twice(self, write: Callable[[], Result]) -> Result:
        """Write; if the log cannot grow, once more from its beginning."""
        try:
            return write()
        except SpoolDiskFull:
            with self.reading():
                if not self._space.begin_log_anew():
                    raise
            return write()

    def make_room(self, write: Callable[[], Result]) -> Result:
        """Do what makes room, with the reserve's space if there is no other."""
        try:
            return self.try_twice(write)
        except SpoolDiskFull:
            with self.mutex:
                if not self._space.reserve.give_up():
                    raise
            return self.try_twice(write)

    def shorten_log(self, needed: int) -> None:
        """Before an append of so many bytes: let no log be in its way."""
        with self.reading():
            if self.gone is None:
                self._space.shorten_log(needed)

    # ------------------------------------------------------------------ what went wrong

    def note_damage(self, error: SpoolDamaged) -> SpoolDamaged:
        """Remember that the file is damaged, also for the next start."""
        if self.damage is None:
            self.damage = error
            if self.gone is None:
                ask_for_check(self._path)
        return error

    def look_at_files(self) -> None:
        """Set `gone` if a file was deleted or replaced, `damage` if it was overwritten in place."""
        with self.mutex:
            if self.closed or self.gone is not None:
                return
            self.gone = self._files.missed(self._copied)
            if self.gone is not None:
                _LOG.error("%s", self.gone)
            elif self.damage is None and (damage := self._files.damage()):
                self.note_damage(damage)

    def _copied(self) -> bool:
        """Copy the log into the file; returns whether all of it is there now."""
        with contextlib.suppress(sqlite3.Error):
            return self._space.begin_log_anew()
        return False
