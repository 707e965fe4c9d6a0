"""What waits, and is to be read together with a batch that has come."""

from __future__ import annotations

from collections import Counter
from itertools import repeat
from typing import TYPE_CHECKING, Final

import numpy as np

from sparkplug.host.nodes.waiting import WHILE_READ
from sparkplug.payload import ABSENT
from sparkplug.topics import MessageType, Topic, parse_topic

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sparkplug.host.fleet_state import FleetState
    from sparkplug.host.nodes.edge_node import EdgeNodeState
    from sparkplug.host.nodes.holding import Holding
    from sparkplug.host.nodes.waiting import NodeKey, Waiting
    from sparkplug.messages import MessageBatch

_BIRTHS: Final = (MessageType.NBIRTH, MessageType.DBIRTH)


class Recall:
    """Finds what waits of the nodes that a batch is from.

    Args:
        state: of the fleet.
        holding: what waits for the births of nodes.
    """

    def __init__(self, state: FleetState, holding: Holding) -> None:
        self._state = state
        self._holding = holding

    def entries(self, messages: MessageBatch, overdue: Sequence[EdgeNodeState]) -> list[Waiting]:
        """What waits and may be read together with a batch, in order of arrival.

        That is what the births in it are waited for with, and the windows of its nodes and
        of `overdue` ones, which may have births in them again.
        """
        attentive = self._state.sequences.attentive
        if not attentive and not len(self._holding):
            return []
        indices, births = self._concerned(messages)
        indices.update(edge_node.index for edge_node in overdue)
        recalled: list[Waiting] = []
        for index in sorted(indices & attentive):
            edge_node = self._state.edge_nodes[index]
            recalled += edge_node.sequence.waiting
            births |= _births_in(edge_node)
            if edge_node.late_birth is not None:
                recalled.append(edge_node.late_birth)
        nodes = {(b.group_id, b.edge_node_id) for b in births if b.device_id is None}
        for key in sorted(nodes):
            recalled += self._holding.of_node(key)
        for birth in sorted(births, key=str):
            key = (birth.group_id, birth.edge_node_id)
            if key not in nodes:
                recalled += self._holding.of_device(key, birth.device_id)
        return sorted(recalled, key=lambda entry: entry.since)

    def _concerned(self, messages: MessageBatch) -> tuple[set[int], set[Topic]]:
        """The known nodes that messages are from, and the births among the messages."""
        state = self._state
        indices = np.fromiter(
            map(state.data_topics.get, messages.topics, repeat(ABSENT)), np.int64, len(messages)
        )
        known = indices[indices != ABSENT]
        edge_nodes = set(np.unique(state.topics.node[known]).tolist())
        births: set[Topic] = set()
        for position in np.flatnonzero(indices == ABSENT).tolist():
            read = parse_topic(messages.topics[position])
            if isinstance(read, Topic):
                edge_node = state.edge_node_of(read)
                if edge_node is not None:
                    edge_nodes.add(edge_node.index)
                if read.message_type in _BIRTHS:
                    births.add(read)
        return edge_nodes, births

    @property
    def memory(self) -> int:
        """Bytes that all that waits takes when it is read, that of the windows included."""
        return WHILE_READ * (self._holding.size + self._state.window_room.taken)

    def memory_of(self, messages: MessageBatch) -> Counter[NodeKey | None]:
        """Bytes that what is read together with some messages takes, by node."""
        memory: Counter[NodeKey | None] = Counter()
        for entry in self.entries(messages, ()):
            read = parse_topic(entry.message.topic)
            if isinstance(read, Topic):
                memory[read.group_id, read.edge_node_id] += WHILE_READ * entry.size
        return memory


def _births_in(edge_node: EdgeNodeState) -> set[Topic]:
    """The births that wait with a node: in its window, or late."""
    topics = (parse_topic(entry.message.topic) for entry in edge_node.sequence.waiting)
    births = {
        read
        for read in topics
        if isinstance(read, Topic) and read.message_type is MessageType.DBIRTH
    }
    if edge_node.late_birth is not None:
        owner = edge_node.owner
        births.add(Topic(owner.group_id, MessageType.NBIRTH, owner.edge_node_id))
    return births
