"""The spool's SQLite file: who may use it, how it is opened, and what its errors mean."""

from __future__ import annotations

import contextlib
import fcntl
import os
import sqlite3
from typing import TYPE_CHECKING, Final

from consumer.errors import SpoolDamaged, SpoolDiskFull, SpoolError, SpoolLocked
from consumer.spool.layout import Sync, check_layout, prepare

if TYPE_CHECKING:
    from pathlib import Path

CHECK_SUFFIX: Final = ".check"
"""Of an empty file that says: look at all of the spool's file when it is opened."""

# Codes that say of a file that it is not what was written, beside SQLITE_CORRUPT.
_DAMAGE: Final = frozenset({sqlite3.SQLITE_IOERR_SHORT_READ, sqlite3.SQLITE_IOERR_CORRUPTFS})


class FileLock:
    """The right to be the only consumer of a spool file: flock on `<path>.lock`.

    Held by the open file, so the kernel gives it back when the process dies in any
    way. The database itself stays open to other programs for reading, which an
    exclusive SQLite lock would forbid.

    Raises:
        SpoolLocked: another process, or another spool of this one, holds it.
        SpoolError: the lock file cannot be made.
    """

    def __init__(self, path: Path) -> None:
        lock_path = path.with_name(path.name + ".lock")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._fd = os.open(lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise SpoolError(
                f"cannot make {lock_path}: {error.strerror}; "
                "point spool.path to a directory this user may write"
            ) from error
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.pread(self._fd, 32, 0).decode("ascii", "replace").strip()
            os.close(self._fd)
            raise SpoolLocked(
                f"the spool {path} is in use by another consumer"
                f"{f' (process {holder})' if holder else ''}: "
                "stop it, or give this one a spool.path of its own"
            ) from error
        os.ftruncate(self._fd, 0)
        os.pwrite(self._fd, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        """Let the next consumer in. The file stays: removing it would race with others."""
        os.close(self._fd)


def connect(path: Path, sync: Sync, max_bytes: int = 4 << 30) -> sqlite3.Connection:
    """Open the spool's database, laying out a new one where there is none.

    `max_bytes` is the bound of the spool, of which the log may take only a part.
    Transactions are explicit; the connection may be used by several threads, one at
    a time.

    Raises:
        SpoolError: the file is not a spool, a newer release's, or cannot be opened.
        SpoolDamaged: the file is a spool whose pages are damaged.
    """
    with contextlib.suppress(OSError):  # sqlite3.connect says better what is wrong
        # Rows are process data: for the owner's eyes.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    try:
        connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    except sqlite3.Error as error:
        raise SpoolError(f"cannot open the spool {path}: {error}") from error
    try:
        prepare(connection, path, sync, max_bytes)
    except sqlite3.Error as error:
        connection.close()
        raise spool_error(error, path) from error
    except SpoolError:
        connection.close()
        raise
    return connection


def open_existing(path: Path, *, read_only: bool) -> sqlite3.Connection:
    """Open the file of a spool that a consumer may be using, from another program.

    Raises:
        SpoolError: there is no such file, it is no spool of this release, or cannot be read.
    """
    if not path.is_file():
        raise SpoolError(f"there is no spool at {path}: is spool.path right?")
    mode = "ro" if read_only else "rw"
    try:
        connection = sqlite3.connect(
            f"{path.absolute().as_uri()}?mode={mode}", uri=True, isolation_level=None, timeout=10
        )
        try:
            check_layout(connection, path)
        except BaseException:
            connection.close()
            raise
    except sqlite3.Error as error:
        raise spool_error(error, path) from error
    return connection


def beside(path: Path, suffix: str) -> Path:
    """The file that belongs to a spool's file, by what its name has in addition."""
    return path.with_name(path.name + suffix)


def _was_spool(path: Path) -> bool:
    """Whether a file that is nothing known any more was a spool, by what is beside it."""
    return beside(path, ".reserve").exists() or beside(path, CHECK_SUFFIX).exists()


def spool_error(error: sqlite3.Error, path: Path) -> SpoolError:
    """Say what an SQLite error means for the spool at `path`, and how to mend it."""
    extended = getattr(error, "sqlite_errorcode", 0)
    code = extended & 0xFF
    if code == sqlite3.SQLITE_FULL:
        return SpoolDiskFull(f"no room on the disk for the spool {path}: free some space")
    if code == sqlite3.SQLITE_NOTADB and not _was_spool(path):
        return SpoolError(
            f"{path} is not an SQLite file: point spool.path to a file of its own, "
            "or move this one away"
        )
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB) or extended in _DAMAGE:
        return SpoolDamaged(
            f"the spool {path} is damaged ({error}): check the disk, and start again, which sets "
            "the file aside and saves what can be read of it"
        )
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return SpoolLocked(f"another program keeps the spool {path} locked: end it")
    if code == sqlite3.SQLITE_READONLY:
        return SpoolError(f"the spool {path} may not be written: give this user the right")
    return SpoolError(f"the spool {path}: {error}; check the disk and its free space")
