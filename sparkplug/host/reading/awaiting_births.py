"""Messages and metrics that cannot be read before a birth comes: held, recalled, given up."""

from __future__ import annotations

from collections import Counter
from itertools import repeat
from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa

from sparkplug.counting import count_nonzero
from sparkplug.host.batch import CODE
from sparkplug.host.catalogue import NO_TAG
from sparkplug.host.nodes.holding import Holding
from sparkplug.host.nodes.session import LATE_SECONDS
from sparkplug.host.nodes.waiting import WHILE_READ, HeldMessage, Waiting
from sparkplug.messages import MOST_SUBJECTS, Quarantined, QuarantinedPart, Reason, RebirthRequest
from sparkplug.payload import ABSENT, validity
from sparkplug.topics import MessageType, Topic, parse_topic

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from sparkplug.decoded import Decoded
    from sparkplug.host.arrival import Arrival
    from sparkplug.host.batch import Batch
    from sparkplug.host.fleet_state import FleetState
    from sparkplug.host.nodes.seq_place import SeqPlace
    from sparkplug.host.nodes.session import EdgeNodeSession
    from sparkplug.host.nodes.waiting import NodeKey
    from sparkplug.host.owner import MetricOwner
    from sparkplug.host.structured_rows import UnknownMembers
    from sparkplug.messages import Message, MessageBatch

_BIRTHS: Final = (MessageType.NBIRTH, MessageType.DBIRTH)
_CODES_OF_BIRTHS: Final = tuple(CODE[each] for each in _BIRTHS)


def give_up(entries: Iterable[Waiting], decoded: Decoded, reason: Reason | None = None) -> None:
    """What was held becomes a dead letter, by default for the reason it was held for."""
    for entry in entries:
        why = reason or entry.reason
        assert why is not None
        kind = QuarantinedPart if entry.counted else Quarantined
        decoded.expired.append(kind(entry.message, why))


class AwaitingBirths:
    """Everything of one fleet that waits for the birth of its node or device.

    A late birth, which waits for data that continues it, is in its session; one of an earlier
    run is among what is held, until it was heard for as long that no other came.
    """

    def __init__(self, state: FleetState) -> None:
        self._state = state
        self._holding = Holding(state.options.hold_limits)
        self._late_before: dict[NodeKey, Waiting] = {}  # the last of each node, of an earlier run

    def __len__(self) -> int:
        """Messages that are held, late births among them."""
        return len(self._holding) + self._late_births

    @property
    def uncounted(self) -> int:
        """Messages that are held whole, late births among them."""
        return self._holding.uncounted + self._late_births

    @property
    def _late_births(self) -> int:
        if not self._state.sequences.attentive:
            return 0
        return sum(session.late_birth is not None for session in self._state.sequences.watched())

    @property
    def left(self) -> set[int]:
        """Numbers on disk of what is held no longer."""
        return self._holding.left

    # ------------------------------------------------------------------ holding

    def hold(self, batch: Batch, key: NodeKey, entry: Waiting) -> None:
        """Hold what is at a position of a batch; others may have to go for it."""
        batch.placed.append(entry)
        give_up(self._holding.add(key, entry), batch.decoded, Reason.HOLD_FULL)

    def hold_for_node(self, arrival: Arrival, *, by_name: bool) -> None:
        """A message of a node whose NBIRTH is not known, or not believed.

        `by_name`: some of its metrics were found, the others are held.
        """
        arrival.ask_for_birth(Reason.DATA_BEFORE_BIRTH)
        message: Message | None = arrival.message
        if by_name:
            rows = arrival.rows
            rest = rows.start + np.flatnonzero(arrival.batch.tag[rows] == NO_TAG)
            owner = self._state.by_id[arrival.key].owner_of(arrival.topic.device_id)
            assert owner is not None
            rest = rest[~self._never_give_rows(arrival.batch, owner, rest)]
            message = arrival.batch.part(arrival.position, rest) if len(rest) else None
        if message is not None and not arrival.is_unread:
            entry = Waiting(
                message,
                arrival.seq,
                self._state.now,
                arrival.position,
                reason=Reason.DATA_BEFORE_BIRTH,
                counted=by_name or arrival.position in arrival.batch.counted,
            )
            self.hold(arrival.batch, arrival.key, entry)
        if by_name:
            arrival.count_read()
        else:
            if arrival.is_unread:
                arrival.stay_closed()
            arrival.skip()

    def hold_for_device(self, arrival: Arrival, place: SeqPlace) -> None:
        """A message, at `place`, of a device whose DBIRTH is not known."""
        arrival.ask_for_birth(Reason.DEVICE_DATA_BEFORE_BIRTH)
        if arrival.topic.message_type is MessageType.DDEATH:
            arrival.count_read()
        elif arrival.is_unread:
            arrival.stay_closed()
        else:
            entry = Waiting(
                arrival.message,
                arrival.seq,
                self._state.now,
                arrival.position,
                reason=Reason.DEVICE_DATA_BEFORE_BIRTH,
                device_id=arrival.topic.device_id,
                counted=arrival.position in arrival.batch.counted,
                seq_place=place,
            )
            self.hold(arrival.batch, arrival.key, entry)
        arrival.skip()

    def hold_metrics(
        self,
        batch: Batch,
        position: int,
        owner: MetricOwner,
        rows: NDArray[np.int64],
        *,
        unsteady: bool = False,
    ) -> None:
        """Metrics of data that no birth declares, without their neighbours.

        Those that give no row in any case are none of them. What was held before is given up.
        `unsteady`: aliases may have stood for something else, and are given up in any case.
        """
        rows = rows[~self._never_give_rows(batch, owner, rows)]
        if unsteady and not batch.released[position]:
            rows = self._without_aliases(batch, position, rows)
        if len(rows) == 0:
            return
        key = (owner.group_id, owner.edge_node_id)
        named = _are_named(batch, rows).tolist()
        reasons = [Reason.UNKNOWN_METRIC if name else Reason.UNKNOWN_ALIAS for name in named]
        part = batch.part(position, rows)
        if batch.released[position]:
            why = reasons[0]
            if unsteady and not all(named):
                why = Reason.ALIAS_OF_UNSEEN_BIRTH
            batch.decoded.expired.append(QuarantinedPart(part, why))
            return
        for reason in sorted(set(reasons)):
            batch.decoded.counts[reason] += reasons.count(reason)
            of_reason = rows[[each is reason for each in reasons]][:MOST_SUBJECTS]
            subjects = _subjects(batch, owner, of_reason)
            batch.decoded.rebirths.append(RebirthRequest(*key, reason, subjects))
        entry = Waiting(
            part,
            batch.seq(position),
            self._state.now,
            position,
            rows,
            reason=reasons[0],
            device_id=owner.device_id,
            counted=True,
        )
        self.hold(batch, key, entry)

    def hold_aliases(
        self, batch: Batch, position: int, owner: MetricOwner, rows: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        """Hold what data behind a gap has by alias alone; return the other metrics.

        A birth was asked for when the gap was found.
        """
        aliases = validity(batch.columns.metric("alias").take(pa.array(rows)))
        aliases &= ~_are_named(batch, rows)
        if batch.message_type[position] in _CODES_OF_BIRTHS or not aliases.any():
            return rows
        held = rows[aliases]
        entry = Waiting(
            batch.part(position, held),
            batch.seq(position),
            self._state.now,
            position,
            held,
            reason=Reason.ALIAS_OF_UNSEEN_BIRTH,
            device_id=owner.device_id,
            counted=True,
        )
        self.hold(batch, (owner.group_id, owner.edge_node_id), entry)
        return rows[~aliases]

    def _without_aliases(
        self, batch: Batch, position: int, rows: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        """Those of some metrics of a late message that have a name; the others are given up."""
        named = _are_named(batch, rows)
        if not named.all():
            part = QuarantinedPart(batch.part(position, rows[~named]), Reason.ALIAS_OF_UNSEEN_BIRTH)
            batch.decoded.expired.append(part)
        return rows[named]

    def _never_give_rows(
        self, batch: Batch, owner: MetricOwner, rows: NDArray[np.int64]
    ) -> NDArray[np.bool_]:
        """Which of some metrics of data need no birth."""
        never = np.zeros(len(rows), dtype=np.bool_)
        names = batch.names
        if names is None:
            return never
        is_template = validity(batch.columns.metric("template_value").take(pa.array(rows)))
        for index, row in enumerate(rows.tolist()):
            name = names[row]
            never[index] = bool(name) and self._state.catalogue.never_gives_rows(
                owner, name or "", is_template=bool(is_template[index])
            )
        return never

    def hold_unresolved(self, batch: Batch, regular: NDArray[np.bool_]) -> None:
        """The metrics of regular messages that no birth declares."""
        unknown = batch.tag == NO_TAG
        if not count_nonzero(unknown):
            return
        message = batch.columns.per_metric(np.arange(len(batch.messages)))
        rows = np.flatnonzero(unknown & regular[message])
        if len(rows) == 0:
            return
        starts = np.flatnonzero(np.diff(message[rows], prepend=-1))
        for part in np.split(rows, starts[1:]):
            position = int(message[part[0]])
            owner = self._state.owners[int(batch.topic[position])]
            self.hold_metrics(batch, position, owner, part)

    def take_structured(self, batch: Batch, rows: NDArray[np.int64]) -> None:
        """Read what of some metrics of data, whose tags are known, is no single row.

        Members of templates that no birth declares are held.
        """
        for part in self._state.structured.take(batch, rows):
            self._hold_members(batch, part)

    def _hold_members(self, batch: Batch, part: UnknownMembers) -> None:
        """Members of a template that no birth declares."""
        if batch.released[part.position]:
            batch.decoded.expired.append(QuarantinedPart(part.message, Reason.UNKNOWN_METRIC))
            return
        key = (part.owner.group_id, part.owner.edge_node_id)
        batch.decoded.counts[Reason.UNKNOWN_METRIC] += len(part.metrics)
        subjects = tuple(_path(part.owner, m.name) for m in part.metrics[:MOST_SUBJECTS])
        batch.decoded.rebirths.append(RebirthRequest(*key, Reason.UNKNOWN_METRIC, subjects))
        entry = Waiting(
            part.message,
            batch.seq(part.position),
            self._state.now,
            part.position,
            np.array([part.row]),
            Reason.UNKNOWN_METRIC,
            part.owner.device_id,
            part,
            counted=True,
        )
        self.hold(batch, key, entry)

    def keep_late_birth(self, arrival: Arrival, session: EdgeNodeSession) -> bool:
        """Its session has ended, for all we know: wait for what follows, but not for long.

        It shares the room of the windows. False: there is none, and it does not wait.
        """
        entry = Waiting(
            arrival.message,
            arrival.seq,
            self._state.now,
            arrival.position,
            reason=Reason.LATE_BIRTH,
        )
        room = self._state.windows
        if room.taken + entry.size > room.most:
            return False
        arrival.skip()
        arrival.decoded.counts[Reason.LATE_BIRTH] += 1
        arrival.decoded.examples[Reason.LATE_BIRTH] = "/".join(arrival.key)
        self._state.nodes.confirmed[session.index] = True  # nothing is missed while it waits
        arrival.batch.placed.append(entry)
        self._let_wait(entry, session)
        return True

    def _let_wait(self, birth: Waiting, session: EdgeNodeSession) -> None:
        session.late_birth = birth
        self._state.windows.taken += birth.size
        self._state.sequences.watch(session)

    # ------------------------------------------------------------------ no longer held

    def take(self, key: NodeKey, device_id: str | None) -> list[Waiting]:
        """What waits for the birth of a device, or for the node's own; no longer held."""
        return self._holding.take(key, device_id)

    def take_late_birth(self, session: EdgeNodeSession) -> Waiting | None:
        """The late birth of a node, which waits no longer; None if there is none."""
        birth, session.late_birth = session.late_birth, None
        if birth is not None:
            self._state.windows.taken -= birth.size
        self._state.sequences.watch(session)
        return birth

    def late_before(self) -> None:
        """Late births of an earlier run that nothing has explained since the start are births."""
        for key, entry in list(self._late_before.items()):
            if entry.since + LATE_SECONDS > self._state.now:
                continue
            del self._late_before[key]
            session = self._state.by_id.get(key)
            if session is None or session.owner.born or session.late_birth is not None:
                continue  # it is held until the next birth
            if self._holding.remove(key, entry):
                session.died_at = entry.since
                self._let_wait(entry, session)

    def session_ended(
        self, key: NodeKey, session: EdgeNodeSession | None, decoded: Decoded
    ) -> None:
        """A node died: what waits for births of its session waits in vain.

        What waits to know its aliases does not: a birth of any later session tells.
        """
        taken = self._holding.take_all(key)
        for entry in taken:
            if entry.reason is Reason.ALIAS_OF_UNSEEN_BIRTH:
                self._holding.put_back(key, entry)
        ended = [entry for entry in taken if entry.reason is not Reason.ALIAS_OF_UNSEEN_BIRTH]
        give_up(ended, decoded, Reason.SESSION_ENDED)
        if session is not None and (late := self.take_late_birth(session)):
            give_up([late], decoded, Reason.SESSION_ENDED)

    def expire(self, decoded: Decoded) -> None:
        """Give up what has waited for too long."""
        expired = self._holding.expired(self._state.now)
        if expired:
            give_up(expired, decoded)

    @property
    def memory(self) -> int:
        """Bytes that all that waits takes when it is read, that of the windows included."""
        return WHILE_READ * (self._holding.size + self._state.windows.taken)

    def recalled_memory(self, messages: MessageBatch) -> Counter[NodeKey | None]:
        """Bytes that what is read together with some messages takes, by node."""
        memory: Counter[NodeKey | None] = Counter()
        for entry in self.recall(messages, ()):
            read = parse_topic(entry.message.topic)
            if isinstance(read, Topic):
                memory[read.group_id, read.edge_node_id] += WHILE_READ * entry.size
        return memory

    # ------------------------------------------------------------------ over a restart

    def held(self) -> list[HeldMessage]:
        """What waits for a birth, late births among it."""
        late = [session.late_birth for session in self._state.sequences.watched()]
        return [
            HeldMessage(entry.message, entry.device_id, entry.reason, entry.counted)
            for entry in [*self._holding, *filter(None, late)]
            if entry.reason is not None
        ]

    def restore(self, messages: Iterable[HeldMessage]) -> None:
        """Let messages wait that waited at the end of an earlier run.

        Who is asked for births, and why, was told before. Late births are among them now: more
        may wait than was allowed, until another has to.
        """
        for key, entry in self._waiting_again(messages):
            self._holding.put_back(key, entry)
            if entry.reason is Reason.LATE_BIRTH:
                self._late_before[key] = entry

    def hold_again(self, messages: Iterable[HeldMessage], decoded: Decoded) -> None:
        """Let messages wait that had been given up, and ask for the births."""
        for key, entry in self._waiting_again(messages):
            give_up(self._holding.add(key, entry), decoded, Reason.HOLD_FULL)
            assert entry.reason is not None
            decoded.rebirths.append(RebirthRequest(*key, entry.reason))

    def _waiting_again(self, messages: Iterable[HeldMessage]) -> Iterator[tuple[NodeKey, Waiting]]:
        """Messages that are in no batch, and the nodes whose births they wait for."""
        for message, device_id, reason, counted, kept in messages:
            read = parse_topic(message.topic)
            if isinstance(read, Topic):
                entry = Waiting(
                    message,
                    0,
                    self._state.now,
                    reason=reason,
                    device_id=device_id,
                    counted=counted,
                    kept=kept,
                )
                key = (read.group_id, read.edge_node_id)
                if key not in self._state.by_id:
                    self._state.gaps.heard_of_stranger(key)
                yield key, entry

    # ------------------------------------------------------------------ into a batch

    def recall(self, messages: MessageBatch, overdue: Sequence[EdgeNodeSession]) -> list[Waiting]:
        """What waits and may be read together with a batch, in order of arrival.

        That is what the births in it are waited for with, and the windows of its nodes and
        of `overdue` ones, which may have births in them again.
        """
        attentive = self._state.sequences.attentive
        if not attentive and not len(self._holding):
            return []
        indices, births = self._concerned(messages)
        indices.update(session.index for session in overdue)
        recalled: list[Waiting] = []
        for index in sorted(indices & attentive):
            session = self._state.sessions[index]
            recalled += session.sequence.waiting
            births |= _births_in(session)
            if session.late_birth is not None:
                recalled.append(session.late_birth)
        nodes = {(b.group_id, b.edge_node_id) for b in births if b.device_id is None}
        for key in sorted(nodes):
            recalled += self._holding.of_node(key)
        for birth in sorted(births, key=str):
            key = (birth.group_id, birth.edge_node_id)
            if key not in nodes:
                recalled += self._holding.of_device(key, birth.device_id)
        return sorted(recalled, key=lambda entry: entry.since)

    def _concerned(self, messages: MessageBatch) -> tuple[set[int], set[Topic]]:
        """The known nodes that messages are from, and the births among the messages."""
        state = self._state
        indices = np.fromiter(
            map(state.data_topics.get, messages.topics, repeat(ABSENT)), np.int64, len(messages)
        )
        known = indices[indices != ABSENT]
        sessions = set(np.unique(state.topics.node[known]).tolist())
        births: set[Topic] = set()
        for position in np.flatnonzero(indices == ABSENT).tolist():
            read = parse_topic(messages.topics[position])
            if isinstance(read, Topic):
                session = state.session_of(read)
                if session is not None:
                    sessions.add(session.index)
                if read.message_type in _BIRTHS:
                    births.add(read)
        return sessions, births


def _are_named(batch: Batch, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which of some metrics carry a name."""
    names = batch.names
    named = [names is not None and bool(names[row]) for row in rows.tolist()]
    return np.array(named, dtype=np.bool_)


def _path(owner: MetricOwner, name: str) -> str:
    return name if owner.device_id is None else f"{owner.device_id}/{name}"


def _subjects(batch: Batch, owner: MetricOwner, rows: NDArray[np.int64]) -> tuple[str, ...]:
    """What some metrics without tag are called: by name, else by alias."""
    names = [None] * len(rows) if batch.names is None else [batch.names[row] for row in rows]
    aliases = batch.columns.metric("alias").take(pa.array(rows)).to_pylist()
    return tuple(
        _path(owner, name or f"alias {alias}") for name, alias in zip(names, aliases, strict=True)
    )


def _births_in(session: EdgeNodeSession) -> set[Topic]:
    """The births that wait in a session."""
    topics = (parse_topic(entry.message.topic) for entry in session.sequence.waiting)
    births = {
        read
        for read in topics
        if isinstance(read, Topic) and read.message_type is MessageType.DBIRTH
    }
    if session.late_birth is not None:
        owner = session.owner
        births.add(Topic(owner.group_id, MessageType.NBIRTH, owner.edge_node_id))
    return births
