"""The spool's file is looked at before it is used, and replaced when it is damaged.

The look is cheap, whatever the size of the file: the tables' pages and the index of the
batches, not the rows themselves, whose damage is found when they are read (each batch has a
checksum). Only after signs of damage the whole file is read, or when the last stop was not in
order and the file is small.

A damaged file is set aside with its log, as `<path>.damaged-<UTC time>`, and never deleted.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import sqlite3
import time
from typing import TYPE_CHECKING, Final, NamedTuple

from consumer.errors import SpoolDamaged, SpoolError
from consumer.spool import file as spool_file
from consumer.spool.file import beside
from consumer.spool.lock import open_own
from consumer.spool.salvage import Salvage, save

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from consumer.spool.layout import Sync
    from consumer.spool.lock import FileLock

_LOG = logging.getLogger(__name__)

MOST_DAMAGED_FILES: Final = 3
"""Damaged files that may lie beside a spool; the next one after them is not set aside."""

# Read whole after a stop that was not in order: a tenth of a second to a second.
_SMALL_BYTES: Final = 256 << 20
# Rows of a table that are walked through: with a thousand bytes each these are read in passing.
_MOST_WALKED: Final = 50_000


class OpenedFile(NamedTuple):
    """A spool's file that is open and sound; `salvage` if a damaged one was replaced by it."""

    path: Path
    connection: sqlite3.Connection
    lock: FileLock
    salvage: Salvage | None


def open_sound(
    path: Path,
    lock: FileLock,
    sync: Sync,
    max_bytes: int,
    *,
    known_schemas: Mapping[str, bytes],
    clock: Callable[[], float],
) -> OpenedFile:
    """Open a spool's file; a damaged one is replaced by what can be read of it.

    `lock` is held on the file, and on the one that replaces it.

    Raises:
        SpoolError: it is not to be opened, or is damaged and not to be replaced.
    """
    _finish_replacing(path, lock)
    salvage = None
    log = beside(path, "-wal")
    in_order = not log.exists() or not log.stat().st_size
    asked = beside(path, spool_file.CHECK_SUFFIX).exists()
    small = path.exists() and path.stat().st_size <= _SMALL_BYTES
    try:
        connection = _open_checked(path, sync, max_bytes, whole=asked or (small and not in_order))
    except SpoolDamaged as error:
        ask_for_check(path)
        spool_file.make_private(path)
        salvage = _replace(path, lock, error, known_schemas, clock)
        connection = spool_file.connect(path, sync, max_bytes)
    beside(path, spool_file.CHECK_SUFFIX).unlink(missing_ok=True)
    if asked and salvage is None:
        _LOG.warning("the spool %s was said to be damaged; no damage was found in it", path)
    if kept := damaged_files(path):
        _LOG.warning(
            "damaged spool files are kept: %s; `sqlite3 FILE .recover` may get more out of them; "
            "delete them when they are not needed any more",
            ", ".join(each.name for each in kept),
        )
    return OpenedFile(path, connection, lock, salvage)


def ask_for_check(path: Path) -> None:
    """Have the whole file looked at when it is opened the next time."""
    with contextlib.suppress(OSError, SpoolError):
        os.close(open_own(beside(path, spool_file.CHECK_SUFFIX)))


def damaged_files(path: Path) -> list[Path]:
    """Damaged files that were set aside of the spool at `path`, oldest first, without logs."""
    found = path.parent.glob(f"{path.name}.damaged-*")
    return sorted(each for each in found if not each.name.endswith(("-wal", "-shm")))


def _open_checked(path: Path, sync: Sync, max_bytes: int, *, whole: bool) -> sqlite3.Connection:
    connection = spool_file.connect(path, sync, max_bytes)
    try:
        _look(connection, path, whole=whole)
    except sqlite3.Error as error:
        connection.close()
        raise spool_file.spool_error(error, path) from error
    except SpoolError:
        connection.close()
        raise
    return connection


def _look(connection: sqlite3.Connection, path: Path, *, whole: bool) -> None:
    """Look at a file that was just opened; raise if it is damaged."""
    [(indexed,)] = connection.execute("SELECT count(*) FROM batches INDEXED BY batches_by_table")
    if indexed <= _MOST_WALKED:
        [(stored,)] = connection.execute("SELECT count(*) FROM batches NOT INDEXED")
        if stored != indexed:
            raise SpoolDamaged(f"the spool {path} is damaged: {stored} batches, {indexed} in index")
    tables = connection.execute(
        "SELECT name FROM sqlite_schema WHERE type = 'table' AND name != 'batches'"
    ).fetchall()
    for (table,) in tables:
        # SQLite counts in the smallest index where there is one: then the table was not read.
        counting = f'SELECT count(*) FROM "{table}"'  # noqa: S608 - our names
        [(counted,)] = connection.execute(counting)
        [(stored,)] = connection.execute(f"{counting} NOT INDEXED")
        if stored != counted:
            raise SpoolDamaged(
                f"the spool {path} is damaged: {stored} rows of {table}, {counted} in an index"
            )
    if whole:
        started = time.monotonic()
        [(verdict,)] = connection.execute("PRAGMA quick_check(1)")
        _LOG.info("the whole spool %s was checked in %.1f s", path, time.monotonic() - started)
        if verdict != "ok":
            raise SpoolDamaged(f"the spool {path} is damaged: {' '.join(verdict.split())}")


# ---------------------------------------------------------------------- replacing


def _replace(
    path: Path,
    lock: FileLock,
    error: SpoolDamaged,
    known_schemas: Mapping[str, bytes],
    clock: Callable[[], float],
) -> Salvage:
    """Put what can be read of a damaged file in its place, and the file aside.

    Raises:
        SpoolError: there is no room, or too many damaged files are there.
    """
    kept = damaged_files(path)
    if len(kept) >= MOST_DAMAGED_FILES:
        raise SpoolError(
            f"{error}. It is not set aside, because {len(kept)} damaged files are there already: "
            f"mend the disk, and move away or delete {path}.damaged-*"
        )
    _LOG.error("%s: saving what can be read of it", error)
    # The reserve is taken again when the spool is open.
    beside(path, ".reserve").unlink(missing_ok=True)
    _check_room(path)
    stamp = _free_stamp(path, clock())
    building = beside(path, ".salvaging")
    _remove_database(building)
    try:
        salvage = save(path, building, known_schemas, clock, beside(path, f".damaged-{stamp}"))
    except (SpoolError, OSError, sqlite3.Error) as failure:
        _remove_database(building)
        raise SpoolError(
            f"{error}. What can be read of it could not be saved: {failure}"
        ) from failure
    salvage.report()
    # From this name on it is complete, and the files are exchanged, now or by the next start.
    building.rename(beside(path, f".salvaged-{stamp}"))
    _finish_replacing(path, lock)
    return salvage


def _free_stamp(path: Path, now: float) -> str:
    """A time that no damaged file is named after: a clock that was set back tells some twice."""
    while True:
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now))
        if not beside(path, f".damaged-{stamp}").exists():
            return stamp
        now += 1.0


def _finish_replacing(path: Path, lock: FileLock) -> None:
    """Exchange the files, as far as that was not done.

    The log goes first: SQLite would take it for that of the new file.
    """
    for salvaged in path.parent.glob(f"{path.name}.salvaged-*"):
        stamp = salvaged.name.rpartition("-")[2]
        damaged = beside(path, f".damaged-{stamp}")
        for old, new in ((beside(path, "-wal"), beside(damaged, "-wal")), (path, damaged)):
            if old.exists() and not new.exists():
                old.rename(new)
        beside(path, "-shm").unlink(missing_ok=True)
        lock.pass_to(salvaged)  # before it has the name under which others open it
        salvaged.rename(path)
        directory = os.open(path.parent, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)


def _check_room(path: Path) -> None:
    wanted = path.stat().st_size
    free = shutil.disk_usage(path.parent).free
    if free < wanted:
        raise SpoolError(
            f"the spool {path} is damaged, and there is no room to save what can be read of it: "
            f"{wanted >> 20} MiB are needed, {free >> 20} MiB are free; free some space, or move "
            "the file away to begin with an empty one"
        )


def _remove_database(path: Path) -> None:
    for suffix in ("", "-wal", "-shm"):
        beside(path, suffix).unlink(missing_ok=True)
