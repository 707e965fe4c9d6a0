"""What is known of all edge nodes behind one MQTT server: sessions, topics, tags."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from sparkplug.host.arrival import Arrival
from sparkplug.host.batch import CODE
from sparkplug.host.catalogue import TagCatalogue
from sparkplug.host.node_table import NodeTable, TopicTable
from sparkplug.host.nodes.aliases import AliasPool
from sparkplug.host.nodes.sequence import WindowRoom, distance
from sparkplug.host.nodes.session import EdgeNodeSession
from sparkplug.host.recent import ReadLately
from sparkplug.host.screening import TagRoom
from sparkplug.host.templates.structured import StructuredMetrics
from sparkplug.host.watch.accounts import Completeness
from sparkplug.host.watch.alarms import Alarms
from sparkplug.host.watch.hearing import Hearing
from sparkplug.host.watch.liveness import Liveness
from sparkplug.host.watch.read_times import ReadTimes
from sparkplug.host.watch.unborn import Unborn
from sparkplug.host.watch.unheard import ANSWER_SECONDS, Unheard
from sparkplug.messages import MESSAGE_TYPES
from sparkplug.names import SEQ_MODULUS
from sparkplug.topics import MessageType, Topic

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sparkplug.host.batch import Batch
    from sparkplug.host.fleet_options import FleetOptions
    from sparkplug.host.nodes.waiting import NodeKey, Waiting
    from sparkplug.host.owner import MetricOwner
    from sparkplug.host.screening import FleetLimits

NOT_BORN: Final = -1
"""In the place of the seq that is expected of a node: it has no session, or a doubtful one."""

ENDED_IN_DOUBT: Final = -2
"""On disk, in the place of the seq that is expected of a node.

Its session ended after an absence of the host, while what its aliases stand for was not known.
"""

OWNER_TAGS: Final = 6
"""A node or device takes as much memory as so many tags."""

_SLACK: Final = 10_000
"""Dead tags that are not worth a new generation of tag ids."""

_SLACK_CHARACTERS: Final = 1_000_000
"""Characters of the names of dead tags that are not worth a new generation of tag ids."""


class FleetState:
    """What all parts of a fleet share, and the small changes that several of them make.

    Args:
        limits: bounds of what is read and remembered.
        options: of the fleet.
        room: what is taken of the limits of tags, shared with other fleets; None: with none.

    Attributes:
        sessions: of all nodes whose birth was seen, by their index.
        by_id: the sessions by group id and edge node id.
        owners: nodes and devices, by the index of their data topic.
        data_topics: the index of each data topic, by topic.
        topics: a row per data topic, by its index.
        nodes: a row per session, by its index.
        any_partial: whether any node is seen in part only.
        gaps: what came of each node, and what did not.
        hearing: when nodes were heard, and how long they are used to be silent.
        unheard: nodes that are not heard after an absence, and asked.
        unborn: whose births are waited for; nothing if deaths give no rows.
        attentive: indices of the sessions whose next messages are to be taken one by one.
        unsure: indices of the sessions whose next messages are to be taken one by one because a
            birth may have been lost that gave aliases anew.
        live_tags: how many tags present births declare; their names have `live_characters`.
        now: monotonic time in seconds.
        heard_us: when the last message came, microseconds since 1970 UTC.
        restoring: whether what is read gives nothing, because it was read before.
        kept_births: whether it is births that a server keeps, which may not have been.
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
            with_parameters=options.describe_tags,
        )
        self.pool = AliasPool()
        self.windows = WindowRoom(limits.max_waiting_bytes)
        self.sessions: list[EdgeNodeSession] = []
        self.by_id: dict[NodeKey, EdgeNodeSession] = {}
        self.owners: list[MetricOwner] = []
        self.data_topics: dict[str, int] = {}
        self.topics = TopicTable()
        self.nodes = NodeTable()
        self.hearing = Hearing(self.nodes)
        self.unheard = Unheard(self.nodes, options.unheard)
        self.gaps = Completeness(self.nodes)
        self.unborn = Unborn(self.nodes)
        self.attentive: set[int] = set()
        self.unsure: set[int] = set()
        self.live_tags = self.live_characters = 0
        self.now = 0.0
        self.heard_us = 0
        self.restoring = self.kept_births = False
        self.has_news = False
        self.recent = ReadLately()
        self.alarms = Alarms()
        self.liveness = Liveness(
            self.catalogue,
            self.by_id,
            self.nodes,
            self.topics,
            births_give_rows=options.emit_births,
        )
        self.read_times = ReadTimes(self.catalogue, self.liveness)

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

    def returned(self, batch: Batch, entry: Waiting, session: EdgeNodeSession) -> Arrival:
        """What has waited and is in this batch, to be read in a session now."""
        arrival = self.arrival(batch, entry.place)
        arrival.open()
        self.assign(arrival, session)
        return arrival

    def assign(self, arrival: Arrival, session: EdgeNodeSession) -> None:
        """Note which session a message is read in."""
        arrival.batch.node[arrival.position] = session.index
        arrival.batch.ignition[arrival.position] = self.nodes.ignition[session.index]

    # ------------------------------------------------------------------ the seq of nodes

    def expected(self, session: EdgeNodeSession) -> int:
        """The seq of a node's next message, NOT_BORN if none is expected."""
        return int(self.nodes.next_seq[session.index])

    def ahead(self, session: EdgeNodeSession, seq: int) -> int:
        """How far a seq is ahead of the expected one, 0 to 255; 0 if the node is seen in part."""
        if self.nodes.partial[session.index]:
            return 0
        return distance(seq, self.expected(session))

    def expect(self, session: EdgeNodeSession, seq: int) -> None:
        """Count on from here."""
        self.nodes.next_seq[session.index] = seq % SEQ_MODULUS
        session.sequence.counts_again()
        self.watch(session)

    def watch(self, session: EdgeNodeSession) -> None:
        """Note whether a node's next messages are to be taken one by one."""
        if session.sequence.needs_attention or session.late_birth is not None:
            self.attentive.add(session.index)
        else:
            self.attentive.discard(session.index)

    def watched(self) -> list[EdgeNodeSession]:
        """The sessions whose next messages are to be taken one by one."""
        return [self.sessions[index] for index in sorted(self.attentive)]

    # ------------------------------------------------------------------ behind a gap

    def may_wait_for_birth(self, session: EdgeNodeSession) -> bool:
        """Whether a node gives aliases anew, is asked for births, and known to answer."""
        return (
            not self.options.passive
            and bool(self.nodes.answers[session.index])
            and any(owner.moves_aliases for owner in session.owners())
        )

    def be_unsure(self, session: EdgeNodeSession) -> None:
        """Messages of a node are missing, and a birth may be among them.

        Only of nodes that are known to give aliases anew, and to answer: their next birth tells
        what the aliases mean.
        """
        if not self.may_wait_for_birth(session):
            return
        if session.index not in self.unsure:
            self.unsure.add(session.index)
            session.asked_unsure_at = None
        for owner in session.owners():
            owner.unsure = True

    def be_sure(self, session: EdgeNodeSession, owner: MetricOwner) -> None:
        """A birth tells what the aliases of its node or device mean."""
        owner.unsure = False
        if session.index in self.unsure and not any(
            each.unsure and each.born for each in session.owners()
        ):
            self.unsure.discard(session.index)

    def asked(self, session: EdgeNodeSession) -> None:
        """A rebirth request was sent to a node."""
        self.unheard.asked(session.index, self.hearing.now)
        if session.index in self.unsure and session.asked_unsure_at is None:
            session.asked_unsure_at = self.hearing.now

    def is_unsure(self, owner: MetricOwner) -> bool:
        """Whether what the aliases of a born node or device mean is to be told by its next birth.

        A node that leaves a request unanswered is not waited for: it is not known to answer.
        """
        session = self.by_id[owner.group_id, owner.edge_node_id]
        if session.index not in self.unsure or not owner.unsure:
            return False
        asked_at = session.asked_unsure_at
        if asked_at is not None and self.hearing.now - asked_at > ANSWER_SECONDS:
            self.unsure.discard(session.index)
            self.nodes.answers[session.index] = False
            return False
        return True

    def doubt(self, session: EdgeNodeSession) -> None:
        """What a node's aliases stand for now is not known: hold all until its birth."""
        session.in_doubt = True
        self._leave_the_usual_way(session)

    # ------------------------------------------------------------------ sessions

    def session_of(self, topic: Topic) -> EdgeNodeSession | None:
        """The session of the node that a topic is of, or of whose device."""
        return self.by_id.get((topic.group_id, topic.edge_node_id))

    def new_session(self, topic: Topic) -> EdgeNodeSession:
        """Get to know a node."""
        index = self.nodes.append()
        session = EdgeNodeSession(
            topic.group_id, topic.edge_node_id, index, self.pool, self.windows
        )
        self.nodes.next_seq[index] = NOT_BORN
        sight = self.options.sight
        if sight is not None:
            partial = not sight(topic.group_id, topic.edge_node_id).whole
            self.nodes.partial[index] = partial
            self.any_partial |= partial
        self.hearing.new(index)
        self.unheard.new(index, (topic.group_id, topic.edge_node_id))
        self.sessions.append(session)
        self.by_id[topic.group_id, topic.edge_node_id] = session
        self.add_topic(session, session.owner, MessageType.NDATA)
        return session

    def add_topic(
        self, session: EdgeNodeSession, owner: MetricOwner, message_type: MessageType
    ) -> None:
        """Get to know the data topic of a node or device."""
        index = self.topics.append()
        owner.topic_index = index
        self.owners.append(owner)
        self.room.tags += OWNER_TAGS
        self.topics.node[index] = session.index
        self.topics.message_type[index] = CODE[message_type]
        topic = Topic(owner.group_id, message_type, owner.edge_node_id, owner.device_id)
        text = str(topic)
        self.data_topics[text] = index
        self.room.characters += len(text)

    def end_session(self, session: EdgeNodeSession) -> None:
        """Node and devices are offline until their next birth."""
        session.end()
        self.unsure.discard(session.index)
        self.nodes.born[session.index] = False
        session.sequence.counts_again()
        self.watch(session)
        self._leave_the_usual_way(session)

    def end_device(self, session: EdgeNodeSession, owner: MetricOwner) -> None:
        """A device is offline until its next birth."""
        session.end_device(owner)
        self.topics.live[owner.topic_index] = False
        self.publish_table(session, owner)

    def _leave_the_usual_way(self, session: EdgeNodeSession) -> None:
        """No message of a node is in order until its birth."""
        for owner in session.owners():
            self.topics.live[owner.topic_index] = False
        self.nodes.next_seq[session.index] = NOT_BORN

    def ended_unheard(
        self, session: EdgeNodeSession, owners: Iterable[MetricOwner], at_us: int | None
    ) -> None:
        """The session of those of these that are alive is over, but no death was heard."""
        self.await_births(session, [each for each in owners if each.born], at_us)

    def await_births(
        self, session: EdgeNodeSession, owners: Iterable[MetricOwner], at_us: int | None
    ) -> None:
        """Wait for the births of nodes and devices that were alive, and whose session is over.

        Not of a node that is seen in part: its births may not be seen. `at_us` is when the
        session ended, microseconds since 1970 UTC; None: before a restart.
        """
        if self.options.emit_stale and not self.nodes.partial[session.index]:
            self.unborn.ended(session, owners, self.now, at_us)

    # ------------------------------------------------------------------ aliases and tags

    def publish_table(self, session: EdgeNodeSession, owner: MetricOwner) -> None:
        """Tell the columns where a node's alias table is: those of an owner have changed."""
        table = session.table
        where = (table.base, table.size, table.scattered is not None, session.collided)
        owners = [owner] if where == session.published else session.owners()
        session.published = where
        topics = [each.topic_index for each in owners]
        self.topics.alias_base[topics] = table.base
        self.topics.alias_count[topics] = table.size
        self.topics.special[topics] = table.scattered is not None
        for each in owners:
            if each.own_aliases is not None:
                self.topics.special[each.topic_index] = True

    def took(self, before: tuple[int, int], after: tuple[int, int]) -> None:
        """A birth changes what is remembered of its owner: tags, and characters of their names."""
        tags, characters = after[0] - before[0], after[1] - before[1]
        self.live_tags += tags
        self.live_characters += characters
        self.room.tags += tags
        self.room.characters += characters

    def drop_dead_tags(self) -> None:
        """Hand out tag ids anew, without those that no birth declares, if these are many."""
        few = len(self.catalogue) <= 2 * self.live_tags + _SLACK
        if few and self.catalogue.characters <= 2 * self.live_characters + _SLACK_CHARACTERS:
            return
        nothing = np.empty(0, dtype=np.int32)
        known = (
            tags for owner in self.owners for tags in (owner.declared, owner.left_out, owner.kept)
        )
        live = np.concatenate([nothing, *known])
        renamed = self.catalogue.keep(np.unique(live))
        for owner in self.owners:
            owner.rename(renamed)
        self.pool.rename(renamed)
