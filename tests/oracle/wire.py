"""Protobuf written by hand, for what no library would write: odd order, odd varints."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import random
    from collections.abc import Mapping

VARINT, FIXED64, LENGTH, FIXED32 = 0, 1, 2, 5

# Field number and wire type of every member of Metric.
METRIC = {
    "name": (1, LENGTH),
    "alias": (2, VARINT),
    "timestamp": (3, VARINT),
    "datatype": (4, VARINT),
    "is_historical": (5, VARINT),
    "is_transient": (6, VARINT),
    "is_null": (7, VARINT),
    "metadata": (8, LENGTH),
    "properties": (9, LENGTH),
    "int_value": (10, VARINT),
    "long_value": (11, VARINT),
    "float_value": (12, FIXED32),
    "double_value": (13, FIXED64),
    "boolean_value": (14, VARINT),
    "string_value": (15, LENGTH),
    "bytes_value": (16, LENGTH),
    "dataset_value": (17, LENGTH),
    "template_value": (18, LENGTH),
    "extension_value": (19, LENGTH),
}


def varint(value: int, *, padding: int = 0) -> bytes:
    """An unsigned varint; `padding` adds bytes that carry only zeros, ten bytes at most."""
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    for _ in range(min(padding, 10 - len(out))):
        out[-1] |= 0x80
        out.append(0)
    return bytes(out)


def field(number: int, wire_type: int, value: Any, *, padding: int = 0) -> bytes:
    key = varint(number << 3 | wire_type)
    if wire_type == VARINT:
        return key + varint(int(value), padding=padding)
    if wire_type == FIXED32:
        return key + struct.pack("<f", value)
    if wire_type == FIXED64:
        return key + struct.pack("<d", value)
    raw = value.encode("utf-8") if isinstance(value, str) else value
    return key + varint(len(raw)) + raw


def odd_metric(fields: Mapping[str, Any], rng: random.Random) -> bytes:
    """A metric whose fields come in any order, with padded varints and unknown fields.

    Negative integers may come as encoders write them that declare the field as
    signed: ten bytes, of which a reader of uint32 keeps the low 32 bits.
    """
    pieces = []
    for name, value in fields.items():
        number, wire_type = METRIC[name]
        sent = value
        if name == "int_value" and value >= 2**31 and rng.random() < 0.5:
            sent = value | 0xFFFFFFFF00000000
        pieces.append(field(number, wire_type, sent, padding=rng.choice((0, 0, 1, 3, 9))))
    if rng.random() < 0.5:
        pieces.append(field(rng.choice((20, 1000)), LENGTH, b"later"))
    if rng.random() < 0.3:
        pieces.append(field(536870911, VARINT, 2**64 - 1))
    rng.shuffle(pieces)
    return b"".join(pieces)


def embedded(metric: bytes) -> bytes:
    """A metric as field of a payload, to be appended to one."""
    return field(2, LENGTH, metric)
