"""The topic grammar of Sparkplug B (specification, chapter 4)."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

NAMESPACE = "spBv1.0"
STATE = "STATE"
MAX_TOPIC_CHARACTERS = 2048
"""Longer topics are not read: every tag repeats the ids in several columns."""

_FORBIDDEN = frozenset("+#/")


class MessageType(StrEnum):
    """The verb of a topic, as it is written there."""

    NBIRTH = "NBIRTH"
    DBIRTH = "DBIRTH"
    NDATA = "NDATA"
    DDATA = "DDATA"
    NDEATH = "NDEATH"
    DDEATH = "DDEATH"
    NCMD = "NCMD"
    DCMD = "DCMD"


DEVICE_TYPES = frozenset(
    {MessageType.DBIRTH, MessageType.DDATA, MessageType.DDEATH, MessageType.DCMD}
)


class Topic(NamedTuple):
    """An edge node's or device's topic. `device_id` is None exactly at node level."""

    group_id: str
    message_type: MessageType
    edge_node_id: str
    device_id: str | None = None

    def __str__(self) -> str:
        text = f"{NAMESPACE}/{self.group_id}/{self.message_type}/{self.edge_node_id}"
        return text if self.device_id is None else f"{text}/{self.device_id}"


class StateTopic(NamedTuple):
    """Topic of a host application's STATE message."""

    host_id: str

    def __str__(self) -> str:
        return f"{NAMESPACE}/{STATE}/{self.host_id}"


class TopicProblem(StrEnum):
    """Why a topic is not read; the values are the reasons that are counted."""

    BAD_TOPIC = "bad_topic"
    UNKNOWN_VERB = "unknown_verb"


def parse_topic(text: str) -> Topic | StateTopic | TopicProblem:
    """Read a topic. Problems are returned, not raised: they are part of the traffic.

    Ids keep their case (tck-id case-sensitivity-sparkplug-ids). A verb that the
    specification does not know, such as the DRECORD of some products, is
    UNKNOWN_VERB; everything else outside the grammar, or too long, is BAD_TOPIC
    (topic-structure, topic-structure-namespace-a,
    topic-structure-namespace-device-id-associated-message-types).
    """
    tokens = text.split("/")
    if len(text) > MAX_TOPIC_CHARACTERS or tokens[0] != NAMESPACE or not all(tokens):
        return TopicProblem.BAD_TOPIC
    if len(tokens) == 3 and tokens[1] == STATE:
        return StateTopic(tokens[2])
    if len(tokens) not in (4, 5):
        return TopicProblem.BAD_TOPIC
    try:
        message_type = MessageType(tokens[2])
    except ValueError:
        return TopicProblem.UNKNOWN_VERB
    if (message_type in DEVICE_TYPES) != (len(tokens) == 5):
        return TopicProblem.BAD_TOPIC
    return Topic(tokens[1], message_type, tokens[3], tokens[4] if len(tokens) == 5 else None)


def check_id(text: str, what: str) -> str:
    """Return `text` if it may be a group, edge node, device or host id.

    Raises:
        ValueError: it is empty or holds one of + # / (topic-structure-namespace-valid-*).
    """
    if not text or _FORBIDDEN & set(text):
        raise ValueError(f"{what} {text!r} must not be empty nor contain '+', '#' or '/'")
    return text
