"""Alarms about edge nodes: two publishers under one id, times that cannot be. As events."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

import numpy as np

from sparkplug.counting import count_nonzero
from sparkplug.events import Event, EventKind
from sparkplug.host.watch.clocks import ClockChange, ClockProblem, Clocks, doubtful
from sparkplug.host.watch.duplicates import DuplicateAlarm, DuplicateDetector, Evidence
from sparkplug.messages import ROW_TYPES
from sparkplug.payload import ABSENT

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from sparkplug.decoded import Observations
    from sparkplug.host.batch import Batch
    from sparkplug.host.catalogue import TagCatalogue
    from sparkplug.host.nodes.edge_node import EdgeNodeState

ALARM_OVER: Final = "_over"
"""Ends the reason of an event that tells the end of an alarm."""

_EVIDENCE: Final[Mapping[Evidence, str]] = MappingProxyType(
    {
        Evidence.SEQ: "messages with two counts of seq come in turns",
        Evidence.BD_SEQ: "births with two bdSeq come in turns",
    }
)
_PROBLEMS: Final[Mapping[ClockProblem, str]] = MappingProxyType(
    {
        ClockProblem.SECONDS: "times look like seconds where milliseconds belong",
        ClockProblem.FUTURE: "times are more than an hour ahead",
        ClockProblem.PAST: "present values are dated before the year 2000",
        ClockProblem.SKEW: "the clock is off",
    }
)
_IS_DATA: Final = np.array([each.endswith("DATA") for each in ROW_TYPES])
_SKEW_EVERY: Final = 1.0
_US_PER_MS: Final = 1000


class Alarms:
    """What one fleet notices about its edge nodes beside their values.

    `now` is monotonic time in seconds, `heard_us` the host's clock in microseconds since
    1970 UTC.
    """

    def __init__(self) -> None:
        self.duplicates = DuplicateDetector()
        self._clocks = Clocks()
        self._began: list[tuple[ClockChange, int, str]] = []  # with when and an example
        self._skew_at = -math.inf
        self._ahead = 0.0
        self._behind = 0.0

    @property
    def clock_problems(self) -> int:
        """Problems with times of all nodes that are present."""
        return self._clocks.active

    @property
    def skew_us(self) -> NDArray[np.float64]:
        """How far the clock of each node is behind, NaN where that is not known; see `Clocks`."""
        return self._clocks.skew_us

    @property
    def most_ahead(self) -> float:
        """Seconds that the clock of any node is ahead, at most; 0 if none is."""
        return self._ahead

    @property
    def most_behind(self) -> float:
        """Seconds that the clock of any node is behind, at most; delays look the same."""
        return self._behind

    def look(
        self,
        batch: Batch,
        regular: NDArray[np.bool_],
        observations: Observations | None,
        *,
        catalogue: TagCatalogue,
        edge_nodes: Mapping[tuple[str, str], EdgeNodeState],
        now: float,
    ) -> None:
        """Look at a batch that was read.

        Args:
            batch: its messages.
            regular: which of them are data in sequence.
            observations: rows of its metrics.
            catalogue: of the tags in them.
            edge_nodes: by (group id, edge node id).
            now: monotonic seconds.
        """
        for key in tuple(self.duplicates.doubtful):
            if (batch.node[regular] == edge_nodes[key].index).any():
                self.duplicates.in_order(*key, now)
        timed = batch.taken & (batch.columns.timestamp_ms != ABSENT)
        count = count_nonzero(timed)
        if count:
            received_us = batch.received_us()
            node, sent_ms = batch.node, batch.columns.timestamp_ms
            if count < len(timed):
                received_us, node, sent_ms = received_us[timed], node[timed], sent_ms[timed]
            for change in self._clocks.messages(node, sent_ms * _US_PER_MS, received_us, now):
                at_us = int(received_us[change.example])
                self._began.append((change, at_us, "the payload timestamp"))
        if observations is not None:
            rows = doubtful(observations.event_time_us, observations.received_us)
            if len(rows):
                self._look_at_values(observations.pick(rows), catalogue, edge_nodes, now)

    def _look_at_values(
        self,
        rows: Observations,
        catalogue: TagCatalogue,
        edge_nodes: Mapping[tuple[str, str], EdgeNodeState],
        now: float,
    ) -> None:
        owners = [catalogue.owners[tag] for tag in rows.tag.tolist()]
        node = np.array([edge_nodes[each.group_id, each.edge_node_id].index for each in owners])
        present = _IS_DATA[rows.message_type] & ~rows.historical
        for change in self._clocks.values(node, rows.event_time_us, rows.received_us, present, now):
            owner, name = owners[change.example], catalogue.names[rows.tag[change.example]]
            what = "/".join(filter(None, (owner.device_id, name)))
            self._began.append((change, int(rows.received_us[change.example]), what))

    def events(self, edge_nodes: Sequence[EdgeNodeState], now: float, heard_us: int) -> list[Event]:
        """Alarms that began or ended since the last call; `edge_nodes` are by index."""
        clocks = self._began + [(each, heard_us, "") for each in self._clocks.ended(now)]
        self._began = []
        if now - self._skew_at >= _SKEW_EVERY:
            self._skew_at = now
            self._measure()
        duplicates = self.duplicates.changes(now)
        if not clocks and not duplicates:
            return []
        return [
            *(_of_clock(edge_nodes[each.node], each, at_us, what) for each, at_us, what in clocks),
            *(_of_duplicate(alarm, heard_us) for alarm in duplicates),
        ]

    def _measure(self) -> None:
        skew = self._clocks.skew_us
        skew = skew[~np.isnan(skew)] / 1e6
        self._ahead = max(0.0, -float(skew.min(initial=0.0)))
        self._behind = max(0.0, float(skew.max(initial=0.0)))


def _of_clock(edge_node: EdgeNodeState, change: ClockChange, at_us: int, what: str) -> Event:
    words = _PROBLEMS[change.problem]
    if not change.began:
        detail = f"over: {words}"
    elif change.problem is ClockProblem.SKEW:
        detail = _skew(change.time_us)
    else:
        shown = datetime.fromtimestamp(0, UTC) + timedelta(microseconds=change.time_us)
        time = shown.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        detail = f"{words}, for example {what}: {time}"
    return Event(
        EventKind.CLOCK,
        at_us,
        edge_node.owner.group_id,
        edge_node.owner.edge_node_id,
        reason=change.problem if change.began else change.problem + ALARM_OVER,
        detail=detail,
    )


def _of_duplicate(alarm: DuplicateAlarm, at_us: int) -> Event:
    words = _EVIDENCE[alarm.evidence]
    return Event(
        EventKind.DUPLICATE_NODE,
        at_us,
        alarm.group_id,
        alarm.edge_node_id,
        reason=alarm.evidence if alarm.began else alarm.evidence + ALARM_OVER,
        detail=f"two publishers use this id: {words}" if alarm.began else f"over: {words}",
    )


def _skew(skew_us: int) -> str:
    amount = timedelta(seconds=round(abs(skew_us) / 1e6))
    if skew_us < 0:
        return f"the clock is {amount} ahead"
    return f"the clock is {amount} behind, or messages are that late"
