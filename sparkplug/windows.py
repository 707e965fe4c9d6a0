"""Messages out of order: they wait in the window of their node, or come late; and the gaps.

The rules are in docs/decoding.md, "In which order messages are read".
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sparkplug.columns import ABSENT
from sparkplug.events import Event, EventKind, Healing
from sparkplug.holding import Waiting
from sparkplug.messages import Reason, RebirthRequest
from sparkplug.sequence import BEHIND, MODULUS, Gap, distance, holes

if TYPE_CHECKING:
    from sparkplug.arrival import Arrival
    from sparkplug.batch import Batch
    from sparkplug.fleet_state import FleetState
    from sparkplug.messages import Decoded
    from sparkplug.session import EdgeNodeSession
    from sparkplug.session_reader import SessionReader


class Windows:
    """The windows of all born nodes, and what is known of their gaps."""

    def __init__(self, state: FleetState, reader: SessionReader) -> None:
        self._state = state
        self._reader = reader

    # ------------------------------------------------------------------ ahead

    def wait(self, arrival: Arrival, session: EdgeNodeSession) -> None:
        """A message behind a hole (tck-id operational-behavior-host-reordering-start)."""
        arrival.skip()
        message, seq = arrival.message, arrival.seq
        if session.sequence.is_double(seq, message.payload):
            arrival.discard(Reason.DUPLICATE)
            return
        counted = arrival.position in arrival.batch.counted
        entry = Waiting(message, seq, self._state.now, arrival.position, counted=counted)
        arrival.batch.placed.append(entry)
        full = session.sequence.wait(entry)
        self._state.watch(session)
        if full or self._state.options.reorder_timeout <= 0:
            self.stop_waiting(arrival.batch, session)

    def drain(self, batch: Batch, session: EdgeNodeSession) -> None:
        """Messages that follow the one just read, and those that are behind it now.

        (tck-id operational-behavior-host-reordering-success)
        """
        state, sequence = self._state, session.sequence
        while sequence.waiting:
            entry = sequence.next_waiting(state.expected(session))
            if entry is None:
                break
            state.expect(session, entry.seq + 1)
            self._reader.read(state.returned(batch, entry, session), session)
        expected = state.expected(session)
        for entry in [e for e in sequence.waiting if distance(e.seq, expected) >= BEHIND]:
            sequence.next_waiting(entry.seq)
            self.take_late(state.arrival(batch, entry.place), session, entry.seq)
        state.watch(session)

    def stop_waiting(self, batch: Batch, session: EdgeNodeSession, *, ask: bool = True) -> None:
        """What is missing will not come: go on behind it.

        (tck-id operational-behavior-host-reordering-rebirth)
        """
        state, sequence = self._state, session.sequence
        expected = state.expected(session)
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
        gap = Gap(expected, len(missing), state.heard_us, missing, guessed=not entries)
        _note_gap(session, gap, batch.decoded, ask=ask)
        state.expect(session, following)
        for entry in entries:
            self._reader.read(state.returned(batch, entry, session), session)

    # ------------------------------------------------------------------ behind

    def take_late(self, arrival: Arrival, session: EdgeNodeSession, seq: int) -> None:
        """A message from behind: sent again, or overtaken by others."""
        state, decoded = self._state, arrival.decoded
        if state.recent.has(arrival.batch, arrival.position, seq):
            arrival.discard(Reason.DUPLICATE)
            return
        decoded.counts[Reason.LATE] += 1
        arrival.take()
        gap = session.sequence.explains(seq)
        if gap is None or gap.guessed:
            state.alarms.duplicates.unexplained(*arrival.key, state.now)
        if gap is None:
            session.sequence.late_without_reason(seq, state.expected(session), state.now)
            state.watch(session)
            if state.options.reorder_timeout <= 0:
                self.stop_waiting(arrival.batch, session)
        elif not gap.missing:
            _tell_gap(session, gap, Healing.LATE_ARRIVAL, decoded)
        arrival.open()
        self._reader.read_late(arrival, session)

    # ------------------------------------------------------------------ births

    def end_former_session(self, arrival: Arrival, session: EdgeNodeSession) -> list[Waiting]:
        """Before an NBIRTH: read what waits of the session before it; return the others."""
        following: list[Waiting] = []
        before: list[Waiting] = []
        for entry in session.sequence.take_waiting():
            is_after = arrival.batch.sent_ms(entry.place) >= arrival.sent_ms != ABSENT
            (following if is_after else before).append(entry)
        for entry in before:
            session.sequence.wait(entry)
        if before:
            self.stop_waiting(arrival.batch, session, ask=False)
        return following

    @staticmethod
    def heal(session: EdgeNodeSession, decoded: Decoded) -> None:
        """After an NBIRTH: no gap is open any more."""
        for gap, healing in session.sequence.heal():
            _tell_gap(session, gap, healing, decoded)


def _note_gap(session: EdgeNodeSession, gap: Gap, decoded: Decoded, *, ask: bool) -> None:
    decoded.counts[Reason.SEQUENCE_GAP] += 1
    owner = session.owner
    if ask:
        request = RebirthRequest(owner.group_id, owner.edge_node_id, Reason.SEQUENCE_GAP)
        decoded.rebirths.append(request)
    forgotten = session.sequence.note_gap(gap)
    if forgotten is not None:
        _tell_gap(session, forgotten, Healing.NOT_AT_ALL, decoded)
    _tell_gap(session, gap, Healing.OPEN, decoded)


def _tell_gap(session: EdgeNodeSession, gap: Gap, healing: Healing, decoded: Decoded) -> None:
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
