"""Everything that the edge nodes published, message by message, with its event_ids.

The ids are those of the simulator's ledger: computed one by one as docs/event_id.md says,
without the consumer's code. In addition to the ledger, this knows which message a value was
in, so that what did not arrive can be told from what arrived and was lost.
"""

from __future__ import annotations

import threading
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from consumer.simulator.ledger import event_id, identity, is_tag
from sparkplug.pb.sparkplug_b_pb2 import Payload
from sparkplug.topics import MessageType, Topic, parse_topic

if TYPE_CHECKING:
    from sparkplug.actions import Publish

BIRTHS = (MessageType.NBIRTH, MessageType.DBIRTH)
DATA = (MessageType.NDATA, MessageType.DDATA)
POISON_QUALITY = -2_147_483_132
"""A quality code as Ignition has it, which a SMALLINT column does not take."""


class Key(NamedTuple):
    """What rows of one message have in common in the table."""

    group_id: str
    edge_node_id: str
    device_id: str | None
    message_type: str
    seq: int
    payload_ms: int


class Sent(NamedTuple):
    """One message that was written to an edge node's connection.

    `values` has, for each metric that becomes a row, the event_ids that it may have.
    """

    key: Key
    verb: MessageType
    values: tuple[tuple[str, ...], ...]

    @property
    def seq(self) -> int:
        return self.key.seq

    @property
    def carries_data(self) -> bool:
        return self.verb in DATA


class Notebook:
    """Takes down what is published, in the order of each edge node. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._nodes: dict[str, list[Sent]] = {}
        self._identities: dict[tuple[str, str, str | None, str], bytes] = {}
        self._published = 0
        self.messages = 0
        """How many births and data messages so far."""
        self.poison: set[str] = set()
        """The event_ids of values with POISON_QUALITY."""

    @property
    def published(self) -> int:
        """Metric values so far; one that a birth repeats counts again."""
        return self._published

    def nodes(self) -> dict[str, list[Sent]]:
        """A copy of everything, by edge node."""
        with self._lock:
            return {node: list(sent) for node, sent in self._nodes.items()}

    def data_counts(self) -> Counter[str]:
        """How many data messages each edge node published so far."""
        with self._lock:
            return Counter(
                {node: sum(map(_is_data, sent)) for node, sent in self._nodes.items()},
            )

    def last_data(self) -> dict[str, Sent]:
        """The last data message of each edge node."""
        with self._lock:
            found = {
                node: next((each for each in reversed(sent) if each.carries_data), None)
                for node, sent in self._nodes.items()
            }
        return {node: sent for node, sent in found.items() if sent is not None}

    def record(self, publish: Publish) -> None:
        """Take down a message; called by the edge nodes, as their ledger."""
        topic = parse_topic(publish.topic)
        assert isinstance(topic, Topic)
        if topic.message_type not in BIRTHS + DATA:
            return
        payload = Payload.FromString(publish.payload)
        values: list[tuple[str, ...]] = []
        poison: set[str] = set()
        for observation in publish.observations:
            if not is_tag(observation.name):
                continue
            tag = self._identity(topic, observation.name)
            values.append((event_id(tag, observation),))
            if observation.quality == POISON_QUALITY:
                poison.add(values[-1][0])
        sent = Sent(_key(topic, payload), topic.message_type, tuple(values))
        with self._lock:
            self._nodes.setdefault(f"{topic.group_id}/{topic.edge_node_id}", []).append(sent)
            self._published += len(values)
            self.messages += 1
            self.poison |= poison

    def _identity(self, topic: Topic, name: str) -> bytes:
        key = (topic.group_id, topic.edge_node_id, topic.device_id, name)
        known = self._identities.get(key)
        if known is None:
            known = self._identities[key] = identity("", *key)
        return known


def _is_data(sent: Sent) -> bool:
    return sent.carries_data


def _key(topic: Topic, payload: Payload) -> Key:
    return Key(
        topic.group_id,
        topic.edge_node_id,
        topic.device_id,
        topic.message_type.value,
        payload.seq,
        payload.timestamp,
    )
