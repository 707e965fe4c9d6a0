"""Messages that cannot be read yet: they are held until the birth comes. No I/O, no clock."""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sparkplug.host.nodes.waiting import NodeKey, Waiting


_MOST_OUTDATED: Final = 4
"""So many times the nodes that hold anything are in the list by size before it is made anew."""


@dataclass(frozen=True, slots=True)
class HoldLimits:
    """Bounds of what is held: per node in messages and bytes, in all in bytes, in seconds.

    Beyond that of all nodes the one that holds most gives its oldest message up.
    """

    node_messages: int = 10_000
    node_bytes: int = 16 * 1024 * 1024
    total_bytes: int = 256 * 1024 * 1024
    seconds: float = 600.0


class _HeldOfNode:
    """What is held of one node, by the device that it waits for (None: the node itself)."""

    def __init__(self) -> None:
        self.by_device: dict[str | None, dict[int, Waiting]] = {}
        self.order: dict[int, str | None] = {}  # the device of each, in order of arrival
        self.count = 0
        self.size = 0

    def oldest(self) -> tuple[int, Waiting]:
        """The entry that is held longest, with its number."""
        number, device_id = next(iter(self.order.items()))
        return number, self.by_device[device_id][number]


class Holding:
    """All held messages of one MQTT server, in order of arrival, within bounds."""

    def __init__(self, limits: HoldLimits) -> None:
        self.limits = limits
        self._nodes: dict[NodeKey, _HeldOfNode] = {}
        self._numbers = 0
        self._size = 0
        self._count = 0
        self._look_at = float("inf")  # nothing expires before
        # Nodes by what they hold, most first, some of it out of date; None: not needed so far.
        self._by_size: list[tuple[int, NodeKey]] | None = None
        self.uncounted = 0
        """Messages that are held whole."""
        self.left: set[int] = set()
        """Numbers on disk of what is held no longer, for whoever clears them."""

    def __len__(self) -> int:
        return self._count

    def __contains__(self, key: NodeKey) -> bool:
        return key in self._nodes

    @property
    def size(self) -> int:
        """Bytes that are held."""
        return self._size

    def put_back(self, key: NodeKey, entry: Waiting) -> None:
        """Hold a message of a node, as before a restart: none has to go for it."""
        node = self._nodes.setdefault(key, _HeldOfNode())
        self._numbers += 1
        node.by_device.setdefault(entry.device_id, {})[self._numbers] = entry
        node.order[self._numbers] = entry.device_id
        node.count += 1
        node.size += entry.size
        self._count += 1
        self._size += entry.size
        self.uncounted += not entry.counted
        if entry.kept is not None:
            self.left.discard(entry.kept)
        self._look_at = min(self._look_at, entry.since + self.limits.seconds)
        self._note_size(key, node)

    def hold(self, key: NodeKey, entry: Waiting) -> list[Waiting]:
        """Hold a message of a node; return those that had to go for it."""
        self.put_back(key, entry)
        node, limits = self._nodes[key], self.limits
        gone: list[Waiting] = []
        while node.count and (node.count > limits.node_messages or node.size > limits.node_bytes):
            gone.append(self._remove(key, *node.oldest()))
        while self._size > limits.total_bytes:
            largest = self._largest()
            gone.append(self._remove(largest, *self._nodes[largest].oldest()))
        return gone

    def _largest(self) -> NodeKey:
        """The node that holds most bytes; of several the first by name."""
        if self._by_size is None or len(self._by_size) > _MOST_OUTDATED * len(self._nodes) + 100:
            self._by_size = [(-node.size, key) for key, node in self._nodes.items()]
            heapq.heapify(self._by_size)
        while True:
            size, key = self._by_size[0]
            node = self._nodes.get(key)
            if node is not None and node.size == -size:
                return key
            heapq.heappop(self._by_size)

    def _note_size(self, key: NodeKey, node: _HeldOfNode) -> None:
        if self._by_size is not None:
            if self._size > self.limits.total_bytes // 2:
                heapq.heappush(self._by_size, (-node.size, key))
            else:
                self._by_size = None

    def of_node(self, key: NodeKey) -> list[Waiting]:
        """Everything held of a node, for itself and for its devices, in order of arrival."""
        node = self._nodes.get(key)
        if node is None:
            return []
        return [node.by_device[device_id][number] for number, device_id in node.order.items()]

    def of_device(self, key: NodeKey, device_id: str | None) -> list[Waiting]:
        """What is held for one device of a node, or for the node's own birth."""
        node = self._nodes.get(key)
        return [] if node is None else list(node.by_device.get(device_id, {}).values())

    def release(self, key: NodeKey, device_id: str | None) -> list[Waiting]:
        """What is held for one device of a node, or for the node's own birth; no longer held."""
        node = self._nodes.get(key)
        if node is None:
            return []
        entries = node.by_device.get(device_id, {})
        return [self._remove(key, number, entry) for number, entry in list(entries.items())]

    def release_node(self, key: NodeKey) -> list[Waiting]:
        """Everything of a node, no longer held, in order of arrival."""
        node = self._nodes.get(key)
        taken = self.of_node(key)
        for device_id in list(node.by_device) if node is not None else ():
            self.release(key, device_id)
        return taken

    def remove(self, key: NodeKey, entry: Waiting) -> bool:
        """Hold a message of a node no longer; False if it was not held."""
        node = self._nodes.get(key)
        held = {} if node is None else node.by_device.get(entry.device_id, {})
        number = next((number for number, each in held.items() if each is entry), None)
        if number is not None:
            self._remove(key, number, entry)
        return number is not None

    def expired(self, now: float) -> list[Waiting]:
        """What was held for too long; it is no longer."""
        if now < self._look_at:
            return []
        gone: list[Waiting] = []
        self._look_at = float("inf")
        for key, node in list(self._nodes.items()):
            for entries in list(node.by_device.values()):
                for number, entry in list(entries.items()):
                    end = entry.since + self.limits.seconds
                    if end > now:
                        self._look_at = min(self._look_at, end)
                        break  # the others came later
                    gone.append(self._remove(key, number, entry))
        return gone

    def __iter__(self) -> Iterator[Waiting]:
        for key in list(self._nodes):
            yield from self.of_node(key)

    def _remove(self, key: NodeKey, number: int, entry: Waiting) -> Waiting:
        node = self._nodes[key]
        entries = node.by_device[entry.device_id]
        del entries[number]
        del node.order[number]
        if not entries:
            del node.by_device[entry.device_id]
        node.count -= 1
        node.size -= entry.size
        self._count -= 1
        self._size -= entry.size
        self.uncounted -= not entry.counted
        if entry.kept is not None:
            self.left.add(entry.kept)
        if not node.count:
            del self._nodes[key]
        self._note_size(key, node)
        return entry
