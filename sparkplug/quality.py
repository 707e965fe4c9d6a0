"""Quality codes: where they travel and what they mean.

A metric's `Quality` property holds the specification's 0, 192 or 500, or one of
Ignition's 32-bit codes, whose top two bits are the class and whose low 16 bits say
more. The rule is the table in docs/decoding.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow.compute as pc
from google.protobuf.message import DecodeError

from sparkplug.pb import sparkplug_b_pb2

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

GOOD, UNCERTAIN, BAD, STALE = range(4)
QUALITY_NAMES: Final = ("GOOD", "UNCERTAIN", "BAD", "STALE")
"""Names of the quality classes, by class."""

IMPLICIT: Final = 192
"""Code of a metric that carries none: good."""

STALE_CODE: Final = 500
"""Code of the specification for a value that may not hold any more."""

DOES_NOT_FIT: Final = -1_073_741_052
"""Ignition's Error_TypeConversion, 0xC0000304: the value does not fit its datatype."""

_BAD_STALE: Final = 516
_EXACT: Final = {
    0: BAD,
    2: GOOD,
    192: GOOD,
    200: GOOD,
    201: GOOD,
    202: GOOD,
    203: GOOD,
    500: STALE,
    _BAD_STALE: STALE,
}

_SUBCODES: Final = {
    "uncertain": (
        *("", "lastknownvalue", "initialvalue", "datasubnormal", "engineeringunitsexceeded"),
        "incompleteoperation",
    ),
    "bad": (
        *("", "unauthorized", "accessdenied", "disabled", "stale", "trialexpired"),
        *("licenseexceeded", "notfound", "referencenotfound", "aggregatenotfound"),
        *("notconnected", "gatewaycommoff", "outofrange", "databasenotconnected", "readonly"),
        *("failure", "notsupported"),
    ),
    "error": (
        *("", "configuration", "expressioneval", "tagexecution", "typeconversion"),
        *("databasequery", "io", "timeoutexpired", "exception", "invalidpathsyntax"),
        *("formatting", "scripteval", "cycledetected"),
    ),
}
"""Ignition's names of quality codes by class, in the order of the subcodes.

From com.inductiveautomation.ignition.common.model.values.QualityCode.
"""
_FIRST_CODE: Final = {"uncertain": 0x4000_0100, "bad": 0x8000_0200, "error": 0xC000_0300}
_GOOD: Final = {
    "unspecified": 0,
    "writepending": 2,
    "provisional": 200,
    "initial": 201,
    "backfill": 202,
}


def quality_of_name(name: str) -> int | None:
    """The code, signed 32 bit, of a quality that Ignition names, such as `Bad_Stale`.

    A name of a known class with something behind it that is not known is the class alone; None
    for any other name.
    """
    words = name.strip().lower().replace("_", " ").split()
    kind, what = (words[0], "".join(words[1:])) if words else ("", "")
    if kind == "stale":
        return STALE_CODE
    if kind == "good":
        return _GOOD.get(what, IMPLICIT)
    if kind not in _SUBCODES:
        return None
    names = _SUBCODES[kind]
    unsigned = _FIRST_CODE[kind] + (names.index(what) if what in names else 0)
    return unsigned - (1 << 32) if unsigned >= 1 << 31 else unsigned


def classify(code: int, *, zero_is_good: bool) -> int:
    """Quality class of one raw code (signed or unsigned 32 bit)."""
    unsigned = code & 0xFFFF_FFFF
    if unsigned in _EXACT:
        return GOOD if unsigned == 0 and zero_is_good else _EXACT[unsigned]
    flags, subcode = unsigned >> 30, unsigned & 0xFFFF
    if flags >= 2:
        return STALE if flags == 2 and subcode == _BAD_STALE else BAD
    # Some devices imitate Ignition's subcodes without its flags.
    return BAD if flags == 0 and 512 <= unsigned <= 780 else UNCERTAIN


def code_of(properties: bytes) -> int | None:
    """The Quality property of one encoded PropertySet as signed 32 bit, or None.

    None too when the bytes are no PropertySet or the property is no integer: damage
    there must not cost the value it belongs to.
    """
    if b"Quality" not in properties:
        return None
    try:
        decoded = sparkplug_b_pb2.PropertySet.FromString(properties)
    except DecodeError:
        return None
    for key, value in zip(decoded.keys, decoded.values, strict=False):
        if key == "Quality":
            field = value.WhichOneof("value")
            if value.is_null or field not in ("int_value", "long_value"):
                return None
            unsigned = int(getattr(value, field)) & 0xFFFF_FFFF
            return unsigned - (1 << 32) if unsigned >= 1 << 31 else unsigned
    return None


def codes(properties: pa.Array) -> NDArray[np.int32]:
    """Quality code of every metric of a batch; each distinct property set is read once."""
    found: NDArray[np.int32] = np.full(len(properties), IMPLICIT, dtype=np.int32)
    if properties.null_count == len(properties):
        return found
    encoded = pc.dictionary_encode(properties)
    distinct: list[Any] = encoded.dictionary.to_pylist()
    by_entry = [code_of(raw) for raw in distinct]
    table = np.array([IMPLICIT if code is None else code for code in by_entry], dtype=np.int32)
    indices = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False)
    present = indices >= 0
    found[present] = table[indices[present]]
    return found


def classes(code: NDArray[np.int32], zero_is_good: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Quality class per code; `zero_is_good` says so per element (nodes of Ignition)."""
    result = np.zeros(len(code), dtype=np.uint8)  # GOOD
    odd = (code != IMPLICIT).nonzero()[0]
    if len(odd):
        distinct, inverse = np.unique(code[odd], return_inverse=True)
        table = np.array([classify(int(c), zero_is_good=False) for c in distinct], dtype=np.uint8)
        result[odd] = table[inverse]
        result[odd[(code[odd] == 0) & zero_is_good[odd]]] = GOOD
    return result
