"""Nodes that are silent: since when and why; told when it begins and when it is over."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Final, NamedTuple

from sparkplug.events import Event, EventKind
from sparkplug.host.watch.alarms import ALARM_OVER

if TYPE_CHECKING:
    from collections.abc import Callable

    from sparkplug.host.node_table import NodeTable
    from sparkplug.host.nodes.edge_node import EdgeNodeState

_MOST_TOLD: Final = 1_000
"""Events at a time: of more nodes that fall silent at once the next ones are told later."""


class Silence(StrEnum):
    """Why a node is silent: `reason` of its event."""

    QUIET = "quiet"
    """It says nothing for longer than it ever did."""
    UNHEARD = "unheard"
    """It was not heard after an absence, and answers no rebirth requests."""


class SilentNode(NamedTuple):
    """A node that is silent. `since_us` is when that became known, microseconds since 1970 UTC."""

    group_id: str
    edge_node_id: str
    reason: Silence
    since_us: int


class Silences:
    """The silent nodes of one fleet. `now` is in heard seconds.

    Args:
        nodes: of the fleet; `heard_at` and `born` are read.
    """

    def __init__(self, nodes: NodeTable) -> None:
        self._nodes = nodes
        self._silent: dict[EdgeNodeState, tuple[SilentNode, float]] = {}
        self._events: list[Event] = []
        self.nodes: tuple[SilentNode, ...] = ()
        """All that are silent now. Replaced when that changes: any thread may read it."""

    @property
    def may_tell(self) -> bool:
        """Whether there is room for another one to be told now."""
        return len(self._events) < _MOST_TOLD

    def reason_of(self, edge_node: EdgeNodeState) -> Silence | None:
        """Why a node is silent; None if it is not."""
        known = self._silent.get(edge_node)
        return None if known is None else known[0].reason

    def begin(
        self, edge_node: EdgeNodeState, reason: Silence, now: float, at_us: int, detail: str
    ) -> None:
        """A node is silent, as of now."""
        owner = edge_node.owner
        node = SilentNode(owner.group_id, owner.edge_node_id, reason, at_us)
        self._silent[edge_node] = node, now
        self._tell(node, reason, at_us, detail)

    def take_events(self, at_us: int, is_elsewhere: Callable[[EdgeNodeState], bool]) -> list[Event]:
        """What began or was over since the last call.

        `is_elsewhere` tells whether another server of the site shows a node alive.
        """
        heard_at, born = self._nodes.heard_at, self._nodes.born
        for edge_node, (node, since) in list(self._silent.items()):
            if not self.may_tell:
                break
            if not born[edge_node.index]:
                how = "its session has ended"
            elif heard_at[edge_node.index] > since:
                how = "it is heard again"
            elif is_elsewhere(edge_node):
                how = "it is alive on another server of its site"
            else:
                continue
            del self._silent[edge_node]
            self._tell(node, node.reason + ALARM_OVER, at_us, f"over: {how}")
        if self._events:
            self.nodes = tuple(node for node, _ in self._silent.values())
        told, self._events = self._events, []
        return told

    def _tell(self, node: SilentNode, reason: str, at_us: int, detail: str) -> None:
        self._events.append(
            Event(
                EventKind.SILENT,
                at_us,
                node.group_id,
                node.edge_node_id,
                reason=reason,
                detail=detail,
            )
        )
