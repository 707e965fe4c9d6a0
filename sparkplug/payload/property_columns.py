"""Property sets of tags as columns: unit, range, documentation, and all of them as JSON.

Sets that hold nothing out of the ordinary are decoded in one go; sets inside sets, values
that do not fit their type, keys that occur twice and damaged bytes are read one by one.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from json import JSONEncoder
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from ptars import HandlerPool

from sparkplug.datatypes import READINGS, Reading, datatype_codes, reading_and_width
from sparkplug.messages import is_suspect
from sparkplug.names import QUALITY
from sparkplug.payload.columns import booleans, numbers, validity
from sparkplug.payload.complex.json_values import JsonValue, json_text
from sparkplug.payload.complex.properties import properties_of
from sparkplug.payload.values import ValueKind, Values, read_values
from sparkplug.pb import sparkplug_b_columns_pb2

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

TEXTS: Final = {"engUnit": "unit", "documentation": "documentation", "tooltip": "tooltip"}
NUMBERS: Final = {"engLow": "low", "engHigh": "high"}
READ_ONLY: Final = "readOnly"
"""Keys of Ignition's tag properties, and the columns they become."""

_SETS: Final = HandlerPool([sparkplug_b_columns_pb2.DESCRIPTOR]).get_for_message(
    sparkplug_b_columns_pb2.PropertySet.DESCRIPTOR
)
_quoted: Final[Callable[[str], str]] = JSONEncoder(ensure_ascii=False).encode
_TRUE_TEXT: Final = {"true": True, "false": False}
_MEMBERS: Final = (
    *("int_value", "long_value", "float_value", "double_value", "boolean_value", "string_value"),
)
_SETS_INSIDE: Final = ("propertyset_value", "propertysets_value")
_COMPLEX: Final = READINGS.index(Reading.COMPLEX)
_ENCODED: Final = READINGS.index(Reading.ENCODED)


@dataclass(frozen=True, slots=True)
class PropertyColumns:
    """One element per property set, null where the set says nothing of it.

    `unit`, `documentation`, `tooltip` and `properties` (all but Quality, as JSON object;
    null if there is no other) are Arrow strings, `low` and `high` doubles, `read_only`
    booleans.
    """

    unit: Any
    low: Any
    high: Any
    documentation: Any
    tooltip: Any
    read_only: Any
    properties: Any

    def take(self, indices: pa.Array) -> PropertyColumns:
        """The sets at these indices, null for null."""
        return PropertyColumns(*(getattr(self, name).take(indices) for name in self.__slots__))


_TYPES: Final = (
    *(pa.string(), pa.float64(), pa.float64(), pa.string(), pa.string(), pa.bool_(), pa.string()),
)


def read_properties(sets: Sequence[bytes]) -> PropertyColumns:
    """Read encoded PropertySets; damaged ones say nothing."""
    plain = [index for index, raw in enumerate(sets) if not is_suspect(raw)]
    columns: _Sets | None = None
    if plain:
        try:
            columns = _Sets(_SETS.list_to_record_batch([sets[index] for index in plain]))
        except ValueError:  # one of them is malformed
            plain = []
    in_order = np.full(len(sets), -1, dtype=np.int64)
    found: list[PropertyColumns] = []
    if columns is not None:
        in_order[plain] = np.where(columns.odd, -1, np.arange(len(plain)))
        found.append(columns.read())
    rest = np.flatnonzero(in_order < 0)
    if len(rest) or not found:
        in_order[rest] = np.arange(len(rest)) + (len(plain) if columns is not None else 0)
        found.append(_one_by_one([sets[index] for index in rest.tolist()]))
    if len(found) == 1:
        return found[0]
    names = PropertyColumns.__slots__
    both = [pa.concat_arrays([getattr(each, name) for each in found]) for name in names]
    return PropertyColumns(*both).take(pa.array(in_order))


class _Sets:
    """Decoded property sets, one after another, and all their properties."""

    def __init__(self, batch: pa.RecordBatch) -> None:
        keys, values = batch.column("keys"), batch.column("values")
        self.count = len(batch)
        ends = np.frombuffer(values.buffers()[1], dtype=np.int32)[: self.count + 1]
        key_ends = np.frombuffer(keys.buffers()[1], dtype=np.int32)[: self.count + 1]
        uneven = np.diff(ends) != np.diff(key_ends)
        self.odd: NDArray[np.bool_] = uneven
        if uneven.any():  # whose properties have which key is not plain to see
            self.odd = np.ones(self.count, dtype=np.bool_)
        self.owner = np.repeat(np.arange(self.count), np.diff(ends))
        encoded = pc.dictionary_encode(keys.values)
        self.keys: list[str] = encoded.dictionary.to_pylist()
        self.key = numbers(encoded.indices, np.int32)
        self.fields = values.values
        if not self.odd.any():
            self.values = self._values()
            self._note_odd()

    def _values(self) -> Values:
        rows = len(self.fields)
        types = self.fields.field("type")
        codes = np.where(validity(types), datatype_codes(numbers(types, np.uint32)), 0)
        reading, width = reading_and_width(codes.astype(np.uint8))
        self._unreadable = (reading == _COMPLEX) | (reading == _ENCODED)
        reading = np.where(self._unreadable, READINGS.index(Reading.AS_FOUND), reading)
        nothing = pa.nulls(rows, pa.binary())

        def field(name: str) -> Any:
            known = name in _MEMBERS or name == "is_null"
            return self.fields.field(name) if known else nothing

        return read_values(field, reading, width)

    def _note_odd(self) -> None:
        """Note the sets that cannot be read in columns, and are read one by one."""
        odd = self.values.misfit | self._unreadable
        for name in _SETS_INSIDE:
            odd |= validity(self.fields.field(name))
        pairs = self.owner * len(self.keys) + self.key
        unique, count = np.unique(pairs, return_counts=True)
        self.odd = self.odd.copy()
        self.odd[self.owner[odd]] = True
        self.odd[unique[count > 1] // max(len(self.keys), 1)] = True

    def read(self) -> PropertyColumns:
        """Read all sets in columns; the rows of odd sets hold nothing that counts."""
        if self.odd.all():
            return _one_by_one([b""] * self.count)
        values = self.values
        # Unsigned numbers beyond 64 bits with sign are text in a row, but not in JSON.
        too_big = (values.kind == ValueKind.TEXT) & values.has_number
        text = values.text
        if too_big.any():
            text = pc.if_else(pa.array(~too_big), text, pa.scalar(None, pa.string()))
        number = self._shortest()
        columns: dict[str, Any] = {}
        for key, name in TEXTS.items():
            columns[name] = text.take(self._of(key))
        for key, name in NUMBERS.items():
            columns[name] = pa.array(number, mask=~values.has_number).take(self._of(key))
        columns["read_only"] = self._read_only(text)
        columns["properties"] = self._json(number)
        return PropertyColumns(**columns)

    def _of(self, key: str) -> pa.Array:
        """The index of each set's property of a key, as Arrow array; null if it has none."""
        found = np.full(self.count, -1, dtype=np.int64)
        if key in self.keys:
            rows = np.flatnonzero(self.key == self.keys.index(key))
            found[self.owner[rows]] = rows
        return pa.array(found, mask=found < 0)

    def _shortest(self) -> NDArray[np.float64]:
        """Numbers; those that travelled as 32 bits with the shortest digits that give them."""
        number = self.values.number
        single = self.fields.field("float_value")
        here = validity(single) & (self.values.kind == ValueKind.NUMERIC)
        if here.any():
            digits = single.cast(pa.string()).cast(pa.float64()).fill_null(0.0)
            number = np.where(here, digits.to_numpy(), number)
        return number

    def _read_only(self, text: pa.StringArray) -> pa.BooleanArray:
        rows = self._of(READ_ONLY)
        values = self.values
        is_bit = (values.kind == ValueKind.INTEGER) & (values.integer >> 1 == 0) & values.has_number
        flag = values.integer.astype(np.bool_)
        known = (values.kind == ValueKind.BOOLEAN) | is_bit
        lower = pc.utf8_lower(text)
        for written, meaning in _TRUE_TEXT.items():
            same = booleans(pc.equal(lower, written))
            flag, known = np.where(same, meaning, flag), known | same
        return pa.array(flag, mask=~known).take(rows)

    def _json(self, number: NDArray[np.float64]) -> pa.StringArray:
        values = self.values
        columns = (
            *(values.kind.tolist(), values.has_number.tolist(), values.integer.tolist()),
            *(number.tolist(), values.text.to_pylist()),
        )
        written = [_written(*row) for row in zip(*columns, strict=True)]
        labels = [_quoted(key) + ":" for key in self.keys]
        shown = np.ones(len(written), dtype=np.bool_)
        if QUALITY in self.keys:
            shown &= self.key != self.keys.index(QUALITY)
        rows = np.flatnonzero(shown)
        keys = self.key[rows].tolist()
        pieces = [labels[key] + written[row] for key, row in zip(keys, rows.tolist(), strict=True)]
        ends = np.searchsorted(self.owner[rows], np.arange(self.count + 1)).tolist()
        objects = [
            "{" + ",".join(pieces[start:stop]) + "}" if stop > start else None
            for start, stop in pairwise(ends)
        ]
        return pa.array(objects, pa.string())


def _written(kind: int, has_number: bool, integer: int, number: float, text: str | None) -> str:
    """One property's value as JSON text; `text` of a number is written as it is."""
    if text is not None:
        return text if has_number else _quoted(text)
    if kind == ValueKind.NUMERIC:
        return repr(number)
    if kind == ValueKind.BOOLEAN:
        return "true" if integer else "false"
    return str(integer) if has_number else "null"


def _one_by_one(sets: Sequence[bytes]) -> PropertyColumns:
    columns: list[list[Any]] = [[] for _ in _TYPES]
    for raw in sets:
        found = properties_of(raw)
        found.pop(QUALITY, None)
        row = (
            _text(found.get("engUnit")),
            _number(found.get("engLow")),
            _number(found.get("engHigh")),
            _text(found.get("documentation")),
            _text(found.get("tooltip")),
            _flag(found.get(READ_ONLY)),
            json_text(found) if found else None,
        )
        for column, value in zip(columns, row, strict=True):
            column.append(value)
    return PropertyColumns(
        *(pa.array(column, kind) for column, kind in zip(columns, _TYPES, strict=True))
    )


def _text(value: JsonValue) -> str | None:
    return value if isinstance(value, str) else None


def _number(value: JsonValue) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _flag(value: JsonValue) -> bool | None:
    if isinstance(value, str):
        return _TRUE_TEXT.get(value.lower())
    if isinstance(value, bool):
        return value
    return bool(value) if isinstance(value, int) and value in (0, 1) else None
