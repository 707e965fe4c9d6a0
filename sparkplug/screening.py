"""The first look at a batch: which messages are an edge node's, and do they parse?"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import repeat
from typing import TYPE_CHECKING, Final

import numpy as np

from sparkplug.columns import ABSENT, PayloadColumns, decode
from sparkplug.messages import Decoded, Message, MessageBatch, Quarantined, Reason, RebirthRequest
from sparkplug.topics import MessageType, StateTopic, Topic, TopicProblem, parse

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

_COMMANDS: Final = (MessageType.NCMD, MessageType.DCMD)


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on what a publisher can make us keep or read."""

    max_payload_bytes: int = 16 * 1024 * 1024
    max_nodes: int = 10_000
    max_tags: int = 2_000_000


@dataclass(frozen=True, slots=True)
class Screened:
    """Messages that are read, in order, with their columns.

    `topic` is the index of a known data topic, ABSENT for every other message, whose
    topic is in `parsed` under its position.
    """

    messages: MessageBatch
    topic: NDArray[np.int64]
    parsed: dict[int, Topic]
    columns: PayloadColumns


def screen(
    messages: MessageBatch,
    data_topics: Mapping[str, int],
    limits: Limits,
    decoded: Decoded,
) -> Screened:
    """Sort out what is not to be read, counting it in `decoded`; decode the rest."""
    count = len(messages)
    indices = map(data_topics.get, messages.topics, repeat(ABSENT))
    topic = np.fromiter(indices, np.int64, count)
    odd = topic == ABSENT
    if messages.any_retained:
        odd |= np.array(messages.retained)
    limit = limits.max_payload_bytes
    if messages.largest > limit:
        odd |= np.fromiter(map(len, messages.payloads), np.int64, count) > limit
    parsed: dict[int, Topic] = {}
    kept = messages
    if odd.any():
        positions: list[int] = []
        for position, message in enumerate(messages):
            if odd[position]:
                read = _read_topic(message, limit, decoded)
                if read is None:
                    continue
                parsed[len(positions)] = read
            positions.append(position)
        kept = messages.pick(positions)
        topic = topic[positions]
    columns, bad = decode(kept.payloads)
    if bad:
        kept, topic, parsed = _without(bad, kept, topic, parsed, decoded)
    compressed = np.flatnonzero(columns.compressed) if columns.compressed.any() else ()
    for position in map(int, compressed):
        decoded.counts[Reason.COMPRESSED] += 1
        decoded.quarantined.append(Quarantined(kept[position], Reason.COMPRESSED))
    return Screened(kept, topic, parsed, columns)


def _read_topic(message: Message, limit: int, decoded: Decoded) -> Topic | None:
    """The topic of a message that deserves decoding; others are counted."""
    read = parse(message.topic)
    reason: Reason | None = None
    if isinstance(read, TopicProblem):
        reason = Reason(read.value)
    elif isinstance(read, StateTopic):
        reason = Reason.HOST_STATE
    elif read.message_type in _COMMANDS:
        reason = Reason.COMMAND
    elif message.retained:
        reason = Reason.RETAINED
    elif len(message.payload) > limit:
        reason = Reason.TOO_LARGE
        decoded.quarantined.append(Quarantined(message, reason))
    if reason is not None:
        decoded.counts[reason] += 1
        return None
    assert isinstance(read, Topic)
    return read


def _without(
    bad: list[int],
    kept: MessageBatch,
    topic: NDArray[np.int64],
    parsed: dict[int, Topic],
    decoded: Decoded,
) -> tuple[MessageBatch, NDArray[np.int64], dict[int, Topic]]:
    """The batch without malformed payloads; their nodes are asked for a rebirth."""
    for position in bad:
        message = kept[position]
        is_json = message.payload[:1] == b"{"
        reason = Reason.JSON_PAYLOAD if is_json else Reason.BAD_PAYLOAD
        decoded.counts[reason] += 1
        decoded.quarantined.append(Quarantined(message, reason))
        if reason is Reason.BAD_PAYLOAD:
            read = parsed.get(position) or parse(message.topic)
            assert isinstance(read, Topic)
            decoded.rebirths.append(RebirthRequest(read.group_id, read.edge_node_id, reason))
    dropped = set(bad)
    rest = [position for position in range(len(kept)) if position not in dropped]
    moved = {old: new for new, old in enumerate(rest)}
    return (
        kept.pick(rest),
        topic[rest],
        {moved[old]: read for old, read in parsed.items() if old in moved},
    )
