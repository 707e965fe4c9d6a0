"""Layouts of tag_events: which columns its rows have in a table, and under which names.

A record names its fields by number, and numbers are the same in every layout: those of
proto/tag_event.proto, and further ones for columns that only other tables have. So rows are
encoded as always, a layout leaves fields out, and only the descriptor knows other names.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from consumer.pb.tag_event_pb2 import TagEvent
from consumer.rows.table import Column, Table
from consumer.rows.tables import COLUMNS, TAG_EVENTS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

OF_THE_MODULE: Final = "IgnitionTagEvent"
"""Name of the message whose data_type has the names of the Ignition module."""
_OF_COLUMNS: Final = "TagEventColumns"
_PACKAGE: Final = "sparkplug_zerobus"
_OURS: Final = {column.name: column for column in COLUMNS}
_NUMBERS: Final = {field.name: field.number for field in TagEvent.DESCRIPTOR.fields}
NAMES_BY_NUMBER: Final = {number: name for name, number in _NUMBERS.items()}
"""Our columns by the number of their field, the same in every layout."""

_Field = descriptor_pb2.FieldDescriptorProto
_TYPES: Final = {
    "STRING": _Field.TYPE_STRING,
    "TIMESTAMP": _Field.TYPE_INT64,
    "DOUBLE": _Field.TYPE_DOUBLE,
    "BIGINT": _Field.TYPE_INT64,
    "INT": _Field.TYPE_INT32,
    "BOOLEAN": _Field.TYPE_BOOL,
}

# Columns of the module alone, with the numbers of their fields; these never change.
_MODULE_COLUMNS: Final = (
    (23, Column("alarm_state", "STRING", True, "null: births and data tell of no alarm")),
    (24, Column("alarm_priority", "INT", True, "null: births and data tell of no alarm")),
    (25, Column("sdt_compressed", "BOOLEAN", True, "false: no value is left out")),
    (26, Column("compression_ratio", "DOUBLE", True, "null: nothing is compressed away")),
    (27, Column("sdt_enabled", "BOOLEAN", True, "false: no value is left out")),
    (28, Column("batch_bytes_sent", "BIGINT", True, "null: not known when a row is made")),
)
_CONSTANTS: Final = {"sdt_compressed": False, "sdt_enabled": False}

_MODULE: Final = (
    *("event_id", "event_time", "tag_path", "tag_provider", "numeric_value", "string_value"),
    *("boolean_value", "quality", "quality_code", "source_system_id", "ingestion_timestamp"),
    "data_type",
)
SHORT: Final = 14
"""Columns of the module's older table."""

_KINDS: Final = {
    "DOUBLE": (
        *("Int8", "Int16", "Int32", "Int64", "UInt8", "UInt16", "UInt32", "UInt64"),
        *("Float", "Double"),
    ),
    "BOOLEAN": ("Boolean",),
    "UNKNOWN": ("Unknown",),
}
MODULE_DATATYPES: Final = {ours: theirs for theirs, names in _KINDS.items() for ours in names}
"""Names that the module has for datatypes, by ours; STRING for all others."""
_OUR_DATATYPES: Final = {
    "DOUBLE": "Double",
    "BOOLEAN": "Boolean",
    "UNKNOWN": "Unknown",
    "STRING": "String",
}


@dataclass(frozen=True, eq=False)
class TagLayout:
    """Columns of the rows of tag_events in one table.

    Attributes:
        table: the table with its columns, as they are named there.
        names: names in the table, by our own names: only of our columns that it has.
        constants: what every row says, by the column of the table.
    """

    table: Table
    names: Mapping[str, str]
    constants: Mapping[str, Any]

    @property
    def is_default(self) -> bool:
        """Whether the rows are those of tag_events itself."""
        return self.table is TAG_EVENTS

    @property
    def speaks_of_kinds(self) -> bool:
        """Whether data_type has the module's names: DOUBLE, STRING, BOOLEAN, UNKNOWN."""
        return self.table.descriptor.name == OF_THE_MODULE

    def datatype(self, name: str) -> str:
        """What data_type says of a datatype with this Sparkplug name."""
        return module_datatype(name) if self.speaks_of_kinds else name

    def piece(self, **values: Any) -> bytes:
        """Encode some of our columns, as far as the table has them, and what every row says."""
        event = self._message()
        for ours, value in values.items():
            if ours in self.names:
                setattr(event, self.names[ours], value)
        for name, value in self.constants.items():
            setattr(event, name, value)
        found: bytes = event.SerializePartialToString()
        return found

    @cached_property
    def _message(self) -> Any:
        descriptor: Any = self.table.descriptor
        return message_factory.GetMessageClass(descriptor)


def module_datatype(name: str) -> str:
    """The module's name of a datatype with this Sparkplug name: the kind of its values."""
    return MODULE_DATATYPES.get(name, "STRING")


def our_datatype(name: str) -> str:
    """A Sparkplug name for the kind of values that the module has this name for."""
    return _OUR_DATATYPES.get(name, "String")


DEFAULT_LAYOUT: Final = TagLayout(TAG_EVENTS, {name: name for name in _OURS}, {})
"""All columns of tag_events, in its order."""


def layout_of_columns(columns: Sequence[tuple[str, str]]) -> TagLayout:
    """Some of our columns in another order, under other names: pairs of our name and theirs.

    They have been checked: our names exist, event_id is among them, theirs differ.
    """
    fields = []
    for ours, theirs in columns:
        column = _OURS[ours]
        shown = Column(
            theirs, column.delta_type, column.nullable, column.comment, column.constant_per_tag
        )
        fields.append((_NUMBERS[ours], shown))
    return TagLayout(_table(_OF_COLUMNS, fields), dict(columns), {})


def layout_of_module(columns: int, source_column: str, event_time: str) -> TagLayout:
    """The table of the Ignition module.

    Args:
        columns: 14 for the table of older sites, 18 for all.
        source_column: name of the column of the source.
        event_time: Delta type of that column, TIMESTAMP or BIGINT.
    """
    names = {name: name for name in _MODULE}
    names["source_system_id"] = source_column
    types = {"event_time": event_time, "ingestion_timestamp": "BIGINT"}
    fields = []
    for ours, theirs in names.items():
        column = _OURS[ours]
        delta_type, comment = types.get(ours, column.delta_type), column.comment
        if ours == "data_type":
            comment = "kind of the values: DOUBLE, STRING, BOOLEAN or UNKNOWN"
        elif delta_type != column.delta_type:
            comment += ", microseconds since 1970 UTC"
        shown = Column(theirs, delta_type, ours != "event_id", comment, column.constant_per_tag)
        fields.append((_NUMBERS[ours], shown))
    fields += _MODULE_COLUMNS[: columns - len(_MODULE)]
    there = {column.name for _, column in fields}
    constants = {name: value for name, value in _CONSTANTS.items() if name in there}
    return TagLayout(_table(OF_THE_MODULE, fields), names, constants)


def _table(message: str, fields: Sequence[tuple[int, Column]]) -> Table:
    file = descriptor_pb2.FileDescriptorProto(
        name=f"{_PACKAGE}/{message}.proto", package=_PACKAGE, syntax="proto2"
    )
    proto = file.message_type.add(name=message)
    for number, column in fields:
        proto.field.add(
            name=column.name,
            number=number,
            type=_TYPES[column.delta_type],
            label=_Field.LABEL_OPTIONAL if column.nullable else _Field.LABEL_REQUIRED,
        )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    descriptor = pool.FindMessageTypeByName(f"{_PACKAGE}.{message}")
    return Table(
        TAG_EVENTS.name, TAG_EVENTS.comment, tuple(column for _, column in fields), descriptor
    )


def has_our_numbers(descriptor: bytes) -> bool:
    """Whether a descriptor is of a layout other than the default: numbers tell its columns."""
    message = descriptor_pb2.FileDescriptorProto.FromString(descriptor).message_type[0]
    return message.name in (_OF_COLUMNS, OF_THE_MODULE)


def our_fields(descriptor: bytes) -> dict[str, descriptor_pb2.FieldDescriptorProto]:
    """The fields of a descriptor that are columns of ours, by our names.

    Those of releases that had one layout are known by their names, all others by number.
    """
    message = descriptor_pb2.FileDescriptorProto.FromString(descriptor).message_type[0]
    if not has_our_numbers(descriptor):
        return {field.name: field for field in message.field}
    found = ((NAMES_BY_NUMBER.get(field.number), field) for field in message.field)
    return {name: field for name, field in found if name is not None}
