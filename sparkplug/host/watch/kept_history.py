"""Which edge nodes keep their data while the host is offline: what they send of that time.

The host listens, goes offline on purpose, comes back, and looks what comes. A node that keeps its
data sends it as history, of times between the last message that was sent before and the first one
after: both by the clock of the node, so a clock that is wrong does no harm. How often a
node usually publishes is measured by the clock of the host; a duration is the same in both.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from sparkplug.gaps import GapReason
from sparkplug.host.catalogue import NO_TAG
from sparkplug.host.watch.kept_tags import FEW, REGULAR, KeptTags
from sparkplug.messages import HOST, ROW_TYPES

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from sparkplug.decoded import Observations
    from sparkplug.gaps import GapChange
    from sparkplug.host.catalogue import TagCatalogue
    from sparkplug.host.node_table import NodeTable
    from sparkplug.host.nodes.edge_node import EdgeNodeState
    from sparkplug.host.nodes.waiting import NodeKey
    from sparkplug.host.watch.hearing import Hearing

LEAST_HOLE_US: Final = 2_000_000
"""No hole in history that is shorter than this is held against a node, in microseconds."""

_SLOTS: Final = 256
"""History is looked at in so many parts of the window that was meant."""
_LEAST_SLOT_US: Final = 10_000
_MOST_SLOTS: Final = 8_192
_OF_DATA: Final = np.array([each in ("NDATA", "DDATA") for each in ROW_TYPES])
_OF_NODES: Final = np.array([not each.endswith("DEATH") and each != HOST for each in ROW_TYPES])


class Verdict(StrEnum):
    """How it is with one edge node while its primary host is offline."""

    KEPT = "kept"
    """History came, and covers the time in which the host was offline."""
    PARTLY = "partly"
    """History came, and does not cover it, is not of all tags, or is not all that it published."""
    LOST = "lost"
    """It published before and after, and sent no history of the time between."""
    NOT_KNOWN = "not_known"
    """It was not alive, published too seldom, or has not come back yet."""


class NodeBefore(NamedTuple):
    """What is known of a node when the host goes offline.

    Args:
        group_id, edge_node_id: of the node.
        was_alive: whether it was in a session.
        sent_us: when its last message was sent, by its own clock, microseconds since 1970 UTC;
            0: none came.
        moments: at how many moments it was heard while the host listened to it before.
        pause_us: the longest time in which it said nothing meanwhile, in microseconds.
        tags: how many of its tags published so often that they would do so while the host is
            offline.
    """

    group_id: str
    edge_node_id: str
    was_alive: bool
    sent_us: int
    moments: int
    pause_us: int
    tags: int = 0


class NodeAfter(NamedTuple):
    """What came of a node after the host was offline. Times are by the clock of the node.

    Args:
        before: what was known of it before.
        to_us: when the first message that came afterwards was sent, microseconds since 1970 UTC;
            None: nothing came yet.
        went_on: it published meanwhile, as its seq tells: it did not wait for the host.
        rows: values of history from within the time between.
        first_us, last_us: the earliest and the latest of them; None without.
        hole_us: the longest time between of which there is no history, in microseconds.
        tags_lost: tags that published often before, and of which there is no history.
    """

    before: NodeBefore
    to_us: int | None = None
    went_on: bool = False
    rows: int = 0
    first_us: int | None = None
    last_us: int | None = None
    hole_us: int = 0
    tags_lost: int = 0

    @property
    def window_us(self) -> int:
        """How long the host was offline to the node, in microseconds; 0: not known."""
        if self.to_us is None or not self.before.sent_us:
            return 0
        return max(0, self.to_us - self.before.sent_us)

    @property
    def is_judged(self) -> bool:
        """Whether it published so often before that it would have done so in the window."""
        before = self.before
        return before.moments >= REGULAR and 0 < FEW * before.pause_us <= self.window_us

    @property
    def covers(self) -> bool:
        """Whether history has no hole that is held against it."""
        return not self.is_judged or self.hole_us <= self._longest_hole_us

    @property
    def verdict(self) -> Verdict:
        """Whether it keeps its data.

        History is enough where a node publishes so seldom that nothing else could be expected.
        """
        if self.rows:
            is_whole = self.covers and not self.went_on and not self.tags_lost
            return Verdict.KEPT if is_whole else Verdict.PARTLY
        if self.before.was_alive and self.is_judged:
            return Verdict.LOST
        return Verdict.NOT_KNOWN

    @property
    def _longest_hole_us(self) -> int:
        return max(LEAST_HOLE_US, FEW * self.before.pause_us)


@dataclass(slots=True)
class _Node:
    """What comes of one node; `slots` has a bit for each part of the window with history."""

    before: NodeBefore
    to_us: int | None = None
    went_on: bool = False
    rows: int = 0
    first_us: int = 0
    last_us: int = 0
    slots: int = 0


class KeptHistory:
    """Looks at one fleet before and after the host is offline. Used by the fleet's thread.

    Rows that are read tell how often a node publishes, until `leave`, when the connection has
    ended; after that they tell what it kept. Over a restart `before` is kept, and `come_back` takes
    it in.

    Args:
        nodes: of the fleet; `born` and `sent_us` are read.
        edge_nodes: of the fleet, by index.
        by_id: the same, by (group id, edge node id).
        catalogue: of the fleet.
        hearing: tells for how long somebody has listened.
        window_us: how long the host is to be offline, in microseconds.

    Attributes:
        has_left: whether the connection has ended since.
    """

    def __init__(  # noqa: PLR0917 - the parts of a fleet
        self,
        nodes: NodeTable,
        edge_nodes: Sequence[EdgeNodeState],
        by_id: Mapping[NodeKey, EdgeNodeState],
        catalogue: TagCatalogue,
        hearing: Hearing,
        window_us: int,
    ) -> None:
        self._columns = nodes
        self._edge_nodes = edge_nodes
        self._by_id = by_id
        self._catalogue = catalogue
        self._hearing = hearing
        self._window_us = window_us
        self._slot_us = max(_LEAST_SLOT_US, window_us // _SLOTS)
        self._begun = hearing.now
        self._heard = np.empty(0)
        self._pause = np.empty(0)
        self._moments = np.empty(0, dtype=np.int64)
        self._alive: list[bool] = []
        self._of_tag = np.empty(0, dtype=np.int64)  # the index of each tag's node
        self._generation = catalogue.generation
        self._tags: KeptTags | None = KeptTags(hearing.now)
        self._is_restored = True
        self._nodes: dict[NodeKey, _Node] = {}
        self._sent_us: dict[NodeKey, int] = {}
        self.has_left = False

    def look_at_rows(self, rows: Observations) -> None:
        """Look at what is read, historical where the edge node says so, not where it came late."""
        if self.has_left:
            self._look_at_return(rows)
        else:
            self._listen(rows)

    # ------------------------------------------------------------------ before

    def _listen(self, rows: Observations) -> None:
        """Who publishes, and after which pause? Births tell nothing that was not told before."""
        self._grow()
        present = _OF_DATA[rows.message_type] & ~rows.historical & (rows.tag != NO_TAG)
        tags = np.unique(rows.tag[present])
        heard = np.unique(self._node_of(tags))
        heard = heard[heard >= 0]
        pause = self._hearing.now - self._heard[heard]
        self._pause[heard] = np.maximum(self._pause[heard], pause)
        self._moments[heard] += 1
        self._heard[heard] = self._hearing.now
        if self._tags is not None:
            self._tags.listen(tags, self._hearing.now)

    def _grow(self) -> None:
        new = self._columns.size - len(self._heard)
        if new:
            self._heard = np.append(self._heard, np.full(new, self._begun))
            self._pause = np.append(self._pause, np.zeros(new))
            self._moments = np.append(self._moments, np.zeros(new, dtype=np.int64))

    def end_listening(self) -> None:
        """From now on nodes may know that the host goes offline: note who is alive."""
        self._grow()
        self._pause = np.maximum(self._pause, self._hearing.now - self._heard)
        if self._tags is not None:
            self._tags.end_listening(self._hearing.now)
        self._is_restored = False
        self._alive = self._columns.born[: len(self._heard)].tolist()

    def leave(self) -> None:
        """The connection has ended: what comes from now on is looked at."""
        self.come_back(self.before())

    def before(self) -> list[NodeBefore]:
        """What is known of all nodes, as of now, after `end_listening`."""
        if self.has_left:
            return [each.before for each in self._nodes.values()]
        count = len(self._alive)
        columns = (
            self._alive,
            self._columns.sent_us[:count].tolist(),
            self._moments[:count].tolist(),
            (self._pause[:count] * 1e6).astype(np.int64).tolist(),
            self._regular_tags(count),
        )
        return [
            NodeBefore(each.owner.group_id, each.owner.edge_node_id, *facts)
            for each, *facts in zip(self._edge_nodes[:count], *columns, strict=True)
        ]

    def _regular_tags(self, count: int) -> list[int]:
        owners = self._owners()
        if self._tags is None:
            return [0] * count
        window_us = np.full(self._columns.size, self._window_us, dtype=np.int64)
        return list(map(int, self._tags.regular(owners, window_us)[:count]))

    def come_back(self, before: Iterable[NodeBefore]) -> None:
        """Look at these nodes, of which so much was known before, or a little more is known now."""
        self.has_left = True
        for each in before:
            key = (each.group_id, each.edge_node_id)
            sent_us = self._sent_us[key] = self._sent(key)
            self._nodes[key] = _Node(each._replace(sent_us=max(each.sent_us, sent_us)))

    # ------------------------------------------------------------------ afterwards

    def look_at_gaps(self, changes: Iterable[GapChange]) -> None:
        """Look at what a batch told of gaps."""
        for change in changes:
            node = self._nodes.get(change.gap.key)
            # A first seq is expected where data is the first that comes: it did not wait.
            is_news = change.before is None and change.gap.reason is GapReason.AWAY
            if node is not None and is_news and change.gap.first is not None:
                node.went_on = True

    def after(self) -> list[NodeAfter]:
        """What came of each node so far."""
        found = [self._after(key, node) for key, node in self._nodes.items()]
        lost = self._tags_lost(found)
        return [each._replace(tags_lost=n) for each, n in zip(found, lost, strict=True)]

    def _tags_lost(self, found: Sequence[NodeAfter]) -> list[int]:
        """Of how many tags of each of these nodes history should have come and did not."""
        owners = self._owners()
        if self._tags is None:
            return [0] * len(found)
        nodes = [
            self._by_id.get((each.before.group_id, each.before.edge_node_id)) for each in found
        ]
        indices = [-1 if each is None else each.index for each in nodes]
        window_us = np.zeros(self._columns.size + 1, dtype=np.int64)  # the last is that of none
        window_us[indices] = [each.window_us for each in found]
        if not self._is_restored:
            without = self._tags.without_history(owners, window_us)
            return [int(without[index]) for index in indices]
        # Over a restart it is known how many tags there were, and not which.
        came = self._tags.with_history(owners, len(window_us))
        return [
            max(0, each.before.tags - int(came[index])) if each.window_us >= self._window_us else 0
            for each, index in zip(found, indices, strict=True)
        ]

    def _look_at_return(self, rows: Observations) -> None:
        concerned = np.flatnonzero(_OF_NODES[rows.message_type] & (rows.tag != NO_TAG))
        if not len(concerned):
            return
        node = self._node_of(rows.tag[concerned])
        order = np.argsort(node, kind="stable")
        concerned, node = concerned[order], node[order]
        found, starts = np.unique(node, return_index=True)
        historical = rows.historical[concerned]
        times, sent = rows.event_time_us[concerned], rows.payload_time_us[concerned]
        is_new = ~historical & (sent >= 0)
        for index, start, end in zip(found, starts, [*starts[1:], len(node)], strict=True):
            known = self._nodes.get(self._key(index)) if index >= 0 else None
            if known is None:
                continue
            mine = slice(start, end)
            if known.to_us is None and is_new[mine].any():
                known.to_us = int(sent[mine][is_new[mine]].min())
            if historical[mine].any():
                past = mine.start + np.flatnonzero(historical[mine])
                self._take_history(known, times[past], rows.tag[concerned[past]])

    def _take_history(self, node: _Node, times: NDArray[np.int64], tags: NDArray[np.int32]) -> None:
        """Note history of a node, of the time in which the host was offline to it."""
        since = node.before.sent_us
        if not since:
            return
        within = times > since
        if node.to_us is not None:
            within &= times <= node.to_us
        times = times[within]
        if not len(times):
            return
        if self._tags is not None:
            self._tags.take_history(tags[within])
        node.rows += len(times)
        first, last = int(times.min()), int(times.max())
        node.first_us = min(node.first_us or first, first)
        node.last_us = max(node.last_us, last)
        slots = np.unique(np.minimum((times - since) // self._slot_us, _MOST_SLOTS))
        for slot in slots.tolist():
            node.slots |= 1 << slot

    def _after(self, key: NodeKey, node: _Node) -> NodeAfter:
        to_us = node.to_us
        if to_us is None and (sent_us := self._sent(key)) != self._sent_us[key]:
            to_us = sent_us  # births give no rows, or have no time
        found = NodeAfter(node.before, to_us, node.went_on)
        if not node.rows:
            return found._replace(hole_us=found.window_us)
        return found._replace(
            rows=node.rows,
            first_us=node.first_us,
            last_us=node.last_us,
            hole_us=self._longest_hole(node.slots, found.window_us),
        )

    def _longest_hole(self, slots: int, window_us: int) -> int:
        """The longest time without history, from the last message before to the first after."""
        found, end = [-1], -(-window_us // self._slot_us)
        while slots:
            lowest = slots & -slots
            found.append(lowest.bit_length() - 1)
            slots ^= lowest
        found.append(max(end, found[-1] + 1))
        parts = max(b - a - 1 for a, b in pairwise(found))
        return min(parts * self._slot_us, window_us) if window_us else parts * self._slot_us

    def _sent(self, key: NodeKey) -> int:
        edge_node = self._by_id.get(key)
        return 0 if edge_node is None else int(self._columns.sent_us[edge_node.index])

    def _key(self, index: int) -> NodeKey:
        owner = self._edge_nodes[index].owner
        return owner.group_id, owner.edge_node_id

    def _node_of(self, tags: NDArray[np.int32]) -> NDArray[np.int64]:
        """The index of each tag's node; -1 for none that is known."""
        return self._owners()[tags]

    def _owners(self) -> NDArray[np.int64]:
        """The index of the node of all tags; -1 for none that is known."""
        if self._generation != self._catalogue.generation:
            self._generation = self._catalogue.generation
            self._of_tag = self._of_tag[:0]
            self._tags = None  # their ids are others now: of nodes it is known still
        new = self._catalogue.owners[len(self._of_tag) :]
        if new:
            found = [self._by_id.get((each.group_id, each.edge_node_id)) for each in new]
            indices = [-1 if each is None else each.index for each in found]
            self._of_tag = np.append(self._of_tag, np.array(indices, dtype=np.int64))
        return self._of_tag
