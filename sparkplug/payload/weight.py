"""Bounds the number of metrics of a payload, of which two bytes on the wire may be one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from sparkplug.names import COMPRESSED_UUID
from sparkplug.payload.envelope import MAX_INFLATED_BYTES, inflated
from sparkplug.payload.json_payload import is_json

if TYPE_CHECKING:
    from collections.abc import Sequence

METRIC_MEMORY: Final = 250
"""Bytes that a metric takes while it is read, in columns and as a row, its name aside."""
NAMES_PER_ROW: Final = 2
"""A row has the name of its metric, and those of node and device, twice: again in its path."""

_ENVELOPE: Final = COMPRESSED_UUID.encode()
_METRIC_TAG: Final = b"\x12"
"""The byte that each metric of a payload begins with; other bytes may have that value, too."""
_JSON_OBJECT: Final = 80
"""Bytes of a list, or of an object, that JSON is read to; with its place in another one."""
_JSON_ITEM: Final = 60


def metrics_in(payload: bytes) -> int:
    """The most metrics that a payload may have; of an envelope, those outside of it."""
    count = payload.count(_METRIC_TAG)
    # Protobuf may look like JSON at its beginning: a group that nobody reads.
    return max(count, payload.count(b"{")) if is_json(payload) else count


class InEnvelope(NamedTuple):
    """Bytes of a payload after they were inflated, and the most metrics that they may have."""

    size: int
    metrics: int


def metrics_in_envelope(payload: bytes, max_bytes: int) -> InEnvelope:
    """What is in a compressed envelope, as far as `max_bytes`."""
    size = metrics = 0
    for piece in inflated(payload, max_bytes):
        size += len(piece)
        metrics += piece.count(_METRIC_TAG)
    return InEnvelope(size, metrics)


def metrics_together(payloads: Sequence[bytes]) -> int | None:
    """The most metrics that payloads have together; None if some are JSON, which is weighed apart.

    Counting in all of them at once costs a third of counting in each.
    """
    if any(map(is_json, payloads)):
        return None
    whole = np.frombuffer(b"".join(payloads), np.uint8)
    return int(np.count_nonzero(whole == _METRIC_TAG[0]))


def weight_of(payload: bytes) -> int:
    """Bytes that a payload in protobuf takes while it is read, on the safe side."""
    return len(payload) + METRIC_MEMORY * payload.count(_METRIC_TAG)


def json_memory(payload: bytes) -> int:
    """Bytes that Python's objects take to which a payload in JSON is read; 0 if it is none."""
    if not is_json(payload):
        return 0
    objects = payload.count(b"[") + payload.count(b"{")
    return _JSON_OBJECT * objects + _JSON_ITEM * payload.count(b",")


def weight_opened(payload: bytes) -> int:
    """Bytes that a payload takes while it is read, also one in JSON or in an envelope."""
    weight = len(payload) + METRIC_MEMORY * metrics_in(payload) + json_memory(payload)
    if _ENVELOPE in payload:
        size, metrics = metrics_in_envelope(payload, MAX_INFLATED_BYTES)
        weight += size + METRIC_MEMORY * metrics
    return weight
