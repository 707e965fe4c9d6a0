"""Checks the directory of the spool: writable, and room for what it may hold."""

from __future__ import annotations

import os
import shutil
import tempfile
from typing import TYPE_CHECKING, Final

from consumer.check.report import Finding, PartError, Status
from consumer.config import MIB, format_size
from consumer.errors import SpoolError
from consumer.spool import holder_of, refuse_foreign, resolved

if TYPE_CHECKING:
    from pathlib import Path

    from consumer.config import SpoolSection

_LEAST_ROOM: Final = 64 * MIB


def check_spool(spool: SpoolSection) -> list[Finding]:
    """Look at the spool's directory without opening the spool, which a consumer may use.

    Where `spool.path` is a link, at that of the file that it leads to.

    Raises:
        PartError: it cannot be written, or the disk is full; or what lies beside the file is
            not the spool's.
    """
    path = spool.path.absolute()
    if path.is_dir():
        raise PartError(f"{path} is a directory", "let spool.path name a file")
    mend = "let spool.path be in a directory that this user may write"
    file = path if not path.is_symlink() else resolved(path)
    try:
        refuse_foreign(file)
    except SpoolError as error:
        text, _, how = str(error).partition(": ")
        raise PartError(text, how) from None
    directory = _nearest(file.parent)
    if not directory.is_dir():
        raise PartError(f"{directory} is no directory", mend)
    try:
        # Not os.access alone: it says yes to root on a read-only disk.
        tempfile.TemporaryFile(dir=directory).close()
    except OSError as error:
        raise PartError(f"{directory} cannot be written: {error.strerror}", mend) from None
    if path.exists() and not os.access(path, os.R_OK | os.W_OK):
        raise PartError(f"{path} cannot be written", "give this user the right to write it")
    held = path.stat().st_size if path.exists() else 0
    free = shutil.disk_usage(directory).free
    user = holder_of(path)
    text = f"{path}: {_round(held)} used, {_round(free)} free for {format_size(spool.max_bytes)}"
    if user:
        text += f", in use by process {user}"
    if free < _LEAST_ROOM:
        raise PartError(text, "make room on the disk, or move spool.path")
    if held + free < spool.max_bytes:
        return [Finding(Status.WARN, "spool", text, "make room, or lower spool.max_bytes")]
    return [Finding(Status.OK, "spool", text)]


def _nearest(directory: Path) -> Path:
    """The directory itself or, when it is to be made, the one in which it will be."""
    while not directory.exists() and directory != directory.parent:
        directory = directory.parent
    return directory


def _round(size: int) -> str:
    for unit, factor in (("GiB", 1024 * MIB), ("MiB", MIB), ("KiB", 1024)):
        if size >= factor:
            return f"{size / factor:.1f} {unit}"
    return f"{size} B"
