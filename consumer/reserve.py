"""Space on the disk that is kept for the moment when there is none left.

SQLite needs free space even to delete: a trim is written to the log first. On a disk that
is full the spool could never be emptied again. So a file beside it holds some space, which
is given up when the disk is full, and taken back when there is room.
"""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

_LOG = logging.getLogger(__name__)

RESERVE_BYTES: Final = 32 << 20
"""Twice what the write-ahead log has when it is copied into the file."""

_ROOM_FACTOR: Final = 2
"""The reserve is taken back when so many times its size is free."""


class Reserve:
    """The file `<path>.reserve`. Used under the spool's lock.

    Args:
        path: the spool's file.
        size: bytes to keep; 0 keeps nothing.
    """

    def __init__(self, path: Path, size: int = RESERVE_BYTES) -> None:
        self._path = path.with_name(path.name + ".reserve")
        self._size = size
        self._missing = True
        self.take_back()

    @property
    def missing(self) -> bool:
        """Whether the space was given up, or could not be taken."""
        return self._missing

    @property
    def free_bytes(self) -> int:
        """Bytes that are free on the disk of the spool."""
        found = os.statvfs(self._path.parent)
        return found.f_bavail * found.f_frsize

    def give_up(self) -> bool:
        """Free the space; returns whether there was any to free."""
        if self._missing:
            return False
        self._path.unlink(missing_ok=True)
        self._missing = True
        _LOG.error("the disk of the spool is full: the reserve %s is given up", self._path)
        return True

    def take_back(self) -> None:
        """Take the space again if there is enough of it."""
        if not self._missing or not self._size:
            return
        if self._path.exists() and self._path.stat().st_blocks * 512 >= self._size:
            self._missing = False
            return
        if self.free_bytes < _ROOM_FACTOR * self._size:
            return
        try:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                _allocate(descriptor, self._size)
            finally:
                os.close(descriptor)
        except OSError as error:
            _LOG.warning("no reserve for the spool at %s: %s", self._path, error.strerror)
            self._path.unlink(missing_ok=True)
            return
        self._missing = False


def _allocate(descriptor: int, size: int) -> None:
    """Make a file take so many bytes of the disk."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(descriptor, 0, size)
        return
    block = bytes(1 << 20)
    for start in range(0, size, len(block)):
        os.pwrite(descriptor, block[: size - start], start)
