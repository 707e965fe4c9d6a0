"""Values that arrive as bytes, as the JSON text of docs/decoding.md; None if malformed."""

from __future__ import annotations

import hashlib
import json
import math
import struct
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError

from sparkplug.pb.sparkplug_b_pb2 import DataSet

ELEMENTS = {
    22: "b",
    23: "h",
    24: "i",
    25: "q",
    26: "B",
    27: "H",
    28: "I",
    29: "Q",
    30: "f",
    31: "d",
}
DATA_SET, BYTES, FILE = 16, 17, 18
BOOLEAN_ARRAY, STRING_ARRAY, DATE_TIME_ARRAY = 32, 33, 34


def as_json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def plain_float(value: float, *, single: bool = False) -> Any:
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    return float(str(np.float32(value))) if single else value


def encoded_text(code: int, raw: bytes, iso_8601: Any) -> str | None:  # noqa: C901, PLR0911
    """`iso_8601` is that of oracle.values, which imports this module."""
    if code == DATA_SET:
        return data_set(raw)
    if code in {BYTES, FILE}:
        return as_json({"size": len(raw), "md5": hashlib.md5(raw).hexdigest()})
    if code == BOOLEAN_ARRAY:
        if not raw:
            return "[]"
        if len(raw) < 4:
            return None
        (count,) = struct.unpack_from("<I", raw)
        bits = [bool(byte >> shift & 1) for byte in raw[4:] for shift in range(7, -1, -1)]
        return as_json(bits[:count]) if (count + 7) // 8 == len(raw) - 4 else None
    if code == STRING_ARRAY:
        try:
            texts = raw.decode("utf-8").split("\0")
        except UnicodeDecodeError:
            return None
        return as_json(texts[:-1] if texts[-1] == "" else texts)
    letter = ELEMENTS.get(code, "q")
    if len(raw) % struct.calcsize(f"<{letter}"):
        return None
    elements = [value for (value,) in struct.iter_unpack(f"<{letter}", raw)]
    if code == DATE_TIME_ARRAY:
        return as_json([iso_8601(value) for value in elements])
    if letter in "fd":
        return as_json([plain_float(value, single=letter == "f") for value in elements])
    return as_json(elements)


def data_set(raw: bytes) -> str | None:
    try:
        parsed = DataSet.FromString(raw)
    except DecodeError:
        return None
    assert not parsed.rows, "generated data sets have no rows"
    if len(parsed.columns) != len(parsed.types):
        return None
    return as_json({"columns": list(parsed.columns), "types": list(parsed.types), "rows": []})
