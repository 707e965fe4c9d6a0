"""One fleet among those of its site: who is alive on which server, and which tags are STALE."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sparkplug.host.watch.presence import Presence
from sparkplug.host.watch.retired_tags import RetiredTags
from sparkplug.host.watch.stale_tags import StaleTags
from sparkplug.host.watch.unsettled import UnsettledNodes

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from sparkplug.host.catalogue import TagCatalogue
    from sparkplug.host.node_table import NodeTable, TopicTable
    from sparkplug.host.nodes.edge_node import EdgeNodeState
    from sparkplug.host.nodes.waiting import NodeKey


class Liveness:
    """What is alive of one fleet, in step with the other servers of its site.

    It decides nothing itself: it has the parts that do, and joins each with those of the other
    servers. They change each other without a lock, so one thread uses all fleets of a site.

    Args:
        catalogue: of the fleet.
        edge_nodes: of the fleet, by (group id, edge node id).
        nodes: of the fleet; `confirmed` is read.
        topics: of the fleet; `node` and `live` are read.
        births_give_rows: whether a birth says of its tags that they are not STALE.

    Attributes:
        presence: who is alive here and elsewhere.
        stale: tags that rows say are STALE.
        retired: tags that births left out.
        unsettled: nodes that are to be asked, because their tags are said to be STALE.
    """

    def __init__(
        self,
        catalogue: TagCatalogue,
        edge_nodes: Mapping[NodeKey, EdgeNodeState],
        nodes: NodeTable,
        topics: TopicTable,
        *,
        births_give_rows: bool,
    ) -> None:
        self.presence = Presence(catalogue, edge_nodes, nodes, topics)
        self.unsettled = UnsettledNodes(edge_nodes, nodes)
        self.stale = StaleTags(
            self.presence, edge_nodes, self.unsettled, births_give_rows=births_give_rows
        )
        self.retired = RetiredTags(self.presence)

    def join(self, others: Iterable[Liveness]) -> None:
        """Share a site with other servers. They are told by themselves that it is theirs, too."""
        peers = tuple(others)
        self.presence.peers = tuple(each.presence for each in peers)
        self.stale.peers = tuple(each.stale for each in peers)
        self.retired.peers = tuple(each.retired for each in peers)
