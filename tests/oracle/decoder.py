"""docs/decoding.md, one message and one metric at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from oracle.arrivals import BIRTHS, COMMANDS, Arrival, Message, parse_topic
from oracle.forms import read_payload
from oracle.node import Kind, Node, Trust
from oracle.ordering import Ordering
from oracle.reading import is_nameless
from oracle.rows import COLUMNS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from oracle.arrivals import Topic

__all__ = ["COLUMNS", "Arrival", "Oracle"]

LARGEST_PAYLOAD = 16 * 1024 * 1024


class Oracle(Ordering):
    """Decodes arrivals; state is kept from one `feed` to the next.

    The layers below it: Rows makes rows, Holding keeps what no birth explains yet,
    Reading reads a message whose turn it is, Ordering says whose turn it is.
    """

    def feed(self, arrivals: Iterable[Arrival], now: float = 0.0) -> None:
        """Decode one batch of messages, which came at `now`, monotonic seconds."""
        self.batch += 1
        self.tick(now)
        for arrival in arrivals:
            self._arrived(arrival)

    def tick(self, now: float) -> None:
        """It is `now`, and nothing has come."""
        self.now = now
        self.time_passes()

    def connection_lost(self) -> None:
        """The connection to the server was lost: messages may be missing at its end."""
        for node in self.nodes.values():
            if node.is_born and node.trust is Trust.CONFIRMED:
                node.trust = Trust.UNCONFIRMED

    def restart(self) -> list[Arrival]:
        """Forget all but the births of nodes that are born; gives back what was not read yet."""
        unread = []
        for key, node in list(self.nodes.items()):
            unread += [waiting.message.arrival for waiting in node.window]
            unread += [held.message.arrival for held in node.held]
            del self.nodes[key]
            if node.is_born:
                self.nodes[key] = Node(
                    node.group,
                    node.name,
                    scopes=node.scopes,
                    declared_before=node.declared_before,
                    bd_seq=node.bd_seq,
                    is_ignition=node.is_ignition,
                    trust=Trust.UNCONFIRMED,
                    expected_seq=node.expected_seq,
                )
        return unread

    def _arrived(self, arrival: Arrival) -> None:
        topic = parse_topic(arrival.topic)
        if topic is None:
            self.counts["host_state"] += 1
        elif isinstance(topic, str):
            self.counts[topic] += 1
        elif topic.verb in COMMANDS:
            self.counts["command"] += 1
        elif arrival.retained:
            self.counts["retained"] += 1
        elif len(arrival.payload) > LARGEST_PAYLOAD:
            self.counts["too_large"] += 1
            self._unreadable(arrival, topic)
        else:
            self._with_payload(arrival, topic)

    def _with_payload(self, arrival: Arrival, topic: Topic) -> None:
        payload, problem = read_payload(arrival.payload)
        if payload is not None and problem is None and topic.verb in BIRTHS:
            problem = "nameless_birth" if is_nameless(payload) else None
        if problem is not None:
            self.counts[problem] += 1
        if problem == "bad_payload":
            self.request(topic.group, topic.node, problem)
        if payload is None:
            self._unreadable(arrival, topic)
            return
        key = (arrival.server, topic.group, topic.node)
        node = self.nodes.setdefault(key, Node(topic.group, topic.node))
        self._message(node, Message(arrival, topic, payload, unread=problem is not None))

    def _unreadable(self, arrival: Arrival, topic: Topic) -> None:
        """Of a message without payload not even the seq is known."""
        node = self.nodes.get((arrival.server, topic.group, topic.node))
        if node is not None and topic.verb == "NBIRTH":
            self.lost_node_birth(node)
        elif node is not None and topic.verb == "DBIRTH":
            node.scopes.pop(topic.device, None)

    def _message(self, node: Node, message: Message) -> None:
        if message.topic.verb == "NDEATH":
            self.node_death(node, message)
        elif message.topic.verb == "NBIRTH":
            if message.unread:
                self.lost_node_birth(node)
            elif self.is_late_birth(node, message):
                self.hold(node, message, "data_before_birth", kind=Kind.LATE_BIRTH)
            else:
                self.node_birth(node, message)
        elif node.is_born:
            self.sequenced(node, message)
        else:
            self.before_birth(node, message)
