"""Which nodes and devices the servers of a site show alive, and what each read of them last."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sparkplug.host.catalogue import NO_TAG
from sparkplug.host.tag_states import NEVER
from sparkplug.host.watch.twins import Twins

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import NDArray

    from sparkplug.host.catalogue import TagCatalogue, TagOwner
    from sparkplug.host.node_table import NodeTable, TopicTable
    from sparkplug.host.nodes.edge_node import EdgeNodeState
    from sparkplug.host.nodes.waiting import NodeKey
    from sparkplug.host.owner import MetricOwner
    from sparkplug.host.watch.twins import TwinTags


class Presence:
    """Who is alive on one server, for the others of its site as well.

    Args:
        catalogue: of the fleet.
        edge_nodes: of the fleet, by (group id, edge node id).
        nodes: of the fleet; `confirmed` is read.
        topics: of the fleet; `node` and `live` are read.

    Attributes:
        peers: those of the other servers of the site.
        catalogue: of the fleet.
    """

    def __init__(
        self,
        catalogue: TagCatalogue,
        edge_nodes: Mapping[NodeKey, EdgeNodeState],
        nodes: NodeTable,
        topics: TopicTable,
    ) -> None:
        self.peers: tuple[Presence, ...] = ()
        self.catalogue = catalogue
        self._edge_nodes = edge_nodes
        self._nodes = nodes
        self._topics = topics
        self._twins: dict[Presence, Twins] = {}

    # ------------------------------------------------------------------ who is alive

    def alive_nowhere_else(self, owners: Iterable[MetricOwner]) -> list[MetricOwner]:
        """Those of some nodes and devices that no other server of the site shows alive."""
        return [each for each in owners if not self.is_alive_elsewhere(each)]

    def is_alive_elsewhere(self, owner: MetricOwner) -> bool:
        """Whether another server of the site shows a node or device alive."""
        return any(peer.shows(owner) for peer in self.peers)

    def shows(self, owner: MetricOwner) -> bool:
        """Whether a node or device is alive here for certain."""
        edge_node = self._edge_nodes.get((owner.group_id, owner.edge_node_id))
        if edge_node is None or edge_node.in_doubt or not self._nodes.confirmed[edge_node.index]:
            return False
        here = edge_node.owner_of(owner.device_id)
        return here is not None and here.born

    def find(self, owner: TagOwner) -> MetricOwner | None:
        """The node or device of the same ids here."""
        edge_node = self._edge_nodes.get((owner.group_id, owner.edge_node_id))
        return None if edge_node is None else edge_node.owner_of(owner.device_id)

    def tags_of(self, owner: MetricOwner) -> Mapping[str, int]:
        """The tags that a node or device has here, by name."""
        here = self.find(owner)
        return {} if here is None else here.tags

    # ------------------------------------------------------------------ what was read last

    def read_elsewhere(self, tags: NDArray[np.int32]) -> NDArray[np.int64]:
        """When the newest value was measured that another server of the site has of each tag.

        Only servers count that are certain of the tag's node or device; NEVER where none is.
        """
        newest = np.full(len(tags), NEVER)
        for peer in self.peers:
            if peer not in self._twins:
                self._twins[peer] = Twins(self.catalogue, peer.find, peer.catalogue)
            np.maximum(newest, peer.read_last(self._twins[peer].of(tags)), out=newest)
        return newest

    def read_last(self, twins: TwinTags) -> NDArray[np.int64]:
        """The time of the last value here of each tag; NEVER if it is not sure."""
        sure = (twins.tags != NO_TAG) & self._topics.live[twins.topics]
        sure &= self._nodes.confirmed[self._topics.node[twins.topics]]
        read_us = np.full(len(twins.tags), NEVER)
        read_us[sure] = self.catalogue.states.read_us[twins.tags[sure]]
        return read_us
