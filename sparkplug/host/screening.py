"""The first look at a batch: which messages are an edge node's, and do they parse?"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field
from itertools import repeat
from typing import TYPE_CHECKING, Final

import numpy as np

from sparkplug.counting import count_nonzero
from sparkplug.messages import Message, MessageBatch, Quarantined, Reason, RebirthRequest
from sparkplug.payload import (
    ABSENT,
    MAX_INFLATED_BYTES,
    METRIC_MEMORY,
    PayloadColumns,
    json_memory,
    metrics_in,
    read_payloads,
)
from sparkplug.topics import MessageType, StateTopic, Topic, TopicProblem, parse_topic

if TYPE_CHECKING:
    from collections.abc import Container, Mapping

    from numpy.typing import NDArray

    from sparkplug.decoded import Decoded

_LEAST_METRIC: Final = 2
"""Bytes that a metric has on the wire at least."""
_EMPTY_IS_NONE: Final = frozenset(
    {MessageType.NBIRTH, MessageType.DBIRTH, MessageType.NDATA, MessageType.DDATA}
)
"""Of these a payload of no bytes clears what is retained; of deaths it may be a will."""

_COMMANDS: Final = (MessageType.NCMD, MessageType.DCMD)


@dataclass(frozen=True, slots=True)
class FleetLimits:
    """Bounds on what a publisher can make us keep or read.

    `max_metrics` is per payload; a metric takes two bytes at least on the wire, and some
    hundred in memory. `max_opened_memory` is for all compressed payloads of a batch, in bytes, see
    `sparkplug.payload.forms`. `max_row_bytes` is for the rows of one message. The names of all
    tags have `max_name_characters` together. Messages are read in portions of
    `max_portion_memory`. `max_waiting_bytes` is for what waits for a missing message, of all nodes,
    and for late births; `max_file_bytes` for files of which parts are missing. The different
    template definitions have `max_definition_members` together, and `max_definition_bytes`.
    """

    max_payload_bytes: int = 16 * 1024 * 1024
    max_metrics: int = 250_000
    max_inflated_bytes: int = MAX_INFLATED_BYTES
    max_opened_memory: int = 3 * MAX_INFLATED_BYTES
    max_nodes: int = 10_000
    max_tags: int = 2_000_000
    max_name_characters: int = 64_000_000
    max_row_bytes: int = 256 * 1024 * 1024
    max_portion_memory: int = 32 * 1024 * 1024
    max_waiting_bytes: int = 64 * 1024 * 1024
    max_file_bytes: int = 64 * 1024 * 1024
    max_definition_members: int = 500_000
    max_definition_bytes: int = 64 * 1024 * 1024

    @property
    def small_payload_bytes(self) -> int:
        """Bytes of a payload that cannot have too many metrics."""
        return _LEAST_METRIC * self.max_metrics


@dataclass(slots=True)
class TagRoom:
    """What is taken of the limits of tags and names, by all fleets that share them."""

    tags: int = 0
    characters: int = 0


@dataclass(frozen=True, slots=True)
class Screened:
    """Messages that are read, in order, with their columns.

    The messages are as they came; the columns are those of the protobuf payload that a
    message in JSON or in a compressed envelope stands for. Those at `set_aside` are among
    them for their seq only, and quarantined.
    `topic` is the index of a known data topic, ABSENT for every other message, whose
    topic is in `parsed` under its position.
    """

    messages: MessageBatch
    topic: NDArray[np.int64]
    parsed: dict[int, Topic]
    columns: PayloadColumns
    set_aside: set[int] = field(default_factory=set)


def screen(
    messages: MessageBatch,
    data_topics: Mapping[str, int],
    limits: FleetLimits,
    decoded: Decoded,
    recalled: int = 0,
) -> Screened:
    """Sort out what is not to be read, counting it in `decoded`; decode the rest.

    The first `recalled` messages were screened before: they all are kept, and nothing is
    counted again.
    """
    count = len(messages)
    indices = map(data_topics.get, messages.topics, repeat(ABSENT))
    topic = np.fromiter(indices, np.int64, count)
    odd = topic == ABSENT
    if messages.any_retained:
        odd |= np.array(messages.retained)
    empty = np.zeros(count, dtype=np.bool_)
    if messages.any_empty:
        empty[recalled:] = [not payload for payload in messages.payloads[recalled:]]
        odd |= empty
    if messages.largest > min(limits.max_payload_bytes, limits.small_payload_bytes):
        odd |= np.array([_is_too_large(payload, limits) for payload in messages.payloads])
    parsed: dict[int, Topic] = {}
    kept = messages
    if count_nonzero(odd):
        positions: list[int] = []
        for position, message in enumerate(messages):
            if odd[position]:
                read = _read_topic(message, limits, decoded, is_empty=bool(empty[position]))
                if read is None:
                    continue
                parsed[len(positions)] = read
            positions.append(position)
        kept = messages.pick(positions)
        topic = topic[positions]
    forms = read_payloads(
        kept.payloads,
        kept.suspects,
        max_inflated_bytes=limits.max_inflated_bytes,
        max_opened_memory=limits.max_opened_memory,
        max_metrics=limits.max_metrics,
    )
    unread = forms.refused | forms.unopened
    unread = {position: why for position, why in unread.items() if position >= recalled}
    if unread:
        _set_aside(unread, kept, parsed, decoded)
    set_aside = {position for position in forms.unopened if position >= recalled}
    if forms.refused:
        kept, topic, parsed = _without(forms.refused, kept, topic, parsed)
        gone = sorted(forms.refused)
        set_aside = {position - bisect_left(gone, position) for position in set_aside}
    return Screened(kept, topic, parsed, forms.columns, set_aside)


def _read_topic(
    message: Message, limits: FleetLimits, decoded: Decoded, *, is_empty: bool
) -> Topic | None:
    """The topic of a message that deserves decoding; others are counted."""
    read = parse_topic(message.topic)
    reason: Reason | None = None
    if isinstance(read, TopicProblem):
        reason = Reason(read.value)
    elif isinstance(read, StateTopic):
        reason = Reason.HOST_STATE
    elif read.message_type in _COMMANDS:
        reason = Reason.COMMAND
    elif message.retained:
        reason = Reason.RETAINED
    elif is_empty and read.message_type in _EMPTY_IS_NONE:
        reason = Reason.EMPTY_PAYLOAD
    elif _is_too_large(message.payload, limits):
        reason = Reason.TOO_LARGE
        decoded.counts[reason] += 1
        decoded.quarantined.append(Quarantined(message, reason))
        return None
    if reason is not None:
        decoded.counts[reason] += 1
        decoded.discarded[reason] += 1
        return None
    assert isinstance(read, Topic)
    return read


def _is_too_large(payload: bytes, limits: FleetLimits) -> bool:
    """Whether a payload has too many bytes, or may have too many metrics."""
    if len(payload) > limits.max_payload_bytes:
        return True
    if len(payload) <= limits.small_payload_bytes:
        return False
    most = METRIC_MEMORY * limits.max_metrics
    return metrics_in(payload) > limits.max_metrics or json_memory(payload) > most


def _set_aside(
    unread: Mapping[int, Reason], kept: MessageBatch, parsed: Mapping[int, Topic], decoded: Decoded
) -> None:
    """Count and keep messages that cannot be read; nodes of malformed ones are asked for births."""
    for position, reason in sorted(unread.items()):
        message = kept[position]
        decoded.counts[reason] += 1
        decoded.quarantined.append(Quarantined(message, reason))
        if reason is Reason.BAD_PAYLOAD:
            read = parsed.get(position) or parse_topic(message.topic)
            assert isinstance(read, Topic)
            decoded.rebirths.append(
                RebirthRequest(read.group_id, read.edge_node_id, reason, (message.topic,))
            )


def _without(
    refused: Container[int],
    kept: MessageBatch,
    topic: NDArray[np.int64],
    parsed: Mapping[int, Topic],
) -> tuple[MessageBatch, NDArray[np.int64], dict[int, Topic]]:
    """The batch without the messages at some positions."""
    rest = [position for position in range(len(kept)) if position not in refused]
    moved = {old: new for new, old in enumerate(rest)}
    return (
        kept.pick(rest),
        topic[rest],
        {moved[old]: read for old, read in parsed.items() if old in moved},
    )
