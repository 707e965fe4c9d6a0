"""The message that a row came from: its topic, and its payload while that is remembered.

The spool holds rows, not messages. A row that Zerobus refuses is usually found within
seconds, so the last messages are kept in memory, within bounds, to be laid beside it.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING, Any, Final

from google.protobuf.message import DecodeError

from consumer.pb.tag_event_pb2 import TagEvent
from consumer.rows import has_our_numbers, message_class
from consumer.spool import Origin
from sparkplug import MessageType
from sparkplug.pb import sparkplug_b_pb2

if TYPE_CHECKING:
    from sparkplug import MessageBatch

_MAX_BYTES: Final = 16 << 20
# What a message's objects take beside its payload: topic, bytes, places in lists.
_MESSAGE_OVERHEAD: Final = 250
_TOPIC_COLUMNS: Final = ("group_id", "message_type", "edge_node_id", "device_id")
_OF_SPARKPLUG: Final = frozenset(map(str, MessageType))


class Origins:
    """The last messages that were decoded, as they came. Thread-safe.

    Args:
        max_bytes: memory that may be used; the oldest go first.
    """

    def __init__(self, max_bytes: int = _MAX_BYTES) -> None:
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self._batches: deque[tuple[int, MessageBatch]] = deque()
        self._nbytes = 0

    @property
    def nbytes(self) -> int:
        """Memory that is used, about."""
        return self._nbytes

    def remember(self, messages: MessageBatch) -> None:
        """Keep a batch; it is not copied, and must not change any more."""
        size = messages.size + _MESSAGE_OVERHEAD * len(messages)
        with self._lock:
            self._batches.append((size, messages))
            self._nbytes += size
            while self._nbytes > self._max_bytes:
                self._nbytes -= self._batches.popleft()[0]

    def payload(self, topic: str, received_us: int, seq: int | None) -> bytes | None:
        """The payload of the message that arrived then on that topic, None if it is not known.

        Several of the same microsecond are told apart by their seq.
        """
        with self._lock:
            batches = [batch for _, batch in self._batches]
        found: list[bytes] = []
        for batch in reversed(batches):
            position = -1
            for _ in range(batch.received_us.count(received_us)):
                position = batch.received_us.index(received_us, position + 1)
                if batch.topics[position] == topic:
                    found.append(batch.payloads[position])
        if len(found) > 1:
            found = [payload for payload in found if _seq(payload) == seq]
        return found[0] if len(set(found)) == 1 else None

    def origin(self, record: bytes, descriptor: bytes) -> Origin:
        """The message that a row was made from, as far as it is known.

        Args:
            record: the encoded row.
            descriptor: what it was encoded for, as the spool keeps it.
        """
        try:
            row = _read(record, descriptor)
        except DecodeError:
            return Origin()
        topic = topic_of(row)
        if topic is None:
            return Origin()
        names = row.DESCRIPTOR.fields_by_name
        if "ingestion_timestamp" not in names:
            return Origin(topic)
        seq = row.seq if "seq" in names and row.HasField("seq") else None
        return Origin(topic, self.payload(topic, row.ingestion_timestamp, seq))


def _read(record: bytes, descriptor: bytes) -> Any:
    """A decoded row, its fields under our names.

    Raises:
        DecodeError: it is no message.
    """
    if not has_our_numbers(descriptor):
        return message_class(descriptor).FromString(record)
    row = TagEvent()
    row.MergeFromString(record)  # a table may lack what is required of ours
    return row


def topic_of(row: Any) -> str | None:
    """The topic of a decoded row; None when no Sparkplug message is its origin."""
    names = row.DESCRIPTOR.fields_by_name
    if not all(name in names for name in _TOPIC_COLUMNS):
        return None
    parts = [getattr(row, name) for name in _TOPIC_COLUMNS]
    if not all(parts[:3]) or parts[1] not in _OF_SPARKPLUG:
        return None
    return "/".join(["spBv1.0", *filter(None, parts)])


def _seq(payload: bytes) -> int | None:
    try:
        message = sparkplug_b_pb2.Payload.FromString(payload)
    except DecodeError:
        return None
    return message.seq if message.HasField("seq") else None
