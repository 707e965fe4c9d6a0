"""The accounts of a fleet: how much came of each node, and which gaps may still be healed."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from sparkplug.catalogue import NO_TAG
from sparkplug.columns import ABSENT
from sparkplug.events import Healing
from sparkplug.gaps import Gap, GapChange, GapReason, steps_of_bd_seq

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from sparkplug.arrival import Arrival
    from sparkplug.batch import Batch, GrowingColumns
    from sparkplug.catalogue import TagCatalogue
    from sparkplug.holding import NodeKey
    from sparkplug.messages import Decoded, Observations
    from sparkplug.session import EdgeNodeSession

_HEALABLE_GAPS: Final = 16
"""Of each node: so many of its latest gaps are looked at when history comes."""

_MOST_UNBORN: Final = 10_000
_US_PER_MS: Final = 1000


class Received(NamedTuple):
    """Messages of one node that took part in seq, and the payload time of the last one."""

    group_id: str
    edge_node_id: str
    messages: int
    sent_us: int


class GapAccounts:
    """What came, what did not, and how that was made up for (docs/gaps.md).

    Columns of `nodes`: `received`, messages since they were asked for; `sent_us`, when the
    last message in order was sent, by its payload timestamp, 0 if none came yet.
    """

    def __init__(self, nodes: GrowingColumns) -> None:
        self._nodes = nodes
        self._healable: dict[NodeKey, deque[Gap]] = {}
        self._unborn: dict[NodeKey, int] = {}
        self.any_received = False

    # ------------------------------------------------------------------ received

    def came(self, arrival: Arrival, session: EdgeNodeSession | None, count: int = 1) -> None:
        """A message that takes part in seq came, one by one; -1: it was there twice."""
        if session is not None:
            count += self._unborn.pop(arrival.key, 0)
            self._nodes["received"][session.index] += count
            self.any_received = True
        elif arrival.key in self._unborn or len(self._unborn) < _MOST_UNBORN:
            self._unborn[arrival.key] = self._unborn.get(arrival.key, 0) + count

    def heard(self, arrival: Arrival, session: EdgeNodeSession) -> None:
        """A message was read in order of seq, one by one."""
        self._nodes["sent_us"][session.index] = sent_us(arrival.batch, arrival.position)

    def take_received(self, sessions: Sequence[EdgeNodeSession]) -> list[Received]:
        """What came of each node since the last call. `sessions` are by index."""
        if not self.any_received:
            return []
        self.any_received = False
        size = self._nodes.size
        received = self._nodes["received"][:size]
        found = np.flatnonzero(received)
        columns = (found, received[found], self._nodes["sent_us"][found])
        taken = [
            Received(sessions[i].owner.group_id, sessions[i].owner.edge_node_id, count, at_us)
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
        received_us = np.frombuffer(batch.messages.received_us, dtype=np.int64)
        if not regular.all():
            node, sent_ms, received_us = node[regular], sent_ms[regular], received_us[regular]
        if len(node):
            nodes = self._nodes
            nodes["received"][: nodes.size] += np.bincount(node, minlength=nodes.size)
            # Where an index is there more than once, its last value stays.
            nodes["sent_us"][node] = np.where(sent_ms == ABSENT, received_us, sent_ms * _US_PER_MS)
            self.any_received = True
        if self._healable and observations is not None and observations.historical.any():
            self._history(observations, catalogue, batch.decoded)

    # ------------------------------------------------------------------ gaps

    def found(self, gap: Gap, decoded: Decoded) -> None:
        """A gap became known; it may have been healed at once."""
        self._healable.setdefault(gap.key, deque(maxlen=_HEALABLE_GAPS)).append(gap)
        self._tell(GapChange(gap, None, gap.healing), decoded)

    def close(self, gap: Gap, healing: Healing, at_us: int, decoded: Decoded) -> None:
        """An open gap was made up for, or given up."""
        before = gap.healing
        gap.closed = healing
        gap.healed_us = gap.healed_us or at_us
        if healing in (Healing.LATE_ARRIVAL, Healing.NOT_AT_ALL):
            self._forget(gap)
        self._tell(GapChange(gap, before, gap.healing), decoded)

    def came_late(self, gap: Gap, decoded: Decoded) -> None:
        """One of the messages missing in a gap came."""
        gap.late += 1
        healing, flushed = gap.healing, -1 if gap.history_rows else 0
        decoded.gaps.append(GapChange(gap, healing, healing, late=1, flushed=flushed))

    def away(self, arrival: Arrival, session: EdgeNodeSession, ahead: int) -> None:
        """A node is not where it was left: so many messages are missing, modulo 256."""
        gap = self._gap(arrival, session, GapReason.AWAY)
        gap.first = int(self._nodes["next_seq"][session.index])
        gap.count = ahead
        self.found(gap, arrival.decoded)

    def died(self, arrival: Arrival, session: EdgeNodeSession) -> None:
        """A session ended: what was sent last is not known."""
        gap = self._gap(arrival, session, GapReason.SESSION_END)
        gap.to_us = None
        self.found(gap, arrival.decoded)

    def born(self, arrival: Arrival, session: EdgeNodeSession, *, lost_sight: str) -> None:
        """An NBIRTH was read: present values are known. What was not seen before it?

        `lost_sight` says how the session before it was left: "" if it had ended, "alive" if
        not, "away" if nothing was heard of it since the host was away.
        """
        nodes, decoded = self._nodes, arrival.decoded
        nodes["received"][session.index] += self._unborn.pop(arrival.key, 0)
        self.any_received = True
        steps = steps_of_bd_seq(session.counted_bd_seq, arrival.bd_seq)
        session.counted_bd_seq = arrival.bd_seq
        if lost_sight == "away":
            reason: GapReason | None = GapReason.AWAY
        elif steps is not None and steps > 1:
            reason = GapReason.SESSIONS_MISSED
        else:
            reason = GapReason.SESSION_END if steps and lost_sight else None
        healed_us = arrival.received_us
        for gap in [*self._healable.get(arrival.key, ())]:
            gap.to_us = sent_us(arrival.batch, arrival.position) if gap.to_us is None else gap.to_us
            if gap.closed is Healing.OPEN:
                self.close(gap, Healing.REBIRTH_SNAPSHOT, healed_us, decoded)
        if reason is not None:
            gap = self._gap(arrival, session, reason)
            gap.sessions = max((steps or 0) - 1, 0)
            gap.closed, gap.healed_us = Healing.REBIRTH_SNAPSHOT, healed_us
            self.found(gap, decoded)
        self.heard(arrival, session)

    def _gap(self, arrival: Arrival, session: EdgeNodeSession, reason: GapReason) -> Gap:
        """A gap between the last message in order and this one."""
        from_us = int(self._nodes["sent_us"][session.index])
        return Gap(
            *arrival.key, reason, arrival.received_us, from_us=from_us or None,
            to_us=sent_us(arrival.batch, arrival.position),
        )  # fmt: skip

    def _tell(self, change: GapChange, decoded: Decoded) -> None:
        decoded.gaps.append(change)
        if change.gap.count is not None and change.after is not change.before:
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
        self._tell(GapChange(gap, before, gap.healing, 0, count, flushed), decoded)

    # ------------------------------------------------------------------ a new start

    def restore(
        self,
        gaps: Iterable[Gap],
        sent: Mapping[NodeKey, int],
        sessions: Mapping[NodeKey, EdgeNodeSession],
    ) -> None:
        """Take in what an earlier run kept: gaps that may be healed, oldest first.

        `sent` says when the last message of a node was sent, as in `Received`.
        """
        for gap in gaps:
            self._healable.setdefault(gap.key, deque(maxlen=_HEALABLE_GAPS)).append(gap)
            session = sessions.get(gap.key)
            is_hole = gap.reason is GapReason.SEQUENCE_GAP and gap.closed is Healing.OPEN
            if session is not None and is_hole and gap.missing:
                session.sequence.note_gap(gap)
        for key, session in sessions.items():
            self._nodes["sent_us"][session.index] = sent.get(key, 0)


def sent_us(batch: Batch, position: int) -> int:
    """When a message was sent, by the clock of its node; when it came, if it does not say so."""
    sent_ms = batch.sent_ms(position)
    return batch.messages.received_us[position] if sent_ms == ABSENT else sent_ms * _US_PER_MS
