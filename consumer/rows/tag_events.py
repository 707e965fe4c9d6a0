"""Observations to rows of tag_events, as encoded protobuf records.

A record is joined from three pieces: what is constant for its tag (tag_columns.py), what
hardly ever differs between rows (quality, message type, history: `_Circumstances`), and
the fields that are encoded for each row. The concatenation of protobuf messages is their
merger, and the field numbers of proto/tag_event.proto follow this order, so that the
bytes are what any protobuf library would write.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from consumer.errors import NullInRequiredColumnError
from consumer.rows.event_id import as_text, event_digests
from consumer.rows.tables import COLUMNS, TAG_EVENTS
from sparkplug import QUALITY_NAMES, ROW_TYPES, ValueKind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from consumer.rows.layouts import TagLayout
    from consumer.rows.tag_columns import ConstantColumns
    from sparkplug import Observations

_REQUIRED: Final = frozenset(column.name for column in COLUMNS if not column.nullable)
_BOOL: Final = pa.bool_()
_INT32: Final = pa.int32()
_INT64: Final = pa.int64()
_FLOAT64: Final = pa.float64()
_VARIABLE_SCHEMA: Final = pa.schema(
    [
        ("event_id", pa.string()),
        ("event_time", _INT64),
        ("ingestion_timestamp", _INT64),
        ("numeric_value", _FLOAT64),
        ("integer_value", _INT64),
        ("string_value", pa.string()),
        ("boolean_value", _BOOL),
        ("seq", _INT32),
        ("payload_timestamp", _INT64),
        ("arrival_number", _INT64),
    ]
)
"""Columns that are encoded row by row, as the encoder wants them."""

_REQUIRED_INDICES: Final = [
    index for index, name in enumerate(_VARIABLE_SCHEMA.names) if name in _REQUIRED
]
HTTP: Final = "HTTP"
"""Type of rows that came over HTTP."""

MESSAGE_TYPES: Final = (*ROW_TYPES, HTTP)
"""Order of the codes of message_type: those of Sparkplug, and HTTP."""

_IS_BIRTH: Final = np.array([each.endswith("BIRTH") for each in MESSAGE_TYPES])
_NOTHING: Final = pa.scalar(b"")
_JOIN: Final = pc.get_function("binary_join_element_wise")
_JOIN_OPTIONS: Final = pc.JoinOptions()
_PIECE: Final = 10_000
"""Rows encoded at a time; larger pieces spend their time on fresh memory."""
_PIECE_BYTES: Final = 8 << 20
"""Most bytes of rows encoded at a time: each repeats the name of its tag, maybe a long one."""
_OWN_BYTES: Final = 200
"""Most bytes that are encoded for one row, beside its text and its constant fields."""

_MOST_CIRCUMSTANCES: Final = 4096


def _key(code: Any, quality: Any, message_type: Any, historical: Any) -> Any:
    """A combination, or a column of them, as one integer."""
    return code << 16 | quality << 8 | message_type << 1 | historical


class _Circumstances:
    """Quality, quality code, message type and history of rows, encoded once per combination."""

    def __init__(self, layout: TagLayout) -> None:
        self._layout = layout
        self.variable = [name for name in _VARIABLE_SCHEMA.names if name in layout.names]
        self._encoded: dict[int, pa.Scalar] = {}

    def encode(self, observations: Observations, part: slice) -> pa.Scalar | pa.BinaryArray:
        """Encoded circumstances of the rows: one piece where all rows agree, else one per row."""
        code, quality = observations.quality_code[part], observations.quality[part]
        message_type, historical = observations.message_type[part], observations.historical[part]
        columns = (code, quality, message_type, historical)
        if all(_is_uniform(column) for column in columns):
            return self._piece(
                _key(int(code[0]), int(quality[0]), int(message_type[0]), bool(historical[0]))
            )
        key = _key(
            code.astype(np.int64),
            quality.astype(np.int64),
            message_type.astype(np.int64),
            historical,
        )
        encoded = pc.dictionary_encode(pa.array(key))
        pieces = [self._piece(each).as_buffer() for each in encoded.dictionary.to_pylist()]
        offsets = np.cumsum([0, *map(len, pieces)], dtype=np.int32)
        # Built by hand: pa.array(list) looks for dateutil with every call where there is none.
        table = pa.BinaryArray.from_buffers(
            pa.binary(), len(pieces), [None, pa.py_buffer(offsets), pa.py_buffer(b"".join(pieces))]
        )
        return table.take(encoded.indices)

    def _piece(self, key: int) -> pa.Scalar:
        piece = self._encoded.get(key)
        if piece is None:
            encoded = self._layout.piece(
                quality=QUALITY_NAMES[key >> 8 & 0xFF],
                quality_code=key >> 16,
                message_type=MESSAGE_TYPES[key >> 1 & 0x7F],
                is_historical=bool(key & 1),
            )
            piece = pa.scalar(encoded, pa.binary())
            if len(self._encoded) >= _MOST_CIRCUMSTANCES:  # quality codes come from outside
                self._encoded.clear()
            self._encoded[key] = piece
        return piece


@lru_cache(8)
def _circumstances(layout: TagLayout) -> _Circumstances:
    """What is shared by all rows of a layout."""
    return _Circumstances(layout)


def _is_uniform(column: NDArray[Any]) -> bool:
    """Whether all elements are the same; comparing bytes costs a fifth of comparing elements."""
    raw = column.tobytes()
    return raw == raw[: column.itemsize] * len(column)


@dataclass(frozen=True, slots=True)
class TagEvents:
    """Rows of tag_events made from one batch of observations.

    `variable` holds the columns that are encoded row by row.
    """

    observations: Observations
    tags: ConstantColumns
    variable: pa.RecordBatch

    def __len__(self) -> int:
        return len(self.observations)

    def numbered(self, first_arrival: int) -> TagEvents:
        """A copy of the rows with arrival numbers from `first_arrival` on."""
        index = _VARIABLE_SCHEMA.get_field_index("arrival_number")
        numbers = _numbers(first_arrival, len(self))
        return replace(self, variable=self.variable.set_column(index, "arrival_number", numbers))

    def encode(self, start: int = 0) -> Iterator[pa.BinaryArray]:
        """Encoded TagEvents from this row on, in pieces that fit into the processor's cache.

        A piece is made when it is asked for, and has no more than 8 MiB, but for a row that is
        larger.

        Raises:
            NullInRequiredColumnError: a NOT NULL column holds a null; the encoder would
                write a record that Zerobus rejects with everything behind it.
        """
        columns = self.variable.columns
        for index in _REQUIRED_INDICES:
            if columns[index].null_count:
                name = self.variable.schema.names[index]
                raise NullInRequiredColumnError(f"column {name} holds a null")
        if not start and 0 < len(self) <= _PIECE and self._most_bytes() <= _PIECE_BYTES:
            return iter((self._piece(self.variable, slice(0, len(self))),))
        return self._pieces(start)

    def _pieces(self, start: int) -> Iterator[pa.BinaryArray]:
        ends = np.cumsum(self._sizes())
        while start < len(self):
            before = int(ends[start - 1]) if start else 0
            within = int(np.searchsorted(ends, before + _PIECE_BYTES, side="right"))
            stop = min(max(within, start + 1), start + _PIECE, len(self))
            yield self._piece(self.variable.slice(start, stop - start), slice(start, stop))
            start = stop

    def _most_bytes(self) -> int:
        """No less than the bytes of all rows together."""
        each = self.tags.longest_prefix + _OWN_BYTES
        return len(self) * each + int(self.observations.values.text.nbytes)

    def _sizes(self) -> NDArray[np.int64]:
        """About the bytes of each row."""
        lengths = pc.fill_null(pc.binary_length(self.observations.values.text), 0)
        sizes = self.tags.prefix_sizes(self.observations.tag) + _OWN_BYTES
        sizes += lengths.to_numpy(zero_copy_only=False)
        return sizes

    def _piece(self, variable: pa.RecordBatch, part: slice) -> pa.BinaryArray:
        layout = self.tags.layout
        shared = _circumstances(layout)
        if not layout.is_default:
            variable = variable.select(shared.variable)
        return _JOIN.call(
            [
                self.tags.prefixes(self.observations.tag[part]),
                shared.encode(self.observations, part),
                TAG_EVENTS.encode(variable),
                _NOTHING,
            ],
            _JOIN_OPTIONS,
        )


def normalize(observations: Observations, tags: ConstantColumns, first_arrival: int) -> TagEvents:
    """Rows for a batch of observations; `first_arrival` numbers the first one.

    A birth value that is the observation its tag's last present row was gives no further row,
    unless something said STALE meanwhile: there may be fewer rows than observations, also none.
    """
    tags.extend()
    digests = event_digests(tags.identities(observations.tag), observations)
    from_birth = _IS_BIRTH[observations.message_type]
    if np.count_nonzero(from_birth):
        present = ~observations.historical
        repeated = from_birth & tags.repeats(observations.tag, digests, present)
        repeated &= ~observations.returned
        if np.count_nonzero(repeated):
            kept = np.flatnonzero(~repeated)
            observations, digests = observations.pick(kept), digests[kept]
    if np.count_nonzero(observations.historical):
        present = ~observations.historical
        tags.remember(observations.tag[present], digests[present])
    else:
        tags.remember(observations.tag, digests)
    rows = len(observations)
    values = observations.values
    kind = values.kind
    columns = [
        as_text(digests),
        _column(_INT64, observations.event_time_us),
        _column(_INT64, observations.received_us),
        _column(_FLOAT64, values.number, values.has_number),
        _column(_INT64, values.integer, kind == ValueKind.INTEGER),
        values.text,
        _booleans(values.integer, kind == ValueKind.BOOLEAN),
        _column(_INT32, observations.seq.astype(np.int32), observations.seq >= 0),
        _column(_INT64, observations.payload_time_us, observations.payload_time_us >= 0),
        _numbers(first_arrival, rows),
    ]
    variable = pa.RecordBatch.from_arrays(columns, schema=_VARIABLE_SCHEMA)
    return TagEvents(observations, tags, variable)


def _numbers(first: int, count: int) -> pa.Array:
    return _column(_INT64, np.arange(first, first + count, dtype=np.int64))


def _column(
    arrow_type: pa.DataType, values: NDArray[Any], valid: NDArray[np.bool_] | None = None
) -> pa.Array:
    """An Arrow array over the values' own memory, null where not `valid`.

    Built by hand: pa.array(values) costs three times as much.
    """
    bits = None
    if valid is not None and np.count_nonzero(valid) < len(valid):
        bits = pa.py_buffer(np.packbits(valid, bitorder="little"))
    return pa.Array.from_buffers(arrow_type, len(values), [bits, pa.py_buffer(values)])


def _booleans(values: NDArray[np.int64], valid: NDArray[np.bool_]) -> pa.Array:
    """The values that are not 0 as true, null where not `valid`."""
    bits = (np.packbits(each, bitorder="little") for each in (valid, values.astype(np.bool_)))
    return pa.Array.from_buffers(_BOOL, len(values), [pa.py_buffer(each) for each in bits])
