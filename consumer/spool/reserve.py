"""Space that a spool keeps on its disk for the moment when there is no other."""

from __future__ import annotations

import logging
import os
import stat
from typing import TYPE_CHECKING, Final

from consumer.errors import SpoolError
from consumer.spool import file as spool_file
from consumer.spool.lock import RESERVE_SUFFIX, open_own

if TYPE_CHECKING:
    from pathlib import Path

_LOG = logging.getLogger(__name__)

RESERVE_BYTES: Final = 32 << 20
"""Twice what the write-ahead log has when it is copied into the file."""

_ROOM_FACTOR: Final = 2
"""The reserve is taken back when so many times its size is free."""


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


def _allocate(descriptor: int, size: int) -> None:
    """Make a file take so many bytes of the disk."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(descriptor, 0, size)
        return
    block = bytes(1 << 20)
    for start in range(0, size, len(block)):
        os.pwrite(descriptor, block[: size - start], start)
