"""Building payloads for publishing (specification, chapter 6).

Scalar datatypes only: arrays, DataSet, Template, Bytes and File would get a branch
in `wire_value` and, where they need one, a member of `Scalar`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from sparkplug.datatypes import INTEGER_WIDTH, READING, DataType, Reading
from sparkplug.names import BD_SEQ, QUALITY
from sparkplug.pb import sparkplug_b_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sparkplug.actions import PublishedValue, Scalar

_MAX_MILLISECONDS: Final = 2**63
_MAX_FLOAT: Final = 3.4028234663852886e38


class EncodeError(ValueError):
    """A value cannot be written as its datatype."""


class SignedEncoding(StrEnum):
    """How negative Int8 and Int16 are put into the unsigned 32-bit field.

    Both are met in the field. SIGN_EXTENDED is what Ignition and Tahu for Java send
    (Int8 -23 is 4294967273), NARROW what the specification's text says (233).
    """

    SIGN_EXTENDED = "sign-extended"
    NARROW = "narrow"


@dataclass(frozen=True, slots=True, kw_only=True)
class Properties:
    """Properties of a tag under the names Ignition gives them; None is not sent."""

    engUnit: str | None = None  # noqa: N815 - the property's own spelling
    engLow: float | None = None  # noqa: N815
    engHigh: float | None = None  # noqa: N815
    documentation: str | None = None
    tooltip: str | None = None
    readOnly: bool | None = None  # noqa: N815

    def items(self) -> Iterable[tuple[str, Scalar]]:
        """Names and values of the properties that are set."""
        for each in fields(self):
            value: Scalar = getattr(self, each.name)
            if value is not None:
                yield each.name, value


NO_PROPERTIES: Final = Properties()


@dataclass(slots=True, kw_only=True)
class Metric:
    """A tag of a node or device with its current value.

    `timestamp_ms` is when the value was acquired, in milliseconds since 1970 UTC.
    `quality` is the raw signed 32-bit code of the Quality property; None is not sent
    and means good. Only a `writeable` metric obeys NCMD and DCMD.
    """

    name: str
    data_type: DataType
    value: Scalar
    timestamp_ms: int
    quality: int | None = None
    properties: Properties = NO_PROPERTIES
    writeable: bool = False


def wire_value(
    data_type: DataType, value: Scalar, signed: SignedEncoding = SignedEncoding.SIGN_EXTENDED
) -> tuple[str, bool | int | float | str]:
    """The member of the value oneof, and what to put there (specification 6.4.16).

    `value` must not be None: a null is written as is_null without a value.

    Raises:
        EncodeError: the value does not fit the datatype, or the datatype is not scalar.
    """
    reading = READING[data_type]
    if reading is Reading.FLOATING and isinstance(value, int | float):
        return _floating(data_type, value)
    if reading is Reading.BOOLEAN and isinstance(value, bool):
        return "boolean_value", value
    if reading is Reading.TEXT and isinstance(value, str):
        return "string_value", value
    if isinstance(value, int) and not isinstance(value, bool):
        if reading is Reading.SIGNED:
            return _signed(data_type, value, signed)
        if reading is Reading.UNSIGNED and 0 <= value < 1 << INTEGER_WIDTH[data_type]:
            return _integer_field(data_type), value
        if reading is Reading.MILLISECONDS and -_MAX_MILLISECONDS <= value < _MAX_MILLISECONDS:
            return "long_value", value & (2**64 - 1)
    raise EncodeError(f"{value!r} cannot be written as {data_type.name}")


def _floating(data_type: DataType, value: float) -> tuple[str, float]:
    if isinstance(value, bool):
        raise EncodeError(f"{value!r} cannot be written as {data_type.name}")
    if data_type is DataType.Double:
        return "double_value", float(value)
    if math.isfinite(value) and abs(value) > _MAX_FLOAT:
        raise EncodeError(f"{value!r} cannot be written as Float")
    return "float_value", float(value)


def _signed(data_type: DataType, value: int, signed: SignedEncoding) -> tuple[str, int]:
    width = INTEGER_WIDTH[data_type]
    if not -(1 << (width - 1)) <= value < 1 << (width - 1):
        raise EncodeError(f"{value!r} cannot be written as {data_type.name}")
    if signed is SignedEncoding.SIGN_EXTENDED:
        width = max(width, 32)
    return _integer_field(data_type), value & ((1 << width) - 1)


def _integer_field(data_type: DataType) -> str:
    return "long_value" if INTEGER_WIDTH[data_type] == 64 else "int_value"


def put_observation(
    metric: pb.Metric, observation: PublishedValue, signed: SignedEncoding, *, datatype: bool
) -> None:
    """Write value, timestamp and quality into a metric; name and alias are the caller's.

    Raises:
        EncodeError: the value does not fit the datatype, or the datatype is not scalar.
    """
    metric.timestamp = observation.timestamp_ms
    if datatype:
        metric.datatype = observation.data_type
    if observation.value is None:
        metric.is_null = True
    else:
        member, value = wire_value(observation.data_type, observation.value, signed)
        setattr(metric, member, value)
    if observation.quality is not None:
        _put_property(metric.properties, QUALITY, observation.quality)


def put_properties(metric: pb.Metric, properties: Properties) -> None:
    """Write the properties of a tag; births carry them, data does not."""
    for key, value in properties.items():
        _put_property(metric.properties, key, value)


def _put_property(properties: pb.PropertySet, key: str, value: Scalar) -> None:
    """Append one property with its type (tck-id payloads-metric-propertyvalue-type-req)."""
    properties.keys.append(key)
    entry = properties.values.add()
    if isinstance(value, bool):
        entry.type, entry.boolean_value = DataType.Boolean, value
    elif isinstance(value, int):
        entry.type, entry.int_value = DataType.Int32, value & (2**32 - 1)
    elif isinstance(value, float):
        entry.type, entry.double_value = DataType.Double, value
    else:
        entry.type, entry.string_value = DataType.String, str(value)


def bd_seq_metric(payload: pb.Payload, bd_seq: int, timestamp_ms: int) -> None:
    """Add the bdSeq metric, an Int64 (tck-id message-flow-..-will-message-payload-bdSeq)."""
    payload.metrics.add(
        name=BD_SEQ, timestamp=timestamp_ms, datatype=DataType.Int64, long_value=bd_seq
    )


def death_payload(bd_seq: int, now_ms: int) -> bytes:
    """Payload of an NDEATH: bdSeq alone and no seq (topics-ndeath-payload, -seq)."""
    payload = pb.Payload(timestamp=now_ms)
    bd_seq_metric(payload, bd_seq, now_ms)
    return payload.SerializeToString()
