"""What is told of gaps since the start: metrics and /status. The report is `gap_report`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from sparkplug.events import Healing
from sparkplug.gaps import GapReason

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prometheus_client.core import Metric

    from consumer.gap_records import GapTotals

_PREFIX: Final = "sparkplug_zerobus"
_HEALINGS: Final = tuple(each for each in Healing if each is not Healing.OPEN)


class GapMetrics(Collector):
    """Gaps found, open and healed, and the messages missing in them."""

    def __init__(self, totals: GapTotals) -> None:
        self._totals = totals

    def collect(self) -> Iterator[Metric]:
        """All metrics; every label value is there from the beginning."""
        totals = self._totals
        found = CounterMetricFamily(f"{_PREFIX}_gaps", "gaps found", labels=["reason"])
        is_open = GaugeMetricFamily(f"{_PREFIX}_gaps_open", "gaps open now", labels=["reason"])
        healed = CounterMetricFamily(f"{_PREFIX}_gaps_healed", "gaps healed", labels=["healing"])
        for reason in GapReason:
            found.add_metric([reason], totals.found[reason])
            is_open.add_metric([reason], totals.open[reason])
        for healing in _HEALINGS:
            healed.add_metric([healing], totals.healed[healing])
        yield from (found, is_open, healed)
        for name, text, value in (
            ("messages_missing", "messages missing in gaps, modulo 256 each", totals.missing),
            ("missing_messages_late", "of these, those that came late", totals.late),
            ("gap_history_rows", "rows of history of times within gaps", totals.history_rows),
            ("sessions_missed", "sessions of edge nodes not seen", totals.sessions_missed),
            ("gaps_unlisted", "gaps without a record of their own", totals.unlisted),
        ):
            yield CounterMetricFamily(f"{_PREFIX}_{name}", text, value=value)


def gaps_status(totals: GapTotals) -> dict[str, Any]:
    """The same for /status."""
    return {
        "found": {str(reason): totals.found[reason] for reason in GapReason},
        "open": {str(reason): totals.open[reason] for reason in GapReason},
        "healed": {str(healing): totals.healed[healing] for healing in _HEALINGS},
        "messages_missing": totals.missing,
        "messages_late": totals.late,
        "history_rows": totals.history_rows,
        "sessions_missed": totals.sessions_missed,
        "unlisted": totals.unlisted,
    }
