"""The gaps and counts of one MQTT server's nodes, between decoding and the spool.

Gaps are committed with the batch that tells of them. What was received is counted in columns
and written about once a second: a consumer that is killed forgets to have received what
came in the last second, and forgets no gap.

All times of the accounts are those of a clock that does not follow a jump, and only that clock
says what is old.
"""

from __future__ import annotations

import sys
from collections import Counter
from typing import TYPE_CHECKING, Final

from consumer.pipeline.steady_clock import SteadyClock
from consumer.spool import HOUR_US, GapStore, HourlySums, LastHeard, Participant
from sparkplug import Healing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from consumer.spool import Spool, Transaction
    from sparkplug import Fleet, Gap, GapChange, NodeKey

MOST_LISTED: Final = 100
"""Gaps of one node in one hour that get a record; of the others only sums are kept."""

_MOST_PENDING: Final = 10_000
_EVERY: Final = 1.0
_TRIM_EVERY: Final = 3_600.0
_NEW_HOURS: Final = 24
"""Different hours since the last trim from which on one is due: the clock jumps about."""

_NODES_PER_SECOND: Final = 1_000
"""Nodes whose counts are written in a second: of more nodes, each is written less often."""


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
        self.trims = 0
        """Times that accounts of old nodes were forgotten; each time those of all servers are."""

    def count(self, change: GapChange) -> None:
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


class GapRecords(Participant):
    """Takes what a fleet tells, and writes it with the commits of its batches.

    Args:
        server: name of the MQTT server.
        fleet: counts what is received.
        totals: of all servers.
        clock: monotonic seconds.
        wall_clock: microseconds since 1970 UTC, right or not.
        spool_bytes: bound of the whole spool.
    """

    def __init__(
        self,
        server: str,
        fleet: Fleet,
        totals: GapTotals,
        clock: Callable[[], float],
        wall_clock: Callable[[], int],
        *,
        spool_bytes: int,
    ) -> None:
        self._store = GapStore(server, spool_bytes)
        self._fleet = fleet
        self._totals = totals
        self._clock = clock
        self._day = SteadyClock(wall_clock, clock)
        self._newest = 0
        self._changed: dict[int, Gap] = {}
        self._sums: dict[tuple[NodeKey, int], HourlySums] = {}
        self._heard: dict[NodeKey, LastHeard] = {}
        self._away_us: int | None = None
        self._away_at = 0.0
        self._jumps = 0
        self._ids: dict[NodeKey, int] = {}
        self._new_ids: dict[NodeKey, int] = {}
        self._trims = 0  # known to `_ids`
        self._listed: Counter[NodeKey] = Counter()
        self._listed_hour = 0
        self._trim_due = 0.0
        self._hours: set[int] = set()  # accounted in since the last trim
        self._due = 0.0

    def restore(self, spool: Spool) -> None:
        """Take in what an earlier run kept, after the fleet was restored.

        From now on it is known who is not heard of.
        """
        with spool.snapshot() as db:
            gaps = self._store.read_healable(db)
            self._newest = self._store.newest_number(db)
            self._fleet.memory.restore_gaps(gaps, self._store.read_sent(db))
        for gap in gaps:
            self._totals.open[gap.reason] += gap.healing is Healing.OPEN
        self._away_at = self._clock()
        away_us = self._day.now_us()
        spool.write_soon(lambda db: self._store.write_away(db, away_us))

    @property
    def pending(self) -> bool:
        """Whether gaps or counts wait for a commit."""
        return bool(self._changed or self._sums or self._away_us)

    def connection_lost(self, at_us: int) -> None:
        """The server was lost: nodes that are not heard of after that may be gone."""
        self._away_us = self._when(at_us)
        self._away_at = self._clock()

    def record(self, changes: Iterable[GapChange]) -> None:
        """Take in what a batch told of gaps."""
        for change in changes:
            gap = change.gap
            if change.before is None:
                gap.found_us = self._when(gap.found_us)
            if gap.healed_us is not None and change.before in (None, Healing.OPEN):
                gap.healed_us = self._when(gap.healed_us)
            sums = self._sums_of(gap.key, gap.found_us // HOUR_US)
            if change.before is None:
                gap.number = self._number(gap)
                sums.unlisted += not gap.number
            if gap.number:
                self._changed[gap.number] = gap
            _add(sums, change)
            self._totals.count(change)
            self._totals.unlisted += change.before is None and not gap.number

    def collect(self, *, leaving: bool = False) -> None:
        """Take over what was received since the last time, about once a second.

        `leaving`: at once, and also what came of nodes that were never born.
        """
        now = self._clock()
        if now < self._due and not leaving:
            return
        received = self._fleet.take_received(never_born=leaving)
        self._due = now + max(_EVERY, len(received) / _NODES_PER_SECOND)
        now_us = self._now_us()
        if not received:
            return
        last_us = _or_now(self._fleet.heard_us, now_us)
        for group_id, edge_node_id, messages, sent_us in received:
            key = (group_id, edge_node_id)
            self._sums_of(key, last_us // HOUR_US).received += messages
            self._heard[key] = LastHeard(last_us, sent_us)

    def write(self, db: Transaction, room: Callable[[], int] = lambda: sys.maxsize) -> None:
        """Write what is pending."""
        if self._away_us is not None:
            self._store.write_away(db, self._away_us)
        if self._changed:
            self._store.write_gaps(db, self._changed.values(), self._newest, room())
        if self._trims != self._totals.trims:
            self._trims = self._totals.trims
            self._ids = {}  # some may be gone
        if self._sums:
            self._new_ids = self._store.write_sums(db, self._sums, self._ids, room())
            heard = {
                key: when
                for key, when in self._heard.items()
                if key in self._ids or key in self._new_ids
            }
            self._store.write_heard(db, heard)
            self._hours.update(hour for _, hour in self._sums)
        over = self._clock() >= self._trim_due or len(self._hours) > _NEW_HOURS
        if self._store.has_grown or (self._sums and over):
            self._trim(db, self._now_us())

    def failed(self) -> None:
        """Take back the numbers of new gaps, and have what is old forgotten by the next commit."""
        self._new_ids = {}
        self._trim_due = 0.0

    def committed(self) -> None:
        """Forget changes and counts that waited: they are in the spool now."""
        self._ids.update(self._new_ids)
        self._new_ids = {}
        self._changed.clear()
        self._sums.clear()
        self._heard.clear()
        self._away_us = None

    def _trim(self, db: Transaction, now_us: int) -> None:
        """Once an hour of monotonic time: forget what is old, if it is known what is."""
        self._store.trim(db, now_us // HOUR_US, settled=self._day.settled)
        self._trim_due = self._clock() + _TRIM_EVERY
        self._hours.clear()
        self._totals.trims += 1
        self._new_ids = {}

    def _now_us(self) -> int:
        """The time of day, as far as it is believed."""
        now_us = self._day.now_us()
        if self._day.jumps != self._jumps:
            self._jumps = self._day.jumps
            self._trim_due = 0.0
            self._away_us = self._day.at(self._away_at)
        return now_us

    def _when(self, stamp_us: int) -> int:
        """The time of an event that was stamped by the wall clock just now, as far as believed."""
        return _or_now(stamp_us, self._now_us())

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


def _or_now(stamp_us: int, now_us: int) -> int:
    """A stamp of the wall clock, or the time that is believed if the stamp is far from it."""
    return stamp_us if abs(stamp_us - now_us) <= HOUR_US else now_us


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
