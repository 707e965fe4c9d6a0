"""The gate to the edge: whether the host may say that it is online. Decides, does nothing.

Open, the host reads and its STATE is online. When rows cannot be stored any more the gate
is *closing*: STATE goes offline, and what is still on its way is read. Once every server
was left it is *closed*. It opens when there is room again, but not before it was closed
for some time: each time it opens, every edge node that waits for this host is born anew.
"""

from __future__ import annotations

from collections import Counter
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from consumer.config import format_duration, format_size
from consumer.pipeline.spool_watch import ROOM_AGAIN

if TYPE_CHECKING:
    from consumer.pipeline.spool_watch import Watermarks
    from consumer.spool import SpoolStats


class GateState(StrEnum):
    """States of the gate that keeps publishers off while rows find no way on."""

    OPEN = "open"
    CLOSING = "closing"
    """STATE is offline, or about to be; what is on its way is still read."""
    CLOSED = "closed"
    """Nothing is connected."""


class ClosedBy(StrEnum):
    """What closed the gate: label of the metric, and `reason` of the event."""

    SPOOL = "spool"
    DISK = "disk"
    NO_ACKNOWLEDGEMENT = "no_acknowledgement"


class Sight(NamedTuple):
    """The facts that open or close the gate.

    Args:
        stats: how full the spool and its disk are.
        waiting_rows: rows of the main table that are spooled.
        settled_rows: counts up with each row that is acknowledged, or set aside.
    """

    stats: SpoolStats
    waiting_rows: int
    settled_rows: int


class Gate:
    """The state machine. Times are seconds of any clock that does not go backwards.

    Args:
        marks: whether there is room in the spool; used by nobody else.
        min_closed: shortest time closed.
        ack_timeout: without an acknowledgement for this long while rows wait, the gate
            closes; 0: never for that.
    """

    def __init__(self, marks: Watermarks, *, min_closed: float, ack_timeout: float) -> None:
        self._marks = marks
        self._min_closed = min_closed
        self._ack_timeout = ack_timeout
        self.closed_since = 0.0
        """When the gate last began to close; monotonic seconds."""
        self._left_at = 0.0
        self._closed_before = 0.0
        self._settled_rows = -1
        self._quiet_since = 0.0
        self.state = GateState.OPEN
        self.closed_by: ClosedBy | None = None
        self.why = ""
        """What closed the gate, for people; empty while it is open."""
        self.closings: Counter[ClosedBy] = Counter()

    def begin(self, now: float, sight: Sight) -> None:
        """The first look, before anything is connected: a full spool begins closed."""
        self._settled_rows, self._quiet_since = sight.settled_rows, now
        trouble = self._trouble(now, sight)
        if trouble is not None:
            self._close(now, *trouble)
            self.left(now)

    def look(self, now: float, sight: Sight) -> bool:
        """Take the present state in; return whether the gate began to close, or opened."""
        trouble = self._trouble(now, sight)
        if self.state is GateState.OPEN and trouble is not None:
            self._close(now, *trouble)
            return True
        if self.state is GateState.CLOSED and trouble is None:
            if now - self._left_at < self._min_closed:
                return False
            self._closed_before += now - self.closed_since
            self.state, self.closed_by, self.why = GateState.OPEN, None, ""
            self._quiet_since = now
            return True
        return False

    def shut(self, now: float, closed_by: ClosedBy, why: str) -> bool:
        """Close at once, something did not fit; False if the gate is not open anyway."""
        if self.state is not GateState.OPEN:
            return False
        self._close(now, closed_by, why)
        return True

    def left(self, now: float) -> None:
        """Every server was left: closing is over."""
        if self.state is GateState.CLOSING:
            self.state = GateState.CLOSED
            self._left_at = now

    def closed_seconds(self, now: float) -> float:
        """Seconds that the gate was closing or closed, from the start until `now`."""
        present = 0.0 if self.state is GateState.OPEN else now - self.closed_since
        return self._closed_before + present

    @property
    def opens(self) -> str:
        """What has to be so that the gate opens, for people; empty while it is open."""
        if self.closed_by is None:
            return ""
        silent = self.closed_by is ClosedBy.NO_ACKNOWLEDGEMENT
        parts = ["rows are acknowledged again"] if silent else []
        parts.append(f"the spool is less than {self._marks.low:.0%} full")
        if self._marks.min_free:
            parts.append(f"{format_size(ROOM_AGAIN * self._marks.min_free)} of its disk are free")
        return f"when {', '.join(parts)}, after {format_duration(self._min_closed)} at the earliest"

    def _close(self, now: float, closed_by: ClosedBy, why: str) -> None:
        self.state, self.closed_by, self.why = GateState.CLOSING, closed_by, why
        self.closed_since = now
        self.closings[closed_by] += 1

    def _trouble(self, now: float, sight: Sight) -> tuple[ClosedBy, str] | None:
        """Why rows cannot be stored, or soon cannot; None if they can."""
        stats, marks = sight.stats, self._marks
        silence = self._silence(now, sight)
        if self.state is not GateState.OPEN:
            marks.above = True  # also when it was below for a moment, or something else closed
        if marks.look(stats):
            # What is not waiting to be sent does not become less: births, dead letters.
            spent = not stats.rows and stats.fill < marks.high and not marks.disk_is_low(stats)
            if not spent:
                on_disk = stats.disk_is_full or stats.disk_free_bytes < marks.min_free
                return (ClosedBy.DISK if on_disk else ClosedBy.SPOOL), marks.why(stats)
            marks.above = False
        if self._ack_timeout and silence >= self._ack_timeout:
            text = f"nothing was acknowledged for {silence:.0f} s"
            return ClosedBy.NO_ACKNOWLEDGEMENT, f"{text} while {sight.waiting_rows} rows wait"
        return None

    def _silence(self, now: float, sight: Sight) -> float:
        """Seconds for which rows have waited and none was acknowledged."""
        if not sight.waiting_rows or sight.settled_rows != self._settled_rows:
            self._settled_rows, self._quiet_since = sight.settled_rows, now
        return now - self._quiet_since
