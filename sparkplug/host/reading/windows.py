"""Messages out of order: they wait in the window of their node, or come late; and the gaps.

The rules are in docs/decoding.md, "In which order messages are read".
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sparkplug.events import Healing
from sparkplug.gaps import Gap, GapReason
from sparkplug.host.nodes.seq_place import NOWHERE, SeqPlace
from sparkplug.host.nodes.sequence import BEHIND, distance, holes
from sparkplug.host.nodes.waiting import Waiting
from sparkplug.host.watch.completeness import sent_us
from sparkplug.messages import Reason, RebirthRequest
from sparkplug.names import SEQ_MODULUS
from sparkplug.payload import ABSENT

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sparkplug.host.arrival import Arrival
    from sparkplug.host.batch import Batch
    from sparkplug.host.fleet_state import FleetState
    from sparkplug.host.nodes.edge_node import EdgeNodeState
    from sparkplug.host.reading.session_reader import SessionReader


class Windows:
    """The windows of all born nodes, and what is known of their gaps."""

    def __init__(self, state: FleetState, reader: SessionReader) -> None:
        self._state = state
        self._reader = reader

    # ------------------------------------------------------------------ ahead

    def wait(self, arrival: Arrival, edge_node: EdgeNodeState) -> None:
        """A message behind a hole (tck-id operational-behavior-host-reordering-start)."""
        arrival.skip()
        message, seq = arrival.message, arrival.seq
        if edge_node.sequence.is_double(seq, message):
            arrival.discard(Reason.DUPLICATE)
            self._state.completeness.came(arrival, edge_node, -1)
            return
        counted = arrival.position in arrival.batch.counted
        entry = Waiting(message, seq, self._state.now, arrival.position, counted=counted)
        arrival.batch.placed.append(entry)
        full = edge_node.sequence.wait(entry)
        self._state.sequences.watch(edge_node)
        if full or self._state.options.reorder_timeout <= 0:
            self.stop_waiting(arrival.batch, edge_node)

    def drain(self, batch: Batch, edge_node: EdgeNodeState) -> None:
        """Messages that follow the one just read, and those that are behind it now.

        (tck-id operational-behavior-host-reordering-success)
        """
        state, sequence = self._state, edge_node.sequence
        while sequence.waiting:
            entry = sequence.next_waiting(state.sequences.expected(edge_node))
            if entry is None:
                break
            state.sequences.expect(edge_node, entry.seq + 1)
            self._read_waiting(batch, entry, edge_node, sequence.here)
        expected = state.sequences.expected(edge_node)
        for entry in [e for e in sequence.waiting if distance(e.seq, expected) >= BEHIND]:
            sequence.next_waiting(entry.seq)
            self.read_late(state.arrival(batch, entry.place), edge_node, entry.seq)
        state.sequences.watch(edge_node)

    def stop_waiting(self, batch: Batch, edge_node: EdgeNodeState, *, ask: bool = True) -> None:
        """What is missing will not come: go on behind it.

        (tck-id operational-behavior-host-reordering-rebirth)
        """
        state, sequence = self._state, edge_node.sequence
        expected = state.sequences.expected(edge_node)
        entries = sequence.take_waiting()
        if entries:
            entries.sort(key=lambda entry: distance(entry.seq, expected))
            missing = holes([entry.seq for entry in entries], expected)
            following = entries[-1].seq + 1
        elif sequence.lost_since is not None and ask:
            missing = {(expected + step) % SEQ_MODULUS for step in range(sequence.lost_distance)}
            following = sequence.lost_next
        else:
            return
        gap = self._note_gap(batch, edge_node, _behind_holes(entries), missing, ask=ask)
        state.sequences.expect(edge_node, following)
        state.unsure.behind_gap(edge_node)
        for entry in entries:
            self._read_waiting(batch, entry, edge_node, SeqPlace(gap, entry.seq))

    def _read_waiting(
        self, batch: Batch, entry: Waiting, edge_node: EdgeNodeState, place: SeqPlace
    ) -> None:
        """What waited is read in order of seq."""
        arrival = self._state.arrival_of(batch, entry, edge_node)
        self._state.completeness.note_read(arrival, edge_node)
        self._reader.read(arrival, edge_node, place)

    def _note_gap(
        self,
        batch: Batch,
        edge_node: EdgeNodeState,
        behind: Waiting | None,
        missing: set[int],
        *,
        ask: bool,
    ) -> Gap:
        """Messages are missing, before the one `behind` the gap if there is one."""
        state, owner, decoded = self._state, edge_node.owner, batch.decoded
        decoded.counts[Reason.SEQUENCE_GAP] += 1
        if ask:
            request = RebirthRequest(owner.group_id, owner.edge_node_id, Reason.SEQUENCE_GAP)
            decoded.rebirths.append(request)
        until_us = sent_us(batch, behind.place) if behind else edge_node.sequence.lost_until_us
        gap = Gap(
            owner.group_id,
            owner.edge_node_id,
            GapReason.SEQUENCE_GAP,
            state.heard_us,
            state.sequences.expected(edge_node),
            len(missing),
            missing,
            from_us=int(state.nodes.sent_us[edge_node.index]) or None,
            to_us=until_us,
            guessed=behind is None,
        )
        forgotten = edge_node.sequence.note_gap(gap)
        if forgotten is not None:
            state.completeness.close(forgotten, Healing.NOT_AT_ALL, state.heard_us, decoded)
        state.completeness.found(gap, decoded)
        return gap

    # ------------------------------------------------------------------ behind

    def read_late(self, arrival: Arrival, edge_node: EdgeNodeState, seq: int) -> None:
        """A message from behind: sent again, or overtaken by others."""
        state, decoded = self._state, arrival.batch.decoded
        if state.recent.has(arrival.batch, arrival.position, seq):
            arrival.discard(Reason.DUPLICATE)
            state.completeness.came(arrival, edge_node, -1)
            return
        decoded.counts[Reason.LATE] += 1
        arrival.batch.give_turn(arrival.position)
        gap = edge_node.sequence.explains(seq)
        if gap is None or gap.guessed:
            state.alarms.duplicates.unexplained(*arrival.key, state.now)
        if gap is None:
            sent = sent_us(arrival.batch, arrival.position)
            edge_node.sequence.late_without_reason(
                seq, state.sequences.expected(edge_node), state.now, sent
            )
            state.sequences.watch(edge_node)
            if state.options.reorder_timeout <= 0:
                self.stop_waiting(arrival.batch, edge_node)
        else:
            state.completeness.came_late(gap, decoded)
            if not gap.missing:
                state.completeness.close(gap, Healing.LATE_ARRIVAL, arrival.received_us, decoded)
        arrival.batch.open(arrival.position)
        self._reader.read_late(arrival, edge_node, SeqPlace(gap, seq) if gap else NOWHERE)

    # ------------------------------------------------------------------ births

    def end_former_session(self, arrival: Arrival, edge_node: EdgeNodeState) -> list[Waiting]:
        """Before an NBIRTH: read what waits of the session before it; return the others."""
        waiting = edge_node.sequence.take_waiting()
        after = sent_after(arrival, waiting)
        before = [entry for entry in waiting if entry not in after]
        for entry in before:
            edge_node.sequence.wait(entry)
        if before:
            self.stop_waiting(arrival.batch, edge_node, ask=False)
        return [entry for entry in waiting if entry in after]

    def heal(self, arrival: Arrival, edge_node: EdgeNodeState, *, doubtful: bool) -> None:
        """After an NBIRTH: no gap is open any more.

        `doubtful`: nothing that was heard since the host was away continues the session before.
        """
        gaps = self._state.completeness
        for gap in edge_node.sequence.take_gaps():
            gaps.close(gap, Healing.REBIRTH_SNAPSHOT, arrival.received_us, arrival.batch.decoded)
        gaps.born(arrival, edge_node, doubtful=doubtful)


def _behind_holes(entries: list[Waiting]) -> Waiting | None:
    """Of what waits, in order of seq: the first message behind the last hole."""
    for number in range(len(entries) - 1, 0, -1):
        if distance(entries[number].seq, entries[number - 1].seq) > 1:
            return entries[number]
    return entries[0] if entries else None


def sent_after(birth: Arrival, entries: Iterable[Waiting]) -> set[Waiting]:
    """Which of the messages that came before an NBIRTH were sent after it.

    Those whose payload timestamp is later. An edge node that is asked for births while it
    publishes answers within the millisecond: of those with the timestamp of the NBIRTH it is
    those whose seq follow on the NBIRTH's, without a hole.
    """
    batch, born_ms = birth.batch, birth.sent_ms
    if born_ms == ABSENT:
        return set()
    after: set[Waiting] = set()
    tied: dict[int, list[Waiting]] = {}
    for entry in entries:
        sent_ms = batch.sent_ms(entry.place)
        if sent_ms > born_ms:
            after.add(entry)
        elif sent_ms == born_ms:
            tied.setdefault(batch.seq(entry.place), []).append(entry)
    for step in range(1, SEQ_MODULUS):
        following = tied.get((birth.seq + step) % SEQ_MODULUS)
        if following is None:
            break
        after.update(following)
    return after
