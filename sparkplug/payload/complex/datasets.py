"""DataSet values (specification 6.4.16) as JSON text."""

from __future__ import annotations

from typing import Final

from google.protobuf.message import DecodeError

from sparkplug.datatypes import from_code
from sparkplug.payload.complex.json_values import (
    MISFIT,
    JsonValue,
    Reader,
    decoded,
    json_text,
    reader_of,
)
from sparkplug.pb.sparkplug_b_pb2 import DataSet

MAX_BYTES: Final = 4 * 1024 * 1024
"""Default for the most bytes of one encoded data set. Empty elements take 2 bytes on the
wire and a multiple of that in memory, so the bytes are bounded before they are parsed."""
MAX_CELLS: Final = 500_000
"""Default for the most elements of one data set."""


def dataset_text(
    raw: bytes, *, max_bytes: int = MAX_BYTES, max_cells: int = MAX_CELLS
) -> str | None:
    """An encoded DataSet as `{"columns":[...],"types":[...],"rows":[[...],...]}`.

    Elements are read by the type of their column, as scalar metrics are: times become
    ISO 8601 text, NaN and infinities text. An element without value is null, and so is
    one that does not fit its column. The text "null" is a text.

    None when the bytes are no DataSet, when names, types and rows disagree on the number
    of columns, when a column's name is not UTF-8, or beyond the limits. num_of_columns
    is not looked at: it says nothing that the columns do not.
    """
    if len(raw) > max_bytes:
        return None
    try:
        dataset = DataSet.FromString(raw)
    except DecodeError:
        return None
    width = len(dataset.columns)
    if len(dataset.types) != width or len(dataset.rows) * max(width, 1) > max_cells:
        return None
    columns = [decoded(name) for name in dataset.columns]
    if None in columns:
        return None
    types = [from_code(code) for code in dataset.types]
    readers = [reader_of(data_type) for data_type in types]
    rows: list[JsonValue] = []
    for row in dataset.rows:
        if len(row.elements) != width:
            return None
        rows.append([_cell(e, r) for e, r in zip(row.elements, readers, strict=True)])
    names: list[JsonValue] = [*columns]
    type_names: list[JsonValue] = [data_type.name for data_type in types]
    return json_text({"columns": names, "types": type_names, "rows": rows})


def _cell(element: DataSet.Value, reader: Reader) -> JsonValue:
    field = element.WhichOneof("value")
    if field is None:
        return None
    found = reader(field, getattr(element, field))
    return None if found is MISFIT else found
