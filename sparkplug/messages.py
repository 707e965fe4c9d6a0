"""What goes into the decoder and what comes out of it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Final, NamedTuple

from sparkplug.topics import MessageType

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from sparkplug.values import Values

MESSAGE_TYPES: Final = tuple(MessageType)
"""Order of the codes in Observations.message_type."""


class Message(NamedTuple):
    """One MQTT message as received. `received_us` is microseconds since 1970 UTC."""

    topic: str
    payload: bytes
    received_us: int
    retained: bool = False


class Reason(StrEnum):
    """Why a message or a metric was not read, or only with a remark. Counted by value."""

    BAD_TOPIC = "bad_topic"
    UNKNOWN_VERB = "unknown_verb"
    COMMAND = "command"
    HOST_STATE = "host_state"
    RETAINED = "retained"
    TOO_LARGE = "too_large"
    JSON_PAYLOAD = "json_payload"
    BAD_PAYLOAD = "bad_payload"
    COMPRESSED = "compressed_payload"
    SEQUENCE_GAP = "sequence_gap"
    DATA_BEFORE_BIRTH = "data_before_birth"
    DEVICE_DATA_BEFORE_BIRTH = "device_data_before_birth"
    DEATH_OF_OTHER_SESSION = "death_of_other_session"
    UNKNOWN_ALIAS = "unknown_alias"
    UNKNOWN_METRIC = "unknown_metric"
    METRIC_WITHOUT_NAME = "metric_without_name"
    TRANSIENT = "transient"
    DATATYPE_NOT_SUPPORTED = "datatype_not_supported"
    UNKNOWN_DATATYPE = "unknown_datatype"
    VALUE_MISSING = "value_missing"
    VALUE_DOES_NOT_FIT = "value_does_not_fit"
    TIMESTAMP_OUT_OF_RANGE = "timestamp_out_of_range"
    TOO_MANY_NODES = "too_many_nodes"
    TOO_MANY_TAGS = "too_many_tags"


class RebirthRequest(NamedTuple):
    """A wish to ask an edge node for its births; the governor decides when."""

    group_id: str
    edge_node_id: str
    reason: Reason


class Quarantined(NamedTuple):
    """A whole message that could not be read."""

    message: Message
    reason: Reason


@dataclass(slots=True)
class Observations:
    """Rows of a batch as columns, in order of arrival: one row per metric with a value.

    `tag` indexes the catalogue; times are microseconds since 1970 UTC; `seq` and
    `payload_time_us` are -1 where the payload has none; `message_type` indexes
    MESSAGE_TYPES; `quality` is a class of sparkplug.quality.
    """

    tag: NDArray[np.int32]
    event_time_us: NDArray[np.int64]
    values: Values
    quality_code: NDArray[np.int32]
    quality: NDArray[np.uint8]
    historical: NDArray[np.bool_]
    message_type: NDArray[np.uint8]
    seq: NDArray[np.int64]
    payload_time_us: NDArray[np.int64]
    received_us: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.tag)


@dataclass(slots=True)
class Decoded:
    """What a batch gave: rows (None if there are none), counts, wishes and bad messages."""

    observations: Observations | None = None
    counts: Counter[Reason] = field(default_factory=Counter)
    rebirths: list[RebirthRequest] = field(default_factory=list)
    births: list[tuple[str, str]] = field(default_factory=list)  # (group id, edge node id)
    quarantined: list[Quarantined] = field(default_factory=list)
