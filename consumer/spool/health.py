"""Whether the file of a spool is sound, and still the one that was opened."""

from __future__ import annotations

import contextlib
import logging
import sqlite3
from typing import TYPE_CHECKING

from consumer.spool.open_files import OpenFiles
from consumer.spool.opening import ask_for_check

if TYPE_CHECKING:
    import threading
    from pathlib import Path

    from consumer.errors import SpoolDamaged, SpoolFileGone
    from consumer.spool.lock import FileLock
    from consumer.spool.pages import Pages

_LOG = logging.getLogger(__name__)


class FileHealth:
    """What went wrong with the file of one spool since it was opened. Thread-safe.

    Args:
        path: the file.
        lock: held on it.
        mutex: while it is held, no other thread reads or writes.
        pages: those of the file.

    Attributes:
        damage: the first sign that the file is damaged. Nothing can be relied on then: end, and
            start again.
        gone: set when the file, or its log, was deleted or replaced. Nothing is written any more;
            what is committed can still be read, and is counted until it is trimmed.
    """

    def __init__(self, path: Path, lock: FileLock, mutex: threading.RLock, pages: Pages) -> None:
        self.damage: SpoolDamaged | None = None
        self.gone: SpoolFileGone | None = None
        self._path = path
        self._mutex = mutex
        self._pages = pages
        self._files = OpenFiles(path, lock.fileno())
        self._looks = True

    def look_at_files(self) -> None:
        """Set `gone` if a file was deleted or replaced, `damage` if it was overwritten in place."""
        with self._mutex:
            if not self._looks or self.gone is not None:
                return
            self.gone = self._files.missed(self._copied)
            if self.gone is not None:
                _LOG.error("%s", self.gone)
            elif self.damage is None and (damage := self._files.damage()):
                self.note_damage(damage)

    def note_damage(self, error: SpoolDamaged) -> SpoolDamaged:
        """Remember that the file is damaged, also for the next start."""
        if self.damage is None:
            self.damage = error
            if self.gone is None:
                ask_for_check(self._path)
        return error

    def close(self) -> None:
        """Look no more; logs whose file is gone are taken away."""
        self._looks = False
        if self.gone is not None:
            self._files.take_logs_away()

    def _copied(self) -> bool:
        """Copy the log into the file; returns whether all of it is there now."""
        with contextlib.suppress(sqlite3.Error):
            return self._pages.begin_log_anew()
        return False
