"""Locks that give a spool's file to one consumer, under whatever name it opens the file."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import platform
import stat
import struct
from pathlib import Path
from typing import Final

from consumer.errors import SpoolError, SpoolLocked
from consumer.spool.file import CHECK_SUFFIX, beside

LOCK_SUFFIX: Final = ".lock"
RESERVE_SUFFIX: Final = ".reserve"

# Elsewhere flock and the locks that SQLite uses are of one kind, and would keep each other out.
_LOCKS_DATABASE: Final = platform.system() == "Linux"
# What SQLite locks, all of it, before the last connection copies the log and deletes it.
_SHARED_FIRST: Final = 0x40000002
_SHARED_SIZE: Final = 510
_FLAGS: Final = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
_MOST_TRIES: Final = 5


class FileLock:
    """The right to be the only consumer of a spool file: flock on it, and on `<path>.lock`.

    The lock on the file itself holds under whatever name it is opened. The other one
    is what earlier releases look at, has the process's number, and holds while a damaged file
    is exchanged. Both are held by open files, so the kernel gives them back when the process
    dies in any way. The database stays open to other programs for reading, which
    an exclusive SQLite lock would forbid.

    Make it before SQLite opens the file and release it after SQLite has closed it: closing any
    descriptor of a file gives up the locks that SQLite has on it in this process.

    Args:
        path: the spool's file, links resolved; made when there is none.

    Raises:
        SpoolLocked: another process, or another spool of this one, holds it.
        SpoolError: a file cannot be made, or is not ours.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        lock_path = beside(path, LOCK_SUFFIX)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            refuse_foreign(path)
            self._fd = open_own(lock_path)
        except OSError as error:
            raise SpoolError(
                f"cannot make {lock_path}: {error.strerror}; "
                "point spool.path to a directory this user may write"
            ) from error
        self._db = -1
        try:
            self._hold(self._fd, self._noted_process())
            self._db = self._hold_database(path)
        except BaseException:
            os.close(self._fd)
            raise
        self._note_process()

    def fileno(self) -> int:
        """The descriptor of the database. Never closed while SQLite has the file open."""
        return self._db

    def pass_to(self, successor: Path) -> None:
        """Hold the file that is about to get the spool's name; SQLite has neither open.

        Raises:
            SpoolLocked, SpoolError: it cannot be held.
        """
        held = self._hold_database(successor)
        os.close(self._db)
        self._db = held

    def keep_log(self) -> None:
        """Keep SQLite from copying the log, and from deleting it, when it closes the file.

        It deletes by name. And what it would free on a full disk, others would take.
        """
        if hasattr(fcntl, "F_OFD_SETLK"):
            place = (os.SEEK_SET, _SHARED_FIRST, _SHARED_SIZE, 0)
            with contextlib.suppress(OSError):  # SQLite itself has locked all of it
                fcntl.fcntl(
                    self._db, fcntl.F_OFD_SETLK, struct.pack("hhqqi4x", fcntl.F_RDLCK, *place)
                )

    def release(self) -> None:
        """Let the next consumer in. The file stays: removing it would race with others."""
        os.close(self._db)
        os.close(self._fd)

    # ------------------------------------------------------------------ inside

    def _hold_database(self, path: Path) -> int:
        for _ in range(_MOST_TRIES):
            try:
                descriptor = os.open(path, os.O_RDWR | os.O_CREAT | _FLAGS, 0o600)
            except OSError as error:
                raise SpoolError(
                    f"cannot open the spool {path}: {error.strerror}; "
                    "point spool.path to a file that this user may write"
                ) from error
            try:
                if self._is_held(path, descriptor):
                    return descriptor
            except BaseException:
                # With it SQLite's locks would go, where another spool of this process has the file.
                if _holder(os.fstat(descriptor)) != str(os.getpid()):
                    os.close(descriptor)
                raise
            os.close(descriptor)
        raise SpoolLocked(f"the spool {path} is exchanged again and again: who else uses it?")

    def _is_held(self, path: Path, descriptor: int) -> bool:
        """Lock an open database; False if it was exchanged before it was locked."""
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise SpoolError(f"{path} is no file: point spool.path to a file of its own")
        if _LOCKS_DATABASE:
            self._hold(descriptor, _holder(found))
        with contextlib.suppress(FileNotFoundError):
            return os.path.samestat(path.lstat(), found)
        return False

    def _hold(self, descriptor: int, holder: str) -> None:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise SpoolLocked(
                f"the spool {self._path} is in use by another consumer"
                f"{f' (process {holder})' if holder else ''}: "
                "stop it, or give this one a spool.path of its own"
            ) from error
        except OSError as error:
            raise SpoolError(
                f"the spool {self._path} cannot be locked: {error.strerror}; "
                "point spool.path to a local disk"
            ) from error

    def _noted_process(self) -> str:
        return os.pread(self._fd, 32, 0).decode("ascii", "replace").strip()

    def _note_process(self) -> None:
        number = f"{os.getpid()}\n".encode()
        try:
            # In this order what was there is written over, which needs no room on the disk.
            written = os.pwrite(self._fd, number, 0)
        except OSError:
            written = 0
        os.ftruncate(self._fd, written)


def open_own(path: Path) -> int:
    """Open a file that belongs to a spool, making it when there is none; never another's.

    Raises:
        SpoolError: it is a link, or no file, or has another name as well.
        OSError: it cannot be opened or made.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | _FLAGS, 0o600)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.EISDIR, errno.ENXIO):
            _refuse(path)
        raise
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode) or found.st_nlink > 1:
        os.close(descriptor)
        _refuse(path)
    return descriptor


def refuse_foreign(path: Path) -> None:
    """Refuse files beside a spool's file that are not the spool's own.

    Raises:
        SpoolError: one of them is a link, or no file, or has another name as well.
    """
    for suffix in (LOCK_SUFFIX, RESERVE_SUFFIX, CHECK_SUFFIX, "-wal", "-shm"):
        file = beside(path, suffix)
        with contextlib.suppress(FileNotFoundError, NotADirectoryError, PermissionError):
            found = file.lstat()
            written = suffix in (LOCK_SUFFIX, RESERVE_SUFFIX)  # by us
            if not stat.S_ISREG(found.st_mode) or (written and found.st_nlink > 1):
                _refuse(file)


def _refuse(path: Path) -> None:
    found = path.lstat()
    if stat.S_ISLNK(found.st_mode):
        what = "is a symbolic link, which is not followed"
    elif stat.S_ISREG(found.st_mode):
        what = "has another name as well (a hard link), and may be somebody else's"
    else:
        what = "is no file"
    raise SpoolError(f"{path} {what}: move it away; the consumer makes this file itself")


def holder_of(path: Path) -> str:
    """The process that has a spool's file locked, empty when there is none or it is not known.

    `path` is not opened: that would not be without danger for whoever has it open.
    """
    try:
        return _holder(path.stat())
    except OSError:
        return ""


def _holder(found: os.stat_result) -> str:
    """Who has a lock by flock on a file, as Linux tells it."""
    file = f"{os.major(found.st_dev):02x}:{os.minor(found.st_dev):02x}:{found.st_ino}"
    with contextlib.suppress(OSError, ValueError):
        for line in Path("/proc/locks").read_text(encoding="ascii").splitlines():
            words = line.split()
            if words[1:2] == ["FLOCK"] and words[5:6] == [file]:
                return words[4] if int(words[4]) > 0 else ""
    return ""
