"""When edge nodes are really asked for a rebirth. Pure: time and randomness are passed in.

Every wish for a rebirth comes here. One request per node is pending at a time; a node
that does not answer is asked ever more rarely; the whole fleet shares a budget, so that
a host that starts beside thousands of running nodes does not set off a storm of births
(specification 5.10, note on Rebirth requests).
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from sparkplug.messages import Reason, RebirthRequest

LONGEST_PAUSE: Final = 300.0
"""Seconds between two requests to a node that never answers, before jitter."""

_JITTER: Final = 0.2
_MOST_NODES: Final = 100_000


@dataclass(slots=True)
class _Node:
    reason: Reason
    pending: bool = True
    asked: int = 0
    not_before: float = 0.0


class RebirthGovernor:
    """Turns wishes into requests at a bearable rate.

    Args:
        per_node: seconds between the first and the second request to one node; the pause
            doubles with each further one, up to LONGEST_PAUSE.
        fleet_per_second: requests per second to all nodes together, with a burst of one
            second's worth.
        random: numbers in [0, 1), for the jitter.
    """

    def __init__(
        self, per_node: float, fleet_per_second: float, random: Callable[[], float]
    ) -> None:
        self._per_node = per_node
        self._rate = fleet_per_second
        self._random = random
        self._nodes: OrderedDict[tuple[str, str], _Node] = OrderedDict()
        self._budget = max(1.0, fleet_per_second)
        self._refilled_at: float | None = None

    @property
    def pending(self) -> int:
        """Nodes whose request has not been sent yet."""
        return sum(node.pending for node in self._nodes.values())

    def want(self, request: RebirthRequest) -> None:
        """Note that a node should be asked. Repeating it costs nothing."""
        key = (request.group_id, request.edge_node_id)
        node = self._nodes.get(key)
        if node is None:
            if len(self._nodes) >= _MOST_NODES:  # forged ids must not grow this without bound
                self._nodes.popitem(last=False)
            self._nodes[key] = _Node(request.reason)
        elif not node.pending:
            node.pending, node.reason = True, request.reason

    def born(self, group_id: str, edge_node_id: str) -> None:
        """A node's birth arrived: nothing is pending, the back-off starts anew.

        The pause before the next request stays, so that a node whose births are
        broken is not asked at the rate of its own births.
        """
        node = self._nodes.get((group_id, edge_node_id))
        if node is not None:
            node.pending = False
            node.asked = min(node.asked, 1)

    def due(self, now: float) -> list[tuple[str, str, Reason]]:
        """Nodes to ask now, by (group id, edge node id, reason); they count as asked.

        `now` is monotonic time in seconds.
        """
        if self._refilled_at is not None:
            earned = (now - self._refilled_at) * self._rate
            self._budget = min(max(1.0, self._rate), self._budget + max(0.0, earned))
        self._refilled_at = now
        asked: list[tuple[str, str, Reason]] = []
        for (group_id, edge_node_id), node in self._nodes.items():
            if self._budget < 1.0:
                break
            if node.pending and now >= node.not_before:
                self._budget -= 1.0
                pause = min(self._per_node * 2.0**node.asked, LONGEST_PAUSE)
                node.not_before = now + pause * (1.0 + _JITTER * self._random())
                node.pending = False
                node.asked = min(node.asked + 1, 30)
                asked.append((group_id, edge_node_id, node.reason))
        return asked
