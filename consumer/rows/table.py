"""What a table is: columns, defined once, and all that is derived from them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa
from ptars import HandlerPool

if TYPE_CHECKING:
    from google._upb._message import Descriptor as UpbDescriptor
    from google.protobuf.descriptor import Descriptor

_ARROW_TYPES: Final = {
    "STRING": pa.string(),
    "TIMESTAMP": pa.timestamp("us", tz="UTC"),
    "DOUBLE": pa.float64(),
    "BIGINT": pa.int64(),
    "INT": pa.int32(),
    "BOOLEAN": pa.bool_(),
}


@dataclass(frozen=True, slots=True)
class Column:
    """One column: its Delta type, whether it may be null, and where its value comes from."""

    name: str
    delta_type: str
    nullable: bool
    comment: str
    constant_per_tag: bool = False

    @property
    def arrow_type(self) -> pa.DataType:
        """Arrow type of the landed column; TIMESTAMP is microseconds, UTC."""
        return _ARROW_TYPES[self.delta_type]

    @property
    def wire_type(self) -> pa.DataType:
        """Arrow type that the encoder wants: times are integers there."""
        return pa.int64() if self.delta_type == "TIMESTAMP" else self.arrow_type


@dataclass(frozen=True)
class Table:
    """A table under its usual name; `comment` is for CREATE TABLE.

    `descriptor` is sent when a Zerobus stream is created: its fields are the columns, in
    their order, `required` where a column is NOT NULL.
    """

    name: str
    comment: str
    columns: tuple[Column, ...]
    descriptor: Descriptor | UpbDescriptor

    @cached_property
    def arrow_schema(self) -> pa.Schema:
        """Schema of the landed rows."""
        return pa.schema([pa.field(c.name, c.arrow_type, c.nullable) for c in self.columns])

    def wire_schema(self, *names: str) -> pa.Schema:
        """Arrow schema of the named columns in the types that `encode` takes."""
        columns = {column.name: column for column in self.columns}
        return pa.schema([(name, columns[name].wire_type) for name in names])

    def encode(self, batch: pa.RecordBatch) -> pa.BinaryArray:
        """Encode columns (any subset, by name, times as int64) into one message per row.

        Nulls are left out, also in required columns: whoever completes the record checks them.
        """
        return self._handler.record_batch_to_array(batch)

    def decode(self, messages: pa.BinaryArray) -> pa.RecordBatch:
        """Rows of the table from one message each, as they land; what `encode` completed undone."""
        found = self._handler.array_to_record_batch(messages)
        columns = [found.column(each.name).cast(each.arrow_type) for each in self.columns]
        return pa.RecordBatch.from_arrays(columns, schema=self.arrow_schema)

    @cached_property
    def _handler(self) -> Any:
        return HandlerPool([self.descriptor.file]).get_for_message(self.descriptor)
