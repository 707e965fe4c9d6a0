"""A batch in portions, none of which takes much memory while it is read.

Limits on what comes in do not bound what becomes of it: a metric that only repeats an alias
has four bytes, compressed hardly any, and gives a row with the name that the alias stands for;
a death is a row for each tag.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from sparkplug.payload import (
    METRIC_MEMORY,
    NAMES_PER_ROW,
    json_memory,
    metrics_in,
    metrics_in_envelope,
    metrics_together,
)
from sparkplug.topics import Topic, parse_topic

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sparkplug.host.fleet_state import FleetState
    from sparkplug.host.nodes.waiting import NodeKey
    from sparkplug.host.reading.recall import Recall
    from sparkplug.messages import MessageBatch

_LEAST_METRIC: Final = 2
"""Bytes that a metric has on the wire at least."""


class Portion(NamedTuple):
    """Messages that are read together. `is_giant`: it is a single one that takes more memory."""

    messages: MessageBatch
    is_giant: bool


class Scale:
    """Weighs what a fleet is about to read."""

    def __init__(self, state: FleetState, recall: Recall) -> None:
        self._state = state
        self._recall = recall

    def portions(self, messages: MessageBatch) -> Iterator[Portion]:
        """The messages in their order, so that a portion takes little memory.

        A message that takes more is a portion by itself. What waits, and is read together with
        a message of its node, is weighed with the first one of a portion.
        """
        most_memory = self._state.limits.max_portion_memory
        if self._certainly_fits(messages):
            yield Portion(messages, is_giant=False)
            return
        recalled = self._recall.memory_of(messages)
        seen: set[NodeKey | None] = set()
        start, memory = 0, 0
        for position, own in enumerate(self._weights(messages)):
            node = _node_of(messages.topics[position]) if recalled else None
            weight = own if node in seen else own + recalled[node]
            if memory + weight > most_memory and position > start:
                yield Portion(messages.pick(range(start, position)), memory > most_memory)
                start, memory, weight = position, 0, own + recalled[node]
                seen.clear()
            memory += weight
            seen.add(node)
        last = messages.pick(range(start, len(messages))) if start else messages
        yield Portion(last, memory > most_memory)

    def _certainly_fits(self, messages: MessageBatch) -> bool:
        """Whether the batch is one portion, whatever each of its messages takes."""
        if messages.enveloped or messages.deaths:
            return False
        longest = self._state.catalogue.longest_name + max(map(len, messages.topics), default=0)
        of_metric = METRIC_MEMORY + NAMES_PER_ROW * longest
        room = self._state.limits.max_portion_memory - self._recall.memory - messages.size
        if messages.size // _LEAST_METRIC * of_metric <= room:
            return True
        metrics = metrics_together(messages.payloads)
        return metrics is not None and metrics * of_metric <= room

    def _weights(self, messages: MessageBatch) -> Iterator[int]:
        """Bytes that each message takes, with the rows that it gives, on the safe side."""
        enveloped, deaths = set(messages.enveloped), set(messages.deaths)
        inflated = self._state.limits.max_inflated_bytes
        for position, (topic, payload) in enumerate(
            zip(messages.topics, messages.payloads, strict=True)
        ):
            if position in deaths:
                yield len(payload) + self._of_death(topic)
                continue
            size, metrics = len(payload) + json_memory(payload), metrics_in(payload)
            if position in enveloped:
                inner, count = metrics_in_envelope(payload, inflated)
                size, metrics = size + inner, metrics + count
            names = NAMES_PER_ROW * (len(topic) + self._longest_name(topic))
            yield size + metrics * (METRIC_MEMORY + names)

    def _longest_name(self, topic: str) -> int:
        """Of the metrics that data on a topic may have; a birth brings its names along."""
        index = self._state.data_topics.get(topic)
        return 0 if index is None else self._state.owners[index].longest_name

    def _of_death(self, text: str) -> int:
        """What the rows of a death take."""
        topic = parse_topic(text)
        if not isinstance(topic, Topic):
            return 0
        edge_node = self._state.edge_node_of(topic)
        if edge_node is None:
            return 0
        if topic.device_id is None:
            owners = edge_node.owners()
        else:
            owner = edge_node.owner_of(topic.device_id)
            owners = [] if owner is None else [owner]
        of_row = METRIC_MEMORY + NAMES_PER_ROW * len(text)
        return sum(
            len(each.declared) * of_row + NAMES_PER_ROW * each.characters
            for each in owners
            if each.born
        )


def _node_of(topic: str) -> NodeKey | None:
    read = parse_topic(topic)
    return (read.group_id, read.edge_node_id) if isinstance(read, Topic) else None
