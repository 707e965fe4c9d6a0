"""Values that are members of the value oneof already, without a payload around them.

Whoever has values from elsewhere than a payload gives them the member that an edge node would
have put them into (`scalar_member`), and reads them here by the same rules.
"""

from __future__ import annotations

from itertools import compress
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
import pyarrow as pa

from sparkplug import quality
from sparkplug.counting import count_nonzero
from sparkplug.datatypes import reading_and_width
from sparkplug.payload.values import Values, read_values

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

MEMBERS: Final = (
    "is_null",
    "int_value",
    "long_value",
    "float_value",
    "double_value",
    "boolean_value",
    "string_value",
)
"""Order of the codes of members; the first says that there is no value."""

_FIXED: Final[dict[str, tuple[Any, Any]]] = {
    "int_value": (pa.uint32(), np.uint32),
    "long_value": (pa.uint64(), np.uint64),
    "float_value": (pa.float32(), np.float32),
    "double_value": (pa.float64(), np.float64),
}


class ReadMembers(NamedTuple):
    """Values, and the quality code and class of each: of one that does not fit both are bad."""

    values: Values
    quality_code: NDArray[np.int32]
    quality: NDArray[np.uint8]


def read_members(
    members: NDArray[np.uint8],
    values: Sequence[Any],
    datatype: NDArray[np.uint8],
    quality_code: NDArray[np.int32],
) -> ReadMembers:
    """Read values of scalar datatypes as metrics of a payload of Ignition are read.

    Args:
        members: of each value the member it is in, as an index of MEMBERS.
        values: in the form that the member has on the wire: integers unsigned.
        datatype: of each value, as the code of a datatype that is a scalar.
        quality_code: of each value, 192 where there is none; changed where a value does not fit.
    """
    reading, width = reading_and_width(datatype)
    read = read_values(_Fields(members, values), reading, width)
    if count_nonzero(read.misfit):
        quality_code[read.misfit] = quality.DOES_NOT_FIT
    of_ignition = np.ones(len(members), dtype=np.bool_)
    return ReadMembers(read, quality_code, quality.classes(quality_code, of_ignition))


class _Fields:
    """The columns of the oneof, made of values and their members when they are asked for."""

    def __init__(self, members: NDArray[np.uint8], values: Sequence[Any]) -> None:
        self._members = members
        self._values = values
        self._rows = len(members)

    def __call__(self, name: str) -> pa.Array:
        if name not in MEMBERS:
            return pa.nulls(self._rows, pa.binary())
        here = self._members == MEMBERS.index(name)
        if name == "is_null":
            return _booleans(here, None)
        arrow_type, dtype = _FIXED.get(name, (None, None))
        count = count_nonzero(here)
        if not count:
            return pa.nulls(self._rows, arrow_type or _OTHER[name])
        values = self._values if count == self._rows else compress(self._values, here.tolist())
        bits = None if count == self._rows else _bits(here)
        if name == "string_value":
            return _texts(here, list(values), bits)
        if name == "boolean_value":
            full = np.zeros(self._rows, dtype=np.bool_)
            full[here] = list(values)
            return _booleans(full, bits)
        numbers = np.zeros(self._rows, dtype=dtype)
        numbers[here] = np.array(list(values), dtype=dtype)
        return pa.Array.from_buffers(arrow_type, self._rows, [bits, pa.py_buffer(numbers)])


_OTHER: Final = {"boolean_value": pa.bool_(), "string_value": pa.string()}


def _texts(here: NDArray[np.bool_], texts: list[str], bits: pa.Buffer | None) -> pa.StringArray:
    raw = [text.encode() for text in texts]
    lengths = np.zeros(len(here) + 1, dtype=np.int32)
    lengths[1:][here] = list(map(len, raw))
    offsets = pa.py_buffer(np.cumsum(lengths, dtype=np.int32))
    buffers = [bits, offsets, pa.py_buffer(b"".join(raw))]
    return pa.Array.from_buffers(pa.string(), len(here), buffers)


def _booleans(values: NDArray[np.bool_], bits: pa.Buffer | None) -> pa.BooleanArray:
    return pa.Array.from_buffers(pa.bool_(), len(values), [bits, _bits(values)])


def _bits(mask: NDArray[np.bool_]) -> pa.Buffer:
    return pa.py_buffer(np.packbits(mask, bitorder="little"))
