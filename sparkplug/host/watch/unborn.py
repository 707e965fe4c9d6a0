"""Nodes and devices that were alive when their session ended unheard, and are not born again yet.

Their session ended without a death: an NBIRTH came without the NDEATH before it, or a birth that
could not be read. An ordinary rebirth looks the same until the births of the devices have come;
so these are waited for (docs/decoding.md, "Sessions that end unheard").
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sparkplug.host.node_table import NodeTable
    from sparkplug.host.nodes.edge_node import EdgeNodeState
    from sparkplug.host.owner import MetricOwner

REBORN_SECONDS: Final = 10.0
"""So long after the last birth of a node its other births are waited for."""

MOST_SECONDS: Final = 600.0
"""So long births are waited for in all, however many come."""


class Overdue(NamedTuple):
    """Nodes and devices that are not waited for any longer.

    `ended_us` is when the birth came that ended their session, microseconds since 1970 UTC; None
    if that was before a restart.
    """

    edge_node: EdgeNodeState
    owners: list[MetricOwner]
    ended_us: int | None


class _EndedSession(NamedTuple):
    """When a session ended.

    `since` is in monotonic seconds; `at_us` in microseconds since 1970 UTC, None if that was
    before a restart.
    """

    since: float
    at_us: int | None


@dataclass(slots=True)
class _Waiting:
    """What of one node is unborn, and when the last birth of the node was read."""

    last_birth: float
    ends: dict[MetricOwner, _EndedSession] = field(default_factory=dict)


class Unborn:
    """Everything of one fleet that is unborn. `now` is monotonic time in seconds.

    Args:
        nodes: of the fleet; `confirmed` is read.
    """

    def __init__(self, nodes: NodeTable) -> None:
        self._nodes = nodes
        self._waiting: dict[EdgeNodeState, _Waiting] = {}

    def ended(
        self,
        edge_node: EdgeNodeState,
        owners: Iterable[MetricOwner],
        now: float,
        at_us: int | None,
    ) -> None:
        """The session of these ended without a death that was heard, at `at_us`."""
        for owner in owners:
            waiting = self._waiting.setdefault(edge_node, _Waiting(now))
            waiting.ends.setdefault(owner, _EndedSession(now, at_us))

    def born(self, edge_node: EdgeNodeState, owner: MetricOwner, now: float) -> None:
        """A birth of a node or device was read."""
        if edge_node in self._waiting:
            self._waiting[edge_node].last_birth = now
            self._forget(edge_node, [owner])

    def settled(self, edge_node: EdgeNodeState, owner: MetricOwner) -> None:
        """A node or device is not waited for: what there is to say of it was said."""
        if edge_node in self._waiting:
            self._forget(edge_node, [owner])

    def withdraw(self, edge_node: EdgeNodeState) -> list[MetricOwner]:
        """What of a node is unborn; it is not waited for any longer."""
        waiting = self._waiting.pop(edge_node, None)
        return [] if waiting is None else list(waiting.ends)

    def await_nodes(self, now: float) -> None:
        """No time has passed for nodes that are not certain to be heard: births may be lost."""
        for edge_node, waiting in self._waiting.items():
            if self._is_unheard(edge_node):
                waiting.ends = {o: end._replace(since=now) for o, end in waiting.ends.items()}
                waiting.last_birth = now

    def overdue(self, now: float) -> list[Overdue]:
        """What is not waited for any longer."""
        if not self._waiting:
            return []
        found: list[Overdue] = []
        for edge_node, waiting in list(self._waiting.items()):
            if self._is_unheard(edge_node):
                continue
            late: dict[int | None, list[MetricOwner]] = {}
            for owner, end in waiting.ends.items():
                due = max(end.since, waiting.last_birth) + REBORN_SECONDS
                if min(due, end.since + MOST_SECONDS) <= now:
                    late.setdefault(end.at_us, []).append(owner)
            for at_us, owners in late.items():
                found.append(Overdue(edge_node, owners, at_us))
                self._forget(edge_node, owners)
        return found

    def _is_unheard(self, edge_node: EdgeNodeState) -> bool:
        return edge_node.owner.born and not self._nodes.confirmed[edge_node.index]

    def _forget(self, edge_node: EdgeNodeState, owners: Iterable[MetricOwner]) -> None:
        waiting = self._waiting[edge_node]
        for owner in owners:
            waiting.ends.pop(owner, None)
        if not waiting.ends:
            del self._waiting[edge_node]
