"""How many metrics a payload may have: two bytes on the wire may be one."""

from __future__ import annotations

from typing import Final

from sparkplug.names import COMPRESSED_UUID
from sparkplug.payload.envelope import MAX_INFLATED_BYTES, inflated

METRIC_MEMORY: Final = 250
"""Bytes that a metric takes while it is read, in columns and as a row, its name aside."""
NAMES_PER_ROW: Final = 2
"""A row has the name of its metric twice: the second time in its path."""

_ENVELOPE: Final = COMPRESSED_UUID.encode()
_METRIC_TAG: Final = b"\x12"
"""What each metric of a payload begins with; other bytes may have that value, too."""
_OBJECT: Final = b"{"
"""What a payload in JSON begins with, and each metric in it. No protobuf payload does."""


def metrics_in(payload: bytes) -> int:
    """At most how many metrics a payload has. Of an envelope, what is outside."""
    return payload.count(_OBJECT if payload.startswith(_OBJECT) else _METRIC_TAG)


def metrics_in_envelope(payload: bytes, max_bytes: int) -> tuple[int, int]:
    """Bytes that are in a compressed envelope, as far as `max_bytes`, and their metrics."""
    size = metrics = 0
    for piece in inflated(payload, max_bytes):
        size += len(piece)
        metrics += metrics_in(piece)
    return size, metrics


def weight_of(payload: bytes) -> int:
    """Bytes that a payload takes while it is read, on the safe side."""
    return len(payload) + METRIC_MEMORY * metrics_in(payload)


def weight_opened(payload: bytes) -> int:
    """The same, with what is in it if it is a compressed envelope."""
    weight = weight_of(payload)
    if _ENVELOPE in payload:
        size, metrics = metrics_in_envelope(payload, MAX_INFLATED_BYTES)
        weight += size + METRIC_MEMORY * metrics
    return weight
