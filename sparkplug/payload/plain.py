"""What payloads say by themselves, without any birth: for who looks at the wire.

Every form is read: protobuf, JSON, compressed. A metric of data has the name or the alias that
it carries, and a value by the datatype that it carries, or as found.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from sparkplug import quality
from sparkplug.datatypes import DataType, datatype_codes, from_code, reading_and_width
from sparkplug.messages import Reason, is_suspect
from sparkplug.payload.columns import ABSENT, booleans, numbers, timestamps, validity
from sparkplug.payload.envelope import MAX_INFLATED_BYTES
from sparkplug.payload.forms import read_payloads
from sparkplug.payload.values import read_values
from sparkplug.payload.weight import METRIC_MEMORY, json_memory, metrics_in

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pyarrow as pa

    from sparkplug.payload.columns import PayloadColumns

_MOST_METRICS: Final = 250_000
_PART_BYTES: Final = 256 * 1024
"""Bytes of payloads that are decoded together; what is larger is decoded alone."""
_RUN: Final = 1_000
"""Metrics that are read together: whoever looks may have seen enough after the first ones."""


class PlainHead(NamedTuple):
    """A payload without its metrics.

    Args:
        seq: None if it has none.
        timestamp_ms: milliseconds since 1970 UTC; None if it has none that is usable.
        metrics: how many it has.
        problem: why it cannot be read; then all else is None or 0.
    """

    seq: int | None = None
    timestamp_ms: int | None = None
    metrics: int = 0
    problem: Reason | None = None


class PlainMetric(NamedTuple):
    """A metric as it is written.

    Args:
        name: None if it has none, or an empty one.
        alias: None if it has none.
        datatype: Unknown if it carries none.
        timestamp_ms: milliseconds since 1970 UTC; None if it has none that is usable.
        value: None for null, for no value at all, and for what is no scalar and has no text.
        quality_code: signed 32 bit; 192 where none is carried.
        quality: class of it (see `QUALITY_NAMES`).
        historical: whether it comes from a store of the edge node.
    """

    name: str | None
    alias: int | None
    datatype: DataType
    timestamp_ms: int | None
    value: float | int | bool | str | None
    quality_code: int
    quality: int
    historical: bool


class PlainPayloads:
    """Payloads read by themselves.

    Attributes:
        heads: one for each payload, in their order.
    """

    def __init__(
        self, payloads: Sequence[bytes], max_payload_bytes: int = 16 * 1024 * 1024
    ) -> None:
        """Read payloads.

        Args:
            payloads: as they came.
            max_payload_bytes: larger ones, and those with more than 250,000 metrics, are not read.
        """
        self.heads: list[PlainHead] = []
        self._places: list[tuple[PayloadColumns, int] | None] = []
        part: list[bytes] = []
        size = 0
        for payload in payloads:
            if _is_too_large(payload, max_payload_bytes):
                self._read(part)
                part, size = [], 0
                self._add(PlainHead(problem=Reason.TOO_LARGE))
                continue
            if part and size + len(payload) > _PART_BYTES:
                self._read(part)
                part, size = [], 0
            part.append(payload)
            size += len(payload)
        self._read(part)

    def metrics(self, position: int) -> Iterator[PlainMetric]:
        """The metrics of a payload; none of one that cannot be read."""
        place = self._places[position]
        if place is None:
            return
        columns, row = place
        start, stop = int(columns.offsets[row]), int(columns.offsets[row + 1])
        for first in range(start, stop, _RUN):
            yield from _metrics(columns, first, min(_RUN, stop - first))

    def _read(self, part: list[bytes]) -> None:
        if not part:
            return
        read = read_payloads(
            part,
            [index for index, payload in enumerate(part) if is_suspect(payload)],
            max_inflated_bytes=MAX_INFLATED_BYTES,
            max_opened_memory=2 * MAX_INFLATED_BYTES,
            max_metrics=_MOST_METRICS,
        )
        columns, row = read.columns, 0
        for position in range(len(part)):
            if position in read.refused:
                self._add(PlainHead(problem=read.refused[position]))
                continue
            if position in read.unopened:
                self._add(PlainHead(problem=read.unopened[position]))
            else:
                head = PlainHead(
                    _present(columns.seq[row]),
                    _present(columns.timestamp_ms[row]),
                    int(columns.counts[row]),
                )
                self._add(head, (columns, row))
            row += 1

    def _add(self, head: PlainHead, place: tuple[PayloadColumns, int] | None = None) -> None:
        self.heads.append(head)
        self._places.append(place)


def _is_too_large(payload: bytes, max_bytes: int) -> bool:
    return (
        len(payload) > max_bytes
        or metrics_in(payload) > _MOST_METRICS
        or json_memory(payload) > METRIC_MEMORY * _MOST_METRICS
    )


def _present(number: np.int64) -> int | None:
    return None if number == ABSENT else int(number)


def _metrics(columns: PayloadColumns, first: int, count: int) -> Iterator[PlainMetric]:
    def field(name: str) -> pa.Array:
        return columns.metric(name).slice(first, count)

    present = validity(field("datatype"))
    datatype = datatype_codes(np.where(present, numbers(field("datatype"), np.uint32), 0))
    reading, width = reading_and_width(datatype)
    values = read_values(field, reading, width, datatype).to_list()
    code = quality.codes(field("properties"))
    return map(
        PlainMetric,
        (name or None for name in field("name").to_pylist()),
        field("alias").to_pylist(),
        map(from_code, datatype.tolist()),
        (_present(each) for each in timestamps(field("timestamp")).milliseconds),
        values,
        code.tolist(),
        quality.classes(code, np.zeros(count, dtype=np.bool_)).tolist(),
        booleans(field("is_historical")).tolist(),
    )
