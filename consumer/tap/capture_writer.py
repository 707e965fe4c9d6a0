"""Writes captures: what comes is in the file within a second, also for whoever is killed then."""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections import deque
from typing import TYPE_CHECKING, Final, Self

from consumer.errors import CaptureError
from consumer.tap.capture_format import (
    END_BYTES,
    MOST_PARTS,
    MOST_PAYLOAD_BYTES,
    MOST_TOPIC_BYTES,
    End,
    Header,
    Kind,
    Record,
    chunk_bytes,
    end_bytes,
    header_bytes,
    record_bytes,
)
from sparkplug import Message

if TYPE_CHECKING:
    from collections.abc import Callable
    from io import FileIO
    from pathlib import Path

FLUSH_SECONDS: Final = 1.0
"""How long a record waits at most for others before it is written."""

LEAST_BYTES: Final = 64 * 1024
"""Least size at which files may be ended."""

_FLUSH_BYTES: Final = 4 << 20
_PRIVATE: Final = 0o600


def part_path(path: Path, part: int) -> Path:
    """The file of a part: FILE, FILE.1, FILE.2 and so on."""
    return path.with_name(f"{path.name}.{part}") if part else path


def next_path(path: Path, part: int) -> Path:
    """The file behind one, which is the part of this number and may have been moved."""
    first = path.name.removesuffix(f".{part}") if part else path.name
    return path.with_name(f"{first}.{part + 1}")


class CaptureWriter:
    """Writes records into a new file, and further ones; readable for its owner alone.

    One thread uses it, as a context: at the end the file has its end mark. What is on disk is
    readable at any time; a record is there at the latest FLUSH_SECONDS after it was added, if
    `flush_if_due` is called all the while.

    Attributes:
        records: that were added.
        left_out: messages that were too large, or that the caller left out.
        written_bytes: of all files, also of those that were removed.
        paths: of the files that there are, in their order.
    """

    def __init__(
        self,
        path: Path,
        header: Header,
        *,
        max_bytes: int = 0,
        max_files: int = 0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Begin the file.

        Args:
            path: which must not exist, nor a file that would follow it.
            header: what the first file says of itself.
            max_bytes: size at which a file is ended and the next one begun; 0: never.
            max_files: how many there may be; the oldest is removed for a new one. 0: no bound.
            clock: monotonic seconds.

        Raises:
            CaptureError: it cannot be made, or is there already.
        """
        self.records = self.left_out = self.written_bytes = 0
        self.paths: deque[Path] = deque()
        self._path = path
        self._header = header
        self._max_bytes = max_bytes
        self._max_files = max_files
        self._clock = clock
        self._waiting: list[bytes] = []
        self._waiting_bytes = 0
        self._first_us = self._last_us = 0
        self._waits_since = 0.0
        self._size = 0  # of the present file
        self._of_file = 0  # records in it
        self._failed = False
        check_free(path)
        self._file = self._begin()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_exc: object) -> None:
        if self._failed or kind is KeyboardInterrupt:
            # An error tells already what could not be written; who cannot wait has a cut file.
            self._file.close()
        else:
            self.close()

    # ------------------------------------------------------------------ what comes

    def add(self, server: int, message: Message) -> None:
        """Add a message of a server, by its position in the header.

        Raises:
            CaptureError: the file cannot be written.
        """
        topic_bytes = len(message.topic.encode())
        if len(message.payload) > MOST_PAYLOAD_BYTES or topic_bytes > MOST_TOPIC_BYTES:
            self.left_out += 1
            return
        self._add(Record(server, message))

    def lose(self, server: int, at_us: int) -> None:
        """Add that the connection to a server ended, `at_us` microseconds since 1970 UTC.

        Raises:
            CaptureError: the file cannot be written.
        """
        self._add(Record(server, Message("", b"", at_us), Kind.LOST))

    def leave_out(self, messages: int) -> None:
        """Note that so many messages came which the file does not have."""
        self.left_out += messages

    def flush_if_due(self) -> None:
        """Write what has waited for FLUSH_SECONDS.

        Raises:
            CaptureError: the file cannot be written.
        """
        if self._waiting and self._clock() - self._waits_since >= FLUSH_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Write what waits.

        Raises:
            CaptureError: the file cannot be written.
        """
        if not self._waiting:
            return
        count = len(self._waiting)
        chunk = chunk_bytes(b"".join(self._waiting), count, self._first_us, self._last_us)
        full = self._max_bytes and self._size + len(chunk) + END_BYTES > self._max_bytes
        if full and self._of_file and self._header.part + 1 < MOST_PARTS:
            self._go_on()
        self._write(chunk)
        self._of_file += count
        self._waiting.clear()
        self._waiting_bytes = 0

    def close(self) -> None:
        """Write what waits and the end mark. Nothing can be added any more.

        Raises:
            CaptureError: the file cannot be written.
        """
        try:
            self.flush()
            self._write(end_bytes(End(False, self._of_file, self.left_out)))
        finally:
            self._file.close()

    # ------------------------------------------------------------------ the files

    def _add(self, record: Record) -> None:
        raw = record_bytes(record)
        at_us = record.message.received_us
        if self._waiting_bytes + len(raw) > _FLUSH_BYTES:
            self.flush()
        if not self._waiting:
            self._first_us, self._waits_since = at_us, self._clock()
        self._last_us = at_us
        self._waiting.append(raw)
        self._waiting_bytes += len(raw)
        self.records += 1

    def _begin(self) -> FileIO:
        path = part_path(self._path, self._header.part)
        try:
            opened = open(path, "xb", buffering=0, opener=_private)  # noqa: SIM115 - closed by `close`
        except FileExistsError:
            raise CaptureError(f"{path} exists: give another name, or move it away") from None
        except OSError as error:
            raise CaptureError(f"{path} cannot be made: {error.strerror}") from None
        self._file, self._size, self._of_file = opened, 0, 0
        self.paths.append(path)
        try:
            self._put(header_bytes(self._header))
        except OSError as error:
            opened.close()
            self.paths.pop()
            path.unlink(missing_ok=True)
            raise CaptureError(f"{path} cannot be written: {error.strerror}") from None
        return opened

    def _go_on(self) -> None:
        """End the present file and begin the next one, which is there before."""
        ended, size, records = self._file, self._size, self._of_file
        header = self._header
        self._header = header._replace(part=header.part + 1)
        try:
            self._begin()
        except CaptureError:
            # The capture ends with the present file: what is in it is whole.
            self._header = header
            self._file, self._size, self._of_file = ended, size, records
            self._end_as_it_is()
            raise
        begun, begun_size = self._file, self._size
        self._file, self._size, self._of_file = ended, size, records
        try:
            self._write(end_bytes(End(True, records, self.left_out)))
        finally:
            ended.close()
            self._file, self._size, self._of_file = begun, begun_size, 0
        while self._max_files and len(self.paths) > self._max_files:
            self.paths.popleft().unlink(missing_ok=True)

    def _write(self, data: bytes) -> None:
        """Write all of it; what was there before stays readable if that is not possible."""
        try:
            self._put(data)
        except OSError as error:
            self._end_as_it_is()
            raise CaptureError(
                f"{self.paths[-1]} cannot be written: {error.strerror}; "
                f"{self._of_file} records are in it, and can be read"
            ) from None

    def _put(self, data: bytes) -> None:
        left = memoryview(data)
        while left:
            left = left[self._file.write(left) or 0 :]
        self._size += len(data)
        self.written_bytes += len(data)

    def _end_as_it_is(self) -> None:
        """Write the end mark behind what is there; nothing more is written."""
        self._failed = True
        with contextlib.suppress(OSError):
            self._file.truncate(self._size)
            if self._size:
                self._file.seek(self._size)
                self._file.write(end_bytes(End(False, self._of_file, self.left_out)))


def _private(name: str, flags: int) -> int:
    return os.open(name, flags, _PRIVATE)


def check_free(path: Path) -> None:
    """Look whether a capture may begin at a path, before anything is connected for it.

    Raises:
        CaptureError: there is a file, or one that it would seem to go on with, or no directory.
    """
    if not path.parent.is_dir():
        raise CaptureError(f"{path} cannot be made: there is no directory {path.parent}")
    further = re.compile(re.escape(path.name) + r"\.\d+")
    names = [each.name for each in path.parent.iterdir()]
    for name in names:
        if name == path.name or further.fullmatch(name):
            raise CaptureError(f"{path.with_name(name)} exists: give another name, or move it away")
