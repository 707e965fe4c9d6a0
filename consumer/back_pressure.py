"""Back-pressure to the edge: acts as the gate says, on servers, spool, log and metrics.

Everything happens on the thread that appends to the spool, so that what is reserved, and
who may use it, never changes in the middle of an append. Others only read.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any, Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from consumer.errors import SpoolDiskFull
from consumer.gate import ClosedBy, Gate, GateState, Sight
from consumer.watermarks import Watermarks
from sparkplug.events import Event, EventKind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from prometheus_client import CollectorRegistry

    from consumer.broker import BrokerConnection
    from consumer.config import Configuration
    from consumer.delivery import Delivery
    from consumer.errors import SpoolFull
    from consumer.spool import Spool

_LOG = logging.getLogger(__name__)

_LOOK_EVERY: Final = 0.1
OPENED: Final = "opened"
"""`reason` of the event that the gate opened."""


class BackPressure:
    """The gate of one consumer. Without `host.gate_on_sink` it is always open.

    Args:
        configuration: host, spool and limits count.
        spool: watched; some of it is kept for what arrives while the gate closes.
        delivery: of the main table; its acknowledgements are watched.
        connections: left together, and made together again.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        configuration: Configuration,
        spool: Spool,
        delivery: Delivery,
        connections: Sequence[BrokerConnection],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._spool = spool
        self._delivery = delivery
        self._connections = connections
        self._clock = clock
        self._table = configuration.zerobus.table
        self._host_id = configuration.host.id
        self._drain = configuration.host.gate.drain
        self._reserved_bytes = configuration.gate_reserve
        self._gate = _configured_gate(configuration)
        self._look_at = 0.0
        self._untold: list[Event] = []

    @property
    def is_open(self) -> bool:
        """Whether the host may say that it is online."""
        return self._gate is None or self._gate.state is GateState.OPEN

    @property
    def why_closed(self) -> str:
        """What closed the gate and what opens it, in a sentence; empty while it is open."""
        gate = self._gate
        if gate is None or gate.state is GateState.OPEN:
            return ""
        return f"{gate.state}: {gate.why}; it opens {gate.opens}"

    def start(self) -> None:
        """Decide how to begin. Called before anything is connected."""
        if self._gate is None:
            return
        self._gate.begin(self._clock(), self._sight())
        if self._gate.state is GateState.OPEN:
            self._spool.hold_back(self._reserved_bytes)
            return
        for connection in self._connections:
            connection.passage.shut(0.0)
        _LOG.warning(
            "the gate is closed from the start: %s. Nothing is connected. It opens %s",
            self._gate.why, self._gate.opens, extra={"reason": str(self._gate.closed_by)},
        )  # fmt: skip
        self._note(str(self._gate.closed_by), self._gate.why)

    def tend(self) -> list[Event]:
        """Look whether the gate has to close or may open, and see to it.

        Returns:
            What happened since the last call, for the events of every server.
        """
        if self._gate is not None and self._clock() >= self._look_at:
            self._look_at = self._clock() + _LOOK_EVERY
            self._look(self._gate)
        untold, self._untold = self._untold, []
        return untold

    def make_room(self, error: SpoolFull) -> bool:
        """An append did not fit: close the gate, and let the append use the reserve.

        Returns:
            Whether it is worth another attempt.
        """
        by = ClosedBy.DISK if isinstance(error, SpoolDiskFull) else ClosedBy.SPOOL
        if self._gate is None or not self._gate.shut(self._clock(), by, str(error)):
            return False
        self._close(self._gate)
        return True

    def status(self) -> dict[str, Any]:
        """For /status. JSON-compatible."""
        gate = self._gate
        if gate is None:
            return {"state": "off"}
        return {
            "state": str(gate.state),
            "reason": str(gate.closed_by or ""),
            "why": gate.why,
            "opens": gate.opens,
            "closings": {str(by): gate.closings[by] for by in ClosedBy},
            "closed_seconds": round(gate.closed_seconds(self._clock()), 3),
            "reserved_bytes": self._reserved_bytes,
        }

    def add_metrics(self, registry: CollectorRegistry) -> None:
        """Add the gate's metrics, if there is a gate."""
        if self._gate is not None:
            registry.register(_GateMetrics(self._gate, self._clock))

    def _look(self, gate: Gate) -> None:
        now = self._clock()
        if gate.state is GateState.CLOSING and all(
            connection.passage.away for connection in self._connections
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
        self._spool.hold_back(self._reserved_bytes)
        for connection in self._connections:
            connection.passage.open()
        _LOG.info("the gate opens %s. What closed it: %s", how, why)
        self._note(OPENED, how)

    def _close(self, gate: Gate) -> None:
        self._spool.hold_back(0)
        for connection in self._connections:
            connection.passage.shut(self._drain)
        _LOG.warning(
            "the gate closes: %s. STATE goes offline, edge nodes that name %s as their primary "
            "host keep their data. It opens %s",
            gate.why, self._host_id, gate.opens, extra={"reason": str(gate.closed_by)},
        )  # fmt: skip
        self._note(str(gate.closed_by), gate.why)

    def _note(self, reason: str, detail: str) -> None:
        now_us = time.time_ns() // 1_000
        self._untold.append(Event(EventKind.GATE, now_us, reason=reason, detail=detail))

    def _sight(self) -> Sight:
        delivered = self._delivery.stats()
        return Sight(
            self._spool.stats(),
            self._spool.pending_rows(self._table),
            delivered.rows_acked + delivered.rows_set_aside,
        )


def _configured_gate(configuration: Configuration) -> Gate | None:
    if not configuration.host.gate_on_sink:
        return None
    spool, options = configuration.spool, configuration.host.gate
    marks = Watermarks(spool.high_watermark, spool.low_watermark, spool.min_free)
    return Gate(marks, min_closed=options.min_closed, ack_timeout=options.ack_timeout)


class _GateMetrics(Collector):
    """What the gate counts."""

    def __init__(self, gate: Gate, clock: Callable[[], float]) -> None:
        self._gate = gate
        self._clock = clock

    def collect(self) -> Iterator[GaugeMetricFamily | CounterMetricFamily]:
        """The state, how long it was closed in all, and how often for what."""
        gate = self._gate
        yield GaugeMetricFamily(
            "sparkplug_zerobus_gate_closed",
            "1 while the gate to the edge is closing or closed",
            value=float(gate.state is not GateState.OPEN),
        )
        yield CounterMetricFamily(
            "sparkplug_zerobus_gate_closed_seconds",
            "time for which it was",
            value=gate.closed_seconds(self._clock()),
        )
        closings = CounterMetricFamily(
            "sparkplug_zerobus_gate_closings", "how often it closed", labels=["reason"]
        )
        for by in ClosedBy:
            closings.add_metric([str(by)], gate.closings[by])
        yield closings
