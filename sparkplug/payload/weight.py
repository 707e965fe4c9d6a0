"""What a payload takes in memory while it is read: two bytes on the wire may be a metric."""

from __future__ import annotations

from typing import Final

from sparkplug.payload.envelope import inflated

METRIC_MEMORY: Final = 250
"""Bytes that a metric takes while it is read, in columns and as a row, its name aside."""

_METRIC_TAG: Final = b"\x12"
"""What each metric of a payload begins with; other bytes may have that value, too."""
_OBJECT: Final = b"{"
"""What a payload in JSON begins with, and each metric in it. No protobuf payload does."""


def weight_of(payload: bytes) -> int:
    """Bytes that a payload takes while it is read, on the safe side.

    Of an envelope, see `weight_of_envelope`, that is the outside alone.
    """
    metrics = payload.count(_OBJECT if payload.startswith(_OBJECT) else _METRIC_TAG)
    return len(payload) + METRIC_MEMORY * metrics


def weight_of_envelope(payload: bytes, max_bytes: int) -> int:
    """The same of what is in a compressed envelope, as far as `max_bytes` of it."""
    return weight_of(payload) + sum(map(weight_of, inflated(payload, max_bytes)))
