"""The seq that each node of a fleet is expected to send next."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sparkplug.host.node_table import NOT_BORN
from sparkplug.host.nodes.sequence import distance
from sparkplug.names import SEQ_MODULUS

if TYPE_CHECKING:
    from collections.abc import Sequence as Listing

    from sparkplug.host.node_table import NodeTable
    from sparkplug.host.nodes.edge_node import EdgeNodeState


class Sequences:
    """Where all nodes of one fleet are in their seq, and which of them have to be watched.

    Args:
        nodes: of the fleet; `next_seq` is written here for messages that are read one by one (by
            `Resolution.accept_regular` for those in sequence, and at a restart), `partial` is read.
        edge_nodes: of the fleet, by index.

    Attributes:
        attentive: indices of the nodes whose next messages are to be taken one by one:
            something waits in their window, or a late birth.
    """

    def __init__(self, nodes: NodeTable, edge_nodes: Listing[EdgeNodeState]) -> None:
        self._nodes = nodes
        self._edge_nodes = edge_nodes
        self.attentive: set[int] = set()

    def expected(self, edge_node: EdgeNodeState) -> int:
        """The seq of a node's next message, NOT_BORN if none is expected."""
        return int(self._nodes.next_seq[edge_node.index])

    def ahead(self, edge_node: EdgeNodeState, seq: int) -> int:
        """How far a seq is ahead of the expected one, 0 to 255; 0 if the node is seen in part."""
        if self._nodes.partial[edge_node.index]:
            return 0
        return distance(seq, self.expected(edge_node))

    def expect(self, edge_node: EdgeNodeState, seq: int) -> None:
        """Count on from here."""
        self._nodes.next_seq[edge_node.index] = seq % SEQ_MODULUS
        edge_node.sequence.counts_again()
        self.watch(edge_node)

    def expect_nothing(self, edge_node: EdgeNodeState) -> None:
        """No message of a node is in order until its birth."""
        self._nodes.next_seq[edge_node.index] = NOT_BORN

    def watch(self, edge_node: EdgeNodeState) -> None:
        """Note whether a node's next messages are to be taken one by one."""
        if edge_node.sequence.needs_attention or edge_node.late_birth is not None:
            self.attentive.add(edge_node.index)
        else:
            self.attentive.discard(edge_node.index)

    def watched(self) -> list[EdgeNodeState]:
        """The nodes whose next messages are to be taken one by one."""
        return [self._edge_nodes[index] for index in sorted(self.attentive)]
