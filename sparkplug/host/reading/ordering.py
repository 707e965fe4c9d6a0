"""One message at a time: which session it belongs to, and whether its turn has come."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sparkplug.events import EventKind
from sparkplug.host.nodes.seq_place import NOWHERE
from sparkplug.host.reading.decision import Standing, Step, decide
from sparkplug.host.reading.session_reader import SessionReader
from sparkplug.host.reading.windows import Windows, sent_after
from sparkplug.messages import Reason, RebirthRequest
from sparkplug.names import SEQ_MODULUS
from sparkplug.topics import MessageType

if TYPE_CHECKING:
    from sparkplug.host.arrival import Arrival
    from sparkplug.host.batch import Batch
    from sparkplug.host.fleet_state import FleetState
    from sparkplug.host.nodes.edge_node import EdgeNodeState
    from sparkplug.host.nodes.waiting import Waiting
    from sparkplug.host.reading.awaiting_births import AwaitingBirths
    from sparkplug.host.reading.lifecycle import Lifecycle
    from sparkplug.host.reading.resolution import Resolution
    from sparkplug.host.reading.undeclared import UndeclaredMetrics
    from sparkplug.topics import Topic


class Ordering:
    """Takes the messages of nodes that need attention, in order of arrival.

    Those that are not read yet wait in the windows of their nodes, or for a birth, which brings
    them back. Its own parts are a `SessionReader`, which reads one message in its session, and
    the `Windows`, where what came out of order waits.
    """

    def __init__(
        self,
        state: FleetState,
        resolution: Resolution,
        awaiting: AwaitingBirths,
        undeclared: UndeclaredMetrics,
        lifecycle: Lifecycle,
    ) -> None:
        self._state = state
        self._awaiting = awaiting
        self._lifecycle = lifecycle
        self._reader = SessionReader(state, resolution, awaiting, undeclared, lifecycle)
        self._windows = Windows(state, self._reader)

    def read(self, batch: Batch, position: int) -> None:
        """One message of a node that needs attention."""
        arrival = self._state.arrival(batch, position)
        edge_node = self._state.edge_node_of(arrival.topic)
        if edge_node is not None:
            self._state.assign(arrival, edge_node)
        if arrival.topic.message_type is MessageType.DDEATH and not arrival.message.payload:
            self._device_death_without_seq(arrival, edge_node)
            return
        if arrival.topic.message_type is not MessageType.NDEATH and not self._state.restoring:
            self._state.completeness.came(arrival, edge_node)
        if arrival.topic.message_type is MessageType.NBIRTH:
            if not arrival.is_unread:
                self._node_birth(arrival)
        elif arrival.topic.message_type is MessageType.NDEATH:
            arrival.skip()
            self._node_death(arrival, edge_node)
        else:
            self._read_sequenced(arrival, edge_node)

    def end_waiting(self, batch: Batch, edge_node: EdgeNodeState) -> None:
        """Read what waits in the window of a node, whatever is missing, and its late birth."""
        self._windows.stop_waiting(batch, edge_node)
        self._read_late_birth(batch, edge_node)

    def lose_birth(self, batch: Batch, topic: Topic, at_us: int) -> None:
        """A birth that cannot be read, and came at `at_us`: the aliases mean something else now."""
        edge_node = self._state.edge_node_of(topic)
        if edge_node is None or not edge_node.owner.born:
            return
        if topic.device_id is not None:
            self._lifecycle.lose_device(edge_node, topic.device_id, at_us, batch.decoded)
            return
        self._windows.stop_waiting(batch, edge_node, ask=False)
        self._lifecycle.lose_session(edge_node, at_us, batch.decoded)

    # ------------------------------------------------------------------ with a seq

    def _read_sequenced(self, arrival: Arrival, edge_node: EdgeNodeState | None) -> None:
        """A message that takes part in seq (payloads-sequence-num-incrementing)."""
        if self._state.restoring:
            if edge_node is not None and edge_node.owner.born:
                self._reader.read(arrival, edge_node, NOWHERE)
            return
        if edge_node is None:
            self._state.completeness.heard_of_stranger(arrival.key)
            self._reader.read_without_birth(arrival, None)
            return
        ahead = self._state.sequences.ahead(edge_node, arrival.seq)
        step = decide(self._standing(arrival, edge_node), ahead)
        if step is Step.BEGIN_LATE_SESSION:
            self._begin_late(arrival.batch, edge_node)
            self._state.assign(arrival, edge_node)
            ahead = self._state.sequences.ahead(edge_node, arrival.seq)
            step = decide(self._standing(arrival, edge_node), ahead)
        if step is Step.READ:
            self._read_in_order(arrival, edge_node)
        elif step is Step.WAIT:
            self._windows.wait(arrival, edge_node)
        elif step is Step.READ_LATE:
            self._windows.read_late(arrival, edge_node, arrival.seq)
        else:
            if step is Step.MISS_AND_HOLD:
                self._state.completeness.away(arrival, edge_node, ahead)
            if step is not Step.HOLD:
                self._state.doubt(edge_node)
            self._reader.read_without_birth(arrival, edge_node)

    def _standing(self, arrival: Arrival, edge_node: EdgeNodeState) -> Standing:
        """What is known of a node now that a message of it has come."""
        nodes, index, late = self._state.nodes, edge_node.index, edge_node.late_birth
        born = edge_node.owner.born
        return Standing(
            born,
            edge_node.in_doubt,
            confirmed=bool(nodes.confirmed[index]),
            partial=bool(nodes.partial[index]),
            late_birth_follows=not born
            and late is not None
            and arrival.seq == (late.seq + 1) % SEQ_MODULUS,
        )

    def _read_in_order(self, arrival: Arrival, edge_node: EdgeNodeState) -> None:
        """A message whose turn has come, and what follows it in the window."""
        state = self._state
        state.nodes.confirmed[edge_node.index] = True
        state.alarms.duplicates.in_order(*arrival.key, state.now)
        state.sequences.expect(edge_node, arrival.seq + 1)
        state.completeness.note_read(arrival, edge_node)
        self._reader.read(arrival, edge_node, edge_node.sequence.here)
        self._windows.drain(arrival.batch, edge_node)

    # ------------------------------------------------------------------ NBIRTH

    def _node_birth(self, arrival: Arrival) -> None:
        known = self._state.edge_node_of(arrival.topic)
        if known is not None and self._is_late(arrival, known):
            if self._awaiting.late.keep(arrival, known):
                return
            arrival.ask_for_birth(Reason.LATE_BIRTH)  # it is a birth, for all we know
        if known is not None and _waits_already(arrival, known):
            arrival.discard(Reason.DUPLICATE)
            self._state.completeness.came(arrival, known, -1)
            return
        if arrival.is_nameless:
            arrival.refuse(Reason.NAMELESS_BIRTH)
            self.lose_birth(arrival.batch, arrival.topic, arrival.received_us)
            return
        edge_node = self._lifecycle.admit(arrival)
        if edge_node is None:
            return
        following = self._windows.end_former_session(arrival, edge_node)
        doubtful = self._is_doubtful(arrival, edge_node)
        if not self._lifecycle.begin_session(arrival, edge_node):
            for entry in following:  # they wait for a birth that fits
                self._read_sequenced(
                    self._state.arrival_of(arrival.batch, entry, edge_node), edge_node
                )
            return
        arrival.count_read()
        self._state.nodes.confirmed[edge_node.index] = True
        self._state.sequences.expect(edge_node, arrival.seq + 1)
        if self._state.restoring:
            return
        self._windows.heal(arrival, edge_node, doubtful=doubtful)
        self._lifecycle.tell(EventKind.NODE_BIRTH, arrival, edge_node.owner)
        self._release(arrival, edge_node, following)

    def _is_late(self, birth: Arrival, edge_node: EdgeNodeState) -> bool:
        """Whether an NBIRTH may belong to the session that has ended already."""
        if self._state.restoring:
            return False
        return edge_node.may_have_ended(birth.bd_seq, self._state.now)

    def _is_doubtful(self, birth: Arrival, edge_node: EdgeNodeState) -> bool:
        """Whether nothing that was heard since the host was away continues the session before."""
        if not edge_node.owner.born or self._state.nodes.partial[edge_node.index]:
            return False
        confirmed = self._state.nodes.confirmed[edge_node.index]
        return edge_node.in_doubt or bool(
            not confirmed and self._state.sequences.ahead(edge_node, birth.seq)
        )

    def _release(self, birth: Arrival, edge_node: EdgeNodeState, following: list[Waiting]) -> None:
        """What waited for an NBIRTH: what came before it, then what comes after it."""
        batch = birth.batch
        late_birth = self._awaiting.late.withdraw(edge_node)
        held = self._awaiting.release(birth.key, None)
        after = sent_after(birth, [e for e in held if e.reason is Reason.DATA_BEFORE_BIRTH])
        for entry in held:
            if entry in after:
                following.append(entry)
            else:
                self._reader.read_released(batch, entry, edge_node)
        edge_node.owner.forget_steady()
        if late_birth is not None:
            self._reader.read_released(batch, late_birth, edge_node)
        for entry in following:
            self._read_sequenced(self._state.arrival_of(batch, entry, edge_node), edge_node)

    def _read_late_birth(self, batch: Batch, edge_node: EdgeNodeState) -> None:
        """A late birth waits no longer: it is a birth, but not for certain the last one."""
        if edge_node.late_birth is None:
            return
        nodes, owner = self._state.nodes, edge_node.owner
        was_away = not nodes.confirmed[edge_node.index]
        batch.decoded.rebirths.append(
            RebirthRequest(owner.group_id, owner.edge_node_id, Reason.LATE_BIRTH)
        )
        self._begin_late(batch, edge_node)
        if was_away:  # it came before a restart: what was sent since then is not known
            self._windows.stop_waiting(batch, edge_node)
            nodes.confirmed[edge_node.index] = False

    def _begin_late(self, batch: Batch, edge_node: EdgeNodeState) -> None:
        """The session of a late birth begins after all."""
        birth = self._awaiting.late.withdraw(edge_node)
        assert birth is not None
        edge_node.dead_bd_seq = None
        arrival = self._state.arrival(batch, birth.place)
        arrival.batch.open(arrival.position)
        if arrival.is_unread:
            arrival.stay_closed()
        else:
            self._node_birth(arrival)

    # ------------------------------------------------------------------ NDEATH

    def _node_death(self, arrival: Arrival, edge_node: EdgeNodeState | None) -> None:
        """The bdSeq says which session died (operational-behavior-...-ndeath-node-offline)."""
        bd_seq = arrival.bd_seq
        if edge_node is not None and edge_node.owner.born:
            if not edge_node.ended_by(bd_seq):
                arrival.discard(Reason.DEATH_OF_OTHER_SESSION)
                return
            arrival.count_read()
            self._windows.stop_waiting(arrival.batch, edge_node, ask=False)
            self._state.completeness.died(arrival, edge_node)
            self._lifecycle.node_death(arrival, edge_node)
            if not arrival.message.payload:  # or somebody cleared what was retained
                arrival.ask_for_birth(Reason.EMPTY_DEATH)
        else:
            arrival.discard(Reason.DEATH_OF_OTHER_SESSION)
            if edge_node is not None and bd_seq is not None:
                edge_node.dead_bd_seq, edge_node.died_at = bd_seq, self._state.now
            if not arrival.message.payload:
                return
        self._awaiting.session_ended(arrival.key, edge_node, arrival.batch.decoded)

    def _device_death_without_seq(self, arrival: Arrival, edge_node: EdgeNodeState | None) -> None:
        """A DDEATH of no bytes: a device's will, or somebody cleared what was retained."""
        arrival.skip()
        owner = None
        if edge_node is not None and edge_node.owner.born and not edge_node.in_doubt:
            owner = edge_node.owner_of(arrival.topic.device_id)
        if edge_node is None or owner is None or not owner.born:
            arrival.discard(Reason.DEATH_OF_OTHER_SESSION)
            return
        arrival.batch.give_turn(arrival.position)
        arrival.count_read()
        self._lifecycle.device_death(arrival, edge_node, owner)
        arrival.ask_for_birth(Reason.EMPTY_DEATH)


def _waits_already(birth: Arrival, edge_node: EdgeNodeState) -> bool:
    """Whether an NBIRTH is the very one that waits as a late birth."""
    late = edge_node.late_birth
    return late is not None and late.message.payload == birth.message.payload
