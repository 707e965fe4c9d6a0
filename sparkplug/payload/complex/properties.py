"""PropertySets (specification 6.4.11 and following) as plain values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from google.protobuf.message import DecodeError

from sparkplug.datatypes import DataType, from_code
from sparkplug.payload.complex.json_values import MISFIT, JsonValue, Misfit, decoded, value_of
from sparkplug.pb.sparkplug_b_pb2 import PropertySet

if TYPE_CHECKING:
    from sparkplug.pb.sparkplug_b_pb2 import PropertyValue

MAX_DEPTH: Final = 16
"""Default for how deep property sets may be nested."""
MAX_BYTES: Final = 1024 * 1024
"""Default for the most bytes of one encoded property set."""


def properties_of(
    raw: bytes, *, max_depth: int = MAX_DEPTH, max_bytes: int = MAX_BYTES
) -> dict[str, JsonValue]:
    """The properties of a metric by key; {} when the bytes are no PropertySet or too many.

    Values are read by their type; one that does not fit it, or without type, as it is on
    the wire. Sets become dictionaries, lists of sets lists. Left out are sets nested
    deeper than `max_depth`, and text that is not UTF-8. The last of equal keys counts, and
    where keys and values differ in number, those without partner are left out.
    """
    if len(raw) > max_bytes:
        return {}
    try:
        found = PropertySet.FromString(raw)
    except DecodeError:
        return {}
    return _plain_set(found, max_depth)


def _plain_set(properties: PropertySet, depth: int) -> dict[str, JsonValue]:
    plain: dict[str, JsonValue] = {}
    for raw_key, property_value in zip(properties.keys, properties.values, strict=False):
        key = decoded(raw_key)
        if key is not None:
            value = _plain_value(property_value, depth)
            if value is not MISFIT:
                plain[key] = value
    return plain


def _plain_value(value: PropertyValue, depth: int) -> JsonValue | Misfit:
    field = None if value.is_null else value.WhichOneof("value")
    if field is None:
        return None
    if field == "propertyset_value":
        return MISFIT if depth <= 1 else _plain_set(value.propertyset_value, depth - 1)
    if field == "propertysets_value":
        if depth <= 1:
            return MISFIT
        return [_plain_set(each, depth - 1) for each in value.propertysets_value.propertyset]
    typed = value_of(value, from_code(value.type))
    return value_of(value, DataType.Unknown) if typed is MISFIT else typed
