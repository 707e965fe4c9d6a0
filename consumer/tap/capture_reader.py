"""Reads captures, also those that were cut off, and trusts nothing that is in them."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, NoReturn, Self

from consumer.errors import CaptureCut, CaptureError
from consumer.tap.capture_format import (
    END_BYTES,
    MOST_PARTS,
    PREFIX_BYTES,
    End,
    Header,
    content_size,
    is_end,
    read_chunk,
    read_header,
    read_mark,
)
from consumer.tap.capture_writer import next_path

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from pathlib import Path
    from typing import BinaryIO

    from consumer.tap.capture_format import Record


class CaptureReader:
    """Reads a capture from a file on, and those that continue it.

    A context, which closes the file. Memory is bounded, whatever the file says: some 100 MiB,
    a few MiB for what was written by `CaptureWriter`.

    Attributes:
        header: what the first file says of itself.
        total_bytes: of the files that were there at the beginning.
        read_bytes: how many of them were read.
        left_out: messages that came and are in no file, as far as the files tell.
    """

    def __init__(self, path: Path) -> None:
        """Open the file and read its header.

        Raises:
            CaptureError: it cannot be read, or is no capture.
        """
        self.read_bytes = self.left_out = 0
        self._path = path
        self._file = _opened(path)
        try:
            self._size = self._file.seek(0, 2)
            self._file.seek(0)
            self.header = self._part = self._read_header()
        except BaseException:
            self._file.close()
            raise
        self.total_bytes = self._size + _size_of_more(path, self.header.part)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self._file.close()

    def records(self) -> Iterator[Record]:
        """What was captured, in the order of arrival. Once.

        Raises:
            CaptureCut: the last file has no end mark; all that can be read was given.
            CaptureError: a file is damaged; what stands before that was given.
        """
        while True:
            end = yield from self._records_of_file()
            if not end.continued:
                return
            self._open_next()

    def _records_of_file(self) -> Generator[Record, None, End]:
        count = 0
        while True:
            with self._blaming():
                mark = read_mark(self._content())
            if isinstance(mark, End):
                self.left_out = mark.left_out
                with self._blaming():
                    if mark.records != count:
                        raise CaptureError(f"{count} records, where {mark.records} should be")
                    if self._file.tell() < self._size:
                        raise CaptureError("there is something behind the end mark")
                return mark
            packed = self._exactly(mark.packed)
            with self._blaming():
                for record in read_chunk(mark, packed, len(self.header.servers)):
                    count += 1
                    yield record

    def _open_next(self) -> None:
        path, part = next_path(self._path, self._part.part), self._part.part + 1
        self._file.close()
        if part >= MOST_PARTS or not path.is_file():
            raise CaptureCut(f"{self._path} is continued by {path.name}, which is not there")
        self._path, self._file = path, _opened(path)
        self._size = self._file.seek(0, 2)
        self._file.seek(0)
        self._part = self._read_header()
        same = self._part.capture_id == self.header.capture_id
        if not same or self._part.part != part or self._part.servers != self.header.servers:
            raise CaptureError(f"{path} does not continue the capture: it is of another one")

    # ------------------------------------------------------------------ bytes

    def _read_header(self) -> Header:
        prefix = self._file.read(PREFIX_BYTES)
        try:
            size = content_size(prefix)
        except CaptureError:
            raise CaptureError(f"{self._path} is no capture of this program") from None
        content = self._exactly(size)
        self.read_bytes += PREFIX_BYTES
        try:
            return read_header(content)
        except CaptureError as error:
            raise CaptureError(f"{self._path} cannot be read: {error}") from None

    def _content(self) -> bytes:
        """The content of the next head or end mark."""
        return self._exactly(content_size(self._exactly(PREFIX_BYTES)))

    def _exactly(self, size: int) -> bytes:
        """So many bytes; the size was looked at before."""
        try:
            at = self._file.tell()
            if self._size - at < size:
                self._say_cut(at)
            data = self._file.read(size)
        except OSError as error:
            raise CaptureError(f"{self._path} cannot be read: {error.strerror}") from None
        self.read_bytes += size
        return data

    def _say_cut(self, at: int) -> NoReturn:
        """Tell a file that lacks its end from one in which a length is damaged."""
        self._file.seek(max(0, self._size - END_BYTES))
        tail = self._file.read(END_BYTES)
        if is_end(tail):
            raise _DamageError(self._damage(at, "a length goes beyond the file"))
        raise CaptureCut(
            f"{self._path} is cut off: it has no end mark. Its capture did not end in order, or "
            "it was not copied whole; what is in it was read"
        )

    @contextlib.contextmanager
    def _blaming(self) -> Iterator[None]:
        """Name file and place in errors about what was read."""
        at = self._file.tell()
        try:
            yield
        except (CaptureCut, _DamageError):
            raise
        except CaptureError as error:
            raise _DamageError(self._damage(at, str(error))) from None

    def _damage(self, at: int, why: str) -> str:
        return f"{self._path} is damaged near byte {at}: {why}; what stands before that was read"


class _DamageError(CaptureError):
    """An error that names file and place already."""


def _opened(path: Path) -> BinaryIO:
    try:
        if not path.is_file():
            # A pipe would be waited for, and a device may have no end.
            raise CaptureError(
                f"{path} is no file" if path.exists() else f"{path} cannot be read: no such file"
            )
        return path.open("rb")
    except OSError as error:
        raise CaptureError(f"{path} cannot be read: {error.strerror}") from None


def _size_of_more(path: Path, part: int) -> int:
    """Bytes of the files that seem to continue one."""
    size = 0
    for _ in range(MOST_PARTS):
        path, part = next_path(path, part), part + 1
        if not path.is_file():
            break
        size += path.stat().st_size
    return size
