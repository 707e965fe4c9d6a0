"""All edge nodes behind one MQTT server: batches of messages in, columns of observations out.

What is in order (data of a born node, seq unbroken) is handled with whole-batch
operations, whatever the number of nodes. Only nodes with something to tell (births,
deaths, gaps, data without birth) are taken message by message, in order of arrival.
"""

from __future__ import annotations

from itertools import repeat
from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa

from sparkplug.alarms import Alarms
from sparkplug.aliases import AliasPool
from sparkplug.batch import (
    CODE,
    TURNS,
    Batch,
    GrowingColumns,
    apart_from_deaths,
    is_birth,
    look_up,
    one_by_one,
)
from sparkplug.catalogue import MAX_NAME_CHARACTERS, NO_TAG, TagCatalogue, datatype_codes
from sparkplug.certificates import PREFIX, Certificate, read_certificates, tells_more
from sparkplug.columns import ABSENT, BEYOND_SEQ, booleans, numbers, validity
from sparkplug.events import Event, EventKind, Healing
from sparkplug.holding import HeldMessage, Holding, HoldLimits, Waiting
from sparkplug.liveness import Liveness
from sparkplug.memory import BirthMemory, EndMemory, RememberedBirth, StaleMemory
from sparkplug.messages import (
    HOST,
    MESSAGE_TYPES,
    ROW_TYPES,
    Decoded,
    Message,
    MessageBatch,
    Quarantined,
    Reason,
    RebirthRequest,
)
from sparkplug.observations import in_turn, observe, stale_observations
from sparkplug.recent import RecentMessages
from sparkplug.screening import Limits, Screened, screen
from sparkplug.sequence import BEHIND, MODULUS, Gap, distance, holes
from sparkplug.session import TRANSMISSION_VERSION, EdgeNodeSession, MetricOwner
from sparkplug.structured import StructuredMetrics
from sparkplug.structured_rows import Birth
from sparkplug.tag_description import describe
from sparkplug.topics import MessageType, Topic, parse

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from numpy.typing import NDArray

_MOST_SHORT: Final = 2**16
_RESTORED_AT_ONCE: Final = 64
_MOST_EARLY: Final = 1000
_NOT_BORN: Final = -1
_NDATA: Final = CODE[MessageType.NDATA]
_DDATA: Final = CODE[MessageType.DDATA]
_IN_ENVELOPE: Final = (Reason.BAD_ENVELOPE, Reason.ENVELOPE_TOO_LARGE)
_BIRTHS: Final = (MessageType.NBIRTH, MessageType.DBIRTH)
_DATA: Final = (MessageType.NDATA, MessageType.DDATA)


class Fleet:
    """Decodes everything that one MQTT server delivers (docs/decoding.md).

    Single-threaded; rows come in order of arrival. The catalogue may start a new
    generation of tag ids at the beginning of a `feed`, never within one. Times called
    `now` are monotonic, in seconds.
    """

    def __init__(
        self,
        limits: Limits | None = None,
        *,
        wanted: Callable[[str], bool] | None = None,
        emit_births: bool = True,
        emit_stale: bool = True,
        stale_when_lost: bool = False,
        emit_transient: bool = False,
        reorder_timeout: float = 0.0,
        hold_limits: HoldLimits | None = None,
        describe_tags: bool = False,
    ) -> None:
        """Make a fleet without nodes.

        Args:
            limits: bounds of what is read and remembered.
            wanted: a test for `group/node[/device]/metric`.
            emit_births: whether to give rows for the values in births.
            emit_stale: whether to give rows of quality STALE on deaths.
            stale_when_lost: whether to give them when the connection is lost, too.
            emit_transient: whether to give rows for metrics that are transient.
            describe_tags: whether to give `Decoded.metadata`.
            reorder_timeout: seconds that messages behind a hole in seq wait for the
                missing one (tck-id operational-behavior-host-reordering-param).
            hold_limits: bounds of what waits for its birth.
        """
        self.limits = limits or Limits()
        self.catalogue = TagCatalogue(wanted)
        self._emit_births = emit_births
        self._emit_stale = emit_stale
        self._stale_when_lost = stale_when_lost
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
        # Per node: the seq that is expected next (_NOT_BORN: no session), kind of publisher,
        # whether a message has continued the seq since the births came from disk.
        self._nodes = GrowingColumns(next_seq=np.int64, ignition=np.bool_, confirmed=np.bool_)
        self._reorder_timeout = reorder_timeout
        self._now = 0.0
        self._heard_us = 0  # when the last message came
        self._restoring = False
        self._early_certificates: list[Message] = []  # of devices whose node is not known yet
        self._attentive: set[int] = set()  # nodes that something waits for, beside births
        self._holding = Holding(hold_limits)
        self._placed: list[Waiting] = []  # what waits and is in the batch being read
        self._recent = RecentMessages()
        self.alarms = Alarms()
        self.liveness = Liveness(
            self.catalogue, self._by_id, self._nodes, births_give_rows=emit_births
        )

    @property
    def node_count(self) -> int:
        """Edge nodes whose birth was seen."""
        return len(self._sessions)

    @property
    def live_tags(self) -> int:
        """Tags that present births declare."""
        return self._live_tags

    @property
    def held_messages(self) -> int:
        """Messages that wait, for a missing one or for a birth."""
        windows = (self._sessions[index].sequence.waiting for index in self._attentive)
        return len(self._holding) + sum(map(len, windows))

    def feed(self, messages: Sequence[Message], now: float = 0.0) -> Decoded:
        """Take a batch in; return its rows, counts, rebirth wishes and bad messages."""
        decoded = Decoded()
        if len(self.catalogue) > 2 * self._live_tags + 10_000:
            self._drop_dead_tags()
        if not isinstance(messages, MessageBatch):
            messages = MessageBatch(messages)
        self._end_waiting(now, decoded)
        if len(messages):
            self._heard_us = messages.received_us[-1]
        self._recent.next_batch()
        for part in apart_from_deaths(messages) if messages.deaths else (messages,):
            self._take(part, decoded)
        for key in self.liveness.to_ask():
            decoded.rebirths.append(RebirthRequest(*key, Reason.CONNECTION_LOST))
        decoded.events += self.alarms.events(self._sessions, now, self._heard_us)
        decoded.rebirths = list(dict.fromkeys(decoded.rebirths))
        return decoded

    def tick(self, now: float) -> Decoded:
        """Let time pass: what waited for too long goes on, or is given up."""
        decoded = Decoded()
        self._end_waiting(now, decoded)
        decoded.events += self.alarms.events(self._sessions, now, self._heard_us)
        return decoded

    def _end_waiting(self, now: float, decoded: Decoded) -> None:
        self._now = now
        if self._attentive:
            sessions = [self._sessions[index] for index in sorted(self._attentive)]
            overdue = [
                session
                for session in sessions
                if session.sequence.needs_attention
                and session.sequence.due(self._reorder_timeout) <= now
            ]
            if overdue:
                self._take(MessageBatch(), decoded, overdue)
            for session in sessions:
                late = session.late_birth
                if late is not None and late.since + self._holding.limits.seconds <= now:
                    session.late_birth = None
                    self._give_up([late], Reason.LATE_BIRTH, decoded)
        self._give_up(self._holding.expired(now), None, decoded)

    def connection_lost(self, now: float, at_us: int | None = None) -> Decoded:
        """The connection to the MQTT server ended; what was sent since then is lost.

        What waits for a missing message goes on. Every node is unconfirmed from now on.
        `at_us` is when, microseconds since 1970 UTC; by default when the last message came.
        """
        decoded = self.flush(now)
        self._nodes["confirmed"][:] = False
        self._recent.clear()
        at_us = self._heard_us if at_us is None else at_us
        alive = sum(session.owner.born for session in self._sessions)
        decoded.events.append(
            Event(EventKind.CONNECTION_LOST, at_us, detail=f"{alive} edge nodes were alive")
        )
        if self._stale_when_lost:
            self._say_stale(at_us, decoded)
        return decoded

    def _say_stale(self, at_us: int, decoded: Decoded) -> None:
        """Rows of quality STALE for all that is alive: nothing is known of it any more."""
        owners, tags = self.liveness.lost()
        decoded.memories += [
            StaleMemory(owner.group_id, owner.edge_node_id, owner.device_id) for owner in owners
        ]
        if len(tags):
            decoded.observations.append(
                stale_observations(
                    tags,
                    message_type=ROW_TYPES.index(HOST),
                    event_time_us=at_us,
                    payload_time_us=ABSENT,
                    received_us=at_us,
                    seq=ABSENT,
                )
            )

    def flush(self, now: float) -> Decoded:
        """Do not wait for missing messages any longer; `held` tells what remains."""
        decoded = Decoded()
        self._now = now
        waiting = [
            session
            for session in map(self._sessions.__getitem__, sorted(self._attentive))
            if session.sequence.needs_attention
        ]
        if waiting:
            self._take(MessageBatch(), decoded, waiting)
        return decoded

    def held(self) -> list[HeldMessage]:
        """What waits for a birth, to be kept on disk until the next start."""
        late = [self._sessions[index].late_birth for index in sorted(self._attentive)]
        return [
            HeldMessage(entry.message, entry.device_id, entry.reason)
            for entry in [*self._holding, *filter(None, late)]
            if entry.reason is not None
        ]

    def hold_again(self, messages: Iterable[HeldMessage], now: float) -> Decoded:
        """Let messages that were given up wait for a birth once more, and ask for it."""
        decoded = Decoded()
        self._now = now
        for message, device_id, reason in messages:
            read = parse(message.topic)
            if isinstance(read, Topic):
                entry = Waiting(message, 0, now, reason=reason, device_id=device_id)
                key = (read.group_id, read.edge_node_id)
                self._give_up(self._holding.add(key, entry), Reason.HOLD_FULL, decoded)
                decoded.rebirths.append(RebirthRequest(*key, reason))
        return decoded

    def sequence_state(self) -> bytes:
        """The seq expected of every node, by slot, as it is to be kept with the rows."""
        return self._nodes["next_seq"][: self._nodes.size].astype("<i2").tobytes()

    def restore(
        self,
        births: Sequence[RememberedBirth],
        sequence_state: bytes,
        held: Iterable[HeldMessage] = (),
        now: float = 0.0,
    ) -> dict[tuple[str, str], int]:
        """Take in what an earlier run remembered, before anything is fed.

        No births give rows. Every node is unconfirmed until its first message.

        Args:
            births: in the order in which they came.
            sequence_state: of the last batch whose rows were kept.
            held: of the end of the earlier run.
            now: monotonic seconds.

        Returns:
            The slot of each node from now on, by (group id, edge node id).
        """
        next_seq = np.frombuffer(sequence_state, dtype="<i2")
        slots = {}
        for each in births:
            slots[each.birth.group_id, each.birth.edge_node_id] = each.birth.slot
        self._now = now
        self._take_silently([each.birth.message for each in births])
        for each in births:
            session = self._by_id.get((each.birth.group_id, each.birth.edge_node_id))
            if session is not None:
                self._restore_state(session, each)
        for key, session in self._by_id.items():
            slot = slots.get(key, len(next_seq))
            expected = int(next_seq[slot]) if slot < len(next_seq) else _NOT_BORN
            if not session.owner.born:
                expected = _NOT_BORN
            elif expected == _NOT_BORN:
                self._doubt(session)
            self._nodes["next_seq"][session.index] = expected
            self._nodes["confirmed"][session.index] = False
        for message, device_id, reason in held:
            read = parse(message.topic)
            if isinstance(read, Topic):
                entry = Waiting(message, 0, now, reason=reason, device_id=device_id)
                self._holding.add((read.group_id, read.edge_node_id), entry)
        self._recent.clear()
        return {key: session.index for key, session in self._by_id.items()}

    def _take_silently(self, births: Sequence[Message]) -> None:
        """Know the metrics of births, and nothing else: no rows, no events, nothing released."""
        emit_births, self._emit_births = self._emit_births, False
        self._restoring = True
        for start in range(0, len(births), _RESTORED_AT_ONCE):
            self._take(MessageBatch(births[start : start + _RESTORED_AT_ONCE]), Decoded())
        self._restoring, self._emit_births = False, emit_births

    def warm_start(self, messages: Sequence[Message], now: float) -> Decoded:
        """Take in births that a Sparkplug-aware server keeps, where they tell anything new.

        They give no rows. Where the seq of such a node is nobody knows: its data is held
        and it is asked for its births as if it were unknown, except that metrics in data
        are read that carry a name which the kept birth declares.
        """
        self._now = now
        certificates = read_certificates([*self._early_certificates, *messages], self.limits)
        self._early_certificates = []
        for level in (False, True):  # nodes, then their devices
            news = [
                each
                for each in certificates
                if (each.topic.device_id is not None) is level and self._is_news(each)
            ]
            self._take_silently([each.message for each in news])
            for each in news:
                session = self._by_id.get((each.topic.group_id, each.topic.edge_node_id))
                if session is not None and session.owner.born:
                    session.by_certificate = True
                    self._doubt(session)
                    self._nodes["confirmed"][session.index] = False
        decoded = Decoded()
        decoded.counts[Reason.CERTIFICATE] += len(messages)
        return decoded

    def _is_news(self, certificate: Certificate) -> bool:
        topic = certificate.topic
        session = self._by_id.get((topic.group_id, topic.edge_node_id))
        if session is None and topic.device_id is not None:
            # Its node's may come yet.
            self._early_certificates = [
                *self._early_certificates[1 - _MOST_EARLY :],
                certificate.message._replace(topic=PREFIX + certificate.message.topic),
            ]
        confirmed = session is not None and bool(self._nodes["confirmed"][session.index])
        return tells_more(certificate, session, confirmed=confirmed)

    def _restore_state(self, session: EdgeNodeSession, remembered: RememberedBirth) -> None:
        """What became of the session of a birth, after the birth was taken in."""
        device_id = remembered.birth.device_id
        owner = session.owner if device_id is None else session.devices.get(device_id)
        if owner is None:
            return
        tags = owner.declared[self.catalogue.gives_rows(owner.declared)]
        self.catalogue.stale[tags] = remembered.stale
        if device_id is None:
            session.dead_bd_seq = remembered.dead_bd_seq
            session.died_us = remembered.died_us or 0
        if remembered.alive and remembered.stale:
            self.liveness.heard_stale(owner)
        if not remembered.alive and owner.born:
            if device_id is None:
                self._end_session(session)
            else:
                self._device_death(session, owner)

    def _take(
        self,
        messages: MessageBatch,
        decoded: Decoded,
        overdue: Sequence[EdgeNodeSession] = (),
    ) -> None:
        """Messages of which either all are deaths, or none."""
        recalled = self._recall(messages, overdue)
        batch = messages
        if recalled:
            batch = MessageBatch([*(entry.message for entry in recalled), *messages])
        seen = Decoded()
        screened = screen(batch, self._data_topics, self.limits, seen, len(recalled))
        lost = [each.message for each in seen.quarantined if self._is_lost_birth(each)]
        if lost and len(messages) > 1:
            for part in one_by_one(lost, messages):
                self._take(part, decoded)
            return
        decoded.add(seen)
        for position, entry in enumerate(recalled):
            entry.position = position
        self._placed = recalled
        self._take_screened(screened, overdue, [message.topic for message in lost], decoded)

    @staticmethod
    def _is_lost_birth(quarantined: Quarantined) -> bool:
        """Whether a birth takes effect at once; the envelope of a DBIRTH still has its seq."""
        topic, in_envelope = quarantined.message.topic, quarantined.reason in _IN_ENVELOPE
        return is_birth(topic) and not (in_envelope and topic.split("/")[2] == "DBIRTH")

    def _recall(self, messages: MessageBatch, overdue: Sequence[EdgeNodeSession]) -> list[Waiting]:
        """What waits and may be read together with a batch, in order of arrival."""
        if not self._attentive and not len(self._holding):
            return []
        sessions, births = self._concerned(messages)
        sessions.update(session.index for session in overdue)
        recalled: list[Waiting] = []
        for index in sorted(sessions & self._attentive):
            session = self._sessions[index]
            key = (session.owner.group_id, session.owner.edge_node_id)
            recalled += session.sequence.waiting
            if session.late_birth is not None:
                recalled.append(session.late_birth)
                births.add(Topic(key[0], MessageType.NBIRTH, key[1]))
            births.update(
                read
                for read in (parse(entry.message.topic) for entry in session.sequence.waiting)
                if isinstance(read, Topic) and read.message_type is MessageType.DBIRTH
            )
        nodes = {(b.group_id, b.edge_node_id) for b in births if b.device_id is None}
        for key in sorted(nodes):
            recalled += self._holding.of_node(key)
        for birth in sorted(births, key=str):
            key = (birth.group_id, birth.edge_node_id)
            if key not in nodes:
                recalled += self._holding.of_device(key, birth.device_id)
        return sorted(recalled, key=lambda entry: entry.message.received_us)

    def _concerned(self, messages: MessageBatch) -> tuple[set[int], set[Topic]]:
        """The known nodes that messages are from, and the births among the messages."""
        indices = np.fromiter(
            map(self._data_topics.get, messages.topics, repeat(ABSENT)), np.int64, len(messages)
        )
        known = indices[indices != ABSENT]
        sessions = set(np.unique(self._topics["node"][known]).tolist())
        births: set[Topic] = set()
        for position in np.flatnonzero(indices == ABSENT).tolist():
            read = parse(messages.topics[position])
            if isinstance(read, Topic):
                session = self._by_id.get((read.group_id, read.edge_node_id))
                if session is not None:
                    sessions.add(session.index)
                if read.message_type in _BIRTHS:
                    births.add(read)
        return sessions, births

    def _take_screened(
        self,
        screened: Screened,
        overdue: Sequence[EdgeNodeSession],
        lost: Sequence[str],
        decoded: Decoded,
    ) -> None:
        batch = self._unresolved(screened)
        regular = self._regular(batch)
        batch.taken |= regular
        self._resolve_regular(batch, regular)
        self._take_structured_regular(batch, regular, decoded)
        for position in range(batch.recalled):
            read = self._topic_at(batch, position)
            waiter = self._by_id.get((read.group_id, read.edge_node_id))
            if waiter is not None:
                batch.node[position] = waiter.index
        for session in overdue:
            self._stop_waiting(batch, session, decoded)
        for index in np.flatnonzero(~regular[batch.recalled :]).tolist():
            batch.come_to(batch.recalled + index)
            self._take_one(batch, batch.recalled + index, decoded)
        for topic in lost:
            self._lose_birth(batch, topic, decoded)
        self._hold_unresolved(batch, regular, decoded)
        unusable = np.count_nonzero(batch.columns.timestamp_unusable & ~batch.unread)
        if unusable:
            decoded.counts[Reason.TIMESTAMP_OUT_OF_RANGE] += int(unusable)
        flat = self._structured.flatten(batch, decoded)
        found = observe(
            columns=flat.columns,
            tag=flat.tag,
            catalogue=self.catalogue,
            message_type=batch.message_type,
            received_us=np.frombuffer(batch.messages.received_us, dtype=np.int64),
            ignition=flat.of(batch.ignition_of_metrics()),
            returned=flat.returned,
            texts=flat.texts,
            turn=flat.of(batch.turn_of_metrics()) if batch.reordered or batch.stale else None,
            emit_births=self._emit_births,
            emit_transient=self._emit_transient,
            counts=decoded.counts,
        )
        observations, turns = found or (None, np.empty(0, dtype=np.int64))
        decoded.observations += in_turn(observations, turns, batch.stale)
        if observations is not None:
            self.liveness.take_back(observations)
        if self._describe_tags:
            decoded.metadata += describe(batch, flat, self.catalogue)
        if not self._restoring:
            self.alarms.look(
                batch,
                regular,
                observations,
                catalogue=self.catalogue,
                sessions=self._by_id,
                now=self._now,
            )
        self._recent.add(batch)
        for entry in self._placed:
            entry.position = entry.rows = entry.members = None
        self._placed = []

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
        recalled = len(self._placed)
        unread = columns.compressed.copy()
        unread[:recalled] = True
        return Batch(
            messages=screened.messages,
            topic=topic,
            parsed=screened.parsed,
            columns=columns,
            node=node,
            message_type=message_type,
            unread=unread,
            ignition=ignition,
            tag=np.full(columns.metric_count, NO_TAG, dtype=np.int32),
            returned=np.zeros(columns.metric_count, dtype=np.bool_),
            names=names.to_pylist() if names.null_count < len(names) else None,
            recalled=recalled,
            released=np.zeros(len(screened.messages), dtype=np.bool_),
            taken=np.zeros(len(screened.messages), dtype=np.bool_),
            turn=np.arange(len(screened.messages)) * TURNS,
        )

    def _regular(self, batch: Batch) -> NDArray[np.bool_]:
        """Which messages are data in sequence of a born node; their seq is accounted for."""
        known: NDArray[np.bool_] = batch.topic != ABSENT
        known[: batch.recalled] = False
        if not known.any():
            return known
        next_seq = self._nodes["next_seq"]
        flagged = np.zeros(self._nodes.size, dtype=np.bool_)
        flagged[batch.node[known & (~self._topics["live"][batch.topic] | batch.unread)]] = True
        for read in batch.parsed.values():
            session = self._by_id.get((read.group_id, read.edge_node_id))
            if session is not None:
                flagged[session.index] = True
        if self._attentive:
            flagged[list(self._attentive)] = True
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
        expected[1:] = (seq[:-1] + 1) % MODULUS
        expected[first] = next_seq[node[first]]
        flagged[node[seq != expected]] = True
        regular: NDArray[np.bool_] = known & ~flagged[batch.node]
        last = np.ones(len(node), dtype=np.bool_)
        last[:-1] = first[1:]
        last &= ~flagged[node]
        next_seq[node[last]] = (seq[last] + 1) % MODULUS
        self._nodes["confirmed"][node[last]] = True
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

    def _resolve(
        self,
        batch: Batch,
        position: int,
        owner: MetricOwner,
        decoded: Decoded,
        rows: NDArray[np.int64] | None = None,
    ) -> None:
        """Tags of the metrics of one message, or of some of them, as data of a node or device."""
        if rows is None:
            whole = batch.rows(position)
            rows = np.arange(whole.start, whole.stop)
        selection = pa.array(rows)
        alias_column = batch.columns.metric("alias").take(selection)
        session = self._by_id[owner.group_id, owner.edge_node_id]
        has_alias = validity(alias_column)
        names = None if batch.names is None else [batch.names[row] for row in rows.tolist()]
        is_birth = MESSAGE_TYPES[batch.message_type[position]] in _BIRTHS
        if is_birth:
            has_alias = np.zeros(len(rows), dtype=np.bool_)
        tags = session.resolve(owner, names, numbers(alias_column, np.uint64), has_alias)
        batch.tag[rows] = tags
        unknown = tags == NO_TAG
        if is_birth:  # read as data: what has no name is not asked for
            named = [bool(name) for name in names or [None] * len(rows)]
            unknown &= np.array(named, dtype=np.bool_)
        if unknown.any():
            self._hold_metrics(batch, position, owner, rows[unknown], decoded)
        self._take_structured(batch, rows, decoded)

    def _take_structured_regular(
        self, batch: Batch, regular: NDArray[np.bool_], decoded: Decoded
    ) -> None:
        if self.catalogue.any_structured:
            counts = np.diff(batch.columns.offsets)
            self._take_structured(batch, np.flatnonzero(np.repeat(regular, counts)), decoded)

    def _take_structured(self, batch: Batch, rows: NDArray[np.int64], decoded: Decoded) -> None:
        """What of some metrics of data is no single row; their tags are known."""
        for part in self._structured.take(batch, rows):
            if batch.released[part.position]:
                decoded.expired.append(Quarantined(part.message, Reason.UNKNOWN_METRIC))
                continue
            key = (part.owner.group_id, part.owner.edge_node_id)
            decoded.counts[Reason.UNKNOWN_METRIC] += len(part.metrics)
            decoded.rebirths.append(RebirthRequest(*key, Reason.UNKNOWN_METRIC))
            entry = Waiting(
                part.message, batch.seq(part.position), self._now, part.position,
                np.array([part.row]), Reason.UNKNOWN_METRIC, part.owner.device_id, part,
            )  # fmt: skip
            self._hold(key, entry, decoded)

    # ------------------------------------------------------------------ one by one

    def _take_one(self, batch: Batch, position: int, decoded: Decoded) -> None:
        """One message of a node that needs attention."""
        read = self._topic_at(batch, position)
        session = self._by_id.get((read.group_id, read.edge_node_id))
        if session is not None:
            batch.node[position] = session.index
            batch.ignition[position] = self._nodes["ignition"][session.index]
        if read.message_type is MessageType.NBIRTH:
            if not batch.unread[position]:
                self._node_birth(batch, position, read, decoded)
        elif read.message_type is MessageType.NDEATH:
            batch.unread[position] = True
            self._node_death(batch, position, read, session, decoded)
        else:
            self._take_sequenced(batch, position, session, read, decoded)

    def _take_sequenced(
        self,
        batch: Batch,
        position: int,
        session: EdgeNodeSession | None,
        read: Topic,
        decoded: Decoded,
    ) -> None:
        """A message that takes part in seq (payloads-sequence-num-incrementing)."""
        seq = batch.seq(position)
        if self._restoring:
            if session is not None and session.owner.born:
                self._take_in_session(batch, position, session, read, decoded)
            return
        if session is not None and not session.owner.born and session.late_birth is not None:
            self._revive(batch, session, seq, decoded)
            batch.ignition[position] = self._nodes["ignition"][session.index]
        if session is None or not session.owner.born or session.in_doubt:
            self._hold_for_birth(batch, position, read, decoded)
            return
        ahead = distance(seq, int(self._nodes["next_seq"][session.index]))
        if not self._nodes["confirmed"][session.index]:
            if ahead:
                self._doubt(session)
                self._hold_for_birth(batch, position, read, decoded)
                return
            self._nodes["confirmed"][session.index] = True
        if ahead == 0:
            self.alarms.duplicates.in_order(read.group_id, read.edge_node_id, self._now)
            self._expect(session, seq + 1)
            self._take_in_session(batch, position, session, read, decoded)
            self._drain(batch, session, decoded)
        elif ahead < BEHIND:
            self._wait(batch, position, session, seq, decoded)
        else:
            self._take_late(batch, position, session, seq, read, decoded)

    def _expect(self, session: EdgeNodeSession, seq: int) -> None:
        """Count on from here."""
        self._nodes["next_seq"][session.index] = seq % MODULUS
        session.sequence.counts_again()
        self._watch(session)

    def _watch(self, session: EdgeNodeSession) -> None:
        """Note whether a node's next messages are to be taken one by one."""
        if session.sequence.needs_attention or session.late_birth is not None:
            self._attentive.add(session.index)
        else:
            self._attentive.discard(session.index)

    def _doubt(self, session: EdgeNodeSession) -> None:
        """What a node's aliases stand for now is not known: hold all until its birth."""
        session.in_doubt = True
        for owner in session.owners():
            self._topics["live"][owner.topic_index] = False
        self._nodes["next_seq"][session.index] = _NOT_BORN

    # ------------------------------------------------------------------ out of order

    def _wait(
        self, batch: Batch, position: int, session: EdgeNodeSession, seq: int, decoded: Decoded
    ) -> None:
        """A message behind a hole (tck-id operational-behavior-host-reordering-start)."""
        batch.unread[position] = True
        message = batch.messages[position]
        if session.sequence.is_double(seq, message.payload):
            decoded.counts[Reason.DUPLICATE] += 1
            return
        entry = Waiting(message, seq, self._now, position)
        self._placed.append(entry)
        full = session.sequence.wait(entry)
        self._watch(session)
        if full or self._reorder_timeout <= 0:
            self._stop_waiting(batch, session, decoded)

    def _drain(self, batch: Batch, session: EdgeNodeSession, decoded: Decoded) -> None:
        """Messages that follow the one just read, and those that are behind it now.

        (tck-id operational-behavior-host-reordering-success)
        """
        sequence = session.sequence
        while sequence.waiting:
            expected = int(self._nodes["next_seq"][session.index])
            entry = sequence.next_waiting(expected)
            if entry is None:
                break
            self._expect(session, entry.seq + 1)
            self._read_waiting(batch, entry, session, decoded)
        expected = int(self._nodes["next_seq"][session.index])
        for entry in [e for e in sequence.waiting if distance(e.seq, expected) >= BEHIND]:
            sequence.next_waiting(entry.seq)
            position = self._position_of(entry)
            read = self._topic_at(batch, position)
            self._take_late(batch, position, session, entry.seq, read, decoded)
        self._watch(session)

    def _stop_waiting(
        self, batch: Batch, session: EdgeNodeSession, decoded: Decoded, *, ask: bool = True
    ) -> None:
        """What is missing will not come: go on behind it.

        (tck-id operational-behavior-host-reordering-rebirth)
        """
        sequence = session.sequence
        expected = int(self._nodes["next_seq"][session.index])
        entries = sequence.take_waiting()
        if entries:
            entries.sort(key=lambda entry: distance(entry.seq, expected))
            missing = holes([entry.seq for entry in entries], expected)
            following = entries[-1].seq + 1
        elif sequence.lost_since is not None and ask:
            missing = {(expected + step) % MODULUS for step in range(sequence.lost_distance)}
            following = sequence.lost_next
        else:
            return
        gap = Gap(expected, len(missing), self._heard_us, missing, guessed=not entries)
        self._note_gap(session, gap, decoded, ask=ask)
        self._expect(session, following)
        for entry in entries:
            self._read_waiting(batch, entry, session, decoded)

    def _take_late(
        self,
        batch: Batch,
        position: int,
        session: EdgeNodeSession,
        seq: int,
        read: Topic,
        decoded: Decoded,
    ) -> None:
        """A message from behind: sent again, or overtaken by others."""
        if self._recent.has(batch, position, seq):
            batch.unread[position] = True
            decoded.counts[Reason.DUPLICATE] += 1
            return
        decoded.counts[Reason.LATE] += 1
        batch.take(position)
        sequence = session.sequence
        gap = sequence.explains(seq)
        if gap is None or gap.guessed:
            self.alarms.duplicates.unexplained(read.group_id, read.edge_node_id, self._now)
        if gap is None:
            expected = int(self._nodes["next_seq"][session.index])
            sequence.late_without_reason(seq, expected, self._now)
            self._watch(session)
            if self._reorder_timeout <= 0:
                self._stop_waiting(batch, session, decoded)
        elif not gap.missing:
            self._tell_gap(session, gap, Healing.LATE_ARRIVAL, decoded)
        batch.open(position)
        self._read_late(batch, position, session, read, decoded)

    def _read_waiting(
        self, batch: Batch, entry: Waiting, session: EdgeNodeSession, decoded: Decoded
    ) -> None:
        """A message of the window whose turn has come."""
        position = self._position_of(entry)
        batch.open(position)
        batch.node[position] = session.index
        batch.ignition[position] = self._nodes["ignition"][session.index]
        self._take_in_session(batch, position, session, self._topic_at(batch, position), decoded)

    @staticmethod
    def _position_of(entry: Waiting) -> int:
        assert entry.position is not None, "what may be read was recalled into the batch"
        return entry.position

    def _read_late(
        self,
        batch: Batch,
        position: int,
        session: EdgeNodeSession,
        read: Topic,
        decoded: Decoded,
    ) -> None:
        """A message whose seq says nothing."""
        owner = session.owner if read.device_id is None else session.devices.get(read.device_id)
        alive = owner is not None and owner.born
        if read.message_type is MessageType.DDEATH:
            sent_ms = batch.sent_ms(position)
            if not alive or not self._outlived(session, read, sent_ms):
                batch.unread[position] = True
                decoded.counts[Reason.DEATH_OF_OTHER_SESSION] += 1
                return
        elif (
            read.message_type is MessageType.DBIRTH
            and owner is not None
            and alive
            and not batch.unread[position]
        ):
            self._resolve(batch, position, owner, decoded)
            return
        self._take_in_session(batch, position, session, read, decoded)

    @staticmethod
    def _outlived(session: EdgeNodeSession, read: Topic, sent_ms: int) -> bool:
        """Whether a late DDEATH came after the device's present birth, for all we know."""
        assert read.device_id is not None
        born_ms = session.devices[read.device_id].born_ms
        return ABSENT in (born_ms, sent_ms) or born_ms <= sent_ms

    def _note_gap(self, session: EdgeNodeSession, gap: Gap, decoded: Decoded, *, ask: bool) -> None:
        decoded.counts[Reason.SEQUENCE_GAP] += 1
        owner = session.owner
        if ask:
            request = RebirthRequest(owner.group_id, owner.edge_node_id, Reason.SEQUENCE_GAP)
            decoded.rebirths.append(request)
        forgotten = session.sequence.note_gap(gap)
        if forgotten is not None:
            self._tell_gap(session, forgotten, Healing.NOT_AT_ALL, decoded)
        self._tell_gap(session, gap, Healing.OPEN, decoded)

    def _tell_gap(
        self, session: EdgeNodeSession, gap: Gap, healing: Healing, decoded: Decoded
    ) -> None:
        decoded.events.append(
            Event(
                EventKind.GAP,
                gap.found_us,
                session.owner.group_id,
                session.owner.edge_node_id,
                reason=Reason.SEQUENCE_GAP,
                seq=gap.first,
                missing=gap.count,
                healing=healing,
            )
        )

    # ------------------------------------------------------------------ held for a birth

    def _hold(self, key: tuple[str, str], entry: Waiting, decoded: Decoded) -> None:
        self._placed.append(entry)
        self._give_up(self._holding.add(key, entry), Reason.HOLD_FULL, decoded)

    def _give_up(self, entries: Iterable[Waiting], reason: Reason | None, decoded: Decoded) -> None:
        """What was held becomes a dead letter, by default for the reason it was held for."""
        for entry in entries:
            why = reason or entry.reason
            assert why is not None
            decoded.expired.append(Quarantined(entry.message, why))

    def _hold_for_birth(self, batch: Batch, position: int, read: Topic, decoded: Decoded) -> None:
        """A message of a node whose NBIRTH is not known, or not believed."""
        self._ask(decoded, read, Reason.DATA_BEFORE_BIRTH)
        session = self._by_id.get((read.group_id, read.edge_node_id))
        message: Message | None = batch.messages[position]
        by_name = session is not None and self._read_by_name(batch, position, session, read)
        if by_name:
            rows = batch.rows(position)
            rest = rows.start + np.flatnonzero(batch.tag[rows] == NO_TAG)
            message = batch.part(position, rest) if len(rest) else None
        if message is not None and not batch.unread[position]:
            entry = Waiting(message, batch.seq(position), self._now, position,
                            reason=Reason.DATA_BEFORE_BIRTH)  # fmt: skip
            self._hold((read.group_id, read.edge_node_id), entry, decoded)
        batch.unread[position] |= not by_name

    def _read_by_name(
        self, batch: Batch, position: int, session: EdgeNodeSession, read: Topic
    ) -> bool:
        """Find metrics in data by name where only a certificate tells what a node has.

        Names keep their meaning from birth to birth, aliases do not. A metric that comes
        with another datatype than the certificate's is not read. True if any is found.
        """
        if not session.by_certificate or read.message_type not in _DATA or batch.names is None:
            return False
        owner = session.owner if read.device_id is None else session.devices.get(read.device_id)
        if batch.unread[position] or owner is None or not owner.born:
            return False
        rows = batch.rows(position)
        names = batch.names[rows]
        tags = np.array([owner.tags.get(n, NO_TAG) if n else NO_TAG for n in names], np.int32)
        column = batch.columns.metric("datatype")[rows]
        codes = datatype_codes(numbers(column, np.uint32))
        tags[validity(column) & (codes != self.catalogue.datatype_of(tags))] = NO_TAG
        batch.tag[rows] = tags
        return bool((tags != NO_TAG).any())

    def _hold_for_device(self, batch: Batch, position: int, read: Topic, decoded: Decoded) -> None:
        """A message of a device whose DBIRTH is not known."""
        self._ask(decoded, read, Reason.DEVICE_DATA_BEFORE_BIRTH)
        if read.message_type is not MessageType.DDEATH and not batch.unread[position]:
            entry = Waiting(
                batch.messages[position], batch.seq(position), self._now, position,
                reason=Reason.DEVICE_DATA_BEFORE_BIRTH, device_id=read.device_id,
            )  # fmt: skip
            self._hold((read.group_id, read.edge_node_id), entry, decoded)
        batch.unread[position] = True

    def _hold_metrics(
        self,
        batch: Batch,
        position: int,
        owner: MetricOwner,
        rows: NDArray[np.int64],
        decoded: Decoded,
    ) -> None:
        """Metrics of data that no birth declares, without their neighbours."""
        key = (owner.group_id, owner.edge_node_id)
        named = [batch.names is not None and bool(batch.names[row]) for row in rows.tolist()]
        reasons = [Reason.UNKNOWN_METRIC if name else Reason.UNKNOWN_ALIAS for name in named]
        part = batch.part(position, rows)
        if batch.released[position]:
            decoded.expired.append(Quarantined(part, reasons[0]))
            return
        for reason in sorted(set(reasons)):
            decoded.counts[reason] += reasons.count(reason)
            decoded.rebirths.append(RebirthRequest(*key, reason))
        entry = Waiting(part, batch.seq(position), self._now, position, rows,
                        reason=reasons[0], device_id=owner.device_id)  # fmt: skip
        self._hold(key, entry, decoded)

    def _hold_unresolved(self, batch: Batch, regular: NDArray[np.bool_], decoded: Decoded) -> None:
        """The metrics of regular messages that no birth declares."""
        unknown = batch.tag == NO_TAG
        if not unknown.any():
            return
        message = np.repeat(np.arange(len(batch.messages)), np.diff(batch.columns.offsets))
        rows = np.flatnonzero(unknown & regular[message])
        if len(rows) == 0:
            return
        starts = np.flatnonzero(np.diff(message[rows], prepend=-1))
        for part in np.split(rows, starts[1:]):
            position = int(message[part[0]])
            owner = self._owners[int(batch.topic[position])]
            self._hold_metrics(batch, position, owner, part, decoded)

    def _read_released(
        self, batch: Batch, entry: Waiting, session: EdgeNodeSession, decoded: Decoded
    ) -> None:
        """A held message whose birth has come; its seq was counted, or does not count."""
        position = self._position_of(entry)
        read = self._topic_at(batch, position)
        owner = session.owner if read.device_id is None else session.devices.get(read.device_id)
        batch.node[position] = session.index
        is_ignition = bool(self._nodes["ignition"][session.index])
        batch.released[position] = True
        if entry.members is not None:
            rest = self._structured.resume(batch, entry.members)
            if rest is not None:
                decoded.expired.append(Quarantined(rest, Reason.UNKNOWN_METRIC))
            return
        if entry.rows is not None:
            assert owner is not None
            batch.take_rows(entry.rows, ignition=is_ignition)
            self._resolve(batch, position, owner, decoded, entry.rows)
            return
        batch.ignition[position] = is_ignition
        batch.open(position)
        if read.message_type is MessageType.DDEATH:
            batch.unread[position] = True
            decoded.counts[Reason.DEATH_OF_OTHER_SESSION] += 1
        elif owner is None or not owner.born:
            batch.unread[position] = True
            entry.device_id = read.device_id
            self._hold((read.group_id, read.edge_node_id), entry, decoded)
        elif not batch.unread[position]:
            batch.take(position)
            self._resolve(batch, position, owner, decoded)

    # ------------------------------------------------------------------ births and deaths

    def _take_in_session(
        self,
        batch: Batch,
        position: int,
        session: EdgeNodeSession,
        read: Topic,
        decoded: Decoded,
    ) -> None:
        """A message of a born node, its seq accounted for."""
        batch.take(position)
        if read.message_type is MessageType.DBIRTH:
            if batch.unread[position]:
                self._lose_birth(batch, str(read), decoded)
            else:
                self._device_birth(batch, position, session, read, decoded)
            return
        owner = session.owner if read.device_id is None else session.devices.get(read.device_id)
        if owner is None or not owner.born:
            self._hold_for_device(batch, position, read, decoded)
        elif read.message_type is MessageType.DDEATH:
            batch.unread[position] = True
            elsewhere = not self.liveness.alive_nowhere_else([owner])
            self._mark_stale(batch, position, [owner])
            self._device_death(session, owner)
            self._forget(decoded, owner, stale=True)
            detail = "alive on another server of its site" if elsewhere else None
            self._tell(decoded, EventKind.DEVICE_DEATH, owner, batch, position, detail=detail)
        elif not batch.unread[position]:
            self._resolve(batch, position, owner, decoded)

    def _topic_of(self, index: int) -> Topic:
        """A known data topic."""
        owner = self._owners[index]
        message_type = MESSAGE_TYPES[self._topics["type"][index]]
        return Topic(owner.group_id, message_type, owner.edge_node_id, owner.device_id)

    def _topic_at(self, batch: Batch, position: int) -> Topic:
        """The topic of a message."""
        return batch.parsed.get(position) or self._topic_of(int(batch.topic[position]))

    def _node_birth(self, batch: Batch, position: int, read: Topic, decoded: Decoded) -> None:
        key = (read.group_id, read.edge_node_id)
        seq = batch.seq(position)
        session = self._by_id.get(key)
        if session is not None and self._is_late_birth(batch, position, session):
            self._keep_late_birth(batch, position, session, decoded)
            return
        if session is None:
            if len(self._sessions) >= self.limits.max_nodes:
                batch.unread[position] = True
                self._refuse(batch, position, Reason.TOO_MANY_NODES, decoded)
                return
            session = self._new_session(read)
        if self._is_nameless(batch, position):
            batch.unread[position] = True
            self._refuse(batch, position, Reason.NAMELESS_BIRTH, decoded)
            self._lose_birth(batch, str(read), decoded)
            return
        following = self._end_former_session(batch, position, session, decoded)
        if not self._fits(session.owner, batch, position, decoded):
            self._end_session(session)  # its aliases mean something else from now on
            self._forget(decoded, session.owner, stale=False)
            return
        batch.node[position] = session.index
        batch.take(position)
        decoded.births.append(key)
        session.begin(batch.bd_seq(position))
        if not self._restoring:
            self.alarms.duplicates.born(*key, session.bd_seq, self._now)
        for owner in session.owners():
            self._topics["live"][owner.topic_index] = False
        self._declare(batch, position, session, session.owner, decoded)
        is_ignition = TRANSMISSION_VERSION in session.owner.tags
        self._nodes["ignition"][session.index] = batch.ignition[position] = is_ignition
        self._nodes["confirmed"][session.index] = True
        self._expect(session, seq + 1)
        self._remember(decoded, session, None, batch.messages[position])
        if self._restoring:
            return
        for gap, healing in session.sequence.heal():
            self._tell_gap(session, gap, healing, decoded)
        self._tell(decoded, EventKind.NODE_BIRTH, session.owner, batch, position)
        late, session.late_birth = session.late_birth, None
        self._watch(session)
        self._release(batch, session, late, following, batch.sent_ms(position), decoded)

    def _release(
        self,
        batch: Batch,
        session: EdgeNodeSession,
        late_birth: Waiting | None,
        following: list[Waiting],
        sent_ms: int,
        decoded: Decoded,
    ) -> None:
        """What waited for an NBIRTH: what came before it, then what comes after it."""
        key = (session.owner.group_id, session.owner.edge_node_id)
        for entry in self._holding.take(key, None):
            position = self._position_of(entry)
            whole = entry.reason is Reason.DATA_BEFORE_BIRTH
            if whole and sent_ms != ABSENT and batch.sent_ms(position) >= sent_ms:
                following.append(entry)
            else:
                self._read_released(batch, entry, session, decoded)
        if late_birth is not None:
            self._read_released(batch, late_birth, session, decoded)
        for entry in following:
            position = self._position_of(entry)
            batch.open(position)
            batch.node[position] = session.index
            batch.ignition[position] = self._nodes["ignition"][session.index]
            read = self._topic_at(batch, position)
            self._take_sequenced(batch, position, session, read, decoded)

    def _end_former_session(
        self, batch: Batch, position: int, session: EdgeNodeSession, decoded: Decoded
    ) -> list[Waiting]:
        """Before an NBIRTH: read what waits of the session before it; return the others."""
        sent_ms = batch.sent_ms(position)
        following: list[Waiting] = []
        before: list[Waiting] = []
        for entry in session.sequence.take_waiting():
            is_after = batch.sent_ms(self._position_of(entry)) >= sent_ms != ABSENT
            (following if is_after else before).append(entry)
        for entry in before:
            session.sequence.wait(entry)
        if before:
            self._stop_waiting(batch, session, decoded, ask=False)
        return following

    @staticmethod
    def _is_nameless(batch: Batch, position: int) -> bool:
        """Whether a birth declares metrics, and none of them by name."""
        rows = batch.rows(position)
        names = None if batch.names is None else batch.names[rows]
        return rows.stop > rows.start and not any(names or ())

    @staticmethod
    def _is_late_birth(batch: Batch, position: int, session: EdgeNodeSession) -> bool:
        """Whether a birth belongs to the session that has ended already."""
        if session.owner.born or session.dead_bd_seq is None:
            return False
        if batch.bd_seq(position) != session.dead_bd_seq:
            return False
        sent_ms = batch.sent_ms(position)
        return sent_ms == ABSENT or sent_ms * 1000 <= session.died_us

    def _keep_late_birth(
        self, batch: Batch, position: int, session: EdgeNodeSession, decoded: Decoded
    ) -> None:
        """Only if messages follow is a session alive that has ended, for all we know."""
        batch.unread[position] = True
        if session.late_birth is not None:
            self._give_up([session.late_birth], Reason.LATE_BIRTH, decoded)
        entry = Waiting(batch.messages[position], batch.seq(position), self._now, position,
                        reason=Reason.LATE_BIRTH)  # fmt: skip
        session.late_birth = entry
        self._placed.append(entry)
        self._watch(session)

    def _revive(self, batch: Batch, session: EdgeNodeSession, seq: int, decoded: Decoded) -> None:
        """A message of a dead node: if it continues the late birth, the session lives."""
        entry = session.late_birth
        assert entry is not None
        if seq != (entry.seq + 1) % MODULUS:
            return
        position = self._position_of(entry)
        session.late_birth = None
        session.dead_bd_seq = None
        batch.open(position)
        self._node_birth(batch, position, self._topic_at(batch, position), decoded)

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
        if self._is_nameless(batch, position):
            batch.unread[position] = True
            self._refuse(batch, position, Reason.NAMELESS_BIRTH, decoded)
            self._lose_birth(batch, str(read), decoded)
            return
        if owner is None:
            owner = MetricOwner(read.group_id, read.edge_node_id, read.device_id)
            if not self._fits(owner, batch, position, decoded):
                return
            session.devices[read.device_id] = owner
            self._add_topic(session, owner, MessageType.DDATA)
        elif not self._fits(owner, batch, position, decoded):
            self._device_death(session, owner)
            self._forget(decoded, owner, stale=False)
            return
        self._declare(batch, position, session, owner, decoded)
        self._remember(decoded, session, owner.device_id, batch.messages[position])
        if self._restoring:
            return
        self._tell(decoded, EventKind.DEVICE_BIRTH, owner, batch, position)
        for entry in self._holding.take((read.group_id, read.edge_node_id), read.device_id):
            self._read_released(batch, entry, session, decoded)

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
        self,
        batch: Batch,
        position: int,
        session: EdgeNodeSession,
        owner: MetricOwner,
        decoded: Decoded,
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
        nameless = np.count_nonzero(tags == NO_TAG)
        if nameless:
            decoded.counts[Reason.METRIC_WITHOUT_NAME] += int(nameless)
        if not self._restoring:
            self.liveness.born(owner)
        self._take_back_stale(batch, rows)
        birth = Birth(position, owner, before, leaves, declared[len(codes) :])
        self._structured.declared(batch, birth)
        self._live_tags += len(owner.declared) - len(before)
        alias_column = batch.columns.metric("alias")[rows]
        aliased = validity(alias_column) & (tags != NO_TAG)
        aliases, alias_tags = numbers(alias_column, np.uint64)[aliased], tags[aliased]
        ambiguous = self._ambiguous(aliases, alias_tags)
        if len(ambiguous):
            decoded.counts[Reason.DUPLICATE_ALIAS] += len(ambiguous)
            clear = ~np.isin(aliases, ambiguous)
            aliases, alias_tags = aliases[clear], alias_tags[clear]
        session.take_aliases(owner, aliases, alias_tags)
        owner.born = True
        owner.born_ms = batch.sent_ms(position)
        self._topics["live"][owner.topic_index] = True
        if self._pool.wasteful:
            self._pool.compact()
            for each in self._sessions:
                self._publish_table(each)
        else:
            self._publish_table(session)

    def _ambiguous(
        self, aliases: NDArray[np.uint64], tags: NDArray[np.int32]
    ) -> NDArray[np.uint64]:
        """Aliases of a birth that stand for metrics of different names."""
        if len(aliases) < 2 or (aliases[1:] > aliases[:-1]).all():
            return aliases[:0]
        order = np.argsort(aliases, kind="stable")
        again = np.flatnonzero(np.diff(aliases[order]) == 0)
        names = self.catalogue.names
        first, second = tags[order[again]].tolist(), tags[order[again + 1]].tolist()
        differ = [names[one] != names[other] for one, other in zip(first, second, strict=True)]
        return np.unique(aliases[order[again]][np.array(differ, dtype=np.bool_)])

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
        self,
        batch: Batch,
        position: int,
        read: Topic,
        session: EdgeNodeSession | None,
        decoded: Decoded,
    ) -> None:
        """The bdSeq says which session died (operational-behavior-...-ndeath-node-offline)."""
        key = (read.group_id, read.edge_node_id)
        bd_seq = batch.bd_seq(position)
        received_us = batch.messages.received_us[position]
        if session is None or not session.owner.born:
            decoded.counts[Reason.DEATH_OF_OTHER_SESSION] += 1
            if session is not None and bd_seq is not None:
                session.dead_bd_seq, session.died_us = bd_seq, received_us
            self._give_up(self._holding.take_all(key), Reason.SESSION_ENDED, decoded)
            if session is not None and session.late_birth is not None:
                self._give_up([session.late_birth], Reason.SESSION_ENDED, decoded)
                session.late_birth = None
                self._watch(session)
            return
        if not session.ended_by(bd_seq):
            decoded.counts[Reason.DEATH_OF_OTHER_SESSION] += 1
            return
        self._stop_waiting(batch, session, decoded, ask=False)
        elsewhere = not self.liveness.alive_nowhere_else([session.owner])
        batch.have_turn(position)
        self._mark_stale(batch, position, session.owners())
        self._end_session(session)
        session.dead_bd_seq, session.died_us = bd_seq, received_us
        self._forget(decoded, session.owner, stale=True, bd_seq=bd_seq, time_us=received_us)
        detail = "alive on another server of its site" if elsewhere else None
        self._tell(decoded, EventKind.NODE_DEATH, session.owner, batch, position, detail=detail)
        self._give_up(self._holding.take_all(key), Reason.SESSION_ENDED, decoded)

    def _mark_stale(self, batch: Batch, position: int, owners: list[MetricOwner]) -> None:
        """A row of quality STALE for every tag that was alive.

        A node dies when the host hears of it, because the will was written at its CONNECT
        (operational-behavior-...-ndeath-node-tags-stale); a device when its node says so.
        """
        if not self._emit_stale:
            return
        owners = self.liveness.alive_nowhere_else(owner for owner in owners if owner.born)
        if not owners:
            return
        self.liveness.said_stale(owners)
        alive = np.concatenate([owner.declared for owner in owners])
        tags = alive[self.catalogue.gives_rows(alive) & self.catalogue.is_read(alive)]
        if len(tags) == 0:
            return
        self.catalogue.stale[tags] = True
        received_us = batch.messages.received_us[position]
        seq = int(batch.columns.seq[position])
        sent_ms = int(batch.columns.timestamp_ms[position])
        sent_us = ABSENT if sent_ms == ABSENT else sent_ms * 1000
        by_device = batch.message_type[position] == CODE[MessageType.DDEATH]
        rows = stale_observations(
            tags,
            message_type=int(batch.message_type[position]),
            event_time_us=sent_us if by_device and sent_us != ABSENT else received_us,
            payload_time_us=sent_us,
            received_us=received_us,
            seq=seq if seq < BEYOND_SEQ else ABSENT,
        )
        batch.stale.append((int(batch.turn[position]), rows))

    def _lose_birth(self, batch: Batch, topic: str, decoded: Decoded) -> None:
        """A birth that cannot be read: from here on the aliases mean something else."""
        read = parse(topic)
        assert isinstance(read, Topic)
        session = self._by_id.get((read.group_id, read.edge_node_id))
        if session is None or not session.owner.born:
            return
        owner = session.devices.get(read.device_id or "")
        if read.message_type is MessageType.NBIRTH:
            self._stop_waiting(batch, session, decoded, ask=False)
            self._end_session(session)
            self._forget(decoded, session.owner, stale=False)
        elif owner is not None and owner.born:
            self._device_death(session, owner)
            self._forget(decoded, owner, stale=False)

    def _end_session(self, session: EdgeNodeSession) -> None:
        """Node and devices are offline until their next birth."""
        session.end()
        session.sequence.counts_again()
        self._watch(session)
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

    def _remember(
        self,
        decoded: Decoded,
        session: EdgeNodeSession,
        device_id: str | None,
        message: Message,
    ) -> None:
        owner = session.owner
        decoded.memories.append(
            BirthMemory(session.index, owner.group_id, owner.edge_node_id, device_id, message)
        )

    def _forget(
        self,
        decoded: Decoded,
        owner: MetricOwner,
        *,
        stale: bool,
        bd_seq: int | None = None,
        time_us: int | None = None,
    ) -> None:
        decoded.memories.append(
            EndMemory(
                owner.group_id,
                owner.edge_node_id,
                owner.device_id,
                stale and self._emit_stale,
                bd_seq,
                time_us,
            )
        )

    def _tell(
        self,
        decoded: Decoded,
        kind: EventKind,
        owner: MetricOwner,
        batch: Batch,
        position: int,
        *,
        detail: str | None = None,
    ) -> None:
        seq = int(batch.columns.seq[position])
        of_node = owner.device_id is None
        decoded.events.append(
            Event(
                kind,
                batch.messages.received_us[position],
                owner.group_id,
                owner.edge_node_id,
                owner.device_id,
                bd_seq=batch.bd_seq(position) if of_node else None,
                seq=seq if seq != ABSENT else None,
                detail=detail,
            )
        )

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
