"""A batch in portions, none of which takes much memory while it is read.

Limits on what comes in do not bound what becomes of it: a metric that only repeats an alias
has four bytes, compressed hardly any.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sparkplug.payload import METRIC_MEMORY, weight_of, weight_of_envelope

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sparkplug.messages import MessageBatch

_LEAST_METRIC: Final = 2
"""Bytes that a metric has on the wire at least."""


def portions(
    messages: MessageBatch, most_memory: int, *, max_inflated_bytes: int
) -> Iterator[MessageBatch]:
    """The messages in their order, so that reading a portion takes about `most_memory` bytes.

    A message that takes more is a portion by itself.
    """
    most = messages.size * (1 + METRIC_MEMORY // _LEAST_METRIC)
    if most <= most_memory and not messages.enveloped:
        yield messages
        return
    enveloped = set(messages.enveloped)
    start, memory = 0, 0
    for position, payload in enumerate(messages.payloads):
        if position in enveloped:
            weight = weight_of_envelope(payload, max_inflated_bytes)
        else:
            weight = weight_of(payload)
        if memory + weight > most_memory and position > start:
            yield messages.pick(range(start, position))
            start, memory = position, 0
        memory += weight
    yield messages.pick(range(start, len(messages))) if start else messages
