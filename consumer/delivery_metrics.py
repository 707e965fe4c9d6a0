"""How every stream is: metrics with the labels `table` and `stream`, and lines of /status."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from consumer.delivery_types import StreamState
from consumer.errors import FailureKind

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from prometheus_client.core import Metric

    from consumer.delivery import Delivery

_PREFIX: Final = "sparkplug_zerobus_stream"
_PLACE: Final = ["table", "stream"]


class StreamMetrics(Collector):
    """States and counters of all tables' streams, read when metrics are asked for.

    Streams of a table are numbered from 1.
    """

    def __init__(self, deliveries: Iterable[Delivery]) -> None:
        self._deliveries = tuple(deliveries)

    def collect(self) -> Iterator[Metric]:
        """All metrics; every state and class has a value, 0 when it is not."""
        state = GaugeMetricFamily(
            f"{_PREFIX}_state", "1 for the state that the stream is in", labels=[*_PLACE, "state"]
        )
        failures = CounterMetricFamily(
            f"{_PREFIX}_failures", "failures of the stream, by class", labels=[*_PLACE, "kind"]
        )
        rows = CounterMetricFamily(
            f"{_PREFIX}_rows_acknowledged", "rows acknowledged on the stream", labels=_PLACE
        )
        rotations = CounterMetricFamily(
            f"{_PREFIX}_rotations", "streams that the service ended in order", labels=_PLACE
        )
        for delivery in self._deliveries:
            for number, stream in enumerate(delivery.streams, start=1):
                place = [delivery.table, str(number)]
                stats = stream.stats()
                for each in StreamState:
                    state.add_metric([*place, each.value], stats.state is each)
                for kind in FailureKind:
                    count = stats.failures_by_kind.get(kind, 0)
                    failures.add_metric([*place, kind.value], count)
                rows.add_metric(place, stats.rows_acked)
                rotations.add_metric(place, stats.rotations)
        yield from (state, failures, rows, rotations)


def streams_status(deliveries: Iterable[Delivery]) -> list[dict[str, Any]]:
    """One object per stream of every table, for /status."""
    found = []
    for delivery in deliveries:
        for number, stream in enumerate(delivery.streams, start=1):
            stats = stream.stats()
            found.append(
                {
                    "table": delivery.table,
                    "stream": number,
                    "state": str(stats.state),
                    "generation": stats.generation,
                    "rows_sent": stats.rows_sent,
                    "rows_acked": stats.rows_acked,
                    "rows_set_aside": stats.rows_set_aside,
                    "inflight_rows": stats.inflight_rows,
                    "rotations": stats.rotations,
                    "failures": {str(kind): n for kind, n in stats.failures_by_kind.items()},
                    "failure": stats.cause or "",
                    "failure_kind": str(stats.cause_kind or ""),
                    "mend": stats.mend,
                }
            )
    return found
