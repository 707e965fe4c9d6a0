"""docs/event_id.md, one value at a time."""

from __future__ import annotations

import math
import struct
from typing import TYPE_CHECKING, Any

import xxhash

if TYPE_CHECKING:
    from collections.abc import Mapping

NO_DEVICE = 0xFFFFFFFF

NULL, DOUBLE, INTEGER, BOOLEAN, TEXT = range(5)


def identity(site: str, group: str, node: str, device: str | None, metric: str) -> bytes:
    """Sixteen bytes that name a tag."""
    record = b""
    for text in (site, group, node, device, metric):
        if text is None:
            record += struct.pack("<I", NO_DEVICE)
        else:
            raw = text.encode("utf-8")
            record += struct.pack("<I", len(raw)) + raw
    return xxhash.xxh3_128_digest(record)


def value_record(values: Mapping[str, Any]) -> tuple[int, bytes]:
    """Kind and sixteen bytes of a row's value, chosen by the column that carries it."""
    if values["boolean_value"] is not None:
        return BOOLEAN, struct.pack("<QQ", int(values["boolean_value"]), 0)
    if values["integer_value"] is not None:
        return INTEGER, struct.pack("<qQ", values["integer_value"], 0)
    if values["string_value"] is not None:
        return TEXT, xxhash.xxh3_128_digest(values["string_value"].encode("utf-8"))
    if values["numeric_value"] is not None:
        assert math.isfinite(values["numeric_value"])
        return DOUBLE, struct.pack("<dQ", values["numeric_value"], 0)
    return NULL, bytes(16)


def event_id(tag: bytes, event_time_us: int, values: Mapping[str, Any], quality_code: int) -> str:
    """32 hexadecimal digits; `values` holds the four value columns of the row."""
    kind, value = value_record(values)
    record = tag + struct.pack("<q", event_time_us) + value + struct.pack("<iI", quality_code, kind)
    assert len(record) == 48
    return xxhash.xxh3_128_hexdigest(record)
