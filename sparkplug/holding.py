"""Messages that cannot be read yet: they are held until the birth comes. No I/O, no clock."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from numpy.typing import NDArray

    from sparkplug.messages import Message, Reason
    from sparkplug.structured_rows import UnknownMembers

NodeKey = tuple[str, str]
"""Group id and edge node id."""

_OVERHEAD: Final = 1200
"""Bytes that a held message costs beside its payload and topic."""


@dataclass(frozen=True, slots=True)
class HoldLimits:
    """Bounds of what is held: per node in messages and bytes, in all in bytes, in seconds."""

    node_messages: int = 10_000
    node_bytes: int = 16 * 1024 * 1024
    total_bytes: int = 256 * 1024 * 1024
    seconds: float = 600.0


@dataclass(slots=True, eq=False)
class Waiting:
    """One message that waits, in the window of its node or for a birth.

    `since` is monotonic time in seconds. `position` is its place in the batch that is
    being read, None when it is in none; `rows` are the metrics of that batch that wait,
    None for all of the message; of a template in that batch `members` wait. `reason` says
    what it is held for, None in the window. `counted`: what became of the message is told
    already, and only some of its metrics, or its seq, wait. `kept` is its number on disk,
    None if it is not there.
    """

    message: Message
    seq: int
    since: float
    position: int | None = None
    rows: NDArray[np.int64] | None = None
    reason: Reason | None = None
    device_id: str | None = None
    members: UnknownMembers | None = None
    counted: bool = False
    kept: int | None = None

    @property
    def size(self) -> int:
        """Bytes that it takes."""
        return len(self.message.payload) + len(self.message.topic) + _OVERHEAD

    @property
    def place(self) -> int:
        """`position` of what is in the batch that is being read."""
        assert self.position is not None, "what may be read was recalled into the batch"
        return self.position

    def leave(self) -> None:
        """The batch that it is in was read."""
        self.position = self.rows = self.members = None


class HeldMessage(NamedTuple):
    """A held message as it is kept over a restart: what it waits for, and why.

    `counted` and `kept` are those of Waiting.
    """

    message: Message
    device_id: str | None
    reason: Reason
    counted: bool = False
    kept: int | None = None


class _Node:
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

    def __init__(self, limits: HoldLimits | None = None) -> None:
        self.limits = limits or HoldLimits()
        self._nodes: dict[NodeKey, _Node] = {}
        self._numbers = 0
        self._size = 0
        self._count = 0
        self._look_at = float("inf")  # nothing expires before
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

    def add(self, key: NodeKey, entry: Waiting) -> list[Waiting]:
        """Hold a message of a node; return those that had to go for it."""
        node = self._nodes.setdefault(key, _Node())
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
        gone: list[Waiting] = []
        limits = self.limits
        while node.count and (
            node.count > limits.node_messages
            or node.size > limits.node_bytes
            or self._size > limits.total_bytes
        ):
            number, oldest = node.oldest()
            gone.append(self._remove(key, number, oldest))
        return gone

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

    def take(self, key: NodeKey, device_id: str | None) -> list[Waiting]:
        """The same, no longer held."""
        node = self._nodes.get(key)
        if node is None:
            return []
        entries = node.by_device.get(device_id, {})
        return [self._remove(key, number, entry) for number, entry in list(entries.items())]

    def take_all(self, key: NodeKey) -> list[Waiting]:
        """Everything of a node, no longer held, in order of arrival."""
        node = self._nodes.get(key)
        taken = self.of_node(key)
        for device_id in list(node.by_device) if node is not None else ():
            self.take(key, device_id)
        return taken

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
        return entry
