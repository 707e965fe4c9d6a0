"""Whether two publishers use one edge node id. Pure: time is passed in.

The specification wants every edge node id to be unique in its group
(topic-structure-namespace-unique-edge-node-descriptor). A copied virtual machine or a
redundant pair that is active twice breaks that, and no single message shows it. Two
things do, when they come again and again:

- *Interleaved seq*: messages that nothing explains (late, missing in no known gap, no
  copies of earlier ones) among messages in order. Whoever counts alone can lose, delay or
  restart his seq, but does not go on with two of them in turn.
- *bdSeq in turns*: births whose bdSeq goes on where an earlier one was left, after another
  was seen: 5, 17, 5 or 5, 17, 6. Two clients that throw each other out by a common client
  id look like this, and so do two that both answer a rebirth request.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

WINDOW: Final = 600.0
"""Seconds for which evidence counts. An alarm ends when nothing came for so long."""

INTERLEAVINGS: Final = 8
"""So many turns between two counts within WINDOW are an alarm."""

RETURNS: Final = 2
"""So many returns to an earlier bdSeq within WINDOW are an alarm."""

_SECOND: Final = 1.0
_AFTER_BIRTH: Final = 5.0
_MOST_EARLIER: Final = 4
_MOST_NODES: Final = 100_000
_BD_SEQ_MODULUS: Final = 256


class Evidence(StrEnum):
    """What gave two publishers away."""

    SEQ = "interleaved_seq"
    BD_SEQ = "interleaved_bd_seq"


class DuplicateAlarm(NamedTuple):
    """An alarm that has begun, or ended; `evidence` says what it began with."""

    group_id: str
    edge_node_id: str
    evidence: Evidence
    began: bool


@dataclass(slots=True)
class _Node:
    """What is known of one edge node id."""

    born_at: float = -math.inf
    bd_seq: int | None = None
    earlier: list[tuple[int, float]] = field(default_factory=list)  # bdSeq, and when it was left
    turns: list[float] = field(default_factory=list)
    returns: list[float] = field(default_factory=list)
    last_evidence: float = -math.inf
    evidence: Evidence | None = None  # of the alarm


class DuplicateDetector:
    """Watches the edge nodes behind one MQTT server. `now` is monotonic time in seconds.

    An alarm begins once and stays while evidence comes; WINDOW seconds after the last
    evidence it ends. What is remembered is bounded; the node of whom nothing was heard for
    the longest time is forgotten first.
    """

    def __init__(self) -> None:
        self._nodes: OrderedDict[tuple[str, str], _Node] = OrderedDict()
        self._doubtful: set[tuple[str, str]] = set()
        self._alarmed: set[tuple[str, str]] = set()
        self._changes: list[DuplicateAlarm] = []

    @property
    def alarmed(self) -> AbstractSet[tuple[str, str]]:
        """Nodes (group id, edge node id) with an alarm."""
        return self._alarmed

    @property
    def doubtful(self) -> AbstractSet[tuple[str, str]]:
        """Nodes whose last message told of is an unexplained one: `in_order` is awaited."""
        return self._doubtful

    def unexplained(self, group_id: str, edge_node_id: str, now: float) -> None:
        """A message came late, is missing in no known gap, and no copy of one before.

        Right after a birth it is no evidence: it may be left over from the session before.
        """
        if now - self._node(group_id, edge_node_id).born_at >= _AFTER_BIRTH:
            self._doubtful.add((group_id, edge_node_id))

    def in_order(self, group_id: str, edge_node_id: str, now: float) -> None:
        """A message with the expected seq; only nodes in `doubtful` need to be told of."""
        if (group_id, edge_node_id) not in self._doubtful:
            return
        self._doubtful.discard((group_id, edge_node_id))
        node = self._node(group_id, edge_node_id)
        # One turn per second at most: what a server mixes up, it mixes up in an instant.
        if not node.turns or now - node.turns[-1] >= _SECOND:
            node.turns = [*_recent(node.turns, now), now][-INTERLEAVINGS:]
            self._weigh(group_id, edge_node_id, node, now)

    def born(self, group_id: str, edge_node_id: str, bd_seq: int | None, now: float) -> None:
        """An NBIRTH with its bdSeq; None if it has none."""
        node = self._node(group_id, edge_node_id)
        node.born_at = now
        self._doubtful.discard((group_id, edge_node_id))
        if bd_seq is None:
            return
        before, node.bd_seq = node.bd_seq, bd_seq
        if before is None or _goes_on(before, bd_seq):
            return
        earlier = [each for each in node.earlier if now - each[1] < WINDOW]
        returned = next((each for each in reversed(earlier) if _goes_on(each[0], bd_seq)), None)
        if returned is not None:
            earlier.remove(returned)
        node.earlier = [*earlier, (before, now)][-_MOST_EARLIER:]
        if returned is not None:
            node.returns = [*_recent(node.returns, now), now][-RETURNS:]
            self._weigh(group_id, edge_node_id, node, now)

    def changes(self, now: float) -> list[DuplicateAlarm]:
        """Alarms that began or ended since the last call."""
        for key in list(self._alarmed):
            if now - self._nodes[key].last_evidence >= WINDOW:
                self._end(key, self._nodes[key])
        changes, self._changes = self._changes, []
        return changes

    def _node(self, group_id: str, edge_node_id: str) -> _Node:
        key = (group_id, edge_node_id)
        node = self._nodes.get(key)
        if node is not None:
            self._nodes.move_to_end(key)
            return node
        if len(self._nodes) >= _MOST_NODES:
            forgotten, old = self._nodes.popitem(last=False)
            self._doubtful.discard(forgotten)
            self._end(forgotten, old)
        node = self._nodes[key] = _Node()
        return node

    def _weigh(self, group_id: str, edge_node_id: str, node: _Node, now: float) -> None:
        """Evidence came: is it enough for an alarm, or does one go on?"""
        node.last_evidence = now
        if node.evidence is not None:
            return
        if len(_recent(node.returns, now)) >= RETURNS:
            node.evidence = Evidence.BD_SEQ
        elif len(_recent(node.turns, now)) >= INTERLEAVINGS:
            node.evidence = Evidence.SEQ
        else:
            return
        self._alarmed.add((group_id, edge_node_id))
        alarm = DuplicateAlarm(group_id, edge_node_id, node.evidence, began=True)
        self._changes.append(alarm)

    def _end(self, key: tuple[str, str], node: _Node) -> None:
        if node.evidence is None:
            return
        self._alarmed.discard(key)
        self._changes.append(DuplicateAlarm(*key, node.evidence, began=False))
        node.evidence = None


def _recent(times: list[float], now: float) -> list[float]:
    return [each for each in times if now - each < WINDOW]


def _goes_on(last: int, bd_seq: int) -> bool:
    """Whether a publisher whose last bdSeq is known may have this one next.

    A rebirth repeats it, a new connection adds one (payloads-nbirth-bdseq-repeat,
    topics-nbirth-bdseq-increment).
    """
    return bd_seq in (last, last + 1, (last + 1) % _BD_SEQ_MODULUS)
