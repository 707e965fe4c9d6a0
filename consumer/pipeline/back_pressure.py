"""Back-pressure to the edge: acts as the gate says, on servers, spool and log.

Everything happens on the thread that appends to the spool, so that what is reserved, and
who may use it, never changes in the middle of an append. Others only read.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any, Final

from consumer.errors import SpoolDiskFull
from consumer.pipeline.gate import ClosedBy, Gate, GateState, Sight
from consumer.pipeline.spool_watch import Watermarks
from sparkplug import Event, EventKind

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from consumer.config import Configuration
    from consumer.errors import SpoolFull
    from consumer.pipeline.intake import Connection
    from consumer.spool import Spool

_LOG = logging.getLogger(__name__)

_LOOK_EVERY: Final = 0.1
OPENED: Final = "opened"
"""`reason` of the event that the gate opened."""


class BackPressure:
    """The gate of one consumer. Without `host.gate_on_sink` it is always open.

    Args:
        configuration: host, spool and limits count.
        spool: some of it is kept for what arrives while the gate closes.
        sight: tells how spool and delivery stand.
        connections: left together, and made together again.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        configuration: Configuration,
        spool: Spool,
        sight: Callable[[], Sight],
        connections: Sequence[Connection],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._spool = spool
        self._sight = sight
        self._connections = connections
        self._clock = clock
        self._host_id = configuration.host.id
        self._drain = configuration.host.gate.drain
        self._reserved_bytes = configuration.gate_reserve
        self.gate = _configured_gate(configuration)
        self._look_at = 0.0
        self._untold: list[Event] = []

    @property
    def is_open(self) -> bool:
        """Whether the host may say that it is online."""
        return self.gate is None or self.gate.state is GateState.OPEN

    @property
    def why_closed(self) -> str:
        """What closed the gate and what opens it, in a sentence; empty while it is open."""
        gate = self.gate
        if gate is None or gate.state is GateState.OPEN:
            return ""
        return f"{gate.state}: {gate.why}; it opens {gate.opens}"

    @property
    def closed_seconds(self) -> float:
        """Seconds that the gate was closing or closed, since the start; 0 without a gate."""
        return 0.0 if self.gate is None else self.gate.closed_seconds(self._clock())

    @property
    def closings(self) -> dict[str, int]:
        """Times that the gate closed since the start, by `ClosedBy`; empty without a gate."""
        return {} if self.gate is None else {str(by): self.gate.closings[by] for by in ClosedBy}

    def start(self) -> None:
        """Decide how to begin. Called before anything is connected."""
        if self.gate is None:
            return
        self.gate.begin(self._clock(), self._sight())
        if self.gate.state is GateState.OPEN:
            self._spool.space.hold_back(self._reserved_bytes)
            return
        for connection in self._connections:
            connection.switch.shut(0.0)
        _LOG.warning(
            "the gate is closed from the start: %s. Nothing is connected. It opens %s",
            self.gate.why,
            self.gate.opens,
            extra={"reason": str(self.gate.closed_by)},
        )
        self._note(str(self.gate.closed_by), self.gate.why)

    def tend(self) -> list[Event]:
        """Look whether the gate has to close or may open, and see to it.

        Returns:
            What happened since the last call, for the events of every server.
        """
        if self.gate is not None and self._clock() >= self._look_at:
            self._look_at = self._clock() + _LOOK_EVERY
            self._look(self.gate)
        untold, self._untold = self._untold, []
        return untold

    def close_for(self, error: SpoolFull) -> bool:
        """A commit did not fit: close the gate, and let it use what was held back for that.

        Returns:
            Whether it is worth another attempt.
        """
        by = ClosedBy.DISK if isinstance(error, SpoolDiskFull) else ClosedBy.SPOOL
        if self.gate is None or not self.gate.shut(self._clock(), by, str(error)):
            return False
        self._close(self.gate)
        return True

    def status(self) -> dict[str, Any]:
        """How the gate stands and why, for /status. JSON-compatible."""
        gate = self.gate
        if gate is None:
            return {"state": "off"}
        return {
            "state": str(gate.state),
            "reason": str(gate.closed_by or ""),
            "why": gate.why,
            "opens": gate.opens,
            "reserved_bytes": self._reserved_bytes,
        }

    def _look(self, gate: Gate) -> None:
        now = self._clock()
        if gate.state is GateState.CLOSING and all(
            connection.switch.away for connection in self._connections
        ):
            gate.left(now)
            _LOG.info("the gate is closed: nothing is connected")
        was_open, closed_since, why = gate.state is GateState.OPEN, gate.closed_since, gate.why
        sight = self._sight()
        if not gate.look(now, sight):
            return
        if was_open:
            self._close(gate)
            return
        how = f"after {now - closed_since:.0f} s: the spool is {sight.stats.fill:.0%} full"
        self._spool.space.hold_back(self._reserved_bytes)
        for connection in self._connections:
            connection.switch.open()
        _LOG.info("the gate opens %s. What closed it: %s", how, why)
        self._note(OPENED, how)

    def _close(self, gate: Gate) -> None:
        self._spool.space.hold_back(0)
        for connection in self._connections:
            connection.switch.shut(self._drain)
        _LOG.warning(
            "the gate closes: %s. STATE goes offline, edge nodes that name %s as their primary "
            "host keep their data. It opens %s",
            gate.why,
            self._host_id,
            gate.opens,
            extra={"reason": str(gate.closed_by)},
        )
        self._note(str(gate.closed_by), gate.why)

    def _note(self, reason: str, detail: str) -> None:
        now_us = time.time_ns() // 1_000
        self._untold.append(Event(EventKind.GATE, now_us, reason=reason, detail=detail))


def _configured_gate(configuration: Configuration) -> Gate | None:
    if not configuration.host.gate_on_sink:
        return None
    spool, options = configuration.spool, configuration.host.gate
    marks = Watermarks(spool.high_watermark, spool.low_watermark, spool.min_free)
    return Gate(marks, min_closed=options.min_closed, ack_timeout=options.ack_timeout)
