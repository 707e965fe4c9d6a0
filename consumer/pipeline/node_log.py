"""What happened lately to edge nodes, devices and servers: for who looks, not for the pipeline."""

from __future__ import annotations

import threading
from collections import OrderedDict, deque
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, NamedTuple

from sparkplug import EventKind

if TYPE_CHECKING:
    from sparkplug import Event

MOST_EVENTS: Final = 5_000
_MOST_CHARACTERS: Final = 2 << 20
_MOST_NODES: Final = 10_000
_LONGEST_ID: Final = 512
"""Ids that are longer are not logged by the node: whoever may publish may invent them."""

NodePlace = tuple[str, str, str]
"""Server, group id and edge node id."""


class LoggedEvent(NamedTuple):
    """An event of a server, with its number: they are counted from 1."""

    number: int
    server: str
    event: Event


@dataclass(slots=True)
class NodeStory:
    """What happened to one edge node since the start. Times are µs since 1970 UTC, 0 for never."""

    births: int = 0
    deaths: int = 0
    rebirths_asked: int = 0
    last_birth_us: int = 0
    last_death_us: int = 0


class NodeLog:
    """The last events of all servers, and the story of each edge node. Thread-safe.

    Attributes:
        count: events since the start.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._events: deque[LoggedEvent] = deque(maxlen=MOST_EVENTS)
        self._characters = 0
        self._stories: OrderedDict[NodePlace, NodeStory] = OrderedDict()
        self.count = 0

    def add(self, server: str, event: Event) -> None:
        """Note an event of a server."""
        with self._lock:
            self.count += 1
            self._characters += _characters(event)
            if len(self._events) == MOST_EVENTS:
                self._characters -= _characters(self._events[0].event)
            self._events.append(LoggedEvent(self.count, server, event))
            while self._characters > _MOST_CHARACTERS:
                self._characters -= _characters(self._events.popleft().event)
            if event.group_id is not None and event.edge_node_id is not None:
                self._tell((server, event.group_id, event.edge_node_id), event)

    def _tell(self, place: NodePlace, event: Event) -> None:
        if len(place[1]) + len(place[2]) > _LONGEST_ID:
            return
        story = self._stories.get(place)
        if story is None:
            story = self._stories[place] = NodeStory()
            if len(self._stories) > _MOST_NODES:
                self._stories.popitem(last=False)
        if event.kind is EventKind.NODE_BIRTH:
            story.births += 1
            story.last_birth_us = event.time_us
        elif event.kind is EventKind.NODE_DEATH:
            story.deaths += 1
            story.last_death_us = event.time_us
        elif event.kind is EventKind.REBIRTH_REQUEST:
            story.rebirths_asked += 1

    def events(self) -> list[LoggedEvent]:
        """The last events, oldest first."""
        with self._lock:
            return list(self._events)

    def stories(self) -> dict[NodePlace, NodeStory]:
        """The stories of all edge nodes of which there was an event."""
        with self._lock:
            return {place: replace(story) for place, story in self._stories.items()}


def _characters(event: Event) -> int:
    texts = (event.group_id, event.edge_node_id, event.device_id, event.reason, event.detail)
    return sum(len(text) for text in texts if text)
