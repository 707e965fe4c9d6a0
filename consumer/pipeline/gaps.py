"""The gaps and counts of one MQTT server's nodes, between decoding and the spool.

Gaps are committed with the batch that tells of them. What was received is counted in columns
and written about once a second: a consumer that is killed forgets to have received what
came in the last second, and forgets no gap.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from consumer.spool import HOUR_US, GapStore, HourlySums
from sparkplug import Healing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from consumer.spool import Spool, Transaction
    from sparkplug import Fleet, Gap, GapChange, NodeKey

MOST_LISTED: Final = 100
"""Gaps of one node in one hour that get a record; of the others only sums are kept."""

_MOST_PENDING: Final = 10_000
_EVERY: Final = 1.0
_NODES_PER_SECOND: Final = 1_000
"""Counts of so many nodes are written in a second, so that many nodes are written less often."""


class GapTotals:
    """What was found and healed since the start, of all servers, for metrics and status.

    Counted on the decoding thread; others only read.
    """

    def __init__(self) -> None:
        self.found: Counter[str] = Counter()  # by reason
        self.healed: Counter[str] = Counter()  # by healing
        self.open: Counter[str] = Counter()  # by reason
        self.missing = 0
        self.late = 0
        self.history_rows = 0
        self.sessions_missed = 0
        self.unlisted = 0

    def add(self, change: GapChange) -> None:
        """Count a change of a gap."""
        gap, before, after = change.gap, change.before, change.after
        if before is None:
            self.found[gap.reason] += 1
            self.open[gap.reason] += after is Healing.OPEN
        elif before is Healing.OPEN and after is not Healing.OPEN:
            self.open[gap.reason] -= 1
        if after not in (before, Healing.OPEN):
            self.healed[after] += 1
        self.missing += change.settled  # a counter never goes back
        self.sessions_missed += change.sessions
        self.late += change.late
        self.history_rows += change.history_rows


class GapRecords:
    """Takes what a fleet tells, and writes it inside the transactions of the spool.

    Args:
        server: name of the MQTT server.
        fleet: counts what is received.
        totals: of all servers.
        clock: monotonic seconds.
    """

    def __init__(
        self, server: str, fleet: Fleet, totals: GapTotals, clock: Callable[[], float]
    ) -> None:
        self._store = GapStore(server)
        self._fleet = fleet
        self._totals = totals
        self._clock = clock
        self._newest = 0
        self._changed: dict[int, Gap] = {}
        self._sums: dict[tuple[NodeKey, int], HourlySums] = {}
        self._heard: dict[NodeKey, tuple[int, int]] = {}
        self._away_us: int | None = None
        self._ids: dict[NodeKey, int] = {}
        self._new_ids: dict[NodeKey, int] = {}
        self._listed: Counter[NodeKey] = Counter()
        self._listed_hour = 0
        self._trimmed_hour = 0
        self._due = 0.0

    def restore(self, spool: Spool, now_us: int) -> None:
        """Take in what an earlier run kept, after the fleet was restored.

        `now_us` is the host's clock: from here on it is known who is not heard of.
        """
        gaps = spool.read(self._store.read_healable)
        self._newest = spool.read(self._store.newest_number)
        self._fleet.restore_gaps(gaps, spool.read(self._store.read_sent))
        for gap in gaps:
            self._totals.open[gap.reason] += gap.healing is Healing.OPEN
        spool.write_soon(lambda db: self._store.write_away(db, now_us))

    @property
    def pending(self) -> bool:
        """Whether there is something to write."""
        return bool(self._changed or self._sums or self._away_us)

    def connection_lost(self, at_us: int) -> None:
        """The server was lost: nodes that are not heard of after that may be gone."""
        self._away_us = at_us

    def take(self, changes: Iterable[GapChange]) -> None:
        """Take in what a batch told of gaps."""
        for change in changes:
            gap = change.gap
            sums = self._sums_of(gap.key, gap.found_us // HOUR_US)
            if change.before is None:
                gap.number = self._number(gap)
                sums.unlisted += not gap.number
            if gap.number:
                self._changed[gap.number] = gap
            _add(sums, change)
            self._totals.add(change)
            self._totals.unlisted += change.before is None and not gap.number

    def collect(self, *, leaving: bool = False) -> None:
        """Take over what was received since the last time, about once a second.

        `leaving`: at once, and also what came of nodes that were never born.
        """
        now = self._clock()
        if now < self._due and not leaving:
            return
        received = self._fleet.take_received(unborn=leaving)
        self._due = now + max(_EVERY, len(received) / _NODES_PER_SECOND)
        last_us = self._fleet.heard_us
        for group_id, edge_node_id, messages, sent_us in received:
            key = (group_id, edge_node_id)
            self._sums_of(key, last_us // HOUR_US).received += messages
            self._heard[key] = (last_us, sent_us)

    def write(self, db: Transaction) -> None:
        """Write what is pending, inside a transaction; `settle` when it was committed."""
        if self._away_us is not None:
            self._store.write_away(db, self._away_us)
        if self._changed:
            self._store.write_gaps(db, self._changed.values(), self._newest)
        if self._sums:
            self._store.write_heard(db, self._heard)
            self._new_ids = self._store.write_sums(db, self._sums, self._ids)
            hour = max(hour for _, hour in self._sums)
            if hour > self._trimmed_hour:
                self._store.trim(db, hour)
                self._trimmed_hour = hour
                self._new_ids, self._ids = {}, {}  # some may be gone

    def settle(self) -> None:
        """What was written is committed."""
        self._ids.update(self._new_ids)
        self._new_ids = {}
        self._changed.clear()
        self._sums.clear()
        self._heard.clear()
        self._away_us = None

    def _number(self, gap: Gap) -> int:
        """The number of a new gap's record; 0 if its node has too many of them."""
        hour = gap.found_us // HOUR_US
        if hour != self._listed_hour:
            self._listed_hour = hour
            self._listed.clear()
        if self._listed[gap.key] >= MOST_LISTED or len(self._changed) >= _MOST_PENDING:
            return 0
        self._listed[gap.key] += 1
        self._newest += 1
        return self._newest

    def _sums_of(self, key: NodeKey, hour: int) -> HourlySums:
        sums = self._sums.get((key, hour))
        if sums is None:
            if len(self._sums) >= _MOST_PENDING * 10:  # nothing could be written for long
                del self._sums[next(iter(self._sums))]
            sums = self._sums[key, hour] = HourlySums()
        return sums


def _add(sums: HourlySums, change: GapChange) -> None:
    """Add a change of a gap to the account of its node and hour."""
    before = change.before
    sums.gaps += before is None
    sums.missing += change.missing
    sums.unknown += change.made_unknown
    sums.sessions_missed += change.sessions
    sums.longest = max(sums.longest, change.settled)  # a maximum cannot be taken back
    if before is not change.after:
        for healing, step in ((before, -1), (change.after, 1)):
            if healing is not None and healing is not Healing.OPEN:
                setattr(sums, healing.value, getattr(sums, healing.value) + step)
    sums.late += change.late
    sums.history_rows += change.history_rows
    sums.flushed += change.flushed
