"""Datatypes of events that come over HTTP: by the name that is sent, or by the value.

Senders name them as Ignition, Python, Java or Sparkplug do. The table is in
docs/event-streams.md.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final

from sparkplug import DataType

_NONE: Final = int(DataType.Unknown)
_INT64: Final = int(DataType.Int64)
_UINT64: Final = int(DataType.UInt64)
_DOUBLE: Final = int(DataType.Double)
_BOOLEAN: Final = int(DataType.Boolean)
_STRING: Final = int(DataType.String)

_DATATYPES: Final = {
    # Ignition; its Int8 has 8 bytes. Arrays, data sets and documents come as text.
    "int1": DataType.Int8,
    "int2": DataType.Int16,
    "int4": DataType.Int32,
    "int8": DataType.Int64,
    "float4": DataType.Float,
    "float8": DataType.Double,
    "boolean": DataType.Boolean,
    "string": DataType.String,
    "datetime": DataType.DateTime,
    "text": DataType.Text,
    "dataset": DataType.String,
    "document": DataType.String,
    "binarydata": DataType.String,
    **{f"{each}array": DataType.String for each in ("int1", "int2", "int4", "int8", "boolean")},
    **{f"{each}array": DataType.String for each in ("float4", "float8", "string", "datetime")},
    # Python and Java.
    "bool": DataType.Boolean,
    "int": DataType.Int64,
    "long": DataType.Int64,
    "integer": DataType.Int32,
    "short": DataType.Int16,
    "byte": DataType.Int8,
    "double": DataType.Double,
    "str": DataType.String,
    "unicode": DataType.String,
    "basestring": DataType.String,
    "date": DataType.DateTime,
    # Python's float has 64 bits, and the names that Sparkplug alone has.
    "float": DataType.Double,
    "int16": DataType.Int16,
    "int32": DataType.Int32,
    "int64": DataType.Int64,
    "uint8": DataType.UInt8,
    "uint16": DataType.UInt16,
    "uint32": DataType.UInt32,
    "uint64": DataType.UInt64,
    "uuid": DataType.UUID,
}
"""Datatypes by the names that Ignition, Python, Java and Sparkplug have for them, lower case."""
_NO_DATATYPE: Final = frozenset({"", "nonetype", "none", "null"})
MOST_OF_DATATYPE: Final = 256
"""Characters of a datatype's name that are looked at, and kept for the next event."""
UNKNOWN: Final = -1
"""In place of a code: the datatype has a name that nobody knows."""
INFERRED: Final = -2
"""In place of a code: the datatype has no name, and is that of the value."""


@lru_cache(256)
def datatype_named(name: str) -> int:
    """The code of a datatype that is given by its name; UNKNOWN or INFERRED for none."""
    plain = name.strip().lower().rpartition(".")[2]
    if plain in _NO_DATATYPE:
        return INFERRED
    found = _DATATYPES.get(plain)
    return UNKNOWN if found is None else int(found)


def datatype_of(value: Any) -> int:
    """The code of the datatype of a value that comes without one that is known."""
    if isinstance(value, bool):
        return _BOOLEAN
    if isinstance(value, int):
        return _UINT64 if value >= 2**63 else _INT64
    if isinstance(value, float):
        return _DOUBLE
    return _STRING if isinstance(value, str) else _NONE
