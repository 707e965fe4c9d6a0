"""From the records of a stream to Arrow batches with the columns of its table.

Protobuf records go through `ptars`, one call for many of them. JSON records are
read by protobuf's JSON mapping first (as the service does, to judge by its error
texts), so both kinds meet the same rules.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import ptars
import pyarrow as pa
from google.protobuf import json_format
from google.protobuf.message_factory import GetMessageClass

from zerobus_local import descriptors
from zerobus_local.errors import RECORD_ERROR, RecordError, numbered

if TYPE_CHECKING:
    from collections.abc import Sequence

    from google.protobuf.descriptor import Descriptor

_UNKNOWN_FIELD = re.compile(r'has no field named "([^"]*)"')


class Decoded(NamedTuple):
    """The rows before the first wrong record, and what is wrong with that one, if one is."""

    rows: pa.RecordBatch
    wrong: RecordError | None


class Decoder(Protocol):
    """Turns the records of one stream into batches of its table."""

    def decode(self, records: Sequence[bytes | str]) -> Decoded:
        """The rows before the first wrong record, and what is wrong with that one."""
        ...


class ProtoDecoder:
    """Protobuf records of one message type, for one table.

    Raises (at construction):
        SchemaError: the type does not fit the table.
    """

    def __init__(self, message: Descriptor, schema: pa.Schema) -> None:
        descriptors.check(message, schema)
        self._schema = schema
        self._handler: Any = ptars.HandlerPool([message.file]).get_for_message(message)
        self._required = tuple(
            field.name
            for field in message.fields
            if field.is_required or not schema.field(field.name).nullable
        )

    def decode(self, records: Sequence[bytes | str]) -> Decoded:
        """The rows before the first wrong record, and what is wrong with that one."""
        try:
            return Decoded(self._convert(records), None)
        except RecordError as error:
            found = error
        except ValueError:  # of the list as a whole; pa.ArrowInvalid is one too
            found = self._first_wrong(records)
        # A record before it may be wrong in a way that shows only now.
        rows, earlier = self.decode(records[: found.index])
        return Decoded(rows, earlier or found)

    def _convert(self, records: Sequence[bytes | str]) -> pa.RecordBatch:
        raw = self._handler.list_to_record_batch(list(records))
        for name in self._required:
            column = raw.column(name)
            if column.null_count:
                index = column.is_null().index(True).as_py()
                text = f"required field '{name}' is missing or null"
                raise RecordError(index, _worded(text))
        arrays = [
            _conform(raw.column(field.name), field.type, field.name)
            if field.name in raw.schema.names
            else pa.nulls(raw.num_rows, field.type)
            for field in self._schema
        ]
        return pa.RecordBatch.from_arrays(arrays, schema=self._schema)

    def _first_wrong(self, records: Sequence[bytes | str]) -> RecordError:
        """Bisect `records`, of which at least one makes the conversion fail."""
        low, high = 0, len(records)
        while high - low > 1:
            middle = (low + high) // 2
            if self._fails(records[low:middle]):
                high = middle
            else:
                low = middle
        try:
            self._convert(records[low:high])
        except RecordError as error:
            return RecordError(low, error.text)
        except ValueError as error:
            return RecordError(low, _worded(str(error)))
        raise AssertionError("a list of records failed, none of them does alone")

    def _fails(self, records: Sequence[bytes | str]) -> bool:
        try:
            self._convert(records)
        except (RecordError, ValueError):
            return True
        return False


class JsonDecoder:
    """JSON records for one table: TIMESTAMP as microseconds, BINARY as base64.

    Raises (at construction):
        SchemaError: the table has a NOT NULL column that no record can carry.
    """

    def __init__(self, schema: pa.Schema) -> None:
        message = descriptors.type_of_table(schema)
        self._message: Any = GetMessageClass(message)
        self._proto = ProtoDecoder(message, schema)

    def decode(self, records: Sequence[bytes | str]) -> Decoded:
        """The rows before the first wrong record, and what is wrong with that one."""
        encoded: list[bytes | str] = []
        wrong: RecordError | None = None
        for index, text in enumerate(records):
            message = self._message()
            try:
                if not text.lstrip()[:1] == "{":  # json_format takes [] for an empty message
                    raise json_format.ParseError("expected a JSON object")  # noqa: TRY301
                json_format.Parse(text, message)
            except json_format.ParseError as error:
                assert isinstance(text, str)
                wrong = RecordError(index, _json_error(text, str(error)))
                break
            encoded.append(message.SerializePartialToString())
        rows, earlier = self._proto.decode(encoded)
        return Decoded(rows, earlier or wrong)


def _conform(array: pa.Array, type_: pa.DataType, name: str) -> pa.Array:
    """`array` as column type `type_`: integers become dates and times, structs are filled.

    Raises:
        ValueError: a value is out of range, or null where the type forbids it.
    """
    if array.type.equals(type_):
        return array
    if pa.types.is_struct(type_):
        children = []
        for field in type_:
            index = array.type.get_field_index(field.name)
            if index < 0:
                children.append(pa.nulls(len(array), field.type))
                continue
            child = array.field(index)
            if not field.nullable and child.filter(array.is_valid()).null_count:
                raise ValueError(f"required field '{name}.{field.name}' is missing or null")
            children.append(_conform(child, field.type, f"{name}.{field.name}"))
        # Arrow's own cast refuses a null struct whose members may not be null.
        return pa.StructArray.from_arrays(children, fields=list(type_), mask=array.is_null())
    if pa.types.is_list(type_):
        values = _conform(array.values, type_.value_type, name)
        return pa.ListArray.from_arrays(array.offsets, values, type=type_)
    return array.cast(type_)


def _worded(text: str) -> str:
    return numbered(f"Record decoder/encoder error: {text}", RECORD_ERROR, 3)


def _json_error(record: str, text: str) -> str:
    """The service's wording where it is known, else protobuf's first line."""
    if unknown := _UNKNOWN_FIELD.search(text):
        name = unknown[1]
        end = record.find(f'"{name}"') + len(name) + 2
        line = record.count("\n", 0, end) + 1
        column = end - (record.rfind("\n", 0, end) + 1)
        return _worded(f"unrecognized field name '{name}' at line {line} column {column}")
    if "invalid literal for int()" in text:
        return _worded("invalid digit found in string")
    return _worded(text.splitlines()[0])
