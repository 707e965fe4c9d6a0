"""Plain values for JSON, and how scalars inside complex values become such values.

The scalars follow the table "The value" in docs/decoding.md, one at a time.
"""

from __future__ import annotations

import json
import math
from datetime import datetime, timedelta
from enum import Enum
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np

from sparkplug.datatypes import INTEGER_WIDTH, READING, DataType, Reading

if TYPE_CHECKING:
    from collections.abc import Callable

    from google.protobuf.message import Message

JsonValue: TypeAlias = "bool | int | float | str | list[JsonValue] | dict[str, JsonValue] | None"
"""What json.dumps writes as valid JSON; NaN and infinities are strings here."""

FIRST_MILLISECOND: Final = -62_135_596_800_000
"""0001-01-01T00:00:00Z in milliseconds since 1970."""
LAST_MILLISECOND: Final = 253_402_300_799_999
"""9999-12-31T23:59:59.999Z in milliseconds since 1970."""

_EPOCH: Final = datetime(1970, 1, 1)  # noqa: DTZ001 - UTC throughout, written as Z by iso_text
_INTEGERS: Final = ("int_value", "long_value")
_FLOATS: Final = ("float_value", "double_value")


class Misfit(Enum):
    """The type of MISFIT."""

    MISFIT = "value does not fit its datatype"


MISFIT: Final = Misfit.MISFIT
"""Stands for a value that is none of its datatype, where None is the null value."""

Reader: TypeAlias = "Callable[[str, Any], JsonValue | Misfit]"
"""Reads the value in a member of a value oneof, given the member's name and the value."""


def json_text(value: JsonValue) -> str:
    """`value` as compact JSON, non-ASCII characters as they are."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def iso_text(milliseconds: int) -> str | None:
    """2026-11-23T14:13:34.123Z; None outside the years 1 to 9999."""
    if not FIRST_MILLISECOND <= milliseconds <= LAST_MILLISECOND:
        return None
    moment = _EPOCH + timedelta(milliseconds=milliseconds)
    return moment.isoformat(timespec="milliseconds") + "Z"


def number(value: float, *, single: bool = False) -> float | str:
    """A float for JSON: NaN, Infinity and -Infinity as text.

    `single` marks a value that travelled as 32-bit float; it gets the shortest digits
    that give the same 32-bit float, 0.1 rather than 0.10000000149011612.
    """
    if math.isfinite(value):
        return float(str(np.float32(value))) if single else value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def integer(raw: int, width: int, *, signed: bool) -> int | None:
    """An unsigned number from the wire as integer of `width` bits; None if it is too big.

    Negative numbers arrive narrow (233 for Int8 -23) or sign-extended to 32 or 64 bits.
    """
    if not signed:
        return raw if raw < 1 << width else None
    half = 1 << (width - 1)
    for bits in (width, 32, 64):
        if bits >= width and raw < 1 << bits:
            if raw < half:
                return raw
            negative = raw - (1 << bits)
            if negative >= -half:
                return negative
    return None


def scalar(data_type: DataType, field: str, value: Any) -> JsonValue | Misfit:
    """The value in member `field` of a value oneof, read as `data_type`.

    MISFIT where the datatype does not accept it, which is always so for datatypes
    that are no scalars and for text that is not UTF-8.
    """
    return reader_of(data_type)(field, value)


def reader_of(data_type: DataType) -> Reader:
    """`scalar` for one datatype: for columns of values."""
    return _READERS[data_type]


def value_of(message: Message, data_type: DataType) -> JsonValue | Misfit:
    """The scalar in a message's `value` oneof; None where no member is set."""
    field = message.WhichOneof("value")
    return None if field is None else scalar(data_type, field, getattr(message, field))


def text_of(message: Message, field: str) -> str | None:
    """An optional string field; None where it is absent or not UTF-8."""
    if not message.HasField(field):
        return None
    return decoded(getattr(message, field))


def decoded(value: object) -> str | None:
    """A string as protobuf gives it, which is bytes where it is not UTF-8: then None."""
    return value if isinstance(value, str) else None


def _whole(field: str, value: Any, *, width: int, signed: bool) -> JsonValue | Misfit:
    if field not in _INTEGERS:
        return MISFIT
    found = integer(value, width, signed=signed)
    return MISFIT if found is None else found


def _floating(field: str, value: Any) -> JsonValue | Misfit:
    if field in _FLOATS:
        return number(value, single=field == "float_value")
    return float(value) if field in _INTEGERS else MISFIT


def _boolean(field: str, value: Any) -> JsonValue | Misfit:
    if field == "boolean_value" or (field in _INTEGERS and value <= 1):
        return bool(value)
    return MISFIT


def _text(field: str, value: Any) -> JsonValue | Misfit:
    return value if field == "string_value" and isinstance(value, str) else MISFIT


def _milliseconds(field: str, value: Any) -> JsonValue | Misfit:
    if field not in _INTEGERS:
        return MISFIT
    return iso_text(value if value < 1 << 63 else value - (1 << 64))


def _as_found(field: str, value: Any) -> JsonValue | Misfit:
    if field in _FLOATS:
        return number(value, single=field == "float_value")
    if field in _INTEGERS or field == "boolean_value":
        found: JsonValue = value
        return found
    return _text(field, value)


def _misfit(_field: str, _value: Any) -> JsonValue | Misfit:
    return MISFIT


def _reader(data_type: DataType) -> Reader:
    reading = READING[data_type]
    if reading in (Reading.SIGNED, Reading.UNSIGNED):
        return partial(_whole, width=INTEGER_WIDTH[data_type], signed=reading is Reading.SIGNED)
    return _OTHER_READERS[reading]


_OTHER_READERS: Final[dict[Reading, Reader]] = {
    Reading.FLOATING: _floating,
    Reading.BOOLEAN: _boolean,
    Reading.TEXT: _text,
    Reading.MILLISECONDS: _milliseconds,
    Reading.AS_FOUND: _as_found,
    Reading.ENCODED: _misfit,
    Reading.COMPLEX: _misfit,
}
_READERS: Final[dict[DataType, Reader]] = {each: _reader(each) for each in DataType}
