"""All edge nodes behind one MQTT server: batches of messages in, columns of observations out.

What is in order (data of a born node, seq unbroken) is handled with whole-batch
operations, whatever the number of nodes. Only nodes with something to tell (births,
deaths, gaps, data without birth) are taken message by message, in order of arrival.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from sparkplug.aliases import AliasPool
from sparkplug.batch import (
    CODE,
    Batch,
    GrowingColumns,
    apart_from_deaths,
    is_birth,
    look_up,
    one_by_one,
)
from sparkplug.catalogue import MAX_NAME_CHARACTERS, NO_TAG, TagCatalogue, datatype_codes
from sparkplug.columns import ABSENT, BEYOND_SEQ, booleans, numbers, validity
from sparkplug.messages import (
    MESSAGE_TYPES,
    Decoded,
    Message,
    MessageBatch,
    Quarantined,
    Reason,
    RebirthRequest,
)
from sparkplug.observations import observe, stale_observations
from sparkplug.screening import Limits, Screened, screen
from sparkplug.session import TRANSMISSION_VERSION, EdgeNodeSession, MetricOwner
from sparkplug.structured import StructuredMetrics
from sparkplug.structured_rows import Birth
from sparkplug.topics import MessageType, Topic, parse

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

_SEQ_MODULUS: Final = 256
_MOST_SHORT: Final = 2**16
_NOT_BORN: Final = -1
_NDATA: Final = CODE[MessageType.NDATA]
_DDATA: Final = CODE[MessageType.DDATA]


class Fleet:
    """Decodes everything that one MQTT server delivers.

    Single-threaded; `feed` keeps the order of arrival. The catalogue may start a new
    generation of tag ids at the beginning of a `feed`, never within one.
    """

    def __init__(
        self,
        limits: Limits | None = None,
        *,
        wanted: Callable[[str], bool] | None = None,
        emit_births: bool = True,
        emit_stale: bool = True,
        emit_transient: bool = False,
        describe_tags: bool = False,
    ) -> None:
        """Args are bounds, a test for `group/node[/device]/metric`, and which rows to give."""
        self.limits = limits or Limits()
        self.catalogue = TagCatalogue(wanted)
        self._emit_births = emit_births
        self._emit_stale = emit_stale
        self._emit_transient = emit_transient
        self._structured = StructuredMetrics(
            self.catalogue,
            self.limits,
            emit_births=emit_births,
            emit_transient=emit_transient,
            with_parameters=describe_tags,
        )
        self._describe_tags = describe_tags
        self._pool = AliasPool()
        self._sessions: list[EdgeNodeSession] = []
        self._by_id: dict[tuple[str, str], EdgeNodeSession] = {}
        self._owners: list[MetricOwner] = []
        self._data_topics: dict[str, int] = {}
        self._live_tags = 0
        # Per data topic: its node, whether birth came, whether its aliases need a look
        # of their own, and the region of its alias table.
        self._topics = GrowingColumns(
            node=np.int64, live=np.bool_, special=np.bool_, base=np.int64, size=np.int64,
            type=np.uint8,
        )  # fmt: skip
        # Per node: the seq that is expected next (_NOT_BORN: no session), kind of publisher.
        self._nodes = GrowingColumns(next_seq=np.int64, ignition=np.bool_)

    @property
    def node_count(self) -> int:
        """Edge nodes whose birth was seen."""
        return len(self._sessions)

    @property
    def live_tags(self) -> int:
        """Tags that present births declare."""
        return self._live_tags

    def feed(self, messages: Sequence[Message]) -> Decoded:
        """Take a batch in; return its rows, counts, rebirth wishes and bad messages."""
        decoded = Decoded()
        if len(self.catalogue) > 2 * self._live_tags + 10_000:
            self._drop_dead_tags()
        if not isinstance(messages, MessageBatch):
            messages = MessageBatch(messages)
        for part in apart_from_deaths(messages) if messages.deaths else (messages,):
            self._take(part, decoded)
        return decoded

    def _take(self, messages: MessageBatch, decoded: Decoded) -> None:
        """Messages of which either all are deaths, or none."""
        seen = Decoded()
        screened = screen(messages, self._data_topics, self.limits, seen)
        lost = [each.message for each in seen.quarantined if is_birth(each.message.topic)]
        if lost and len(messages) > 1:
            for part in one_by_one(lost, messages):
                self._take(part, decoded)
            return
        decoded.add(seen)
        self._take_screened(screened, decoded)
        for message in lost:
            self._lose_birth(message.topic)

    def _take_screened(self, screened: Screened, decoded: Decoded) -> None:
        batch = self._unresolved(screened)
        regular = self._regular(batch)
        self._resolve_regular(batch, regular)
        for position in np.flatnonzero(~regular).tolist():
            self._take_one(batch, position, decoded)
        self._report_unresolved(batch, decoded)
        unusable = np.count_nonzero(batch.columns.timestamp_unusable & ~batch.unread)
        if unusable:
            decoded.counts[Reason.TIMESTAMP_OUT_OF_RANGE] += int(unusable)
        flat = self._structured.flatten(batch, decoded)
        observations = observe(
            columns=flat.columns,
            tag=flat.tag,
            catalogue=self.catalogue,
            message_type=batch.message_type,
            received_us=np.frombuffer(batch.messages.received_us, dtype=np.int64),
            ignition=batch.ignition,
            returned=flat.returned,
            texts=flat.texts,
            emit_births=self._emit_births,
            emit_transient=self._emit_transient,
            counts=decoded.counts,
        )
        if observations is not None:
            decoded.observations.append(observations)

    # ------------------------------------------------------------------ in order

    def _unresolved(self, screened: Screened) -> Batch:
        """A screened batch with what is known of its messages before any is taken in."""
        columns = screened.columns
        topic = screened.topic
        node, message_type = self._topics["node"][topic], self._topics["type"][topic]
        ignition = self._nodes["ignition"][node]
        for position, read in screened.parsed.items():
            node[position] = ABSENT
            message_type[position] = CODE[read.message_type]
            ignition[position] = False
        names = columns.metric("name")
        return Batch(
            messages=screened.messages,
            topic=topic,
            parsed=screened.parsed,
            columns=columns,
            node=node,
            message_type=message_type,
            unread=columns.compressed.copy(),
            ignition=ignition,
            tag=np.full(columns.metric_count, NO_TAG, dtype=np.int32),
            returned=np.zeros(columns.metric_count, dtype=np.bool_),
            names=names.to_pylist() if names.null_count < len(names) else None,
        )

    def _regular(self, batch: Batch) -> NDArray[np.bool_]:
        """Which messages are data in sequence of a born node; their seq is accounted for."""
        known: NDArray[np.bool_] = batch.topic != ABSENT
        if not known.any():
            return known
        next_seq = self._nodes["next_seq"]
        flagged = np.zeros(self._nodes.size, dtype=np.bool_)
        flagged[batch.node[known & (~self._topics["live"][batch.topic] | batch.unread)]] = True
        for read in batch.parsed.values():
            session = self._by_id.get((read.group_id, read.edge_node_id))
            if session is not None:
                flagged[session.index] = True
        positions = np.flatnonzero(known)
        by_node = batch.node[positions]
        if self._nodes.size <= _MOST_SHORT:
            by_node = by_node.astype(np.uint16)  # sorted three times as fast
        positions = positions[np.argsort(by_node, kind="stable")]
        # An encoder that drops zeros leaves out seq 0.
        node, seq = batch.node[positions], np.maximum(batch.columns.seq[positions], 0)
        first = np.ones(len(node), dtype=np.bool_)
        first[1:] = node[1:] != node[:-1]
        expected = np.empty(len(seq), dtype=np.int64)
        expected[1:] = (seq[:-1] + 1) % _SEQ_MODULUS
        expected[first] = next_seq[node[first]]
        flagged[node[seq != expected]] = True
        regular: NDArray[np.bool_] = known & ~flagged[batch.node]
        last = np.ones(len(node), dtype=np.bool_)
        last[:-1] = first[1:]
        last &= ~flagged[node]
        next_seq[node[last]] = (seq[last] + 1) % _SEQ_MODULUS
        return regular

    def _resolve_regular(self, batch: Batch, regular: NDArray[np.bool_]) -> None:
        """Tags of all metrics of regular messages, for all nodes at once."""
        if not regular.any():
            return
        counts = np.diff(batch.columns.offsets)
        base = np.repeat(np.where(regular, self._topics["base"][batch.topic], 0), counts)
        size = np.repeat(np.where(regular, self._topics["size"][batch.topic], 0), counts)
        alias_column = batch.columns.metric("alias")
        alias = numbers(alias_column, np.uint64)
        inside = validity(alias_column) & (alias < size.astype(np.uint64))
        batch.tag = self._pool.tags[np.where(inside, alias.view(np.int64) + base, 0)]
        special = regular & self._topics["special"][batch.topic]
        if special.any():
            rows = np.flatnonzero(np.repeat(special, counts) & validity(alias_column))
            self._resolve_special(batch, special, rows, alias[rows].tolist())
        if batch.names is not None:
            named = np.fromiter(map(bool, batch.names), np.bool_, len(batch.names))
            rows = np.flatnonzero(np.repeat(regular, counts) & named)
            tables = [self._owners[index].tags for index in batch.topic.tolist()]
            names = [batch.names[row] for row in rows.tolist()]
            batch.tag[rows] = look_up(tables, batch.message_of(rows), names)
        if self.catalogue.any_structured:
            self._structured.take(batch, np.flatnonzero(np.repeat(regular, counts)))

    def _resolve_special(
        self,
        batch: Batch,
        special: NDArray[np.bool_],
        rows: NDArray[np.int64],
        aliases: list[int],
    ) -> None:
        """Metrics of nodes with scattered aliases, or whose owners collide."""
        owners = [
            self._owners[index] if flag else None
            for index, flag in zip(batch.topic.tolist(), special.tolist(), strict=True)
        ]
        message = batch.message_of(rows)
        scattered = [
            (self._sessions[node].table.scattered or {}) if owner is not None else {}
            for node, owner in zip(batch.node.tolist(), owners, strict=True)
        ]
        found = look_up(scattered, message, aliases)
        batch.tag[rows] = np.where(found == NO_TAG, batch.tag[rows], found)
        own = [(owner.own_aliases or {}) if owner is not None else {} for owner in owners]
        found = look_up(own, message, aliases)
        batch.tag[rows] = np.where(found == NO_TAG, batch.tag[rows], found)

    def _resolve(self, batch: Batch, position: int, owner: MetricOwner) -> None:
        """Tags of the metrics of one data message."""
        rows = batch.rows(position)
        alias_column = batch.columns.metric("alias")[rows]
        session = self._by_id[owner.group_id, owner.edge_node_id]
        batch.tag[rows] = session.resolve(
            owner,
            None if batch.names is None else batch.names[rows],
            numbers(alias_column, np.uint64),
            validity(alias_column),
        )
        self._structured.take(batch, np.arange(rows.start, rows.stop))

    # ------------------------------------------------------------------ one by one

    def _take_one(self, batch: Batch, position: int, decoded: Decoded) -> None:
        """One message of a node that needs attention."""
        read = batch.parsed.get(position) or self._topic_of(int(batch.topic[position]))
        session = self._by_id.get((read.group_id, read.edge_node_id))
        if session is not None:
            batch.node[position] = session.index
            batch.ignition[position] = self._nodes["ignition"][session.index]
        seq = max(int(batch.columns.seq[position]), 0)
        if read.message_type is MessageType.NBIRTH:
            if not batch.unread[position]:
                self._node_birth(batch, position, read, seq, decoded)
        elif read.message_type is MessageType.NDEATH:
            batch.unread[position] = True
            self._node_death(batch, position, session, decoded)
        elif session is None or not session.owner.born:
            batch.unread[position] = True
            self._ask(decoded, read, Reason.DATA_BEFORE_BIRTH)
        else:
            self._count_seq(session, seq, read, decoded)
            self._take_in_session(batch, position, session, read, decoded)

    def _take_in_session(
        self,
        batch: Batch,
        position: int,
        session: EdgeNodeSession,
        read: Topic,
        decoded: Decoded,
    ) -> None:
        """A message of a born node, its seq accounted for."""
        if read.message_type is MessageType.DBIRTH:
            if not batch.unread[position]:
                self._device_birth(batch, position, session, read, decoded)
            return
        owner = session.owner if read.device_id is None else session.devices.get(read.device_id)
        if owner is None or not owner.born:
            batch.unread[position] = True
            self._ask(decoded, read, Reason.DEVICE_DATA_BEFORE_BIRTH)
        elif read.message_type is MessageType.DDEATH:
            batch.unread[position] = True
            self._mark_stale(batch, position, [owner], decoded)
            self._device_death(session, owner)
        elif not batch.unread[position]:
            self._resolve(batch, position, owner)

    def _topic_of(self, index: int) -> Topic:
        """A known data topic."""
        owner = self._owners[index]
        message_type = MESSAGE_TYPES[self._topics["type"][index]]
        return Topic(owner.group_id, message_type, owner.edge_node_id, owner.device_id)

    def _count_seq(self, session: EdgeNodeSession, seq: int, read: Topic, decoded: Decoded) -> None:
        """Every message of a born node takes part in seq (payloads-sequence-num-incrementing)."""
        if seq != int(self._nodes["next_seq"][session.index]):
            self._ask(decoded, read, Reason.SEQUENCE_GAP)
        self._nodes["next_seq"][session.index] = (seq + 1) % _SEQ_MODULUS

    def _node_birth(
        self, batch: Batch, position: int, read: Topic, seq: int, decoded: Decoded
    ) -> None:
        session = self._by_id.get((read.group_id, read.edge_node_id))
        if session is None:
            if len(self._sessions) >= self.limits.max_nodes:
                batch.unread[position] = True
                self._refuse(batch, position, Reason.TOO_MANY_NODES, decoded)
                return
            session = self._new_session(read)
        if not self._fits(session.owner, batch, position, decoded):
            self._end_session(session)  # its aliases mean something else from now on
            return
        batch.node[position] = session.index
        decoded.births.append((read.group_id, read.edge_node_id))
        session.begin(batch.bd_seq(position))
        for owner in session.owners():
            self._topics["live"][owner.topic_index] = False
        self._declare(batch, position, session, session.owner)
        is_ignition = TRANSMISSION_VERSION in session.owner.tags
        self._nodes["ignition"][session.index] = batch.ignition[position] = is_ignition
        self._nodes["next_seq"][session.index] = (seq + 1) % _SEQ_MODULUS

    def _device_birth(
        self,
        batch: Batch,
        position: int,
        session: EdgeNodeSession,
        read: Topic,
        decoded: Decoded,
    ) -> None:
        assert read.device_id is not None
        owner = session.devices.get(read.device_id)
        if owner is None:
            owner = MetricOwner(read.group_id, read.edge_node_id, read.device_id)
            if not self._fits(owner, batch, position, decoded):
                return
            session.devices[read.device_id] = owner
            self._add_topic(session, owner, MessageType.DDATA)
        elif not self._fits(owner, batch, position, decoded):
            self._device_death(session, owner)
            return
        self._declare(batch, position, session, owner)

    def _fits(self, owner: MetricOwner, batch: Batch, position: int, decoded: Decoded) -> bool:
        """Whether there is room for the tags of a birth; one place is for the owner itself."""
        rows = batch.rows(position)
        leaves = self._structured.open(batch, position, owner)
        wanted = self._live_tags - len(owner.declared) + rows.stop - rows.start + len(leaves)
        owners = len(self._owners) + (owner.topic_index < 0)
        if wanted + owners <= self.limits.max_tags and self._structured.fits(leaves, owner):
            return True
        batch.unread[position] = True
        self._refuse(batch, position, Reason.TOO_MANY_TAGS, decoded)
        return False

    def _refuse(self, batch: Batch, position: int, reason: Reason, decoded: Decoded) -> None:
        decoded.counts[reason] += 1
        decoded.quarantined.append(Quarantined(batch.messages[position], reason))

    def _declare(
        self, batch: Batch, position: int, session: EdgeNodeSession, owner: MetricOwner
    ) -> None:
        """Register the metrics of a birth."""
        rows = batch.rows(position)
        codes = datatype_codes(numbers(batch.columns.metric("datatype")[rows], np.uint32))
        codes[~validity(batch.columns.metric("datatype")[rows])] = 0
        names = batch.names[rows] if batch.names is not None else [None] * len(codes)
        if max(map(len, filter(None, names)), default=0) > MAX_NAME_CHARACTERS:
            names = [n if n and len(n) <= MAX_NAME_CHARACTERS else None for n in names]
        leaves = batch.structured.opened[position]
        before = owner.declared
        declared = owner.declare(
            self.catalogue, [*names, *leaves.names], np.concatenate([codes, leaves.codes])
        )
        tags = batch.tag[rows] = declared[: len(codes)]
        self._take_back_stale(batch, rows)
        birth = Birth(position, owner, before, leaves, declared[len(codes) :])
        self._structured.declared(batch, birth)
        self._live_tags += len(owner.declared) - len(before)
        alias_column = batch.columns.metric("alias")[rows]
        aliased = validity(alias_column) & (tags != NO_TAG)
        session.take_aliases(owner, numbers(alias_column, np.uint64)[aliased], tags[aliased])
        owner.born = True
        self._topics["live"][owner.topic_index] = True
        if self._pool.wasteful:
            self._pool.compact()
            for each in self._sessions:
                self._publish_table(each)
        else:
            self._publish_table(session)

    def _take_back_stale(self, batch: Batch, rows: slice) -> None:
        """Note which metrics of a birth are the first that give a row after their death."""
        if not self._emit_births or not self.catalogue.stale.any():
            return
        eligible = np.ones(rows.stop - rows.start, dtype=np.bool_)
        if not self._emit_transient:
            eligible &= ~booleans(batch.columns.metric("is_transient")[rows])
        batch.returned[rows] = self.catalogue.take_back_stale(batch.tag[rows], eligible)

    def _publish_table(self, session: EdgeNodeSession) -> None:
        """Tell the columns where a node's alias table is now."""
        topics = [owner.topic_index for owner in session.owners()]
        self._topics["base"][topics] = session.table.base
        self._topics["size"][topics] = session.table.size
        self._topics["special"][topics] = session.table.scattered is not None
        for owner in session.owners():
            if owner.own_aliases is not None:
                self._topics["special"][owner.topic_index] = True

    def _node_death(
        self, batch: Batch, position: int, session: EdgeNodeSession | None, decoded: Decoded
    ) -> None:
        """The bdSeq says which session died (operational-behavior-...-ndeath-node-offline)."""
        if session is None or not session.owner.born:
            decoded.counts[Reason.DEATH_OF_OTHER_SESSION] += 1
            return
        if not session.ended_by(batch.bd_seq(position)):
            decoded.counts[Reason.DEATH_OF_OTHER_SESSION] += 1
            return
        self._mark_stale(batch, position, session.owners(), decoded)
        self._end_session(session)

    def _mark_stale(
        self, batch: Batch, position: int, owners: list[MetricOwner], decoded: Decoded
    ) -> None:
        """A row of quality STALE for every tag that was alive.

        A node dies when the host hears of it, because the will was written at its CONNECT
        (operational-behavior-...-ndeath-node-tags-stale); a device when its node says so.
        """
        if not self._emit_stale:
            return
        alive = np.concatenate([owner.declared for owner in owners if owner.born])
        tags = alive[self.catalogue.gives_rows(alive) & self.catalogue.is_read(alive)]
        if len(tags) == 0:
            return
        self.catalogue.stale[tags] = True
        received_us = batch.messages.received_us[position]
        seq = int(batch.columns.seq[position])
        sent_ms = int(batch.columns.timestamp_ms[position])
        sent_us = ABSENT if sent_ms == ABSENT else sent_ms * 1000
        by_device = batch.message_type[position] == CODE[MessageType.DDEATH]
        decoded.observations.append(
            stale_observations(
                tags,
                message_type=int(batch.message_type[position]),
                event_time_us=sent_us if by_device and sent_us != ABSENT else received_us,
                payload_time_us=sent_us,
                received_us=received_us,
                seq=seq if seq < BEYOND_SEQ else ABSENT,
            )
        )

    def _lose_birth(self, topic: str) -> None:
        """A birth that cannot be read: from here on the aliases mean something else."""
        read = parse(topic)
        assert isinstance(read, Topic)
        session = self._by_id.get((read.group_id, read.edge_node_id))
        if session is None or not session.owner.born:
            return
        owner = session.devices.get(read.device_id or "")
        if read.message_type is MessageType.NBIRTH:
            self._end_session(session)
        elif owner is not None and owner.born:
            self._device_death(session, owner)

    def _end_session(self, session: EdgeNodeSession) -> None:
        """Node and devices are offline until their next birth."""
        session.end()
        for owner in session.owners():
            self._topics["live"][owner.topic_index] = False
        self._nodes["next_seq"][session.index] = _NOT_BORN

    def _device_death(self, session: EdgeNodeSession, owner: MetricOwner) -> None:
        session.end_device(owner)
        self._topics["live"][owner.topic_index] = False
        self._publish_table(session)

    # ------------------------------------------------------------------ bookkeeping

    def _ask(self, decoded: Decoded, read: Topic, reason: Reason) -> None:
        decoded.counts[reason] += 1
        decoded.rebirths.append(RebirthRequest(read.group_id, read.edge_node_id, reason))

    def _report_unresolved(self, batch: Batch, decoded: Decoded) -> None:
        """Count metrics that no birth declares, and ask their nodes."""
        if not (batch.tag == NO_TAG).any():
            return
        message = np.repeat(np.arange(len(batch.messages)), np.diff(batch.columns.offsets))
        lost = np.flatnonzero((batch.tag == NO_TAG) & ~batch.unread[message])
        asked: set[tuple[int, Reason]] = set()
        for row in lost.tolist():
            position = int(message[row])
            if batch.message_type[position] not in (_NDATA, _DDATA):
                decoded.counts[Reason.METRIC_WITHOUT_NAME] += 1
                continue
            named = batch.names is not None and bool(batch.names[row])
            reason = Reason.UNKNOWN_METRIC if named else Reason.UNKNOWN_ALIAS
            decoded.counts[reason] += 1
            node = int(batch.node[position])
            if (node, reason) not in asked:
                asked.add((node, reason))
                owner = self._sessions[node].owner
                decoded.rebirths.append(RebirthRequest(owner.group_id, owner.edge_node_id, reason))

    def _new_session(self, read: Topic) -> EdgeNodeSession:
        index = self._nodes.append()
        session = EdgeNodeSession(read.group_id, read.edge_node_id, index, self._pool)
        self._nodes["next_seq"][index] = _NOT_BORN
        self._sessions.append(session)
        self._by_id[read.group_id, read.edge_node_id] = session
        self._add_topic(session, session.owner, MessageType.NDATA)
        return session

    def _add_topic(
        self, session: EdgeNodeSession, owner: MetricOwner, message_type: MessageType
    ) -> None:
        index = self._topics.append()
        owner.topic_index = index
        self._owners.append(owner)
        self._topics["node"][index] = session.index
        self._topics["type"][index] = CODE[message_type]
        topic = Topic(owner.group_id, message_type, owner.edge_node_id, owner.device_id)
        self._data_topics[str(topic)] = index

    def _drop_dead_tags(self) -> None:
        """Hand out tag ids anew, without those that no birth declares any more."""
        nothing = np.empty(0, dtype=np.int32)
        live = np.concatenate([nothing, *(owner.declared for owner in self._owners)])
        renamed = self.catalogue.keep(np.unique(live))
        for owner in self._owners:
            owner.rename(renamed)
        self._pool.rename(renamed)
