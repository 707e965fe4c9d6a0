"""Delta tables under the data directory: their names, creation and opening."""

from __future__ import annotations

import fcntl
import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import grpc
import pyarrow as pa
from deltalake import DeltaTable

from zerobus_local.errors import (
    DataDirInUseError,
    LocalZerobusError,
    Refusal,
    TableConflictError,
)

if TYPE_CHECKING:
    from pathlib import Path

_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]*")
_COLUMN = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

_CONFIGURATION = {
    # Commits several times a second: what is superseded must go soon, or listing
    # the log and the directory becomes the cost of every commit. A reader has
    # this long to finish with the version it opened.
    "delta.logRetentionDuration": "interval 5 minutes",
    "delta.deletedFileRetentionDuration": "interval 5 minutes",
}


@dataclass(frozen=True, slots=True)
class TableName:
    """The three parts of a table's name."""

    catalog: str
    schema: str
    table: str

    @classmethod
    def parse(cls, text: str) -> TableName:
        """Split `catalog.schema.table`.

        Raises:
            LocalZerobusError: not three parts of ASCII letters, digits, `_` and `-`.
        """
        parts = text.split(".")
        if len(parts) != 3 or not all(_PART.fullmatch(part) for part in parts):
            raise LocalZerobusError(
                f"Table name {text!r} is not catalog.schema.table, each of ASCII letters,"
                " digits, '_' and '-'"
            )
        return cls(*parts)

    def __str__(self) -> str:
        return f"{self.catalog}.{self.schema}.{self.table}"

    def path(self, data_dir: Path) -> Path:
        """The directory of the table."""
        return data_dir / self.catalog / self.schema / self.table


def _close(descriptors: list[int]) -> None:
    while descriptors:
        os.close(descriptors.pop())


class DataDir:
    """The directory with all tables, locked for one server.

    Raises (at construction):
        DataDirInUseError: another server has it. The lock ends with its process.
    """

    def __init__(self, path: Path) -> None:
        path.mkdir(parents=True, exist_ok=True)
        self.path = path
        # The directory itself: a lock file may be deleted. Earlier releases look at that.
        flags = os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK
        locks = [os.open(path, os.O_RDONLY | os.O_DIRECTORY)]
        try:
            locks.append(os.open(path / ".zerobus-local.lock", flags, 0o600))
            for lock in locks:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            _close(locks)
            raise DataDirInUseError(f"Another local Zerobus server uses {path}") from error
        except BaseException:
            _close(locks)
            raise
        self._locks = locks

    def close(self) -> None:
        """Give the lock back."""
        _close(self._locks)

    @property
    def closed(self) -> bool:
        """Whether the lock has been given back."""
        return not self._locks

    def create(self, name: TableName, schema: pa.Schema) -> None:
        """Create a table; NOT NULL where a field of `schema` is not nullable.

        Nothing happens if it exists with these columns.

        Raises:
            TableConflictError: it exists with other columns.
            LocalZerobusError: a column name that protobuf cannot have, or two alike.
        """
        seen: set[str] = set()
        for column in schema.names:
            if not _COLUMN.fullmatch(column) or column.lower() in seen:
                raise LocalZerobusError(
                    f"Column {column!r} of {name} is not a new name of ASCII letters, digits"
                    " and '_'"
                )
            seen.add(column.lower())
        path = name.path(self.path)
        if not DeltaTable.is_deltatable(str(path)):
            path.mkdir(parents=True, exist_ok=True)
            DeltaTable.create(path, schema, mode="ignore", configuration=_CONFIGURATION)
        there = schema_of(DeltaTable(path))
        if difference := _difference(there, schema):
            raise TableConflictError(f"Table {name} exists in {path} and differs: {difference}")

    def open(self, name: TableName) -> DeltaTable:
        """Open a table to append to it.

        Raises:
            Refusal: NOT_FOUND; UNIMPLEMENTED for tables the service does not write to.
        """
        path = name.path(self.path)
        if not DeltaTable.is_deltatable(str(path)):
            raise Refusal(grpc.StatusCode.NOT_FOUND, f'Table "{name}" cannot be found.')
        table = DeltaTable(path)
        if any(key.startswith("delta.constraints.") for key in table.metadata().configuration):
            raise Refusal(grpc.StatusCode.UNIMPLEMENTED, f'Table "{name}" has CHECK constraints.')
        return table


def schema_of(table: DeltaTable) -> pa.Schema:
    """The columns of a Delta table as Arrow knows them."""
    return pa.schema(table.schema().to_arrow())


def _difference(there: pa.Schema, wanted: pa.Schema) -> str:
    """The first difference that matters, in words; empty if there is none."""
    if there.names != wanted.names:
        return f"columns {', '.join(there.names)} instead of {', '.join(wanted.names)}"
    for old, new in zip(there, wanted, strict=True):
        if old.nullable != new.nullable or not _same_type(old.type, new.type):
            return f"column {_described(old)} instead of {_described(new)}"
    return ""


def _same_type(old: pa.DataType, new: pa.DataType) -> bool:
    """Equal once written to Delta, which knows one string type and one time unit."""
    if old.equals(new):
        return True
    if pa.types.is_timestamp(old) and pa.types.is_timestamp(new):
        return (old.tz is None) == (new.tz is None)
    if pa.types.is_struct(old) and pa.types.is_struct(new):
        return _difference(pa.schema(list(old)), pa.schema(list(new))) == ""
    if pa.types.is_list(old) and (pa.types.is_list(new) or pa.types.is_large_list(new)):
        return _same_type(old.value_type, new.value_type)
    if pa.types.is_map(old) and pa.types.is_map(new):
        return _same_type(old.key_type, new.key_type) and _same_type(old.item_type, new.item_type)
    alike = ({"string", "large_string", "string_view"}, {"binary", "large_binary", "binary_view"})
    return any(str(old) in names and str(new) in names for names in alike)


def _described(field: pa.Field) -> str:
    return f"{field.name} {field.type}{'' if field.nullable else ' NOT NULL'}"
