"""JSON values as members of the value oneof, by the datatype they are declared with.

What fits its datatype is written as an edge node would write it. What does not is written
so that the decoder finds that out: no value is bent until it fits.
"""

from __future__ import annotations

import binascii
import json
import math
import re
import struct
from base64 import b64decode
from typing import Any, Final, TypeAlias

import numpy as np

from sparkplug.datatypes import INTEGER_WIDTH, READING, DataType, Reading

Member: TypeAlias = tuple[str, bool | int | float | str | bytes]
"""A member of the value oneof and what to put there."""

UINT64: Final = 2**64 - 1

_MAX_FLOAT: Final = 3.4028234663852886e38
_WHOLE: Final = re.compile(r"[+-]?[0-9]{1,40}", re.ASCII)
_DECIMAL: Final = re.compile(r"[+-]?[0-9]{1,400}(\.[0-9]{0,400})?([eE][+-]?[0-9]{1,4})?", re.ASCII)
_NOT_FINITE: Final = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}

_ELEMENT: Final = {
    DataType.Int8Array: "b",
    DataType.Int16Array: "h",
    DataType.Int32Array: "i",
    DataType.Int64Array: "q",
    DataType.UInt8Array: "B",
    DataType.UInt16Array: "H",
    DataType.UInt32Array: "I",
    DataType.UInt64Array: "Q",
    DataType.FloatArray: "f",
    DataType.DoubleArray: "d",
    DataType.DateTimeArray: "q",
}
"""Format of one element in `struct`; all are little-endian (specification 6.4.17)."""

_BYTES: Final = frozenset(
    {*_ELEMENT, DataType.BooleanArray, DataType.StringArray, DataType.Bytes, DataType.File}
)


def whole(value: Any) -> int | None:
    """An integer: written as one, as 5.0, or as decimal text as protobuf's own JSON does."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    if isinstance(value, float):
        return int(value) if value.is_integer() else None
    if isinstance(value, str) and _WHOLE.fullmatch(value):
        return int(value)
    return None


def real(value: Any) -> float | None:
    """A number, or one of the texts for what JSON has no numbers for."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return float(value)
    if isinstance(value, str):
        if value in _NOT_FINITE:
            return _NOT_FINITE[value]
        if _DECIMAL.fullmatch(value):
            number = float(value)
            return number if math.isfinite(number) else None
    return None


def scalar_member(data_type: DataType, value: Any) -> Member:
    """The member for a value that is no null, of a datatype that is a scalar."""
    reading = READING[data_type]
    member: Member | None = None
    if reading in {Reading.SIGNED, Reading.UNSIGNED, Reading.MILLISECONDS}:
        member = _integer(data_type, reading, value)
    elif reading is Reading.FLOATING:
        number = real(value)
        if number is not None:
            # A Float may come in double_value; too large a number would become an infinity.
            single = data_type is DataType.Float and not _MAX_FLOAT < abs(number) < math.inf
            member = ("float_value" if single else "double_value"), number
    elif reading is Reading.BOOLEAN:
        truth = {"true": True, "false": False}.get(value) if isinstance(value, str) else value
        if isinstance(truth, bool | int) and truth in {0, 1}:
            member = "boolean_value", bool(truth)
    elif reading is Reading.TEXT and isinstance(value, list | dict):
        member = "string_value", json_text(value)
    elif reading in {Reading.TEXT, Reading.AS_FOUND}:
        member = _as_found(value)
    return member or misfit(value)


def bytes_member(data_type: DataType, value: Any) -> Member | None:
    """The member for an array, Bytes or File; None for any other datatype.

    Arrays are lists, or base64 text of their encoded form; Bytes and File are base64 text.
    """
    if data_type not in _BYTES:
        return None
    raw: bytes | None = None
    if isinstance(value, str):
        raw = base64_bytes(value)
    elif isinstance(value, list):
        raw = _array(data_type, value)
    return misfit(value) if raw is None else ("bytes_value", raw)


def base64_bytes(text: str) -> bytes | None:
    """The bytes that a base64 text encodes; None if the text is no base64."""
    try:
        return b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None


def misfit(value: Any) -> Member:
    """A member that no number, boolean or complex datatype accepts, with the value to be shown.

    An integer out of range goes as text: as a number, 200 would be a valid form of the
    Int8 -56.
    """
    if isinstance(value, bool):
        return "boolean_value", value
    if isinstance(value, float):
        return "double_value", value
    if isinstance(value, int | str):
        return "string_value", str(value)
    return "string_value", json_text(value)


def json_text(value: Any) -> str:
    """A value as compact JSON."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _integer(data_type: DataType, reading: Reading, value: Any) -> Member | None:
    number = whole(value)
    if number is None:
        return None
    width = INTEGER_WIDTH.get(data_type, 64)
    low, high = (0, 1 << width) if reading is Reading.UNSIGNED else _signed_range(width)
    if not low <= number < high:
        return None
    if width == 64:
        return "long_value", number & UINT64
    return "int_value", number & 0xFFFF_FFFF  # negative ones sign-extended, as Tahu has it


def _signed_range(width: int) -> tuple[int, int]:
    return -(1 << (width - 1)), 1 << (width - 1)


def _as_found(value: Any) -> Member | None:
    """A value whose datatype is not known, or is text while the value is not.

    A negative number goes as double: the two's complement of an integer would be read as
    a huge number if the birth declared Double.
    """
    if isinstance(value, str):
        return "string_value", value
    if isinstance(value, bool):
        return "boolean_value", value
    if isinstance(value, int) and 0 <= value <= UINT64:
        return "long_value", value
    if isinstance(value, int | float):
        return "double_value", float(value)
    return None


def _array(data_type: DataType, values: list[Any]) -> bytes | None:
    """Elements as the specification packs them (6.4.17); None if one does not fit."""
    if data_type is DataType.StringArray:
        return _strings(values)
    if data_type is DataType.BooleanArray:
        return _booleans(values)
    form = _ELEMENT.get(data_type)
    if form is None:
        return None
    read = real if form in "fd" else whole
    try:
        return struct.pack(f"<{len(values)}{form}", *map(read, values))
    except (struct.error, OverflowError):
        return None


def _strings(values: list[Any]) -> bytes | None:
    if not all(isinstance(text, str) and "\0" not in text for text in values):
        return None
    return "".join(text + "\0" for text in values).encode()


def _booleans(values: list[Any]) -> bytes | None:
    if not all(isinstance(each, bool | int) and each in {0, 1} for each in values):
        return None
    return struct.pack("<I", len(values)) + np.packbits(np.array(values, np.bool_)).tobytes()
