"""The spool's SQLite file: how it is opened, and what its errors mean."""

from __future__ import annotations

import os
import sqlite3
import stat
from pathlib import Path
from typing import Final

from consumer.errors import SpoolDamaged, SpoolDiskFull, SpoolError, SpoolLocked
from consumer.spool.layout import Sync, check_layout, prepare

CHECK_SUFFIX: Final = ".check"
"""Suffix of an empty file that asks for a look at the whole spool's file at the next start."""

_NOT_OF_OTHERS: Final = 0o077
_INDEX_STEP: Final = 4096
_INDEX_ROOM: Final = 1 << 20
# Codes with which SQLite says that there is no room for the index of its log.
_NO_ROOM_FOR_INDEX: Final = frozenset({sqlite3.SQLITE_IOERR_SHMSIZE, sqlite3.SQLITE_IOERR_SHMOPEN})
# Codes that say of a file that it is not what was written, beside SQLITE_CORRUPT.
_DAMAGE: Final = frozenset({sqlite3.SQLITE_IOERR_SHORT_READ, sqlite3.SQLITE_IOERR_CORRUPTFS})


def connect(path: Path, sync: Sync, max_bytes: int = 4 << 30) -> sqlite3.Connection:
    """Open the spool's database, laying out a new one where there is none.

    `max_bytes` is the bound of the spool, of which the log may take only a part.
    Transactions are explicit; the connection may be used by several threads, one at
    a time. Text is read as `lenient_text` does it.

    Raises:
        SpoolError: the file is not a spool, a newer release's, or cannot be opened.
        SpoolDamaged: the file is a spool whose pages are damaged.
    """
    if not _index_may_be_cut_off(path):
        try:
            return _connect(path, sync, max_bytes, alone=False)
        except SpoolError as error:
            cause = error.__cause__
            if getattr(cause, "sqlite_errorcode", 0) not in _NO_ROOM_FOR_INDEX:
                raise
    # Without a file for the index nobody else can read, but what is in the spool can be sent.
    return _connect(path, sync, max_bytes, alone=True)


def _index_may_be_cut_off(path: Path) -> bool:
    """Whether SQLite could believe to have room for the index of its log where there is none.

    It takes room for each 4 KiB of that file by writing one byte of them. Where blocks are smaller,
    the rest is taken when it is used, in mapped memory; a disk that is full then ends the process
    (SIGBUS).
    """
    try:
        found = os.statvfs(path.parent)
    except OSError:
        return False
    return found.f_frsize < _INDEX_STEP and found.f_bavail * found.f_frsize < _INDEX_ROOM


def _connect(path: Path, sync: Sync, max_bytes: int, *, alone: bool) -> sqlite3.Connection:
    try:
        connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    except sqlite3.Error as error:
        raise SpoolError(f"cannot open the spool {path}: {error}") from error
    try:
        if alone:  # before anything is read: then the index of the log is in memory
            connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        prepare(connection, path, sync, max_bytes)
        connection.text_factory = lenient_text
        make_private(path)
    except sqlite3.Error as error:
        connection.close()
        raise spool_error(error, path) from error
    except SpoolError:
        connection.close()
        raise
    return connection


def lenient_text(stored: bytes) -> str:
    """Text of the file for a connection (`text_factory`), with U+FFFD for what is no UTF-8.

    All that is written is UTF-8. Of bytes that a bad disk changed SQLite notices nothing; Python
    refuses some of them, and with them all else that the query finds.
    """
    return stored.decode("utf-8", "replace")


def make_private(path: Path) -> None:
    """Let nobody but the owner read a spool's file and what SQLite has beside it: process data.

    Raises:
        SpoolError: others may read it, and that cannot be changed.
    """
    for suffix in ("", "-wal", "-shm"):
        file = beside(path, suffix)
        try:
            found = file.lstat()
            if stat.S_ISREG(found.st_mode) and found.st_mode & _NOT_OF_OTHERS:
                file.chmod(stat.S_IMODE(found.st_mode) & ~_NOT_OF_OTHERS)
        except FileNotFoundError:
            continue
        except OSError as error:
            raise SpoolError(
                f"others may read {file}, and that cannot be changed: {error.strerror}; "
                "make this user its owner, and its mode 600"
            ) from error


def open_existing(path: Path, *, read_only: bool) -> sqlite3.Connection:
    """Open the file of a spool that a consumer may be using, from another program.

    Raises:
        SpoolError: there is no such file, it is no spool of this release, or cannot be read.
    """
    if not path.is_file():
        raise SpoolError(f"there is no spool at {path}: is spool.path right?")
    path = resolved(path)
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


def resolved(path: str | os.PathLike[str]) -> Path:
    """The file that a path leads to: what belongs to it lies beside that, not beside a link."""
    return Path(os.path.realpath(path))


def beside(path: Path, suffix: str) -> Path:
    """The file that belongs to a spool's file, by what its name has in addition."""
    return path.with_name(path.name + suffix)


def _was_spool(path: Path) -> bool:
    """Whether a file that is no database any more was a spool: its own files lie beside it."""
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
