"""What goes into the decoder: messages, and why one of them, or a part, is not read."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from enum import StrEnum
from itertools import compress
from typing import Final, NamedTuple, overload

from sparkplug.names import COMPRESSED_UUID
from sparkplug.topics import MessageType

MESSAGE_TYPES: Final = tuple(MessageType)
"""Order of the codes of messages."""

HOST: Final = "HOST"
"""Type of rows that no message is the reason of, but the host itself."""

ROW_TYPES: Final[tuple[str, ...]] = (*MESSAGE_TYPES, HOST)
"""Order of the codes in Observations.message_type."""

_SHALLOW: Final = 16 * 1024
"""Bytes of a payload whose groups, nested as deeply as can be, do no harm (1.3 MB of stack)."""

_ENVELOPE: Final = COMPRESSED_UUID.encode()
"""Bytes that every compressed envelope contains: the uuid that marks it."""

_LONG_RUN: Final = b"\xff" * 5
"""Bytes that the varint of a length contains if the length could wrap around 2^64."""


class Message(NamedTuple):
    """One MQTT message as received. `received_us` is microseconds since 1970 UTC."""

    topic: str
    payload: bytes
    received_us: int
    retained: bool = False


class MessageBatch(Sequence[Message]):
    """Messages in order of arrival, kept as columns from the moment they come in.

    `any_empty` says whether a payload has no bytes. `size` is the sum of all payloads' bytes,
    `largest` the most bytes of one payload, `deaths` the positions of what looks like an
    NDEATH or DDEATH, `suspects` those of payloads that need a careful look (see is_suspect),
    `enveloped` those of payloads that may be compressed.
    """

    __slots__ = (
        "any_empty",
        "any_retained",
        "deaths",
        "enveloped",
        "largest",
        "payloads",
        "received_us",
        "retained",
        "size",
        "suspects",
        "topics",
    )

    def __init__(self, messages: Iterable[Message] = ()) -> None:
        self.topics: list[str] = []
        self.payloads: list[bytes] = []
        self.received_us = array("q")
        self.retained: list[bool] = []
        self.any_empty = False
        self.any_retained = False
        self.deaths: list[int] = []
        self.suspects: list[int] = []
        self.enveloped: list[int] = []
        self.size = 0
        self.largest = 0
        for message in messages:
            self.append(message)

    def append(self, message: Message) -> None:
        """Add one message at the end."""
        topic, payload, received_us, retained = message
        if "DEATH/" in topic:
            self.deaths.append(len(self.topics))
        if is_suspect(payload):
            self.suspects.append(len(self.topics))
        if _ENVELOPE in payload:
            self.enveloped.append(len(self.topics))
        self.topics.append(topic)
        self.payloads.append(payload)
        self.received_us.append(received_us)
        self.retained.append(retained)
        if retained:
            self.any_retained = True
        length = len(payload)
        if not length:
            self.any_empty = True
        self.size += length
        self.largest = max(self.largest, length)

    def extend(
        self,
        topics: Sequence[str],
        payloads: Sequence[bytes],
        received_us: int,
        *,
        retained: bool = False,
    ) -> None:
        """Add messages that came together at the end; none of them on the topic of a death.

        Args:
            topics: one for each message.
            payloads: one for each message.
            received_us: when they came, microseconds since 1970 UTC.
            retained: whether the server had kept them.
        """
        start = len(self.topics)
        sizes = list(map(len, payloads))
        largest = max(sizes, default=0)
        together = b"".join(payloads)
        if largest > _SHALLOW or _LONG_RUN in together:
            self.suspects += [
                start + index for index, payload in enumerate(payloads) if is_suspect(payload)
            ]
        if _ENVELOPE in together:
            self.enveloped += [
                start + index for index, payload in enumerate(payloads) if _ENVELOPE in payload
            ]
        self.topics += topics
        self.payloads += payloads
        self.received_us.extend(array("q", (received_us,)) * len(sizes))
        self.retained += [retained] * len(sizes)
        if retained and sizes:
            self.any_retained = True
        if 0 in sizes:
            self.any_empty = True
        self.size += sum(sizes)
        self.largest = max(self.largest, largest)

    def leave_out(self, positions: Iterable[int]) -> None:
        """Take the messages at these positions out; the others keep their order."""
        gone = sorted(set(positions))
        kept = bytearray(b"\1") * len(self.topics)
        for position in gone:
            kept[position] = 0
        self.topics = list(compress(self.topics, kept))
        self.payloads = list(compress(self.payloads, kept))
        self.received_us = array("q", compress(self.received_us, kept))
        self.retained = list(compress(self.retained, kept))
        self.any_retained = any(self.retained)
        self.deaths = [each - bisect_left(gone, each) for each in self.deaths if kept[each]]
        self.suspects = [each - bisect_left(gone, each) for each in self.suspects if kept[each]]
        self.enveloped = [each - bisect_left(gone, each) for each in self.enveloped if kept[each]]
        sizes = list(map(len, self.payloads))
        self.any_empty = 0 in sizes
        self.size = sum(sizes)
        self.largest = max(sizes, default=0)

    def pick(self, positions: Iterable[int]) -> MessageBatch:
        """A batch of the messages at these positions."""
        return MessageBatch(self[position] for position in positions)

    def __len__(self) -> int:
        return len(self.topics)

    @overload
    def __getitem__(self, index: int) -> Message: ...

    @overload
    def __getitem__(self, index: slice) -> list[Message]: ...

    def __getitem__(self, index: int | slice) -> Message | list[Message]:
        if isinstance(index, slice):
            return [self[position] for position in range(*index.indices(len(self)))]
        return Message(
            self.topics[index],
            self.payloads[index],
            self.received_us[index],
            self.retained[index],
        )


class Reason(StrEnum):
    """Why a message or a metric was not read, or only with a remark. Counted by value."""

    BAD_TOPIC = "bad_topic"
    UNKNOWN_VERB = "unknown_verb"
    COMMAND = "command"
    HOST_STATE = "host_state"
    RETAINED = "retained"
    CERTIFICATE = "certificate"
    TOO_LARGE = "too_large"
    EMPTY_PAYLOAD = "empty_payload"
    EMPTY_DEATH = "empty_death"
    JSON_PAYLOAD = "json_payload"
    BAD_PAYLOAD = "bad_payload"
    BAD_ENVELOPE = "bad_envelope"
    ENVELOPE_TOO_LARGE = "envelope_too_large"
    SEQUENCE_GAP = "sequence_gap"
    DUPLICATE = "duplicate"
    LATE = "late"
    DATA_BEFORE_BIRTH = "data_before_birth"
    DEVICE_DATA_BEFORE_BIRTH = "device_data_before_birth"
    DEATH_OF_OTHER_SESSION = "death_of_other_session"
    UNKNOWN_ALIAS = "unknown_alias"
    UNKNOWN_METRIC = "unknown_metric"
    ALIAS_OF_UNSEEN_BIRTH = "alias_of_unseen_birth"
    METRIC_WITHOUT_NAME = "metric_without_name"
    TRANSIENT = "transient"
    DATATYPE_NOT_SUPPORTED = "datatype_not_supported"
    BAD_TEMPLATE = "bad_template"
    FILE_PART = "file_part"
    DUPLICATE_PART = "duplicate_part"
    FILE_SUPERSEDED = "file_superseded"
    FILE_EXPIRED = "file_expired"
    FILE_TOO_LARGE = "file_too_large"
    FILE_MADE_ROOM = "file_made_room"
    UNKNOWN_DATATYPE = "unknown_datatype"
    VALUE_MISSING = "value_missing"
    VALUE_DOES_NOT_FIT = "value_does_not_fit"
    TIMESTAMP_OUT_OF_RANGE = "timestamp_out_of_range"
    REPEATED_BIRTH_VALUE = "repeated_birth_value"
    DUPLICATE_ALIAS = "duplicate_alias"
    NAMELESS_BIRTH = "nameless_birth"
    LATE_BIRTH = "late_birth"
    SESSION_ENDED = "session_ended"
    HOLD_FULL = "hold_full"
    TOO_MANY_NODES = "too_many_nodes"
    TOO_MANY_TAGS = "too_many_tags"
    TOO_MANY_ROW_BYTES = "too_many_row_bytes"
    CONNECTION_LOST = "connection_lost"
    UNHEARD = "unheard"
    SPOOL_FULL = "spool_full"
    ASKED_BY_USER = "asked_by_user"


class RebirthRequest(NamedTuple):
    """A wish to ask an edge node for its births; the governor decides when.

    `subjects` are some of what it is wished for: metrics, aliases, devices, topics.
    """

    group_id: str
    edge_node_id: str
    reason: Reason
    subjects: tuple[str, ...] = ()


MOST_SUBJECTS: Final = 16
"""Subjects of one wish for a rebirth."""


def merged(requests: Iterable[RebirthRequest]) -> list[RebirthRequest]:
    """Merge wishes for rebirths: one for each node and reason, in the order of the first ones."""
    found: dict[tuple[str, str, Reason], dict[str, None]] = {}
    for group_id, edge_node_id, reason, subjects in requests:
        of_all = found.setdefault((group_id, edge_node_id, reason), {})
        if len(of_all) < MOST_SUBJECTS:
            of_all.update(dict.fromkeys(subjects))
    return [
        RebirthRequest(*key, tuple(subjects)[:MOST_SUBJECTS]) for key, subjects in found.items()
    ]


class Quarantined(NamedTuple):
    """A whole message that could not be read."""

    message: Message
    reason: Reason


class QuarantinedPart(Quarantined):
    """Metrics that could not be read, as a message without the others, which were read."""

    __slots__ = ()


def is_suspect(payload: bytes) -> bool:
    """Whether ptars must not see a payload before upb has.

    ptars walks through groups by recursion: 100,000 of them, one inside the other, end the
    process. And a length just below 2^64 makes it panic, which no `except Exception` stops.
    The former needs a long payload, the latter a run of bits that is rare elsewhere.
    """
    return len(payload) > _SHALLOW or _LONG_RUN in payload
