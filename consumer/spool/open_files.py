"""Whether the names of a spool's files still lead to the files that are open, and to a spool."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Final

from consumer.errors import SpoolDamaged, SpoolFileGone
from consumer.spool import layout
from consumer.spool.file import beside

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_LOGS: Final = ("-wal", "-shm")
# https://www.sqlite.org/fileformat2.html#the_database_header
_MAGIC: Final = b"SQLite format 3\0"
_NUMBER_AT: Final = 68
_HEAD_BYTES: Final = 72

Identity = tuple[int, int]
"""Device and inode."""


class OpenFiles:
    """The files of an open spool: what is deleted goes on to exist for us, and for nobody else.

    SQLite does not notice: it writes on into a file without a name, and opens the log by its
    name when another program comes.

    Args:
        path: the spool's file, just opened by SQLite.
        descriptor: of that file.
    """

    def __init__(self, path: Path, descriptor: int) -> None:
        self._path = path
        self._descriptor = descriptor
        self._number = self._application_id()
        found = os.fstat(descriptor)
        self._database: Identity = (found.st_dev, found.st_ino)
        self._logs = {suffix: _identity(beside(path, suffix)) for suffix in _LOGS}

    def missed(self, copy_log: Callable[[], bool]) -> SpoolFileGone | None:
        """The error that tells of a file that was deleted or replaced; None if all is there.

        If only the log is gone, and nothing lies in its place, `copy_log` saves what is in it:
        nobody else writes to the file then.
        """
        if not (what := self._what_is_gone()):
            return None
        return SpoolFileGone(
            f"{what} while it was in use. Nothing is written to it any more; what it held is sent "
            "as far as that is possible: see who else uses this directory, and start again",
            kept=self._may_be_copied() and copy_log(),
        )

    def _what_is_gone(self) -> str:
        if gone := _gone(self._path, self._database):
            return f"the spool {gone}"
        for suffix, known in self._logs.items():
            if known is not None and (gone := _gone(beside(self._path, suffix), known)):
                return f"the log of the spool, {gone}"
        return ""

    def damage(self) -> SpoolDamaged | None:
        """The error that tells of a file that was emptied or written over in place; None if not."""
        found = self._application_id()
        if found == layout.APPLICATION_ID:
            self._number = found  # that of a new file is in its log at first
        if found == self._number:
            return None
        return SpoolDamaged(
            f"the spool {self._path} is damaged: it was emptied, or somebody else wrote into it; "
            "start again, which saves what can be read of it"
        )

    def _application_id(self) -> int | None:
        """The number that says what sort of database it is; None if it is none."""
        head = os.pread(self._descriptor, _HEAD_BYTES, 0)
        if not head.startswith(_MAGIC) or len(head) < _HEAD_BYTES:
            return None
        return int.from_bytes(head[_NUMBER_AT:], "big")

    def _may_be_copied(self) -> bool:
        try:
            return _identity(self._path) == self._database and all(
                _identity(beside(self._path, suffix)) in (None, known)
                for suffix, known in self._logs.items()
            )
        except OSError:
            return False

    def take_logs_away(self) -> None:
        """Delete what is left of the logs of a file that is gone.

        Otherwise SQLite would take them for those of the file that lies in its place.
        """
        with contextlib.suppress(OSError):
            if _identity(self._path) == self._database:
                return
            for suffix, known in self._logs.items():
                if known is not None and _identity(beside(self._path, suffix)) == known:
                    beside(self._path, suffix).unlink()


def _gone(path: Path, known: Identity) -> str:
    try:
        found = _identity(path)
    except OSError:
        return ""  # it cannot be seen: that says nothing
    if found is None:
        return f"{path} was deleted"
    return "" if found == known else f"{path} was replaced by another file"


def _identity(path: Path) -> Identity | None:
    """Device and number of the file that a name leads to; None if there is none.

    Raises:
        OSError: it cannot be looked up.
    """
    try:
        found = path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return found.st_dev, found.st_ino
