"""How complete a fleet's data is: what came of each node, and which gaps may still be healed."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from sparkplug.counting import count_nonzero
from sparkplug.events import Healing
from sparkplug.gaps import HEALABLE_GAPS, Gap, GapChange, GapReason, steps_of_bd_seq
from sparkplug.host.catalogue import NO_TAG
from sparkplug.host.watch.before_birth import BeforeBirth, before_birth
from sparkplug.payload import ABSENT

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from collections.abc import Set as AbstractSet

    from numpy.typing import NDArray

    from sparkplug.decoded import Decoded, Observations
    from sparkplug.host.arrival import Arrival
    from sparkplug.host.batch import Batch
    from sparkplug.host.catalogue import TagCatalogue
    from sparkplug.host.node_table import NodeTable
    from sparkplug.host.nodes.edge_node import EdgeNodeState
    from sparkplug.host.nodes.waiting import NodeKey

_MOST_NEVER_BORN: Final = 10_000
_US_PER_MS: Final = 1000


class Received(NamedTuple):
    """Messages of one node that took part in seq, and the payload time of the last one read.

    None may have come, if one was read that had waited.
    """

    group_id: str
    edge_node_id: str
    messages: int
    sent_us: int


class Completeness:
    """What came, what did not, and how that was made up for (docs/gaps.md).

    Args:
        nodes: of the fleet; `received` and `sent_us` are its own, `next_seq` is read.
    """

    def __init__(self, nodes: NodeTable) -> None:
        self._nodes = nodes
        self._healable: dict[NodeKey, deque[Gap]] = {}
        self._never_born: dict[NodeKey, int] = {}
        self._strangers: set[NodeKey] = set()
        self._left_in_doubt: set[NodeKey] = set()
        self._any_received = False
        self._read_since: set[int] = set()  # nodes of which a message was read that came before

    # ------------------------------------------------------------------ received

    def came(self, arrival: Arrival, edge_node: EdgeNodeState | None, count: int = 1) -> None:
        """Count a message that takes part in seq and is looked at one by one.

        A `count` of -1 takes one back that was counted already: it was there twice.
        """
        if edge_node is not None:
            count += self._never_born.pop(arrival.key, 0)
            self._nodes.received[edge_node.index] += count
            self._any_received = True
        elif arrival.key in self._never_born or len(self._never_born) < _MOST_NEVER_BORN:
            self._never_born[arrival.key] = self._never_born.get(arrival.key, 0) + count

    def heard_of_stranger(self, key: NodeKey) -> None:
        """A message came of a node of which no birth was ever heard."""
        if len(self._strangers) < _MOST_NEVER_BORN:
            self._strangers.add(key)

    def left_in_doubt(self, key: NodeKey) -> None:
        """The host went away while it waited for a birth that says where a node is."""
        self._left_in_doubt.add(key)

    @property
    def strangers(self) -> list[NodeKey]:
        """Nodes that were heard, and no birth of them ever; a copy, for any thread."""
        return list(self._strangers)

    @property
    def nodes_left_in_doubt(self) -> AbstractSet[NodeKey]:
        """Nodes of which no NBIRTH was read since."""
        return self._left_in_doubt

    def note_read(self, arrival: Arrival, edge_node: EdgeNodeState) -> None:
        """Note when a message was sent that was read in order of seq, one by one."""
        self._nodes.sent_us[edge_node.index] = sent_us(arrival.batch, arrival.position)
        self._read_since.add(edge_node.index)

    def take_received(
        self, edge_nodes: Sequence[EdgeNodeState], *, never_born: bool = False
    ) -> list[Received]:
        """What came of each node since the last call. `edge_nodes` are by index.

        What came of a node before its first birth is told with that birth, or if `never_born`.
        """
        if never_born:
            early = [Received(*key, count, 0) for key, count in self._never_born.items()]
            self._never_born.clear()
            return early + self.take_received(edge_nodes)
        if not self._any_received and not self._read_since:
            return []
        self._any_received = False
        size = self._nodes.size
        received = self._nodes.received[:size]
        heard = received != 0
        heard[list(self._read_since)] = True
        self._read_since.clear()
        found = np.flatnonzero(heard)
        columns = (found, received[found], self._nodes.sent_us[found])
        taken = [
            Received(edge_nodes[i].owner.group_id, edge_nodes[i].owner.edge_node_id, count, at_us)
            for i, count, at_us in zip(*(column.tolist() for column in columns), strict=True)
        ]
        received[:] = 0
        return taken

    def look(
        self,
        batch: Batch,
        regular: NDArray[np.bool_],
        observations: Observations | None,
        catalogue: TagCatalogue,
    ) -> None:
        """Look at a batch that was read: at what was in order, and whether history came."""
        node, sent_ms = batch.node, batch.columns.timestamp_ms
        received_us = batch.received_us()
        if count_nonzero(regular) < len(regular):
            node, sent_ms, received_us = node[regular], sent_ms[regular], received_us[regular]
        if len(node):
            nodes = self._nodes
            nodes.received[: nodes.size] += np.bincount(node, minlength=nodes.size)
            # Where an index is there more than once, its last value stays.
            nodes.sent_us[node] = np.where(sent_ms == ABSENT, received_us, sent_ms * _US_PER_MS)
            self._any_received = True
        if self._healable and observations is not None and observations.historical.any():
            self._history(observations, catalogue, batch.decoded)

    # ------------------------------------------------------------------ gaps

    def found(self, gap: Gap, decoded: Decoded) -> None:
        """A gap became known; it may have been healed at once."""
        self._healable.setdefault(gap.key, deque(maxlen=HEALABLE_GAPS)).append(gap)
        count = gap.count or 0
        settled = 0 if _may_be_taken_back(gap) else count
        change = GapChange(gap, None, gap.healing, count, settled, gap.sessions)
        self._tell(change, decoded)

    def close(self, gap: Gap, healing: Healing, at_us: int, decoded: Decoded) -> None:
        """An open gap was made up for, or given up."""
        before = gap.healing
        settled = (gap.count or 0) if _may_be_taken_back(gap) else 0
        gap.ended_by = healing
        gap.healed_us = gap.healed_us or at_us
        if healing in (Healing.LATE_ARRIVAL, Healing.NOT_AT_ALL):
            self._forget(gap)
        self._tell(GapChange(gap, before, gap.healing, settled=settled), decoded)

    def _close_without_number(self, gap: Gap, sessions: int, at_us: int, decoded: Decoded) -> None:
        """A birth shows that the seq behind a gap was that of another session."""
        before, count = gap.healing, gap.count or 0
        gap.count, gap.sessions = None, sessions
        gap.ended_by = Healing.REBIRTH_SNAPSHOT
        gap.healed_us = gap.healed_us or at_us
        flushed = -count if gap.history_rows else 0
        self._tell(
            GapChange(gap, before, gap.healing, -count, sessions=sessions, flushed=flushed), decoded
        )

    def came_late(self, gap: Gap, decoded: Decoded) -> None:
        """One of the messages missing in a gap came."""
        gap.late += 1
        healing, flushed = gap.healing, -1 if gap.history_rows else 0
        decoded.gaps.append(GapChange(gap, healing, healing, late=1, flushed=flushed))

    def away(self, arrival: Arrival, edge_node: EdgeNodeState, ahead: int) -> None:
        """A node is not where it was left: so many messages are missing, modulo 256.

        That holds if it is still in the same session, which its next birth tells.
        """
        gap = self._gap(arrival, edge_node, GapReason.AWAY)
        gap.first = int(self._nodes.next_seq[edge_node.index])
        gap.count = ahead
        self.found(gap, arrival.batch.decoded)

    def died(self, arrival: Arrival, edge_node: EdgeNodeState) -> None:
        """A session ended: what was sent last is not known.

        If the host was away, and the death is that of a later session, then it is not known
        where this one ended: that is in the gap of the absence.
        """
        gaps = self._healable.get(arrival.key, ())
        is_away = any(gap.reason is GapReason.AWAY and gap.ended_by is Healing.OPEN for gap in gaps)
        if is_away and steps_of_bd_seq(edge_node.bd_seq, arrival.bd_seq):
            return
        gap = self._gap(arrival, edge_node, GapReason.SESSION_END)
        gap.to_us = None
        self.found(gap, arrival.batch.decoded)

    def born(self, arrival: Arrival, edge_node: EdgeNodeState, *, doubtful: bool) -> None:
        """An NBIRTH was read: present values are known. What was not seen before it?

        `doubtful`: nothing that was heard since the host was away continues the session
        before it.
        """
        key, decoded, healed_us = arrival.key, arrival.batch.decoded, arrival.received_us
        self._nodes.received[edge_node.index] += self._never_born.pop(key, 0)
        self._any_received = True
        gaps = [*self._healable.get(key, ())]
        still_open = {gap.reason for gap in gaps if gap.ended_by is Healing.OPEN}
        verdict = before_birth(
            steps_of_bd_seq(edge_node.counted_bd_seq, arrival.bd_seq),
            end_heard=GapReason.SESSION_END in still_open,
            away=GapReason.AWAY in still_open,
            counted=any(map(_may_be_taken_back, gaps)),
            doubtful=doubtful or key in self._strangers,
            left_in_doubt=key in self._left_in_doubt,
        )
        edge_node.counted_bd_seq = arrival.bd_seq
        self._strangers.discard(key)
        self._left_in_doubt.discard(key)
        self._close_all(gaps, verdict, arrival)
        if verdict.reason is not None:
            gap = self._gap(arrival, edge_node, verdict.reason)
            gap.sessions = verdict.sessions
            gap.ended_by, gap.healed_us = Healing.REBIRTH_SNAPSHOT, healed_us
            self.found(gap, decoded)
        self.note_read(arrival, edge_node)

    def _close_all(self, gaps: list[Gap], verdict: BeforeBirth, birth: Arrival) -> None:
        """An NBIRTH gives present values: none of its node's gaps is open any more."""
        decoded, healed_us = birth.batch.decoded, birth.received_us
        sessions = verdict.sessions
        for gap in gaps:
            gap.to_us = sent_us(birth.batch, birth.position) if gap.to_us is None else gap.to_us
            if gap.ended_by is not Healing.OPEN:
                continue
            if verdict.takes_back and _may_be_taken_back(gap):
                self._close_without_number(gap, sessions, healed_us, decoded)
                sessions = 0  # they are told once, also where there are more such gaps
            else:
                self.close(gap, Healing.REBIRTH_SNAPSHOT, healed_us, decoded)

    def _gap(self, arrival: Arrival, edge_node: EdgeNodeState, reason: GapReason) -> Gap:
        """A gap between the last message in order and this one."""
        from_us = int(self._nodes.sent_us[edge_node.index])
        return Gap(
            *arrival.key,
            reason,
            arrival.received_us,
            from_us=from_us or None,
            to_us=sent_us(arrival.batch, arrival.position),
        )

    def _tell(self, change: GapChange, decoded: Decoded) -> None:
        decoded.gaps.append(change)
        # Of a gap whose number was taken back, too, because that was told.
        told_before = change.after is change.before and not change.missing
        if change.gap.first is not None and not told_before:
            decoded.events.append(change.gap.event())

    def _forget(self, gap: Gap) -> None:
        gaps = self._healable.get(gap.key)
        if gaps is not None and gap in gaps:
            gaps.remove(gap)
            if not gaps:
                del self._healable[gap.key]

    # ------------------------------------------------------------------ history

    def _history(self, rows: Observations, catalogue: TagCatalogue, decoded: Decoded) -> None:
        """Rows of history came, and some node has a gap: are they from within it?"""
        historical = np.flatnonzero(rows.historical & (rows.tag != NO_TAG))
        tags, inverse = np.unique(rows.tag[historical], return_inverse=True)
        numbers: dict[NodeKey, int] = {}
        owners = [catalogue.owners[tag] for tag in tags.tolist()]
        keys = [(owner.group_id, owner.edge_node_id) for owner in owners]
        of_tag = [
            numbers.setdefault(key, len(numbers)) if key in self._healable else -1 for key in keys
        ]
        node = np.array(of_tag, dtype=np.int64)[inverse]
        concerned = np.flatnonzero(node >= 0)
        order = concerned[np.argsort(node[concerned], kind="stable")]
        times = rows.event_time_us[historical][order]
        bounds = np.searchsorted(node[order], np.arange(len(numbers) + 1))
        at_us = int(rows.received_us[-1])
        for key, number in numbers.items():
            of_node = np.sort(times[bounds[number] : bounds[number + 1]])
            for gap in [*self._healable[key]]:
                self._heal_by_history(gap, of_node, at_us, decoded)

    def _heal_by_history(
        self, gap: Gap, times: NDArray[np.int64], at_us: int, decoded: Decoded
    ) -> None:
        if gap.span_us is None:
            return
        since, until = gap.span_us
        count = int(np.searchsorted(times, until, "right") - np.searchsorted(times, since))
        if not count:
            return
        before = gap.healing
        flushed = 0 if gap.history_rows or gap.count is None else gap.count - gap.late
        gap.history_rows += count
        gap.healed_us = gap.healed_us or at_us
        change = GapChange(gap, before, gap.healing, history_rows=count, flushed=flushed)
        self._tell(change, decoded)

    # ------------------------------------------------------------------ a new start

    def restore(
        self,
        gaps: Iterable[Gap],
        sent: Mapping[NodeKey, int],
        edge_nodes: Mapping[NodeKey, EdgeNodeState],
    ) -> None:
        """Take in what an earlier run kept: gaps that may be healed, oldest first.

        `sent` says when the last message of a node was sent, microseconds since 1970 UTC.
        """
        for gap in gaps:
            self._healable.setdefault(gap.key, deque(maxlen=HEALABLE_GAPS)).append(gap)
            edge_node = edge_nodes.get(gap.key)
            is_hole = gap.reason is GapReason.SEQUENCE_GAP and gap.ended_by is Healing.OPEN
            if edge_node is not None and is_hole and gap.missing:
                edge_node.sequence.note_gap(gap)
        for key, edge_node in edge_nodes.items():
            self._nodes.sent_us[edge_node.index] = sent.get(key, 0)


def _may_be_taken_back(gap: Gap) -> bool:
    """Whether the next birth may show that the number missing in a gap means nothing."""
    return gap.reason is GapReason.AWAY and gap.ended_by is Healing.OPEN and gap.count is not None


def sent_us(batch: Batch, position: int) -> int:
    """When a message was sent, by the clock of its node; when it came, if it does not say so."""
    sent_ms = batch.sent_ms(position)
    return batch.messages.received_us[position] if sent_ms == ABSENT else sent_ms * _US_PER_MS
