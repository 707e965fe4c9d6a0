"""A batch of payloads as columns: one ptars call, and what to do when it refuses.

ptars raises for a whole batch when one payload is malformed. The bad ones are then
found with upb, which parses one payload in a microsecond, and by bisection for what
upb accepts and ptars does not (invalid UTF-8); their neighbours are decoded again.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

import numpy as np
import pyarrow as pa
from google.protobuf.message import DecodeError
from ptars import HandlerPool

from sparkplug.counting import count_nonzero
from sparkplug.messages import is_suspect
from sparkplug.names import COMPRESSED_UUID
from sparkplug.pb import sparkplug_b_columns_pb2

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

T = TypeVar("T", bound=np.generic)

ABSENT: Final = -1
"""Stands for an absent seq or timestamp in integer columns."""

MAX_TIMESTAMP_MS: Final = 253_402_300_799_999
"""Last millisecond of the year 9999. Later timestamps are treated as absent."""

BEYOND_SEQ: Final = 2**31
"""The least seq that does not fit the column of the table, which then holds null."""

_HANDLERS: Final = HandlerPool([sparkplug_b_columns_pb2.DESCRIPTOR])
_SCALARS: Final = _HANDLERS.get_for_message(sparkplug_b_columns_pb2.ScalarPayload.DESCRIPTOR)
_SCALAR_FIELDS: Final = frozenset(
    field.name for field in sparkplug_b_columns_pb2.ScalarMetric.DESCRIPTOR.fields
)
_METADATA: Final = _HANDLERS.get_for_message(sparkplug_b_columns_pb2.MetadataPayload.DESCRIPTOR)
_EVERYTHING: Final = _HANDLERS.get_for_message(sparkplug_b_columns_pb2.Payload.DESCRIPTOR)


def validity(array: pa.Array) -> NDArray[np.bool_]:
    """Which elements of an Arrow array are not null, as one boolean per element."""
    if array.null_count == 0:
        return np.ones(len(array), dtype=np.bool_)
    if array.null_count == len(array):
        return np.zeros(len(array), dtype=np.bool_)
    bits = np.frombuffer(array.buffers()[0], dtype=np.uint8)
    start = array.offset
    flags = np.unpackbits(bits, count=start + len(array), bitorder="little")[start:]
    return flags.view(np.bool_)


def numbers(array: pa.Array, dtype: type[np.generic]) -> NDArray[Any]:
    """The values of a numeric Arrow array without copying; nulls hold arbitrary values."""
    if array.null_count == len(array):
        return np.zeros(len(array), dtype=dtype)
    return np.frombuffer(array.buffers()[1], dtype=dtype)[array.offset : array.offset + len(array)]


def booleans(array: pa.Array) -> NDArray[np.bool_]:
    """A boolean Arrow array with null as False."""
    if array.null_count == len(array):
        return np.zeros(len(array), dtype=np.bool_)
    bits = np.frombuffer(array.buffers()[1], dtype=np.uint8)
    start = array.offset
    values = np.unpackbits(bits, count=start + len(array), bitorder="little")[start:]
    return values.view(np.bool_) & validity(array)


@dataclass(slots=True)
class PayloadColumns:
    """Payloads of a batch, message by message, and all their metrics, one after another.

    `offsets` has one entry more than there are messages: the metrics of message i
    are rows offsets[i] to offsets[i + 1], counts[i] of them. `seq` and `timestamp_ms` hold
    ABSENT where the payload has none; `timestamp_unusable` marks those beyond the year 9999.
    """

    seq: NDArray[np.int64]
    timestamp_ms: NDArray[np.int64]
    timestamp_unusable: NDArray[np.bool_]
    compressed: NDArray[np.bool_]
    offsets: NDArray[np.int64]
    _payloads: list[bytes]
    _metrics: pa.StructArray
    counts: NDArray[np.int64] = field(init=False)
    _is_one_each: bool = field(init=False)

    def __post_init__(self) -> None:
        self.counts = self.offsets[1:] - self.offsets[:-1]
        same = len(self._metrics) == len(self.counts)
        self._is_one_each = same and count_nonzero(self.counts) == len(self.counts)

    def per_metric(self, by_message: NDArray[T]) -> NDArray[T]:
        """The value of each message for each of its metrics; the array is not to be written to."""
        return by_message if self._is_one_each else by_message.repeat(self.counts)

    def metric(self, name: str) -> pa.Array:
        """One field of all metrics, as an Arrow array of one element per metric.

        Asking for a field that is rare decodes the batch once more, with all fields.
        """
        if name not in _SCALAR_FIELDS and self._metrics.type.num_fields == len(_SCALAR_FIELDS):
            self._metrics = (
                _EVERYTHING.list_to_record_batch(self._payloads).column("metrics").values
            )
        return self._metrics.field(name)

    def metadata(self, positions: Sequence[int]) -> pa.Array:
        """The encoded metadata of all metrics of some messages; without decoding the others."""
        if self._metrics.type.num_fields == len(_SCALAR_FIELDS):
            payloads = [self._payloads[position] for position in positions]
            return _METADATA.list_to_record_batch(payloads).column("metrics").values.field(0)
        return self._metrics.field("metadata").take(pa.array(self.rows_of(positions)))

    def rows_of(self, positions: Sequence[int]) -> NDArray[np.int64]:
        """The metrics of some messages, message by message."""
        bounds = [(self.offsets[each], self.offsets[each + 1]) for each in positions]
        return np.concatenate([np.arange(*each, dtype=np.int64) for each in bounds])

    def metrics(self) -> pa.StructArray:
        """All metrics of the batch with all fields of the schema, message by message."""
        self.metric("template_value")
        return self._metrics

    def spliced(
        self,
        more: Sequence[pa.StructArray],
        source: NDArray[np.int64],
        offsets: NDArray[np.int64],
    ) -> PayloadColumns:
        """A copy of the messages with other metrics.

        Args:
            more: metrics with all fields, behind those of the batch.
            source: index of each new metric among those of the batch and `more`.
            offsets: where the metrics of each message begin; one more for the end.
        """
        metrics = pa.concat_arrays([self.metrics(), *more]).take(pa.array(source))
        return replace(self, offsets=offsets, _payloads=[], _metrics=metrics)

    def part(self, position: int, indices: Sequence[int]) -> bytes:
        """A payload with some metrics of a message, its seq and timestamp where they are usable."""
        part = sparkplug_b_columns_pb2.Payload()
        try:
            whole = sparkplug_b_columns_pb2.Payload.FromString(self._payloads[position])
        except DecodeError:
            # ptars passes over unknown fields whose numbers are beyond protobuf's range.
            part.MergeFromString(self._written_anew(position, indices))
        else:
            part.metrics.extend(whole.metrics[index] for index in indices)
        if self.seq[position] != ABSENT:
            part.seq = int(self.seq[position])
        if self.timestamp_ms[position] != ABSENT:
            part.timestamp = int(self.timestamp_ms[position])
        encoded: bytes = part.SerializeToString()
        return encoded

    def _written_anew(self, position: int, indices: Sequence[int]) -> bytes:
        """A payload with some metrics of a message, of their known fields only."""
        whole = _EVERYTHING.list_to_record_batch([self._payloads[position]])
        metrics = whole.column("metrics").values.take(pa.array(indices, pa.int64()))
        ends = pa.array([0, len(indices)], pa.int32())
        part = pa.record_batch({"metrics": pa.ListArray.from_arrays(ends, metrics)})
        written: bytes = _EVERYTHING.record_batch_to_array(part)[0].as_py()
        return written

    @property
    def metric_count(self) -> int:
        """How many metrics the batch has in all."""
        return len(self._metrics)


class Timestamps(NamedTuple):
    """Milliseconds since 1970 UTC, and where they were not `usable`: beyond the year 9999.

    ABSENT stands for those that are missing, and for those that are not usable.
    """

    milliseconds: NDArray[np.int64]
    unusable: NDArray[np.bool_]


def timestamps(array: pa.Array) -> Timestamps:
    """The timestamps of some messages or metrics."""
    raw = numbers(array, np.uint64)
    if array.null_count == 0 and (len(raw) == 0 or raw.max() <= MAX_TIMESTAMP_MS):
        return Timestamps(raw.view(np.int64), np.zeros(len(raw), dtype=np.bool_))
    present = validity(array)
    usable = present & (raw <= MAX_TIMESTAMP_MS)
    values = np.where(usable, raw.view(np.int64), ABSENT)
    return Timestamps(values, present & ~usable)


def _sequence_numbers(array: pa.Array) -> NDArray[np.int64]:
    raw = numbers(array, np.uint64)
    if array.null_count == 0 and (len(raw) == 0 or raw.max() < BEYOND_SEQ):
        return raw.view(np.int64)
    # A seq beyond the column's INT breaks the specification; its remainder still counts on.
    bounded = np.where(raw < BEYOND_SEQ, raw, BEYOND_SEQ + raw % np.uint64(256))
    return np.where(validity(array), bounded.astype(np.int64), ABSENT)


def _to_columns(payloads: list[bytes]) -> PayloadColumns:
    timestamp, metrics, seq, uuid = _SCALARS.list_to_record_batch(payloads).columns
    timestamp_ms, unusable = timestamps(timestamp)
    compressed = np.zeros(len(payloads), dtype=np.bool_)
    if uuid.null_count < len(uuid):
        compressed = np.array([text == COMPRESSED_UUID for text in uuid.to_pylist()])
    offsets = np.frombuffer(metrics.buffers()[1], dtype=np.int32)[: len(metrics) + 1]
    return PayloadColumns(
        seq=_sequence_numbers(seq),
        timestamp_ms=timestamp_ms,
        timestamp_unusable=unusable,
        compressed=compressed,
        offsets=offsets.astype(np.int64),
        _payloads=payloads,
        _metrics=metrics.values,
    )


def _parses(payload: bytes) -> bool:
    try:
        # The flat schema: damage inside properties or a data set concerns its metric only.
        sparkplug_b_columns_pb2.Payload.FromString(payload)
    except DecodeError:
        return False
    return True


def _refused(payloads: Sequence[bytes], indices: list[int]) -> list[int]:
    """Which of the indexed payloads ptars refuses, by bisection."""
    try:
        _EVERYTHING.list_to_record_batch([payloads[index] for index in indices])
    except ValueError:
        if len(indices) == 1:
            return indices
        middle = len(indices) // 2
        return _refused(payloads, indices[:middle]) + _refused(payloads, indices[middle:])
    return []


class DecodedPayloads(NamedTuple):
    """The well-formed payloads of a batch in their order, and the indices of the others."""

    columns: PayloadColumns
    malformed: list[int]


def decode(payloads: list[bytes], suspects: Sequence[int] | None = None) -> DecodedPayloads:
    """Decode a batch.

    `suspects` are the indices of payloads that `is_suspect`, if the caller knows them.

    Whether a payload is well-formed does not depend on its neighbours: ptars is the judge of
    all that it can be trusted with, upb only helps to find the suspects quickly.
    """
    if suspects is None:
        suspects = [index for index, payload in enumerate(payloads) if is_suspect(payload)]
    unread = [index for index in suspects if not _parses(payloads[index])]
    if not unread:
        with suppress(ValueError):
            return DecodedPayloads(_to_columns(payloads), [])
    readable = sorted(set(range(len(payloads))) - set(unread))
    doubtful = [index for index in readable if not _parses(payloads[index])]
    others = sorted(set(readable) - set(doubtful))
    bad = sorted(unread + _refused(payloads, doubtful) + _refused(payloads, others))
    dropped = set(bad)
    columns = _to_columns([p for i, p in enumerate(payloads) if i not in dropped])
    return DecodedPayloads(columns, bad)
