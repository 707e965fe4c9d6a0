"""Metric values as columns: what is on the wire, read by the datatype of the birth.

The rules are the table "The value" in docs/decoding.md. Every step works on whole
columns; only values that break the rules are looked at one by one.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sparkplug.counting import count_nonzero
from sparkplug.datatypes import READINGS, DataType, Reading
from sparkplug.payload.columns import booleans, numbers, validity
from sparkplug.payload.complex.arrays import ARRAYS, array_text
from sparkplug.payload.complex.datasets import dataset_text
from sparkplug.payload.complex.files import bytes_text

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    Mask = NDArray[np.bool_]


class ValueKind:
    """Which column carries a value. The numbers are part of the event_id algorithm.

    Plain integers: comparing a column with a member of an Enum costs five times as much.
    """

    NULL: Final = 0
    NUMERIC: Final = 1
    INTEGER: Final = 2
    BOOLEAN: Final = 3
    TEXT: Final = 4


_SHOWN: Final = (ValueKind.NUMERIC, ValueKind.INTEGER, ValueKind.BOOLEAN, ValueKind.TEXT)

_SIGNED: Final = READINGS.index(Reading.SIGNED)
_UNSIGNED: Final = READINGS.index(Reading.UNSIGNED)
_FLOATING: Final = READINGS.index(Reading.FLOATING)
_BOOLEAN: Final = READINGS.index(Reading.BOOLEAN)
_TEXT: Final = READINGS.index(Reading.TEXT)
_MILLISECONDS: Final = READINGS.index(Reading.MILLISECONDS)
_AS_FOUND: Final = READINGS.index(Reading.AS_FOUND)
_ENCODED: Final = READINGS.index(Reading.ENCODED)

_SCALARS: Final = (
    "int_value",
    "long_value",
    "float_value",
    "double_value",
    "boolean_value",
    "string_value",
)
_OTHERS: Final = ("bytes_value", "dataset_value", "template_value", "extension_value")
"""Members of the value oneof, in the order in which the first accepted one counts."""

_FIRST_MILLISECOND: Final = -62_135_596_800_000  # year 1
_LAST_MILLISECOND: Final = 253_402_300_799_999  # year 9999


@dataclass(slots=True)
class Values:
    """One value per row.

    `kind` says which of the arrays carries it (see ValueKind). `number` is the value as
    double wherever it is a number; `integer` is exact where the kind is INTEGER, and
    0 or 1 for BOOLEAN; `text` is null except where a row has a string_value.
    `has_number` marks the rows with a numeric_value, `missing` those without value and
    without is_null, `misfit` those whose value is none of their datatype.
    """

    kind: NDArray[np.uint8]
    number: NDArray[np.float64]
    has_number: Mask
    integer: NDArray[np.int64]
    text: pa.StringArray
    missing: Mask
    misfit: Mask

    def pick(self, rows: NDArray[np.int64]) -> Values:
        """The values at these positions."""
        return Values(
            kind=self.kind[rows],
            number=self.number[rows],
            has_number=self.has_number[rows],
            integer=self.integer[rows],
            text=self.text.take(pa.array(rows)),
            missing=self.missing[rows],
            misfit=self.misfit[rows],
        )

    def to_list(self) -> list[float | int | bool | str | None]:
        """The values one by one: exact integers, booleans, texts; None for a null."""
        found: list[float | int | bool | str | None] = [None] * len(self.kind)
        for kind, rows in ((each, np.flatnonzero(self.kind == each)) for each in _SHOWN):
            if len(rows):
                for row, value in zip(rows.tolist(), self._of_kind(kind, rows), strict=True):
                    found[row] = value
        return found

    def _of_kind(self, kind: int, rows: NDArray[np.int64]) -> list[Any]:
        if kind == ValueKind.TEXT:
            texts: list[str | None] = self.text.take(pa.array(rows)).to_pylist()
            return texts
        columns: dict[int, NDArray[Any]] = {
            ValueKind.NUMERIC: self.number,
            ValueKind.INTEGER: self.integer,
            ValueKind.BOOLEAN: self.integer.astype(np.bool_),
        }
        found: list[Any] = columns[kind][rows].tolist()
        return found


class _Wire:
    """The members of the value oneof for some rows, with cheap answers for absent ones."""

    def __init__(self, field: Callable[[str], pa.Array]) -> None:
        self.arrays: dict[str, pa.Array] = {}
        self.present: dict[str, Mask] = {}
        self.rows = len(field("int_value"))
        self.none: Mask = np.zeros(self.rows, dtype=np.bool_)
        self.found = self.none
        self._field = field
        self._add(_SCALARS)
        # Integers: one raw unsigned number per row, whichever field it came in.
        self.raw: NDArray[np.uint64]
        self.has_integer = self.has("long_value")
        if "int_value" in self.present:
            is_int = self.present["int_value"]
            self.raw = numbers(self.arrays["int_value"], np.uint32).astype(np.uint64)
            if "long_value" in self.present:
                self.raw = np.where(is_int, self.raw, numbers(self.arrays["long_value"], np.uint64))
                is_int = self.has_integer | is_int
            self.has_integer = is_int
        else:
            self.raw = numbers(self.arrays["long_value"], np.uint64)

    def has(self, name: str) -> Mask:
        return self.present.get(name, self.none)

    def look_further(self) -> None:
        """Take in the members that are no scalars, because some row has no scalar."""
        self._add(_OTHERS)

    def metadata_of(self, row: int) -> bytes | None:
        """The encoded metadata of one metric."""
        metadata: bytes | None = self._field("metadata")[row].as_py()
        return metadata

    def _add(self, names: tuple[str, ...]) -> None:
        for name in names:
            array = self.arrays[name] = self._field(name)
            if array.null_count < self.rows:
                mask = self.present[name] = validity(array)
                self.found = mask if self.found is self.none else self.found | mask

    def doubly_set(self) -> Mask:
        """Rows that set more than one member, which no valid payload does; `none` if none do."""
        members = sum(self.rows - self.arrays[name].null_count for name in self.present)
        if members == count_nonzero(self.found):
            return self.none
        return sum(mask.astype(np.uint8) for mask in self.present.values()) > 1  # type: ignore[return-value]


def read_values(
    field: Callable[[str], pa.Array],
    reading: NDArray[np.uint8],
    width: NDArray[np.uint8],
    datatype: NDArray[np.uint8] | None = None,
    ready: Mapping[int, str] = MappingProxyType({}),
) -> Values:
    """Read one value per row; `field` gives the wire columns of exactly these rows.

    `reading` (index into READINGS), `width` (bits of integer types) and `datatype` (wire
    code) are per row; the latter is needed where a reading is ENCODED. `ready` has the
    text of encoded values that are not to be read again, by row.
    """
    wire = _Wire(field)
    explicit_null = booleans(field("is_null"))
    count = np.bincount(reading, minlength=len(READINGS)).tolist()
    if count[_ENCODED] or count_nonzero(wire.found | explicit_null) < wire.rows:
        wire.look_further()
    valued = wire.found & ~explicit_null
    values = Values(
        kind=np.zeros(wire.rows, dtype=np.uint8),
        number=np.zeros(wire.rows, dtype=np.float64),
        has_number=np.zeros(wire.rows, dtype=np.bool_),
        integer=np.zeros(wire.rows, dtype=np.int64),
        text=wire.arrays["string_value"],
        missing=~(wire.found | explicit_null),
        misfit=wire.none,
    )
    texts = _Texts(wire.rows)
    rows = _Rows(reading, width, valued, count, datatype)
    _read_floats(values, texts, wire, rows)
    _read_integers(values, texts, rows, wire)
    _read_booleans(values, wire, rows)
    _read_texts(values, wire, rows)
    if rows.count[_ENCODED]:
        _read_encoded(values, texts, wire, rows, ready)
    values.misfit = valued & (values.kind == ValueKind.NULL)
    any_misfit = count_nonzero(values.misfit) > 0
    if any_misfit:
        texts.put(values.misfit, lambda row: _raw_text(wire, row))
    doubly_set = wire.doubly_set()
    if doubly_set is not wire.none:
        _settle(values, wire, np.flatnonzero(doubly_set & valued), rows, texts)
    values.text = texts.merged_into(values.text)
    if any_misfit:
        # The raw value, where it can be shown, is what such a row carries.
        values.kind[values.misfit & validity(values.text)] = ValueKind.TEXT
    return values


@dataclass(frozen=True, slots=True)
class _Rows:
    """The reading of each row by its datatype, and how many rows there are of each reading."""

    reading: NDArray[np.uint8]
    width: NDArray[np.uint8]
    valued: Mask
    count: list[int]
    datatype: NDArray[np.uint8] | None

    def of(self, *readings: int) -> Mask | None:
        """Rows with a value and one of these readings; None if there are none."""
        present = [reading for reading in readings if self.count[reading]]
        if not present:
            return None
        mask: Mask = self.reading == present[0]
        for reading in present[1:]:
            mask |= self.reading == reading
        mask &= self.valued
        return mask


def _read_integers(values: Values, texts: _Texts, rows: _Rows, wire: _Wire) -> None:
    read = rows.of(_SIGNED, _UNSIGNED, _MILLISECONDS, _AS_FOUND)
    if read is None:
        return
    raw = wire.raw
    integer, accepted = _integers(raw, rows.reading, rows.width)
    if rows.count[_AS_FOUND]:
        accepted |= rows.reading == _AS_FOUND
    accepted &= read
    accepted &= wire.has_integer
    np.copyto(values.kind, ValueKind.INTEGER, where=accepted)
    np.copyto(values.integer, integer, where=accepted)
    np.copyto(values.number, integer, where=accepted)
    values.has_number |= accepted
    if rows.count[_MILLISECONDS]:
        moments = accepted & (rows.reading == _MILLISECONDS)
        values.has_number &= ~moments
        texts.put_many(moments, lambda each: _iso(integer[each]))
    if rows.count[_UNSIGNED] or rows.count[_AS_FOUND]:
        # Unsigned numbers beyond 2^63-1 have no place in a BIGINT.
        too_big = accepted & (integer < 0) & np.isin(rows.reading, (_UNSIGNED, _AS_FOUND))
        values.kind[too_big] = ValueKind.TEXT
        values.number[too_big] = raw[too_big].astype(np.float64)
        texts.put(too_big, lambda row: str(int(raw[row])))


def _read_floats(values: Values, texts: _Texts, wire: _Wire, rows: _Rows) -> None:
    floating = rows.of(_FLOATING, _AS_FOUND)
    if floating is None:
        return
    accepted = np.zeros(wire.rows, dtype=np.bool_)
    for name, dtype in (("double_value", np.float64), ("float_value", np.float32)):
        if name in wire.present:
            here = floating & wire.present[name]
            np.copyto(values.number, numbers(wire.arrays[name], dtype), where=here)
            accepted |= here
    whole = floating & wire.has_integer
    if count_nonzero(whole):
        whole &= rows.reading == _FLOATING
        np.copyto(values.number, wire.raw, where=whole, casting="same_kind")
        accepted |= whole
    finite = accepted & np.isfinite(values.number)
    np.copyto(values.kind, ValueKind.NUMERIC, where=accepted)
    values.has_number |= finite
    unnumbered = accepted & ~finite
    if count_nonzero(unnumbered):
        values.kind[unnumbered] = ValueKind.TEXT
        number = values.number
        texts.put(unnumbered, lambda row: _not_finite(float(number[row])))


def _read_booleans(values: Values, wire: _Wire, rows: _Rows) -> None:
    boolean = rows.of(_BOOLEAN, _AS_FOUND)
    if boolean is None:
        return
    if "boolean_value" in wire.present:
        here = boolean & wire.present["boolean_value"]
        np.copyto(values.integer, booleans(wire.arrays["boolean_value"]), where=here)
        np.copyto(values.kind, ValueKind.BOOLEAN, where=here)
    bit = boolean & wire.has_integer
    if count_nonzero(bit):
        bit &= (rows.reading == _BOOLEAN) & (wire.raw <= 1)
        np.copyto(values.integer, wire.raw.view(np.int64), where=bit)
        np.copyto(values.kind, ValueKind.BOOLEAN, where=bit)


def _read_texts(values: Values, wire: _Wire, rows: _Rows) -> None:
    text = rows.of(_TEXT, _AS_FOUND)
    accepted = wire.none if text is None else text & wire.has("string_value")
    np.copyto(values.kind, ValueKind.TEXT, where=accepted)
    values.text = _only(values.text, accepted)


def _read_encoded(
    values: Values,
    texts: _Texts,
    wire: _Wire,
    rows: _Rows,
    ready: Mapping[int, str],
) -> None:
    """Arrays, data sets, bytes and files as JSON text, one by one: they are rare."""
    if rows.datatype is None:
        return
    encoded = np.flatnonzero((rows.reading == _ENCODED) & rows.valued)
    written: list[str | None] = []
    for row in encoded.tolist():
        if row in ready:
            written.append(ready[row])
            continue
        kind = DataType(int(rows.datatype[row]))
        member = "dataset_value" if kind is DataType.DataSet else "bytes_value"
        raw = wire.arrays[member][row].as_py() if wire.has(member)[row] else None
        written.append(None if raw is None else _encoded_text(kind, raw, wire.metadata_of(row)))
    readable = encoded[[text is not None for text in written]]
    values.kind[readable] = ValueKind.TEXT
    texts.put_these(readable, [text for text in written if text is not None])


def _encoded_text(data_type: DataType, raw: bytes, metadata: bytes | None) -> str | None:
    if data_type is DataType.DataSet:
        return dataset_text(raw)
    if data_type in ARRAYS:
        return array_text(data_type, raw)
    return bytes_text(metadata, raw)


def _integers(
    raw: NDArray[np.uint64], reading: NDArray[np.uint8], width: NDArray[np.uint8]
) -> tuple[NDArray[np.int64], Mask]:
    """Raw numbers as integers of their type, and whether they fit it.

    Signed types arrive narrow (233 for Int8 -23) or sign-extended to 32 bits
    (4294967273, as Tahu and Ignition write it) or to 64; all give the same value.
    """
    shift = (64 - width).astype(np.uint64)
    extended = (raw << shift).view(np.int64) >> shift.view(np.int64)
    unsigned = (raw << shift) >> shift
    as_raw = extended.view(np.uint64)
    extended_32 = (as_raw & np.uint64(0xFFFF_FFFF)) == raw
    signed = reading == _SIGNED
    fits = (unsigned == raw) | (signed & ((as_raw == raw) | (extended_32 & (width <= 32))))
    return np.where(signed, extended, raw.view(np.int64)), fits


def _only(array: pa.StringArray, rows: Mask) -> pa.StringArray:
    if array.null_count == len(array):
        return array
    if count_nonzero(rows) == len(array) - array.null_count:
        return array  # rows are a subset of the valid ones, hence the same
    return pc.if_else(pa.array(rows), array, pa.scalar(None, array.type))


def _iso(milliseconds: NDArray[np.int64]) -> pa.StringArray:
    """2026-11-23T14:13:34.123Z; null outside the years 1 to 9999."""
    printable = (milliseconds >= _FIRST_MILLISECOND) & (milliseconds <= _LAST_MILLISECOND)
    times = pa.array(np.where(printable, milliseconds, 0).view("datetime64[ms]"))
    text = pc.replace_substring(times.cast(pa.string()), " ", "T", max_replacements=1)
    text = pc.binary_join_element_wise(text, "Z", "")
    return pc.if_else(pa.array(printable), text, pa.scalar(None, pa.string()))


def _not_finite(number: float) -> str:
    if number != number:  # noqa: PLR0124 - the one number that differs from itself
        return "NaN"
    return "Infinity" if number > 0 else "-Infinity"


def _raw_text(wire: _Wire, row: int) -> str | None:
    """The text of a value that does not fit its datatype; None for bytes and complex members."""
    for name in _SCALARS:
        if wire.has(name)[row]:
            value: Any = wire.arrays[name][row].as_py()
            if isinstance(value, bool):
                return "true" if value else "false"
            if isinstance(value, float):
                return _float_text(value, single=name == "float_value")
            return str(value)
    return None


def _float_text(value: float, *, single: bool) -> str:
    if not np.isfinite(value):
        return _not_finite(value)
    # The shortest digits that give the same 32-bit float, written as a double is.
    return repr(float(str(np.float32(value)))) if single else repr(value)


class _Texts:
    """Texts for single rows that replace what the string column holds there."""

    def __init__(self, rows: int) -> None:
        self._rows = rows
        self._pieces: list[tuple[NDArray[np.int64], pa.StringArray]] = []

    def put_many(self, mask: Mask, make: Callable[[NDArray[np.int64]], pa.StringArray]) -> None:
        rows = np.flatnonzero(mask)
        if len(rows):
            self._pieces.append((rows, make(rows)))

    def put(self, mask: Mask, make: Callable[[int], str | None]) -> None:
        self.put_many(mask, lambda rows: pa.array([make(int(r)) for r in rows], pa.string()))

    def put_these(self, rows: NDArray[np.int64], texts: list[str]) -> None:
        """Let these rows have these texts."""
        if len(rows):
            self._pieces.append((rows, pa.array(texts, pa.string())))

    def replace(self, row: int, text: pa.StringArray) -> None:
        """Let a row have this text (an array of one), or none."""
        self._pieces.append((np.array([row]), text))

    def merged_into(self, text: pa.StringArray) -> pa.StringArray:
        if not self._pieces:
            return text
        source = np.arange(self._rows, dtype=np.int64)
        start = self._rows
        for rows, _ in self._pieces:
            source[rows] = np.arange(start, start + len(rows))
            start += len(rows)
        return pa.concat_arrays([text, *(piece for _, piece in self._pieces)]).take(
            pa.array(source)
        )


def _settle(
    values: Values, wire: _Wire, several: NDArray[np.int64], rows: _Rows, texts: _Texts
) -> None:
    """Rows with several members set: the first member that the datatype accepts counts."""
    for row in several.tolist():
        here = slice(row, row + 1)
        for name in wire.present:
            if not wire.present[name][row]:
                continue
            only = _single_member(wire, row, name)
            one = read_values(only.__getitem__, rows.reading[here], rows.width[here])
            if one.misfit[0]:
                continue
            values.kind[row] = one.kind[0]
            values.number[row] = one.number[0]
            values.has_number[row] = one.has_number[0]
            values.integer[row] = one.integer[0]
            values.misfit[row] = False
            texts.replace(row, one.text)
            break


def _single_member(wire: _Wire, row: int, name: str) -> dict[str, pa.Array]:
    """The wire columns of one row with a single member of its value left."""
    columns = {
        member: array.slice(row, 1) if member == name else pa.nulls(1, array.type)
        for member, array in wire.arrays.items()
    }
    columns |= {other: pa.nulls(1) for other in ("is_null", *_OTHERS) if other not in columns}
    return columns
