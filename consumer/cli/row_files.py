"""Rows of tag_events as JSON, CSV or Parquet, on stdout or in a file that did not exist."""

from __future__ import annotations

import contextlib
import csv
import io
import os
from typing import TYPE_CHECKING, Any, Final, Protocol

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from consumer.cli.output import echo_text
from consumer.errors import SparkplugZerobusError
from consumer.foreign import json_text
from consumer.rows import TAG_EVENTS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import BinaryIO

FORMATS: Final = ("json", "csv", "parquet")

_ISO: Final = "%Y-%m-%dT%H:%M:%SZ"  # of microseconds it writes six digits
_GROUP_ROWS: Final = 50_000
"""Rows of a row group: Parquet is read by groups."""

_PRIVATE: Final = 0o600


class RowFile(Protocol):
    """Takes rows of tag_events."""

    def write(self, rows: pa.RecordBatch) -> None:
        """Write rows.

        Raises:
            BrokenPipeError: whoever read stdout has gone.
            OSError: the file cannot be written.
        """

    def close(self) -> None:
        """Write what is still to be written."""


@contextlib.contextmanager
def row_file(kind: str, path: Path | None) -> Iterator[RowFile]:
    """A writer of one of the FORMATS; the file is whole when the context is left, however.

    Args:
        kind: of the format; `parquet` needs a path.
        path: a file that does not exist, and that its owner alone may read; None: stdout.

    Raises:
        SparkplugZerobusError: the file exists, or cannot be written.
    """
    if path is None:
        lines = _Lines(kind, None)
        yield lines
        lines.close()
        return
    try:
        with open(path, "xb", opener=_private) as file:
            writer = _ParquetFile(file) if kind == "parquet" else _Lines(kind, file)
            try:
                yield writer
            finally:
                writer.close()
    except FileExistsError:
        raise SparkplugZerobusError(f"{path} exists: give another name") from None
    except OSError as error:
        raise SparkplugZerobusError(f"{path} cannot be written: {error.strerror}") from None


class _Lines:
    """A row per line, as JSON without nulls, or as CSV with a line of names first."""

    def __init__(self, kind: str, file: BinaryIO | None) -> None:
        self._is_csv = kind == "csv"
        self._file = file
        self._begun = False

    def write(self, rows: pa.RecordBatch) -> None:
        columns = [_shown(column).to_pylist() for column in rows.columns]
        if not self._is_csv:
            names = rows.schema.names
            lines = [
                json_text({n: v for n, v in zip(names, row, strict=True) if v is not None})
                for row in zip(*columns, strict=True)
            ]
            self._write("".join(f"{line}\n" for line in lines))
            return
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        if not self._begun:
            writer.writerow(rows.schema.names)
        writer.writerows([list(map(_cell, row)) for row in zip(*columns, strict=True)])
        self._begun = True
        self._write(text.getvalue())

    def close(self) -> None:
        if self._is_csv and not self._begun:
            self.write(pa.RecordBatch.from_pylist([], schema=TAG_EVENTS.arrow_schema))

    def _write(self, text: str) -> None:
        if self._file is None:
            if text:
                echo_text(text)
        else:
            self._file.write(text.encode(errors="surrogatepass"))


class _ParquetFile:
    """Parquet with the columns and types of the table, compressed by Zstandard."""

    def __init__(self, file: BinaryIO) -> None:
        self._writer = pq.ParquetWriter(file, TAG_EVENTS.arrow_schema, compression="zstd")
        self._waiting: list[pa.RecordBatch] = []
        self._rows = 0

    def write(self, rows: pa.RecordBatch) -> None:
        self._waiting.append(rows)
        self._rows += len(rows)
        if self._rows >= _GROUP_ROWS:
            self._flush()

    def close(self) -> None:
        self._flush()
        self._writer.close()

    def _flush(self) -> None:
        if self._waiting:
            self._writer.write_table(pa.Table.from_batches(self._waiting))
            self._waiting, self._rows = [], 0


def _shown(column: pa.Array) -> pa.Array:
    return pc.strftime(column, format=_ISO) if pa.types.is_timestamp(column.type) else column


def _cell(value: Any) -> Any:
    return ("true" if value else "false") if isinstance(value, bool) else value


def _private(name: str, flags: int) -> int:
    return os.open(name, flags, _PRIVATE)
