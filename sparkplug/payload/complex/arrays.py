"""Array values (specification 6.4.16, datatypes 22 to 34) as JSON text.

The published examples of FloatArray, DoubleArray, DateTimeArray and Int8Array in
version 3.0.0 contradict its text; the text holds: all elements are little-endian.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sparkplug.datatypes import DataType
from sparkplug.payload.complex.json_values import (
    FIRST_MILLISECOND,
    LAST_MILLISECOND,
    JsonValue,
    json_text,
    number,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAX_ELEMENTS: Final = 1_000_000
"""Default for the most elements that an array may have."""

_ELEMENT: Final[dict[DataType, np.dtype[Any]]] = {
    DataType.Int8Array: np.dtype("<i1"),
    DataType.Int16Array: np.dtype("<i2"),
    DataType.Int32Array: np.dtype("<i4"),
    DataType.Int64Array: np.dtype("<i8"),
    DataType.UInt8Array: np.dtype("<u1"),
    DataType.UInt16Array: np.dtype("<u2"),
    DataType.UInt32Array: np.dtype("<u4"),
    DataType.UInt64Array: np.dtype("<u8"),
    DataType.FloatArray: np.dtype("<f4"),
    DataType.DoubleArray: np.dtype("<f8"),
    DataType.DateTimeArray: np.dtype("<i8"),
}

ARRAYS: Final = frozenset({*_ELEMENT, DataType.BooleanArray, DataType.StringArray})
"""The datatypes that array_text reads."""


def array_text(data_type: DataType, raw: bytes, *, max_elements: int = MAX_ELEMENTS) -> str | None:
    """`raw` as JSON array; None if it is no such array or has more than `max_elements`.

    Integers are exact, also above 2^63. Floats have the shortest digits of their width;
    NaN, Infinity and -Infinity are strings. Times are ISO 8601 in UTC with milliseconds,
    null outside the years 1 to 9999. No bytes are an array without elements, of any type.
    """
    if data_type is DataType.BooleanArray:
        return _booleans(raw, max_elements)
    if data_type is DataType.StringArray:
        return _strings(raw, max_elements)
    element = _ELEMENT.get(data_type)
    if element is None or len(raw) % element.itemsize:
        return None
    if len(raw) > max_elements * element.itemsize:
        return None
    values = np.frombuffer(raw, dtype=element)
    if data_type is DataType.DateTimeArray:
        return _moments(values)
    return json_text(_floats(values) if element.kind == "f" else values.tolist())


def _booleans(raw: bytes, max_elements: int) -> str | None:
    """A count of bits (UInt32), then the bits from the most significant one of each byte.

    The count must account for all bytes: where it does not, the bits would be guesses.
    """
    if not raw:
        return "[]"
    count = int.from_bytes(raw[:4], "little")
    if len(raw) < 4 or count > max_elements or len(raw) != 4 + (count + 7) // 8:
        return None
    bits = np.unpackbits(np.frombuffer(raw, dtype=np.uint8, offset=4), count=count)
    return json_text(bits.astype(np.bool_).tolist())


def _strings(raw: bytes, max_elements: int) -> str | None:
    """UTF-8 texts that end with NUL each; some publishers leave out the last NUL."""
    complete = raw if not raw or raw.endswith(b"\0") else raw + b"\0"
    if complete.count(b"\0") > max_elements:
        return None
    try:
        texts = complete.decode()
    except UnicodeDecodeError:
        return None
    elements: list[JsonValue] = [*texts.split("\0")[:-1]]
    return json_text(elements)


def _floats(values: NDArray[np.floating]) -> list[JsonValue]:
    finite = np.isfinite(values)
    plain = values if finite.all() else np.where(finite, values, 0)
    if values.dtype.itemsize == 4:
        # Arrow prints the shortest digits that give the same 32-bit float.
        digits = pa.array(plain.astype(np.float32)).cast(pa.string())
        plain = digits.cast(pa.float64()).to_numpy()
    listed: list[JsonValue] = plain.tolist()
    for index in np.flatnonzero(~finite).tolist():
        listed[index] = number(float(values[index]))
    return listed


def _moments(values: NDArray[np.int64]) -> str:
    """The JSON text itself: nothing in a time needs an escape, and Arrow is much faster."""
    printable = (values >= FIRST_MILLISECOND) & (values <= LAST_MILLISECOND)
    moments = np.where(printable, values, 0).astype("<i8").view("<M8[ms]")
    texts = pc.replace_substring(pa.array(moments).cast(pa.string()), " ", "T")
    quoted = pc.binary_join_element_wise('"', texts, 'Z"', "")
    elements = pc.if_else(pa.array(printable), quoted, "null")
    return "[" + ",".join(elements.to_pylist()) + "]"
