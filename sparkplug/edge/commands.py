"""Commands to an edge node: the value of a write, read as its metric's datatype."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sparkplug.datatypes import INTEGER_WIDTH, READING, DataType, Reading

if TYPE_CHECKING:
    from sparkplug.actions import Scalar
    from sparkplug.pb import sparkplug_b_pb2 as pb

_INTEGER_FIELDS: Final = frozenset({"int_value", "long_value"})
_NUMBER_FIELDS: Final = frozenset({"int_value", "long_value", "float_value", "double_value"})


class CommandError(ValueError):
    """The value of a command does not fit the metric it is written to."""


def command_value(metric: pb.Metric, data_type: DataType) -> Scalar:
    """The value of an NCMD or DCMD metric, read as the datatype its birth declared.

    Raises:
        CommandError: the value does not fit the datatype, or the datatype is not scalar.
    """
    member = metric.WhichOneof("value")
    if metric.is_null or member is None:
        return None
    value = getattr(metric, member)
    reading = READING[data_type]
    if reading in (Reading.SIGNED, Reading.UNSIGNED) and member in _INTEGER_FIELDS:
        return _integer(value, data_type, 32 if member == "int_value" else 64)
    if reading is Reading.MILLISECONDS and member in _INTEGER_FIELDS:
        return _sign_extend(value, 64)
    if reading is Reading.FLOATING and member in _NUMBER_FIELDS:
        return float(value)
    if reading is Reading.BOOLEAN and member == "boolean_value":
        return bool(value)
    if reading is Reading.TEXT and member == "string_value":
        return str(value)
    raise CommandError(f"a command's {member} cannot be written to a metric of {data_type.name}")


def _integer(value: int, data_type: DataType, field_width: int) -> int:
    """Undo the two ways of writing negative numbers; unsigned ones are as they stand."""
    width = INTEGER_WIDTH[data_type]
    if READING[data_type] is Reading.UNSIGNED:
        result, fits = value, value < 1 << width
    else:
        # Narrow, or sign-extended to the field (encoding.SignedEncoding).
        result = _sign_extend(value & ((1 << width) - 1), width)
        fits = value < 1 << width or value == result & ((1 << max(field_width, width)) - 1)
    if not fits:
        raise CommandError(f"{value} cannot be written to a metric of {data_type.name}")
    return result


def _sign_extend(value: int, width: int) -> int:
    return value - (1 << width) if value >> (width - 1) else value
