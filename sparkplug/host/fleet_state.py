"""What is known of all edge nodes behind one MQTT server: sessions, topics, tags."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sparkplug.host.arrival import Arrival
from sparkplug.host.batch import CODE
from sparkplug.host.catalogue import TagCatalogue
from sparkplug.host.declared_tags import DeclaredTags
from sparkplug.host.node_table import NodeTable, TopicTable
from sparkplug.host.nodes.aliases import AliasPool
from sparkplug.host.nodes.edge_node import EdgeNodeState
from sparkplug.host.nodes.sequence import WindowRoom
from sparkplug.host.nodes.sequences import Sequences
from sparkplug.host.recent import ReadLately
from sparkplug.host.screening import TagRoom
from sparkplug.host.templates.structured import StructuredMetrics
from sparkplug.host.watch.alarms import Alarms
from sparkplug.host.watch.completeness import Completeness
from sparkplug.host.watch.hearing import Hearing
from sparkplug.host.watch.liveness import Liveness
from sparkplug.host.watch.read_times import ReadTimes
from sparkplug.host.watch.unborn import Unborn
from sparkplug.host.watch.unheard import Unheard
from sparkplug.host.watch.unsure_aliases import UnsureAliases
from sparkplug.messages import MESSAGE_TYPES
from sparkplug.topics import MessageType, Topic

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sparkplug.host.batch import Batch
    from sparkplug.host.fleet_options import FleetOptions
    from sparkplug.host.nodes.waiting import NodeKey, Waiting
    from sparkplug.host.owner import MetricOwner
    from sparkplug.host.screening import FleetLimits
    from sparkplug.host.watch.kept_history import KeptHistory

ENDED_IN_DOUBT: Final = -2
"""On disk, in the place of the seq that is expected of a node.

Its session ended after an absence of the host, while what its aliases stand for was not known.
"""

OWNER_TAGS: Final = 6
"""A node or device takes as much memory as so many tags."""


class FleetState:
    """What all parts of a fleet share, and the small changes that several of them make.

    Args:
        limits: bounds of what is read and remembered.
        options: of the fleet.
        room: what is taken of the limits of tags, shared with other fleets; None: with none.

    Attributes:
        edge_nodes: all nodes whose birth was seen, each with its present session, by their index.
        by_id: the same by group id and edge node id.
        owners: nodes and devices, by the index of their data topic.
        data_topics: the index of each data topic, by topic.
        topics: a row per data topic, by its index.
        nodes: a row per node, by its index.
        any_partial: whether any node is seen in part only.
        catalogue: columns over the tags of all nodes.
        structured: the templates and multi-part files among them.
        pool: the array that the dense alias tables of all nodes live in.
        window_room: how many bytes the messages that wait for a missing one take, of all nodes.
        recent: what was read lately, to tell what comes twice.
        alarms: what is wrong with nodes.
        liveness: who is alive here and on the other servers of the site, and what is STALE.
        read_times: when what was read last of each tag was so.
        completeness: what came of each node, and what did not.
        hearing: when nodes were heard, and how long they are used to be silent.
        unheard: nodes that are not heard after an absence, and asked.
        unborn: whose births are waited for; nothing if deaths give no rows.
        unsure: nodes whose aliases are to be told by their next birth.
        sequences: the seq that is expected of each node.
        declared: the tags that present births declare.
        now: monotonic time in seconds.
        heard_us: when the last message came, microseconds since 1970 UTC.
        restoring: whether what is read gives nothing, because it was read before.
        kept_births: whether it is births that a server keeps, which may not have been.
        kept_history: looks who keeps data while the host is offline; None as a rule.
        has_news: whether a node has answered for the first time.
    """

    def __init__(
        self,
        limits: FleetLimits,
        options: FleetOptions,
        room: TagRoom | None = None,
    ) -> None:
        self.limits = limits
        self.room = room or TagRoom()
        self.any_partial = False
        self.options = options
        self.catalogue = TagCatalogue(options.wanted)
        self.structured = StructuredMetrics(
            self.catalogue,
            limits,
            emit_births=options.emit_births,
            emit_transient=options.emit_transient,
            tell_instances=options.describe_tags,
        )
        self.pool = AliasPool()
        self.window_room = WindowRoom(limits.max_waiting_bytes)
        self.edge_nodes: list[EdgeNodeState] = []
        self.by_id: dict[NodeKey, EdgeNodeState] = {}
        self.owners: list[MetricOwner] = []
        self.data_topics: dict[str, int] = {}
        self.topics = TopicTable()
        self.nodes = NodeTable()
        self.hearing = Hearing(self.nodes)
        self.unheard = Unheard(self.nodes, options.unheard)
        self.completeness = Completeness(self.nodes)
        self.unborn = Unborn(self.nodes)
        self.unsure = UnsureAliases(self.by_id, self.nodes, self.hearing, passive=options.passive)
        self.sequences = Sequences(self.nodes, self.edge_nodes)
        self.declared = DeclaredTags(self.catalogue, self.owners, self.pool, self.room)
        self.now = 0.0
        self.heard_us = 0
        self.restoring = self.kept_births = False
        self.has_news = False
        self.kept_history: KeptHistory | None = None
        self.recent = ReadLately()
        self.alarms = Alarms()
        self.liveness = Liveness(
            self.catalogue,
            self.by_id,
            self.nodes,
            self.topics,
            births_give_rows=options.emit_births,
        )
        self.read_times = ReadTimes(self.catalogue, self.liveness.presence)

    @property
    def births_give_rows(self) -> bool:
        """Whether the values in the births that are read now are rows."""
        return self.options.emit_births and not self.restoring

    # ------------------------------------------------------------------ messages

    def arrival(self, batch: Batch, position: int) -> Arrival:
        """A message of a batch, with its topic."""
        read = batch.parsed.get(position)
        if read is None:
            index = int(batch.topic[position])
            owner = self.owners[index]
            message_type = MESSAGE_TYPES[self.topics.message_type[index]]
            read = Topic(owner.group_id, message_type, owner.edge_node_id, owner.device_id)
        return Arrival(batch, position, read)

    def arrival_of(self, batch: Batch, entry: Waiting, edge_node: EdgeNodeState) -> Arrival:
        """What has waited and is in this batch, to be read in a session now."""
        arrival = self.arrival(batch, entry.place)
        arrival.batch.open(arrival.position)
        self.assign(arrival, edge_node)
        return arrival

    def assign(self, arrival: Arrival, edge_node: EdgeNodeState) -> None:
        """Note of which node a message is, to be read in its present session."""
        arrival.batch.node[arrival.position] = edge_node.index
        arrival.batch.ignition[arrival.position] = self.nodes.ignition[edge_node.index]

    # ------------------------------------------------------------------ edge nodes

    def edge_node_of(self, topic: Topic) -> EdgeNodeState | None:
        """The node that a topic is of, or of whose device; None if it is not known."""
        return self.by_id.get((topic.group_id, topic.edge_node_id))

    def new_edge_node(self, topic: Topic) -> EdgeNodeState:
        """Get to know a node, which is in no session yet."""
        index = self.nodes.append()
        edge_node = EdgeNodeState(
            topic.group_id, topic.edge_node_id, index, self.pool, self.window_room
        )
        sight = self.options.sight
        if sight is not None:
            partial = not sight(topic.group_id, topic.edge_node_id).whole
            self.nodes.partial[index] = partial
            self.any_partial |= partial
        self.hearing.new(index)
        self.unheard.new(index, (topic.group_id, topic.edge_node_id))
        self.sequences.expect_nothing(edge_node)
        self.edge_nodes.append(edge_node)
        self.by_id[topic.group_id, topic.edge_node_id] = edge_node
        self.add_topic(edge_node, edge_node.owner, MessageType.NDATA)
        return edge_node

    def add_topic(
        self, edge_node: EdgeNodeState, owner: MetricOwner, message_type: MessageType
    ) -> None:
        """Get to know the data topic of a node or device."""
        index = self.topics.append()
        owner.topic_index = index
        self.owners.append(owner)
        self.room.tags += OWNER_TAGS
        self.topics.node[index] = edge_node.index
        self.topics.message_type[index] = CODE[message_type]
        topic = Topic(owner.group_id, message_type, owner.edge_node_id, owner.device_id)
        text = str(topic)
        self.data_topics[text] = index
        self.room.characters += len(text)

    def doubt(self, edge_node: EdgeNodeState) -> None:
        """What a node's aliases stand for now is not known: hold all until its birth."""
        edge_node.in_doubt = True
        self._leave_the_usual_way(edge_node)

    def end_session(self, edge_node: EdgeNodeState) -> None:
        """Node and devices are offline until their next birth."""
        edge_node.end()
        self.unsure.died(edge_node)
        self.nodes.born[edge_node.index] = False
        edge_node.sequence.counts_again()
        self.sequences.watch(edge_node)
        self._leave_the_usual_way(edge_node)

    def end_device(self, edge_node: EdgeNodeState, owner: MetricOwner) -> None:
        """A device is offline until its next birth."""
        edge_node.end_device(owner)
        self.topics.live[owner.topic_index] = False
        self.publish_table(edge_node, owner)

    def _leave_the_usual_way(self, edge_node: EdgeNodeState) -> None:
        """No message of a node is in order until its birth."""
        for owner in edge_node.owners():
            self.topics.live[owner.topic_index] = False
        self.sequences.expect_nothing(edge_node)

    def ended_unheard(
        self, edge_node: EdgeNodeState, owners: Iterable[MetricOwner], at_us: int | None
    ) -> None:
        """The session of those of these that are alive is over, but no death was heard."""
        self.await_births(edge_node, [each for each in owners if each.born], at_us)

    def await_births(
        self, edge_node: EdgeNodeState, owners: Iterable[MetricOwner], at_us: int | None
    ) -> None:
        """Wait for the births of nodes and devices that were alive, and whose session is over.

        Not of a node that is seen in part: its births may not be seen. `at_us` is when the
        session ended, microseconds since 1970 UTC; None: before a restart.
        """
        if self.options.emit_stale and not self.nodes.partial[edge_node.index]:
            self.unborn.ended(edge_node, owners, self.now, at_us)

    # ------------------------------------------------------------------ aliases and tags

    def publish_table(self, edge_node: EdgeNodeState, owner: MetricOwner) -> None:
        """Tell the columns where a node's alias table is: those of an owner have changed."""
        table = edge_node.table
        where = (table.base, table.size, table.scattered is not None, edge_node.collided)
        owners = [owner] if where == edge_node.published else edge_node.owners()
        edge_node.published = where
        topics = [each.topic_index for each in owners]
        self.topics.alias_base[topics] = table.base
        self.topics.alias_count[topics] = table.size
        self.topics.special[topics] = table.scattered is not None
        for each in owners:
            if each.own_aliases is not None:
                self.topics.special[each.topic_index] = True
