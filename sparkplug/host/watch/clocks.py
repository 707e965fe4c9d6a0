"""Which times are plausible, and how far the clocks of edge nodes are off. Pure, columnar.

Nothing is corrected: a row keeps the time its publisher gave it. What is noticed is told
once per node and problem, when it begins, and again when it has been absent for a while.

The *skew* of a node is the smallest difference between arrival and payload timestamp that
was seen lately. The payload timestamp is the time of publishing (payloads-timestamp-in-UTC),
so that the difference is the delay on the way, plus what the node's clock is behind, minus
what it is ahead; the smallest delay on the way is next to nothing.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from sparkplug.counting import count_nonzero

if TYPE_CHECKING:
    from numpy.typing import NDArray

EARLIEST_US: Final = 946_684_800_000_000
"""2000-01-01: a present value is not older. Microseconds since 1970 UTC."""

MOST_AHEAD_US: Final = 3_600_000_000
"""A time may be an hour ahead of its arrival, beyond the skew of its node."""

MOST_SKEW_US: Final = 300_000_000
"""A clock may be off by five minutes."""

QUIET: Final = 600.0
"""Seconds without a problem until it counts as over."""

_PERIOD: Final = 300.0
_THOUSAND: Final = 1000


class ClockProblem(StrEnum):
    """What is wrong with times of a node."""

    SECONDS = "seconds_for_milliseconds"
    FUTURE = "far_future"
    PAST = "far_past"
    SKEW = "clock_skew"


_PROBLEMS: Final = tuple(ClockProblem)


class ClockChange(NamedTuple):
    """A problem of a node that has begun or ended.

    Args:
        node: index of the node.
        problem: which.
        began: False when it has ended; the rest is meaningless then.
        example: position in the columns that were given, of a time that shows it.
        time_us: that time, microseconds since 1970 UTC; for SKEW the skew in microseconds,
            negative if the clock is ahead.
    """

    node: int
    problem: ClockProblem
    began: bool
    example: int = -1
    time_us: int = 0


def doubtful(event_time_us: NDArray[np.int64], received_us: NDArray[np.int64]) -> NDArray[np.int64]:
    """Positions of times that `Clocks.values` should look at; none in ordinary traffic."""
    if len(event_time_us) == 0 or (
        event_time_us.min() >= EARLIEST_US
        and event_time_us.max() <= received_us.min() + MOST_AHEAD_US
    ):
        return np.empty(0, dtype=np.int64)
    return np.flatnonzero(
        (event_time_us < EARLIEST_US) | (event_time_us > received_us + MOST_AHEAD_US)
    )


class Clocks:
    """Watches the times of all edge nodes behind one MQTT server, by dense node index.

    `now` is monotonic time in seconds; everything else microseconds since 1970 UTC.
    """

    def __init__(self) -> None:
        self._size = 0
        # The two smallest differences of the present period, and the outcome of the last one.
        self._smallest = np.empty(0)
        self._second = np.empty(0)
        self._before = np.empty(0)
        self._period_began: float | None = None
        self._seen_at = np.empty((len(_PROBLEMS), 0))
        self._active = np.empty((len(_PROBLEMS), 0), dtype=np.bool_)

    @property
    def skew_us(self) -> NDArray[np.float64]:
        """Skew of each node in microseconds, NaN where nothing is known; negative: ahead.

        One message alone says nothing: the second smallest difference of a period counts.
        """
        present = np.where(np.isfinite(self._second), self._second, np.nan)
        skew: NDArray[np.float64] = np.fmin(present, self._before)
        return skew

    @property
    def active(self) -> int:
        """Problems of all nodes that have begun and not ended."""
        return int(count_nonzero(self._active))

    def messages(
        self,
        node: NDArray[np.int64],
        payload_time_us: NDArray[np.int64],
        received_us: NDArray[np.int64],
        now: float,
    ) -> list[ClockChange]:
        """Take in births and data that have a payload timestamp; return what begins.

        NDEATHs do not belong here: they were written when their node connected.
        """
        changes: list[ClockChange] = []
        self._reserve(node)
        if self._period_began is None or now - self._period_began >= _PERIOD:
            changes += self._begin_period(now)
        if len(node) and payload_time_us.min() < EARLIEST_US:
            early = np.flatnonzero(payload_time_us < EARLIEST_US)
            changes += self._early(
                node[early], payload_time_us[early], received_us[early], early, now
            )
            kept = payload_time_us >= EARLIEST_US
            node, payload_time_us, received_us = (
                node[kept],
                payload_time_us[kept],
                received_us[kept],
            )
        if len(node) == 0:
            return changes
        difference = (received_us - payload_time_us).astype(np.float64)
        if not count_nonzero(self._active):
            telling = difference < self._second[node]
            if not count_nonzero(telling):  # nearly always: nothing new is known
                return changes
            node, difference = node[telling], difference[telling]
        smallest, second = _two_smallest(node, difference, self._size)
        self._second = np.minimum(
            np.minimum(self._second, second), np.maximum(self._smallest, smallest)
        )
        self._smallest = np.minimum(self._smallest, smallest)
        return changes + self._skewed(node[self._second[node] < -MOST_SKEW_US], now)

    def values(
        self,
        node: NDArray[np.int64],
        event_time_us: NDArray[np.int64],
        received_us: NDArray[np.int64],
        present: NDArray[np.bool_],
        now: float,
    ) -> list[ClockChange]:
        """Look at times of values, at least those that are `doubtful`; return what begins.

        `present` marks values that are neither historical nor a birth's: those may be as
        old as they like.
        """
        self._reserve(node)
        ahead_us = np.fmax(-self.skew_us, 0.0)[node]
        ahead_us[np.isnan(ahead_us)] = 0.0
        future = np.flatnonzero(event_time_us > received_us + MOST_AHEAD_US + ahead_us)
        changes = self._note(ClockProblem.FUTURE, node[future], event_time_us[future], future, now)
        early = np.flatnonzero(event_time_us < EARLIEST_US)
        seconds = _as_seconds(event_time_us[early], received_us[early])
        early = early[seconds | present[early]]
        return changes + self._early(
            node[early], event_time_us[early], received_us[early], early, now
        )

    def ended(self, now: float) -> list[ClockChange]:
        """Problems that did not show for QUIET seconds."""
        if not self.active:
            return []
        over = self._active & (now - self._seen_at >= QUIET)
        self._active &= ~over
        return [
            ClockChange(int(node), _PROBLEMS[problem], began=False)
            for problem, node in zip(*np.nonzero(over), strict=True)
        ]

    # ------------------------------------------------------------------ inside

    def _reserve(self, node: NDArray[np.int64]) -> None:
        """Have columns as long as the greatest node's index wants."""
        wanted = int(node.max()) + 1 if len(node) else 0
        if wanted <= self._size:
            return
        more = max(wanted, 2 * self._size) - self._size
        self._smallest = np.concatenate([self._smallest, np.full(more, np.inf)])
        self._second = np.concatenate([self._second, np.full(more, np.inf)])
        self._before = np.concatenate([self._before, np.full(more, np.nan)])
        rows = len(_PROBLEMS)
        self._seen_at = np.hstack([self._seen_at, np.full((rows, more), -np.inf)])
        self._active = np.hstack([self._active, np.zeros((rows, more), dtype=np.bool_)])
        self._size += more

    def _begin_period(self, now: float) -> list[ClockChange]:
        """What was seen lately becomes what was seen before.

        Only a whole period tells a clock that is behind from a burst of delayed messages.
        """
        behind = np.flatnonzero(np.isfinite(self._second) & (self._second > MOST_SKEW_US))
        changes = self._skewed(behind, now)
        self._before = np.where(np.isfinite(self._second), self._second, np.nan)
        self._smallest = np.full(self._size, np.inf)
        self._second = np.full(self._size, np.inf)
        self._period_began = now
        return changes

    def _skewed(self, node: NDArray[Any], now: float) -> list[ClockChange]:
        nowhere = np.full(len(node), -1)
        return self._note(ClockProblem.SKEW, node, self._second[node], nowhere, now)

    def _early(
        self,
        node: NDArray[np.int64],
        time_us: NDArray[np.int64],
        received_us: NDArray[np.int64],
        example: NDArray[Any],
        now: float,
    ) -> list[ClockChange]:
        """Times before EARLIEST_US: seconds that were taken for milliseconds, or plainly old."""
        seconds = _as_seconds(time_us, received_us)
        return [
            change
            for problem, which in ((ClockProblem.SECONDS, seconds), (ClockProblem.PAST, ~seconds))
            for change in self._note(problem, node[which], time_us[which], example[which], now)
        ]

    def _note(
        self,
        problem: ClockProblem,
        node: NDArray[Any],
        time_us: NDArray[Any],
        example: NDArray[Any],
        now: float,
    ) -> list[ClockChange]:
        """A problem shows; return the nodes for which that is new."""
        if len(node) == 0:
            return []
        row = _PROBLEMS.index(problem)
        self._seen_at[row, node] = now
        nodes, first = np.unique(node, return_index=True)
        fresh = ~self._active[row, nodes]
        self._active[row, nodes] = True
        return [
            ClockChange(int(each), problem, True, int(example[at]), int(time_us[at]))
            for each, at in zip(nodes[fresh], first[fresh], strict=True)
        ]


def _as_seconds(time_us: NDArray[np.int64], received_us: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which early times would be plausible if their publisher had counted seconds."""
    found: NDArray[np.bool_] = (time_us * _THOUSAND >= EARLIEST_US) & (
        time_us * _THOUSAND <= received_us + MOST_AHEAD_US
    )
    return found


def _two_smallest(
    node: NDArray[np.int64], difference: NDArray[np.float64], size: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The smallest and the next difference of each node; infinite where there is none."""
    smallest = np.full(size, np.inf)
    np.minimum.at(smallest, node, difference)
    where = np.flatnonzero(difference == smallest[node])
    position = np.full(size, -1)
    position[node[where]] = where
    rest = np.ones(len(node), dtype=np.bool_)
    rest[position[position >= 0]] = False
    second = np.full(size, np.inf)
    np.minimum.at(second, node[rest], difference[rest])
    return smallest, second
