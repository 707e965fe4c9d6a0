"""Nodes behind a gap of which nobody knows what their aliases stand for until their next birth."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sparkplug.host.watch.unheard import ANSWER_SECONDS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sparkplug.host.node_table import NodeTable
    from sparkplug.host.nodes.edge_node import EdgeNodeState
    from sparkplug.host.nodes.waiting import NodeKey
    from sparkplug.host.owner import MetricOwner
    from sparkplug.host.watch.hearing import Hearing


class UnsureAliases:
    """Which nodes of one fleet may have given their aliases anew in a birth that was missed.

    Args:
        edge_nodes: of the fleet, by (group id, edge node id).
        nodes: of the fleet; `answers` is read, and taken back from who does not answer.
        hearing: how long somebody has listened.
        passive: whether nobody is asked for births, so that none of them is waited for.

    Attributes:
        indices: of the nodes that are unsure: their next messages are to be taken one by one.
    """

    def __init__(
        self,
        edge_nodes: Mapping[NodeKey, EdgeNodeState],
        nodes: NodeTable,
        hearing: Hearing,
        *,
        passive: bool,
    ) -> None:
        self._edge_nodes = edge_nodes
        self._nodes = nodes
        self._hearing = hearing
        self._passive = passive
        self.indices: set[int] = set()

    def may_wait_for_birth(self, edge_node: EdgeNodeState) -> bool:
        """Whether a node gives aliases anew, is asked for births, and known to answer."""
        return (
            not self._passive
            and bool(self._nodes.answers[edge_node.index])
            and any(owner.moves_aliases for owner in edge_node.owners())
        )

    def behind_gap(self, edge_node: EdgeNodeState) -> None:
        """Messages of a node are missing, and a birth may be among them.

        Only of nodes that are known to give aliases anew, and to answer: their next birth tells
        what the aliases mean.
        """
        if not self.may_wait_for_birth(edge_node):
            return
        if edge_node.index not in self.indices:
            self.indices.add(edge_node.index)
            edge_node.asked_unsure_at = None
        for owner in edge_node.owners():
            owner.unsure = True

    def born(self, edge_node: EdgeNodeState, owner: MetricOwner) -> None:
        """A birth tells what the aliases of its node or device mean."""
        owner.unsure = False
        if edge_node.index in self.indices and not any(
            each.unsure and each.born for each in edge_node.owners()
        ):
            self.indices.discard(edge_node.index)

    def died(self, edge_node: EdgeNodeState) -> None:
        """The session of a node is over."""
        self.indices.discard(edge_node.index)

    def asked(self, edge_node: EdgeNodeState) -> None:
        """A rebirth request was sent to a node."""
        if edge_node.index in self.indices and edge_node.asked_unsure_at is None:
            edge_node.asked_unsure_at = self._hearing.now

    def is_unsure(self, owner: MetricOwner) -> bool:
        """Whether what the aliases of a born node or device mean is to be told by its next birth.

        A node that leaves a request unanswered is not waited for: it is not known to answer.
        """
        edge_node = self._edge_nodes[owner.group_id, owner.edge_node_id]
        if edge_node.index not in self.indices or not owner.unsure:
            return False
        asked_at = edge_node.asked_unsure_at
        if asked_at is not None and self._hearing.now - asked_at > ANSWER_SECONDS:
            self.indices.discard(edge_node.index)
            self._nodes.answers[edge_node.index] = False
            return False
        return True
