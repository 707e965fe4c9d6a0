"""Alarms about edge nodes: two publishers under one id, times that cannot be. As events."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

import numpy as np

from sparkplug.clocks import ClockChange, ClockProblem, Clocks, doubtful
from sparkplug.columns import ABSENT
from sparkplug.duplicates import DuplicateAlarm, DuplicateDetector, Evidence
from sparkplug.events import Event, EventKind
from sparkplug.messages import MESSAGE_TYPES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sparkplug.batch import Batch
    from sparkplug.catalogue import TagCatalogue
    from sparkplug.messages import Observations
    from sparkplug.session import EdgeNodeSession

OVER: Final = "_over"
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
_IS_DATA: Final = np.array([each.endswith("DATA") for each in MESSAGE_TYPES])
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
        self._events: list[Event] = []
        self._skew_at = -math.inf
        self._ahead = 0.0
        self._behind = 0.0

    @property
    def clock_problems(self) -> int:
        """Problems with times of all nodes that are present."""
        return self._clocks.active

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
        observations: Observations | None,
        catalogue: TagCatalogue,
        sessions: Sequence[EdgeNodeSession],
        now: float,
    ) -> None:
        """Look at the times of a batch; `observations` are those of its metrics."""
        timed = np.flatnonzero(batch.taken & (batch.columns.timestamp_ms != ABSENT))
        received_us = np.frombuffer(batch.messages.received_us, dtype=np.int64)
        if len(timed):
            for change in self._clocks.messages(
                batch.node[timed],
                batch.columns.timestamp_ms[timed] * _US_PER_MS,
                received_us[timed],
                now,
            ):
                at = int(received_us[timed[change.example]])
                self._tell_clock(sessions, change, at, "the payload timestamp")
        if observations is not None:
            self._look_at_values(observations, catalogue, sessions, now)

    def _look_at_values(
        self,
        observations: Observations,
        catalogue: TagCatalogue,
        sessions: Sequence[EdgeNodeSession],
        now: float,
    ) -> None:
        rows = doubtful(observations.event_time_us, observations.received_us)
        if len(rows) == 0:
            return
        tags = observations.tag[rows]
        present = _IS_DATA[observations.message_type[rows]] & ~observations.historical[rows]
        index_of = {(each.owner.group_id, each.owner.edge_node_id): each.index for each in sessions}
        owners = [catalogue.owners[tag] for tag in tags.tolist()]
        node = np.array([index_of[each.group_id, each.edge_node_id] for each in owners])
        for change in self._clocks.values(
            node, observations.event_time_us[rows], observations.received_us[rows], present, now
        ):
            owner, tag = owners[change.example], int(tags[change.example])
            name = "/".join(filter(None, (owner.device_id, catalogue.names[tag])))
            at = int(observations.received_us[rows[change.example]])
            self._tell_clock(sessions, change, at, name)

    def events(self, sessions: Sequence[EdgeNodeSession], now: float, heard_us: int) -> list[Event]:
        """Alarms that began or ended since the last call."""
        for change in self._clocks.ended(now):
            self._tell_clock(sessions, change, heard_us, "")
        for alarm in self.duplicates.changes(now):
            self._events.append(_of_duplicate(alarm, heard_us))
        if now - self._skew_at >= _SKEW_EVERY:
            self._skew_at = now
            self._measure()
        events, self._events = self._events, []
        return events

    def _measure(self) -> None:
        skew = self._clocks.skew_us
        skew = skew[~np.isnan(skew)] / 1e6
        self._ahead = max(0.0, -float(skew.min(initial=0.0)))
        self._behind = max(0.0, float(skew.max(initial=0.0)))

    def _tell_clock(
        self, sessions: Sequence[EdgeNodeSession], change: ClockChange, at_us: int, what: str
    ) -> None:
        owner = sessions[change.node].owner
        words = _PROBLEMS[change.problem]
        if not change.began:
            reason, detail = change.problem + OVER, f"over: {words}"
        elif change.problem is ClockProblem.SKEW:
            reason, detail = change.problem, _skew(change.time_us)
        else:
            shown = datetime.fromtimestamp(0, UTC) + timedelta(microseconds=change.time_us)
            time = shown.isoformat(timespec="milliseconds").replace("+00:00", "Z")
            reason, detail = change.problem, f"{words}, for example {what}: {time}"
        self._events.append(
            Event(
                EventKind.CLOCK,
                at_us,
                owner.group_id,
                owner.edge_node_id,
                reason=reason,
                detail=detail,
            )
        )


def _of_duplicate(alarm: DuplicateAlarm, at_us: int) -> Event:
    words = _EVIDENCE[alarm.evidence]
    return Event(
        EventKind.DUPLICATE_NODE,
        at_us,
        alarm.group_id,
        alarm.edge_node_id,
        reason=alarm.evidence if alarm.began else alarm.evidence + OVER,
        detail=f"two publishers use this id: {words}" if alarm.began else f"over: {words}",
    )


def _skew(skew_us: int) -> str:
    amount = timedelta(seconds=round(abs(skew_us) / 1e6))
    if skew_us < 0:
        return f"the clock is {amount} ahead"
    return f"the clock is {amount} behind, or messages are that late"
