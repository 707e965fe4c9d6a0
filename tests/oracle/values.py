"""The sections "The value" and "Time and quality" of docs/decoding.md, one metric at a time.

A metric is read with the flat schema (`sparkplug_b_columns.proto`): it keeps all
members of the value oneof apart, which the page asks for when several are set.
"""

from __future__ import annotations

import math
import struct
from datetime import UTC, datetime, timedelta
from typing import Any

from google.protobuf.message import DecodeError

from oracle.encoded import encoded_text
from sparkplug.pb.sparkplug_b_pb2 import PropertySet

INT8, INT16, INT32, INT64 = 1, 2, 3, 4
UINT8, UINT16, UINT32, UINT64 = 5, 6, 7, 8
FLOAT, DOUBLE, BOOLEAN, STRING, DATE_TIME, TEXT, UUID = 9, 10, 11, 12, 13, 14, 15
DATA_SET, BYTES, FILE, TEMPLATE, PROPERTY_SET, PROPERTY_SET_LIST = 16, 17, 18, 19, 20, 21
BOOLEAN_ARRAY, STRING_ARRAY, DATE_TIME_ARRAY = 32, 33, 34

SIGNED = {INT8: 8, INT16: 16, INT32: 32, INT64: 64}
UNSIGNED = {UINT8: 8, UINT16: 16, UINT32: 32, UINT64: 64}
NOT_SCALAR = (TEMPLATE, PROPERTY_SET, PROPERTY_SET_LIST)

SCALAR_NAMES = {
    INT8: "Int8",
    INT16: "Int16",
    INT32: "Int32",
    INT64: "Int64",
    UINT8: "UInt8",
    UINT16: "UInt16",
    UINT32: "UInt32",
    UINT64: "UInt64",
    FLOAT: "Float",
    DOUBLE: "Double",
    BOOLEAN: "Boolean",
    STRING: "String",
    DATE_TIME: "DateTime",
    TEXT: "Text",
    UUID: "UUID",
}
ENCODED_NAMES = {
    DATA_SET: "DataSet",
    BYTES: "Bytes",
    FILE: "File",
    22: "Int8Array",
    23: "Int16Array",
    24: "Int32Array",
    25: "Int64Array",
    26: "UInt8Array",
    27: "UInt16Array",
    28: "UInt32Array",
    29: "UInt64Array",
    30: "FloatArray",
    31: "DoubleArray",
    BOOLEAN_ARRAY: "BooleanArray",
    STRING_ARRAY: "StringArray",
    DATE_TIME_ARRAY: "DateTimeArray",
}

# In this order the first accepted member counts.
VALUE_MEMBERS = (
    "int_value",
    "long_value",
    "float_value",
    "double_value",
    "boolean_value",
    "string_value",
)
OPAQUE_MEMBERS = ("bytes_value", "dataset_value", "template_value", "extension_value")

NO_VALUE: dict[str, Any] = {
    "numeric_value": None,
    "integer_value": None,
    "string_value": None,
    "boolean_value": None,
}

GOOD_CODE = 192
TYPE_CONVERSION_CODE = -1073741052
LAST_MILLISECOND = 253_402_300_799_999  # 9999-12-31T23:59:59.999Z
FIRST_MILLISECOND = -62_135_596_800_000  # 0001-01-01T00:00:00.000Z


class NotAccepted(Exception):  # noqa: N818 - a verdict, not a failure
    """This member of the value is none the datatype takes."""


def datatype_name(code: int) -> str:
    return (SCALAR_NAMES | ENCODED_NAMES).get(code, "Unknown")


def convert(code: int, member: str, value: Any) -> dict[str, Any]:  # noqa: C901, PLR0911, PLR0912
    """The value columns for one member of the value; NotAccepted if the type cannot take it."""
    is_integer = member in {"int_value", "long_value"}
    is_float = member in {"float_value", "double_value"}
    if code in SIGNED:
        if not is_integer:
            raise NotAccepted
        return integer(signed(value, SIGNED[code]))
    if code in UNSIGNED:
        if not is_integer or value >= 1 << UNSIGNED[code]:
            raise NotAccepted
        return integer(value)
    if code in {FLOAT, DOUBLE}:
        if is_integer or is_float:
            return number(float(value))
        raise NotAccepted
    if code == BOOLEAN:
        if member == "boolean_value":
            return {**NO_VALUE, "boolean_value": value}
        if is_integer and value in {0, 1}:
            return {**NO_VALUE, "boolean_value": value == 1}
        raise NotAccepted
    if code in {STRING, TEXT, UUID}:
        if member != "string_value":
            raise NotAccepted
        return {**NO_VALUE, "string_value": value}
    if code == DATE_TIME:
        if not is_integer:
            raise NotAccepted
        # An int_value is below 2^32, so it stays what it is.
        milliseconds = signed(value, 64)
        return {
            **NO_VALUE,
            "integer_value": milliseconds,
            "string_value": iso_8601(milliseconds),
        }
    if code in ENCODED_NAMES:
        if member != ("dataset_value" if code == DATA_SET else "bytes_value"):
            raise NotAccepted
        text = encoded_text(code, value, iso_8601)
        if text is None:
            raise NotAccepted
        return {**NO_VALUE, "string_value": text}
    # Unknown: what is there.
    if is_integer:
        return convert(UINT64, member, value)
    if is_float:
        return convert(DOUBLE, member, value)
    if member == "boolean_value":
        return convert(BOOLEAN, member, value)
    return convert(STRING, member, value)


def signed(raw: int, width: int) -> int:
    """A signed integer from its unsigned wire form, narrow or sign-extended to 32 or 64 bits."""
    half = 1 << (width - 1)
    if raw < half:
        return raw
    if raw < 2 * half:
        return raw - 2 * half
    for extended in (32, 64):
        if extended > width and (1 << extended) - half <= raw < (1 << extended):
            return raw - (1 << extended)
    raise NotAccepted


def integer(value: int) -> dict[str, Any]:
    if value < 2**63:
        return {**NO_VALUE, "numeric_value": float(value), "integer_value": value}
    return {**NO_VALUE, "numeric_value": float(value), "string_value": str(value)}


def number(value: float) -> dict[str, Any]:
    if math.isfinite(value):
        return {**NO_VALUE, "numeric_value": value}
    return {**NO_VALUE, "string_value": float_text(value)}


def iso_8601(milliseconds: int) -> str | None:
    if not FIRST_MILLISECOND <= milliseconds <= LAST_MILLISECOND:
        return None
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=milliseconds)
    return moment.replace(tzinfo=None).isoformat(timespec="milliseconds") + "Z"


def raw_text(member: str, value: Any) -> str | None:
    """The raw value of a metric whose value does not fit its datatype, as text."""
    if member in {"int_value", "long_value"}:
        return str(value)
    if member == "float_value":
        return float_text(shortest_float32(value))
    if member == "double_value":
        return float_text(value)
    if member == "boolean_value":
        return "true" if value else "false"
    if member == "string_value":
        return str(value)
    return None


def float_text(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    return repr(value)


def shortest_float32(value: float) -> float:
    """The number with the fewest decimal digits that is still this 32-bit float."""
    if not math.isfinite(value):
        return value
    for digits in range(1, 10):
        candidate = float(f"{value:.{digits}g}")
        try:
            same = struct.pack("<f", candidate) == struct.pack("<f", value)
        except OverflowError:  # rounded up beyond the largest 32-bit float
            same = False
        if same:
            return candidate
    return value


def metric_value(code: int, metric: Any) -> tuple[dict[str, Any], list[str]]:
    """The value columns of one metric, and the reasons to be counted."""
    reasons = []
    if code not in SCALAR_NAMES | ENCODED_NAMES:
        reasons.append("unknown_datatype")
    if metric.is_null:
        return dict(NO_VALUE), reasons
    members = [m for m in VALUE_MEMBERS + OPAQUE_MEMBERS if metric.HasField(m)]
    if not members:
        return dict(NO_VALUE), [*reasons, "value_missing"]
    for member in members:
        try:
            return convert(code, member, getattr(metric, member)), reasons
        except NotAccepted:
            continue
    text = raw_text(members[0], getattr(metric, members[0]))
    return {**NO_VALUE, "string_value": text}, [*reasons, "value_does_not_fit"]


def quality_code(properties: bytes) -> int:
    """The `Quality` property as signed 32 bit number; 192 where there is none to be read."""
    try:
        property_set = PropertySet.FromString(properties)
    except DecodeError:
        return GOOD_CODE
    for key, value in zip(property_set.keys, property_set.values, strict=False):
        if key != "Quality":
            continue
        member = value.WhichOneof("value")
        if value.is_null or member not in {"int_value", "long_value"}:
            return GOOD_CODE
        raw: int = getattr(value, member) % 2**32
        return raw - 2**32 if raw >= 2**31 else raw
    return GOOD_CODE


def quality_name(code: int, *, ignition: bool) -> str:  # noqa: C901, PLR0911 - the table
    number_ = code % 2**32
    top_bits = number_ >> 30
    if number_ == 500:
        return "STALE"
    if number_ == 192:
        return "GOOD"
    if number_ == 0:
        return "GOOD" if ignition else "BAD"
    if top_bits == 0b10 and number_ % 2**16 == 516:
        return "STALE"
    if top_bits in {0b10, 0b11}:
        return "BAD"
    if top_bits == 0b01:
        return "UNCERTAIN"
    if number_ == 516:
        return "STALE"
    if 512 <= number_ <= 780:
        return "BAD"
    if 256 <= number_ <= 261:
        return "UNCERTAIN"
    if number_ == 2 or 200 <= number_ <= 203:
        return "GOOD"
    return "UNCERTAIN"
