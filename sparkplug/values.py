"""Metric values as columns: what is on the wire, read by the datatype of the birth.

The rules are the table "The value" in docs/decoding.md. Every step works on whole
columns; only values that break the rules are looked at one by one.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sparkplug.catalogue import READINGS
from sparkplug.columns import booleans, numbers, validity
from sparkplug.datatypes import Reading

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Mask = NDArray[np.bool_]


class Kind(IntEnum):
    """Which column carries a value. The numbers are part of the event_id algorithm."""

    NULL = 0
    NUMERIC = 1
    INTEGER = 2
    BOOLEAN = 3
    TEXT = 4


_SIGNED: Final = READINGS.index(Reading.SIGNED)
_UNSIGNED: Final = READINGS.index(Reading.UNSIGNED)
_FLOATING: Final = READINGS.index(Reading.FLOATING)
_BOOLEAN: Final = READINGS.index(Reading.BOOLEAN)
_TEXT: Final = READINGS.index(Reading.TEXT)
_MILLISECONDS: Final = READINGS.index(Reading.MILLISECONDS)
_AS_FOUND: Final = READINGS.index(Reading.AS_FOUND)

_MEMBERS: Final = (
    "int_value",
    "long_value",
    "float_value",
    "double_value",
    "boolean_value",
    "string_value",
    "bytes_value",
    "dataset_value",
    "template_value",
    "extension_value",
)

_FIRST_MILLISECOND: Final = -62_135_596_800_000  # year 1
_LAST_MILLISECOND: Final = 253_402_300_799_999  # year 9999


@dataclass(slots=True)
class Values:
    """One value per row.

    `kind` says which of the arrays carries it (see Kind). `number` is the value as
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


class _Wire:
    """The members of the value oneof for some rows, with cheap answers for absent ones."""

    def __init__(self, field: Callable[[str], pa.Array]) -> None:
        self.arrays = {name: field(name) for name in _MEMBERS}
        self.rows = len(self.arrays["int_value"])
        self.present = {
            name: validity(array)
            for name, array in self.arrays.items()
            if array.null_count < self.rows
        }
        self.none: Mask = np.zeros(self.rows, dtype=np.bool_)

    def has(self, name: str) -> Mask:
        return self.present.get(name, self.none)

    def any_member(self) -> Mask:
        found = self.none.copy()
        for mask in self.present.values():
            found |= mask
        return found

    def doubly_set(self, found: Mask) -> Mask:
        """Rows that set more than one member, which no valid payload does."""
        if sum(len(mask) - self.arrays[name].null_count for name, mask in self.present.items()) == (
            np.count_nonzero(found)
        ):
            return self.none
        return sum(mask.astype(np.uint8) for mask in self.present.values()) > 1  # type: ignore[return-value]


def read_values(
    field: Callable[[str], pa.Array],
    reading: NDArray[np.uint8],
    width: NDArray[np.uint8],
) -> Values:
    """Read one value per row; `field` gives the wire columns of exactly these rows.

    `reading` (index into READINGS) and `width` (bits of integer types) are per row.
    """
    wire = _Wire(field)
    explicit_null = booleans(field("is_null"))
    found = wire.any_member()
    missing = ~found & ~explicit_null
    valued = found & ~explicit_null

    # Integers: one raw unsigned number, whichever field it came in.
    has_int, has_long = wire.has("int_value"), wire.has("long_value")
    has_integer = (has_int | has_long) & valued
    raw = numbers(wire.arrays["long_value"], np.uint64)
    if "int_value" in wire.present:
        raw = np.where(has_int, numbers(wire.arrays["int_value"], np.uint32), raw)

    integer, fits = _integers(raw, reading, width)
    integer_like = (reading == _SIGNED) | (reading == _UNSIGNED) | (reading == _MILLISECONDS)
    is_integer = has_integer & integer_like & fits
    as_found = reading == _AS_FOUND
    if as_found.any():
        is_integer |= has_integer & as_found
    # Unsigned numbers beyond 2^63-1 have no place in a BIGINT.
    too_big = is_integer & (raw >> np.uint64(63) == 1) & ((reading == _UNSIGNED) | as_found)

    number = integer.astype(np.float64)
    number[too_big] = raw[too_big].astype(np.float64)
    floating = ((reading == _FLOATING) | as_found) & valued
    is_floating = wire.none
    has_double, has_float = wire.has("double_value"), wire.has("float_value")
    if floating.any():
        is_floating = floating & (has_double | has_float)
        if "double_value" in wire.present:
            doubles = numbers(wire.arrays["double_value"], np.float64)
            number = np.where(is_floating & has_double, doubles, number)
        if "float_value" in wire.present:
            single = numbers(wire.arrays["float_value"], np.float32)
            number = np.where(is_floating & has_float, single.astype(np.float64), number)
        from_integer = floating & has_integer & (reading == _FLOATING)
        if from_integer.any():
            number = np.where(from_integer, raw.astype(np.float64), number)
            is_floating = is_floating | from_integer
    is_finite = np.isfinite(number)

    is_boolean = wire.none
    boolean = ((reading == _BOOLEAN) | as_found) & valued
    if boolean.any():
        is_boolean = boolean & wire.has("boolean_value")
        if "boolean_value" in wire.present:
            integer = np.where(is_boolean, booleans(wire.arrays["boolean_value"]), integer)
        from_bit = has_integer & (reading == _BOOLEAN) & (raw <= 1)
        if from_bit.any():
            integer = np.where(from_bit, raw.view(np.int64), integer)
            is_boolean = is_boolean | from_bit
    is_text = ((reading == _TEXT) | as_found) & valued & wire.has("string_value")

    kind = np.zeros(wire.rows, dtype=np.uint8)
    kind[is_floating] = Kind.NUMERIC
    kind[is_integer] = Kind.INTEGER
    kind[is_boolean] = Kind.BOOLEAN
    not_a_number = is_floating & ~is_finite
    kind[is_text | too_big | not_a_number] = Kind.TEXT
    values = Values(
        kind=kind,
        number=number,
        has_number=(is_integer & (reading != _MILLISECONDS)) | (is_floating & is_finite),
        integer=integer,
        text=_only(wire.arrays["string_value"], is_text),
        missing=missing,
        misfit=valued & (kind == Kind.NULL),
    )
    texts = _Texts(wire.rows)
    texts.put_many(is_integer & (reading == _MILLISECONDS), lambda rows: _iso(integer[rows]))
    texts.put(too_big, lambda row: str(int(raw[row])))
    texts.put(not_a_number, lambda row: _not_finite(float(number[row])))
    texts.put(values.misfit, lambda row: _raw_text(wire, row))
    doubly_set = wire.doubly_set(found) & valued
    if doubly_set.any():
        _settle(values, wire, np.flatnonzero(doubly_set), reading, width, texts)
    values.text = texts.merged_into(values.text)
    if values.misfit.any():  # the raw value, where it can be shown, is what such a row carries
        values.kind[values.misfit & validity(values.text)] = Kind.TEXT
    return values


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
    if np.count_nonzero(rows) == len(array) - array.null_count:
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
    """What a value that does not fit looks like; None for bytes and other complex members."""
    for name in _MEMBERS[:6]:
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
    values: Values,
    wire: _Wire,
    rows: NDArray[np.int64],
    reading: NDArray[np.uint8],
    width: NDArray[np.uint8],
    texts: _Texts,
) -> None:
    """Rows with several members set: the first member that the datatype accepts counts."""
    for row in rows.tolist():
        for name in _MEMBERS:
            if not wire.has(name)[row]:
                continue
            only = _single_member(wire, row, name)
            one = read_values(only.__getitem__, reading[row : row + 1], width[row : row + 1])
            if not one.misfit[0]:
                values.kind[row] = one.kind[0]
                values.number[row] = one.number[0]
                values.has_number[row] = one.has_number[0]
                values.integer[row] = one.integer[0]
                values.misfit[row] = False
                mask = np.zeros(wire.rows, dtype=np.bool_)
                mask[row] = True
                text = one.text[0].as_py()
                texts.put(mask, lambda _, text=text: text)  # type: ignore[misc]
                break


def _single_member(wire: _Wire, row: int, name: str) -> dict[str, pa.Array]:
    """The wire columns of one row with a single member of its value left."""
    columns = {
        member: array.slice(row, 1) if member == name else pa.nulls(1, array.type)
        for member, array in wire.arrays.items()
    }
    columns["is_null"] = pa.nulls(1, pa.bool_())
    return columns
