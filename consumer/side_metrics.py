"""What is told of the deliveries of side tables: metrics with the label `table`, and /status.

The metrics without that label are those of tag_events.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from prometheus_client.core import Metric

    from consumer.delivery import Delivery

_PREFIX: Final = "sparkplug_zerobus_side"


class SideTableMetrics(Collector):
    """State and counters of the side tables' deliveries, read when metrics are asked for."""

    def __init__(self, deliveries: Sequence[Delivery], pending_rows: Callable[[str], int]) -> None:
        self._deliveries = deliveries
        self._pending_rows = pending_rows

    def collect(self) -> Iterator[Metric]:
        """All metrics, one value per table."""
        gauges = {
            "stream_open": "1 while a stream of the side table is open",
            "spooled_rows": "rows of the side table not yet acknowledged",
        }
        counters = {
            "rows_acknowledged": "rows of the side table acknowledged",
            "rows_set_aside": "rows of the side table that Zerobus cannot take",
            "delivery_failures": "failures on the way of the side table's rows",
        }
        families: dict[str, GaugeMetricFamily | CounterMetricFamily] = {
            **{n: GaugeMetricFamily(f"{_PREFIX}_{n}", t, labels=["table"])
               for n, t in gauges.items()},
            **{n: CounterMetricFamily(f"{_PREFIX}_{n}", t, labels=["table"])
               for n, t in counters.items()},
        }  # fmt: skip
        for delivery in self._deliveries:
            stats = delivery.stats()
            values = {
                "stream_open": delivery.is_open,
                "spooled_rows": self._pending_rows(delivery.table),
                "rows_acknowledged": stats.rows_acked,
                "rows_set_aside": stats.rows_set_aside,
                "delivery_failures": stats.failures,
            }
            for name, family in families.items():
                family.add_metric([delivery.table], values[name])
        yield from families.values()


def side_tables_status(
    deliveries: Sequence[Delivery],
    pending_rows: Callable[[str], int],
    produced: Mapping[str, int],
) -> list[dict[str, Any]]:
    """One object per side table, for /status."""
    found = []
    for delivery in deliveries:
        stats = delivery.stats()
        found.append(
            {
                "table": delivery.table,
                "rows_produced": produced.get(delivery.table, 0),
                "rows_sent": stats.rows_sent,
                "rows_acked": stats.rows_acked,
                "spooled_rows": pending_rows(delivery.table),
                "stream_state": str(stats.state),
                "failures": stats.failures,
                "failure": stats.cause or "",
            }
        )
    return found
