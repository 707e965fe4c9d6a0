"""The datatypes of Sparkplug B (specification 6.4.16) and how a value of each is read."""

from __future__ import annotations

from enum import Enum, IntEnum
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


class DataType(IntEnum):
    """Wire codes. The member's spelling is what the column data_type shows."""

    Unknown = 0
    Int8 = 1
    Int16 = 2
    Int32 = 3
    Int64 = 4
    UInt8 = 5
    UInt16 = 6
    UInt32 = 7
    UInt64 = 8
    Float = 9
    Double = 10
    Boolean = 11
    String = 12
    DateTime = 13
    Text = 14
    UUID = 15
    DataSet = 16
    Bytes = 17
    File = 18
    Template = 19
    PropertySet = 20
    PropertySetList = 21
    Int8Array = 22
    Int16Array = 23
    Int32Array = 24
    Int64Array = 25
    UInt8Array = 26
    UInt16Array = 27
    UInt32Array = 28
    UInt64Array = 29
    FloatArray = 30
    DoubleArray = 31
    BooleanArray = 32
    StringArray = 33
    DateTimeArray = 34


class Reading(Enum):
    """How a scalar value is taken from the wire."""

    SIGNED = "signed"  # int_value or long_value, narrow or sign-extended
    UNSIGNED = "unsigned"  # int_value or long_value
    FLOATING = "floating"
    BOOLEAN = "boolean"
    TEXT = "text"
    MILLISECONDS = "milliseconds"  # long_value as signed 64 bit
    AS_FOUND = "as found"  # no usable datatype: whatever member is set
    ENCODED = "encoded"  # arrays, data sets, bytes, files: JSON text, one by one
    COMPLEX = "complex"  # templates and property sets


INTEGER_WIDTH: Final[dict[DataType, int]] = {
    DataType.Int8: 8,
    DataType.Int16: 16,
    DataType.Int32: 32,
    DataType.Int64: 64,
    DataType.UInt8: 8,
    DataType.UInt16: 16,
    DataType.UInt32: 32,
    DataType.UInt64: 64,
}
"""Bits of each integer type."""

_BY_READING: Final = {
    Reading.SIGNED: (DataType.Int8, DataType.Int16, DataType.Int32, DataType.Int64),
    Reading.UNSIGNED: (DataType.UInt8, DataType.UInt16, DataType.UInt32, DataType.UInt64),
    Reading.FLOATING: (DataType.Float, DataType.Double),
    Reading.BOOLEAN: (DataType.Boolean,),
    Reading.TEXT: (DataType.String, DataType.Text, DataType.UUID),
    Reading.MILLISECONDS: (DataType.DateTime,),
    Reading.AS_FOUND: (DataType.Unknown,),
    Reading.ENCODED: (
        DataType.DataSet,
        DataType.Bytes,
        DataType.File,
        *(each for each in DataType if each.name.endswith("Array")),
    ),
}

READING: Final[dict[DataType, Reading]] = {
    data_type: next(
        (reading for reading, members in _BY_READING.items() if data_type in members),
        Reading.COMPLEX,
    )
    for data_type in DataType
}
"""The reading of values of each datatype."""


def from_code(code: int | None) -> DataType:
    """The datatype of a wire code; `Unknown` for codes the specification does not list."""
    try:
        return DataType(code or 0)
    except ValueError:
        return DataType.Unknown


READINGS: Final = tuple(Reading)
"""Order of the codes that `reading_and_width` and TagCatalogue.reading_of give."""

READING_OF_CODE: Final = np.array(
    [READINGS.index(READING[from_code(code)]) for code in range(256)], dtype=np.uint8
)

_WIDTH_OF_CODE: Final = np.array(
    [INTEGER_WIDTH.get(from_code(c), 64) for c in range(256)], dtype=np.uint8
)

_LARGEST_CODE: Final = max(DataType)


class ReadingAndWidth(NamedTuple):
    """Index into READINGS, and bits of integers (64 for all others), of each value."""

    reading: NDArray[np.uint8]
    width: NDArray[np.uint8]


def reading_and_width(codes: NDArray[np.uint8]) -> ReadingAndWidth:
    """How values of these datatype codes are read."""
    return ReadingAndWidth(READING_OF_CODE[codes], _WIDTH_OF_CODE[codes])


def datatype_codes(raw: NDArray[np.uint32]) -> NDArray[np.uint8]:
    """Wire codes as catalogue codes: what the specification does not list becomes Unknown."""
    return np.where(raw <= _LARGEST_CODE, raw, 0).astype(np.uint8)
