"""A sample a second of what flows, of the last 15 minutes."""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from consumer.pipeline import Consumer

MOST_SAMPLES: Final = 900


class Sample(NamedTuple):
    """What flowed in a second; latencies are None when nothing was acknowledged."""

    time_ms: int
    messages_per_second: float
    rows_per_second: float
    acknowledged_per_second: float
    rows_waiting: int
    latency_p50_seconds: float | None
    latency_p99_seconds: float | None


class Flow(NamedTuple):
    """Messages and rows a second of one server, or rows of what comes over HTTP."""

    messages: float = 0.0
    rows: float = 0.0


class Samples:
    """Takes samples when it is told to, about once a second. Thread-safe.

    Args:
        consumer: of which they are.
        clock: monotonic seconds.
    """

    def __init__(self, consumer: Consumer, clock: Callable[[], float] = time.monotonic) -> None:
        self._consumer = consumer
        self._clock = clock
        self._lock = threading.Lock()
        self._samples: deque[Sample] = deque(maxlen=MOST_SAMPLES)
        self._before: tuple[float, dict[str, int], dict[str, int], int, Sequence[float]] | None
        self._before = None
        self.flows: dict[str, Flow] = {}

    def look(self) -> None:
        """Take a sample."""
        consumer, now = self._consumer, self._clock()
        telemetry = consumer.telemetry
        messages = telemetry.by_label("messages_received")
        rows = telemetry.by_label("rows_produced")
        acknowledged = consumer.main_delivery.stats().rows_acked
        ages = telemetry.acknowledgement_ages
        before, self._before = self._before, (now, messages, rows, acknowledged, ages)
        if before is None or now <= before[0]:
            return
        seconds = now - before[0]
        flows = {
            source: Flow(
                (messages.get(source, 0) - before[1].get(source, 0)) / seconds,
                (rows.get(source, 0) - before[2].get(source, 0)) / seconds,
            )
            for source in messages.keys() | rows.keys()
        }
        new = [one - other for one, other in zip(ages, before[4], strict=True)]
        sample = Sample(
            time.time_ns() // 1_000_000,
            round(sum(each.messages for each in flows.values()), 1),
            round(sum(each.rows for each in flows.values()), 1),
            round((acknowledged - before[3]) / seconds, 1),
            consumer.spooled_rows,
            _quantile(new, telemetry.AGES, 0.5),
            _quantile(new, telemetry.AGES, 0.99),
        )
        with self._lock:
            self.flows = flows
            self._samples.append(sample)

    @property
    def last(self) -> Sample | None:
        """The newest sample; None before the first."""
        with self._lock:
            return self._samples[-1] if self._samples else None

    def columns(self) -> dict[str, Any]:
        """All samples, oldest first, a list for each number."""
        with self._lock:
            samples = list(self._samples)
        columns = zip(*samples, strict=True) if samples else [()] * len(Sample._fields)
        return {
            "step_seconds": 1,
            **{name: list(each) for name, each in zip(Sample._fields, columns, strict=True)},
        }


def _quantile(counts: Sequence[float], bounds: Sequence[float], part: float) -> float | None:
    """About the value below which this part of what a histogram counted is.

    Args:
        counts: in each bucket; one more than there are bounds.
        bounds: upper bounds of the buckets.
        part: 0 to 1.
    """
    total = sum(counts)
    if total <= 0:
        return None
    wanted, low = part * total, 0.0
    for count, high in zip(counts, bounds, strict=False):
        if count >= wanted > 0:
            return round(low + (high - low) * wanted / count, 4)
        wanted -= count
        low = high
    return low
