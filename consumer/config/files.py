"""Files that the configuration is in or names, read within bounds.

A name may lead to a device without end, or to a pipe into which nobody writes; a pipe that a shell
or a store of secrets fills is as good as a file.
"""

from __future__ import annotations

import io
import os
import select
import stat
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

_PATIENCE: Final = 5.0
"""Longest wait for whoever writes into a pipe, in seconds."""

_MOST_SECRET_BYTES: Final = 64 * 1024


class FileError(ValueError):
    """A file is not what it should be. The text quotes nothing of it."""


def read_text(path: Path, most: int) -> str:
    """The text in a file of at most so many bytes.

    Raises:
        FileError: it holds more, is not UTF-8, or is a pipe into which nobody writes.
        OSError: it cannot be read.
    """
    content = _read(path, most + 1)
    if len(content) > most:
        raise FileError(f"is larger than {most // 1024} KiB")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        raise FileError("is not UTF-8 text") from None


def read_secret(path: Path) -> str:
    """The secret in a file, without its trailing line end.

    Raises:
        FileError: there is none in it, or it cannot be read. The text does not name the file: in
            place of its name the secret itself may have been written.
    """
    try:
        secret = read_text(path, _MOST_SECRET_BYTES).removesuffix("\n").removesuffix("\r")
    except OSError as error:
        raise FileError(f"cannot be read: {error.strerror}") from None
    except FileError:
        raise
    except ValueError:  # a name with a zero in it
        raise FileError("cannot be read: no file can have this name") from None
    if not secret:
        raise FileError("is empty")
    return secret


def _read(path: Path, most: int) -> bytes:
    """Read at most `most` bytes of a file.

    It is opened without waiting: a pipe would wait for somebody who writes.
    """
    deadline = time.monotonic() + _PATIENCE
    with io.FileIO(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)) as file:
        content = bytearray()
        # Before somebody writes into a pipe it seems to be at its end.
        somebody_came = not stat.S_ISFIFO(os.fstat(file.fileno()).st_mode)
        poll = select.poll()
        poll.register(file, select.POLLIN)
        while len(content) < most:
            piece = file.read(most - len(content))
            if piece:
                content += piece
            elif piece is not None and (somebody_came or content):
                break
            elif poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
                somebody_came = True
            else:
                raise FileError(f"is a pipe that nobody wrote to its end within {_PATIENCE:g} s")
        return bytes(content)
