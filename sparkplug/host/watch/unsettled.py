"""Nodes of which tags were said to be STALE although they may live: they are asked for a birth."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sparkplug.host.node_table import NodeTable
    from sparkplug.host.nodes.edge_node import EdgeNodeState
    from sparkplug.host.nodes.waiting import NodeKey
    from sparkplug.host.owner import MetricOwner


class UnsettledNodes:
    """Which nodes of one fleet are to be asked as soon as they go on without a birth.

    Args:
        edge_nodes: of the fleet, by (group id, edge node id).
        nodes: of the fleet; `confirmed` is read.
    """

    def __init__(self, edge_nodes: Mapping[NodeKey, EdgeNodeState], nodes: NodeTable) -> None:
        self._edge_nodes = edge_nodes
        self._nodes = nodes
        self._unsettled: set[NodeKey] = set()

    def note(self, owner: MetricOwner) -> None:
        """Some tags of a node, or of its device, were said to be STALE."""
        self._unsettled.add((owner.group_id, owner.edge_node_id))

    def settle(self, owner: MetricOwner) -> None:
        """A birth of a node has come."""
        self._unsettled.discard((owner.group_id, owner.edge_node_id))

    def to_ask(self) -> list[NodeKey]:
        """Nodes that go on without a birth, though their tags were said to be STALE; once."""
        if not self._unsettled:
            return []
        confirmed = self._nodes.confirmed
        ended = {key for key in self._unsettled if not self._edge_nodes[key].owner.born}
        found = [key for key in self._unsettled - ended if confirmed[self._edge_nodes[key].index]]
        self._unsettled -= ended.union(found)
        return sorted(found)
