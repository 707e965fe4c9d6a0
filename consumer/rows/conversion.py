"""Rows of tag_events that were encoded for one layout, encoded anew for another."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from google.protobuf import descriptor_pb2
from ptars import HandlerPool

from consumer.rows.descriptors import message_class
from consumer.rows.encoded import EncodedRows
from consumer.rows.layouts import OF_THE_MODULE, module_datatype, our_datatype, our_fields
from consumer.rows.tables import COLUMNS, TAG_EVENTS

if TYPE_CHECKING:
    from collections.abc import Callable

    from consumer.rows.layouts import TagLayout

_WIRE: Final = {column.name: column.wire_type for column in COLUMNS}
UNKNOWN: Final = "unknown"
"""Stands in a text column that may not be null, and was not stored."""


class Conversion:
    """Encodes rows of one descriptor for the columns of a layout. Thread-safe.

    What was not stored is null. In columns that may not be null stands what is nearest:
    event_time and ingestion_timestamp for each other, else the time of spooling; the last part of
    tag_path in metric_name; `unknown` in other texts; false in is_historical; 0 in arrival_number.

    Args:
        descriptor: what the rows were encoded for, as the spool keeps it.
        layout: that of the table.

    Attributes:
        missing: the columns of the table, by our names, that were not stored.
    """

    def __init__(self, descriptor: bytes, layout: TagLayout) -> None:
        message = message_class(descriptor).DESCRIPTOR
        self._handler: Any = HandlerPool([message.file]).get_for_message(message)
        self._fields = {ours: field.name for ours, field in our_fields(descriptor).items()}
        self._layout = layout
        self._of_kinds = message.name == OF_THE_MODULE
        self.missing = tuple(ours for ours in layout.names if ours not in self._fields)

    @classmethod
    def between(cls, descriptor: bytes, layout: TagLayout) -> Conversion | None:
        """The conversion that rows of a descriptor need; None: they are sent as they are.

        Rows of earlier releases with one layout only have names of their own table.
        """
        name = descriptor_pb2.FileDescriptorProto.FromString(descriptor).message_type[0].name
        if name == TAG_EVENTS.descriptor.name and layout.is_default:
            return None
        return cls(descriptor, layout)

    def convert(self, rows: EncodedRows, spooled_us: int) -> EncodedRows:
        """The rows for the table, in their order; one that is no message stays as it is.

        Args:
            rows: encoded for the descriptor.
            spooled_us: when they were spooled, microseconds since 1970 UTC.
        """
        return EncodedRows(pa.concat_arrays(self._pieces(rows.array, spooled_us)))

    def _pieces(self, array: Any, spooled_us: int) -> list[Any]:
        try:
            found = self._handler.array_to_record_batch(array)
        except ValueError:
            if len(array) == 1:
                return [array]
            half = len(array) // 2
            first = self._pieces(array.slice(0, half), spooled_us)
            return first + self._pieces(array.slice(half), spooled_us)
        columns = {
            ours: found.column(name).cast(_WIRE[ours])
            for ours, name in self._fields.items()
            if ours in _WIRE
        }
        return [self._encoded(columns, len(array), spooled_us)]

    def _encoded(self, columns: dict[str, Any], count: int, spooled_us: int) -> Any:
        layout = self._layout
        if self._of_kinds != layout.speaks_of_kinds and "data_type" in columns:
            renamed = module_datatype if layout.speaks_of_kinds else our_datatype
            columns["data_type"] = _mapped(columns["data_type"], renamed)
        arrays: list[Any] = []
        names: list[str] = []
        required = {each.name for each in layout.table.columns if not each.nullable}
        for ours, theirs in layout.names.items():
            column = columns.get(ours)
            if column is None and theirs in required:
                column = _stand_in(ours, columns, count, spooled_us)
            if column is not None:
                arrays.append(column)
                names.append(theirs)
        for name, value in layout.constants.items():
            arrays.append(pa.array(np.full(count, value)))
            names.append(name)
        return layout.table.encode(pa.RecordBatch.from_arrays(arrays, names))


def _mapped(column: Any, name: Callable[[str], str]) -> Any:
    encoded = pc.dictionary_encode(column)
    names = [None if each is None else name(each) for each in encoded.dictionary.to_pylist()]
    return pa.array(names, pa.string()).take(encoded.indices)


def _stand_in(ours: str, columns: dict[str, Any], count: int, spooled_us: int) -> Any:
    """What a column says that was not stored and may not be null."""
    kind = _WIRE[ours]
    if ours in ("event_time", "ingestion_timestamp"):
        if ours == "event_time" and "ingestion_timestamp" in columns:
            return columns["ingestion_timestamp"]
        return pa.array(np.full(count, spooled_us, dtype=np.int64))
    if ours == "metric_name" and "tag_path" in columns:
        paths = columns["tag_path"].fill_null(UNKNOWN)
        return pc.replace_substring_regex(paths, pattern=r"^(?s:.*/)", replacement="")
    if kind == pa.string():
        return pa.array([UNKNOWN]).take(pa.array(np.zeros(count, dtype=np.int32)))
    return pa.array(np.zeros(count, dtype=kind.to_pandas_dtype()))
