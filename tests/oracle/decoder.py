"""docs/decoding.md, one message and one metric at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from oracle.arrivals import COMMANDS, DEATHS, Arrival, Message, parse_topic
from oracle.filters import OF_DEVICE, OF_NODE, seen
from oracle.forms import read_payload
from oracle.node import Node, Trust, Unborn
from oracle.ordering import Ordering
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
        self.now = now
        self.await_unheard()
        self.time_passes()
        self.batch += 1
        for arrival in arrivals:
            self.arrived += 1
            self.heard_at = arrival.received_at_us
            self._arrived(arrival)
        self.give_up_unborn()

    def tick(self, now: float) -> None:
        """It is `now`, and nothing has come."""
        self.now = now
        self.await_unheard()
        self.time_passes()
        self.give_up_unborn()

    def connection_lost(self, now: float) -> None:
        """The connection to the server was lost: messages may be missing from here on."""
        self._leave(now)
        for node in self.nodes.values():
            if node.late_birth is not None:
                self.read_late_birth(node)
        self.time_is_up()
        self._doubt_all()

    def _leave(self, now: float) -> None:
        """What is missing will not come."""
        self.now = now
        self.time_is_up()

    def _doubt_all(self) -> None:
        """Others may have spoken meanwhile."""
        for node in self.nodes.values():
            node.read_lately.clear()
            refuted = node.is_born and node.trust is Trust.REFUTED
            node.left_refuted |= refuted and node.is_whole
            if node.trust is Trust.CONFIRMED:
                node.trust = Trust.UNCONFIRMED

    def restart(self, now: float) -> None:
        """The consumer stops and starts; births, deaths, seq and what is held are remembered."""
        self._leave(now)
        self._doubt_all()
        self.heard_at = 0
        self.nodes = {key: self._remembered(node) for key, node in self.nodes.items()}

    def _remembered(self, before: Node) -> Node:
        node = Node(before.group, before.name, held=before.held, received=before.received)
        node.is_whole = before.is_whole
        node.gaps, node.unhealed, node.holes = before.gaps, before.unhealed, before.holes
        if before.late_birth is not None:
            node.held.append(before.late_birth)
        for held in node.held:
            held.since = self.now
            held.message.gap = None
            if held.reason == "late_birth":
                node.late_before = held
        born = before.declared_before.get(None)
        if born is None:
            node.was_heard = bool(node.held)
            return node
        node.was_born = True
        node.trust, node.expected_seq = before.trust, before.expected_seq
        node.left_refuted = before.left_refuted
        node.last_sent = before.last_sent
        node.scopes, node.bd_seq, node.is_ignition = (
            before.scopes,
            before.bd_seq,
            before.is_ignition,
        )
        node.dead_bd_seq, node.died_at = before.ended_by, self.now
        node.ended_by = before.ended_by
        node.declared_before = before.declared_before
        for device, scope in before.declared_before.items():
            scope.greatest = before.last_sent
            scope.birth, scope.before = None, {}
            if device in before.unborn:
                node.unborn[device] = Unborn(scope, self.now, None)
                node.last_birth = self.now
            for tag in scope.tags:
                tag.last_id, tag.read_at = "", None
                tag.is_stale &= device not in node.scopes and device not in before.unborn
        return node

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
        elif not arrival.payload and topic.verb not in DEATHS:
            self.counts["empty_payload"] += 1
        elif len(arrival.payload) > LARGEST_PAYLOAD:
            self.counts["too_large"] += 1
            self._unreadable(arrival, topic)
        else:
            self._with_payload(arrival, topic)

    def _with_payload(self, arrival: Arrival, topic: Topic) -> None:
        payload, problem = read_payload(arrival.payload)
        if problem is not None:
            self.counts[problem] += 1
        if problem == "bad_payload":
            self.request(topic.group, topic.node, problem)
        if payload is None:
            self._unreadable(arrival, topic)
            return
        key = (arrival.server, topic.group, topic.node)
        node = self.nodes.get(key)
        if node is None:
            whole, _ = seen(self.filters, topic.group, topic.node)
            node = Node(topic.group, topic.node, is_whole=whole == {*OF_NODE, *OF_DEVICE})
            self.nodes[key] = node
        message = Message(arrival, topic, payload, problem is not None, self.arrived)
        self._message(node, message)

    def _unreadable(self, arrival: Arrival, topic: Topic) -> None:
        """Of a message without payload not even the seq is known."""
        node = self.nodes.get((arrival.server, topic.group, topic.node))
        if node is not None and topic.verb == "NBIRTH":
            self.lost_node_birth(node, arrival)
        elif node is not None and topic.verb == "DBIRTH":
            self.ends_unheard(node, [topic.device], arrival.received_at_us)

    def _message(self, node: Node, message: Message) -> None:
        if message.topic.verb == "DDEATH" and message.is_empty:
            self.device_death_without_seq(node, message)
            return
        node.received += message.topic.verb != "NDEATH"
        if message.topic.verb == "NDEATH":
            self.node_death(node, message)
        elif message.topic.verb == "NBIRTH":
            if message.unread:
                self.lost_node_birth(node, message.arrival)
            elif self.is_late_birth(node, message):
                self.keep_late_birth(node, message)
            elif self.is_late_birth_again(node, message):
                self.counts["duplicate"] += 1
                node.received -= 1
            else:
                self.node_birth(node, message)
        elif node.is_born:
            self.sequenced(node, message)
        else:
            self.before_birth(node, message)
