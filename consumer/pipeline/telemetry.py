"""What the consumer counts, per batch: Prometheus metrics and one summary for people.

Naming rule: `sparkplug_zerobus_<what>_<unit>`, counters end in `_total`. What is not read,
or only with a remark, is counted under its `reason` in remarks_total; rows that were lost
in rows_dropped_total.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from functools import cache
from typing import TYPE_CHECKING, Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector

from consumer.log_budget import LogBudget, Rate
from consumer.pipeline.noisiest import Noisiest
from sparkplug import Reason

if TYPE_CHECKING:
    from collections import Counter as Counts
    from collections.abc import Callable, Iterator, Mapping

_LOG = logging.getLogger(__name__)

_PREFIX: Final = "sparkplug_zerobus"
QUEUE_FULL: Final = "queue_full"
"""Reason: a message was refused because more comes than can be read."""

_EACH_REASON: Final = Rate(1, 10.0)
_TELL_EVERY: Final = 1.0
_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
_AGES: Final = (
    *(0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.75, 1.0, 1.5, 2.5, 5.0, 10.0),
    *(30.0, 60.0, 300.0, 1800.0, 3600.0, 21600.0, 86400.0),
)
"""Some are of what waited in the spool while Zerobus, or the consumer, was away."""

_EXPECTED: Final = frozenset(
    {
        Reason.CERTIFICATE,
        Reason.COMMAND,
        Reason.HOST_STATE,
        Reason.RETAINED,
        Reason.REPEATED_BIRTH_VALUE,
    }
)
"""Reasons that are ordinary traffic: counted, not worth a warning."""


class Telemetry:
    """Counters of one consumer. Thread-safe; `add_*` is called once per batch.

    Args:
        clock: monotonic seconds.
        budget: that of the log; one of its own if there is none.

    Attributes:
        log_budget: what all parts of the consumer may log of what others cause.
    """

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, budget: LogBudget | None = None
    ) -> None:
        self.registry = CollectorRegistry()
        self._clock = clock
        self._lock = threading.Lock()
        self.log_budget = budget or LogBudget(clock)
        # How often a reason of a server occurred that was not said yet, with an example.
        self._untold: dict[tuple[str, str], tuple[int, str]] = {}
        self._tell_at = -math.inf
        self.reasons: dict[str, int] = {}
        self.totals = {
            "messages_received": 0,
            "bytes_received": 0,
            "rows_produced": 0,
            "batches_decoded": 0,
            "rebirths_requested": 0,
            "rows_dropped": 0,
            "messages_discarded": 0,
            "dead_messages": 0,
        }
        self.side_rows: dict[str, int] = {}
        self.noisiest = Noisiest()
        make = self._counter
        # Looking one up by its label costs more than counting: those of every batch are kept.
        self._received = cache(
            make("messages_received", "MQTT messages taken from the queue", "server").labels
        )
        self._bytes = cache(
            make("received_bytes", "payload bytes of those messages", "server").labels
        )
        self._rows = cache(make("rows_produced", "rows made from metrics", "server").labels)
        self._batches = make("batches_decoded", "batches decoded")
        self._remarks = make("remarks", "messages or metrics not read, by reason", "reason")
        self._rebirths = make("rebirths_requested", "rebirth requests sent", "reason")
        self._side_rows = make("side_rows_produced", "rows made for side tables", "table")
        self._dropped = make("rows_dropped", "rows that were lost, by reason", "reason")
        self._dead = make("dead_messages", "messages held in vain, now dead letters", "reason")
        self._dead_lost = make("dead_messages_lost", "dead messages beyond what is kept")
        self.counter_by(
            "log_lines_left_out",
            "lines that the log has not, because there were too many of their kind",
            "kind",
            lambda: dict(self.log_budget.left_out),
        )
        self._decode = Histogram(
            f"{_PREFIX}_decode_seconds",
            "time from a batch of payloads to encoded rows",
            registry=self.registry,
            buckets=_SECONDS,
        )
        self._spooling = Histogram(
            f"{_PREFIX}_spool_commit_seconds",
            "time to commit a batch to the spool",
            registry=self.registry,
            buckets=_SECONDS,
        )
        self._acknowledgement = Histogram(
            f"{_PREFIX}_acknowledgement_seconds",
            "time from the arrival of a batch's first row to the acknowledgement of its last",
            registry=self.registry,
            buckets=_AGES,
        )

    def gauge(self, name: str, text: str, read: Callable[[], float]) -> None:
        """A value that is read when metrics are asked for."""
        Gauge(f"{_PREFIX}_{name}", text, registry=self.registry).set_function(read)

    def counter(self, name: str, text: str, read: Callable[[], float]) -> None:
        """A count that somebody else keeps, read when metrics are asked for."""
        self.registry.register(_KeptElsewhere(f"{_PREFIX}_{name}", text, read))

    def counter_by(
        self, name: str, text: str, label: str, read: Callable[[], Mapping[str, float]]
    ) -> None:
        """Counts that somebody else keeps, one for each value of a label."""
        self.registry.register(_KeptElsewhere(f"{_PREFIX}_{name}", text, read, label))

    def add_received(self, server: str, messages: int, size: int) -> None:
        """Messages of one server in a batch, and their payload bytes."""
        self._received(server).inc(messages)
        self._bytes(server).inc(size)
        self.totals["messages_received"] += messages
        self.totals["bytes_received"] += size

    def add_decoded(self, server: str, rows: int, seconds: float) -> None:
        """Rows that a batch of one server gave."""
        self._rows(server).inc(rows)
        self._batches.inc()
        self._decode.observe(seconds)
        self.totals["rows_produced"] += rows
        self.totals["batches_decoded"] += 1

    def add_spooled(self, seconds: float) -> None:
        """One commit to the spool."""
        self._spooling.observe(seconds)

    def add_acknowledged(self, seconds: float) -> None:
        """A batch of rows that was acknowledged so long after its first row had arrived."""
        self._acknowledgement.observe(seconds)

    def add_side_rows(self, table: str, rows: int) -> None:
        """Rows for a side table that were committed to the spool."""
        self._side_rows.labels(table).inc(rows)
        self.side_rows[table] = self.side_rows.get(table, 0) + rows

    def add_dropped(self, rows: int, reason: str) -> None:
        """Rows that were lost, knowingly."""
        self._dropped.labels(reason).inc(rows)
        self.totals["rows_dropped"] += rows

    def add_discarded(self, messages: int, reason: str, server: str, example: str = "") -> None:
        """Whole messages that were lost, knowingly; an example is an edge node."""
        self.totals["messages_discarded"] += messages
        self.add_reason(reason, messages, server, example)

    def add_queue_full(self, server: str, nodes: Mapping[str, int]) -> None:
        """Messages of a server that the queue refused, by edge node; empty for those of none."""
        self.noisiest.add(server, nodes)
        self.add_reason(QUEUE_FULL, sum(nodes.values()), server, max(nodes, key=nodes.__getitem__))

    def add_dead_messages(self, reasons: Mapping[str, int]) -> None:
        """Messages that were held and could not be read."""
        for reason, count in reasons.items():
            self._dead.labels(reason).inc(count)
            self.totals["dead_messages"] += count

    def add_dead_messages_lost(self, count: int) -> None:
        """Messages that could not be read, and are not kept either: there are too many."""
        self._dead_lost.inc(count)

    def add_rebirth(self, reason: str) -> None:
        """A rebirth request that was sent."""
        self._rebirths.labels(reason).inc()
        self.totals["rebirths_requested"] += 1

    def add_reasons(
        self, counts: Counts[Reason], server: str, examples: Mapping[Reason, str]
    ) -> None:
        """Reasons of a batch, with a topic or edge node where one is known.

        Each reason of a server is logged at most every ten seconds.
        """
        for reason, count in counts.items():
            self.add_reason(str(reason), count, server, examples.get(reason, ""))

    def add_reason(self, reason: str, count: int, server: str, example: str = "") -> None:
        """One reason, with how often it occurred and an example's topic or edge node."""
        with self._lock:
            self._remarks.labels(reason).inc(count)
            self.reasons[reason] = self.reasons.get(reason, 0) + count
            if reason in _EXPECTED:
                return
            key = (reason, server)
            count, example = self._with_untold(key, count, example)
            if not self.log_budget.is_due(reason, server, _EACH_REASON):
                self._untold[key] = (count, example)
                return
        _log_reason(reason, count, server, example)

    def _with_untold(self, key: tuple[str, str], count: int, example: str) -> tuple[int, str]:
        before, earlier_example = self._untold.pop(key, (0, ""))
        return before + count, example or earlier_example

    def tell(self, *, at_once: bool = False) -> None:
        """Log what was put off, if it is time: call it now and then, also when nothing occurs.

        `at_once`: at the end, whether it is time or not.
        """
        self.log_budget.tell(at_once=at_once)
        if not self._untold or (self._clock() < self._tell_at and not at_once):
            return
        with self._lock:
            self._tell_at = self._clock() + _TELL_EVERY
            due = [
                key for key in self._untold if at_once or self.log_budget.is_due(*key, _EACH_REASON)
            ]
            told = [(key, self._untold.pop(key)) for key in due]
        for (reason, server), (count, example) in told:
            _log_reason(reason, count, server, example)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"{_PREFIX}_{name}", text, labels, registry=self.registry)


def _log_reason(reason: str, count: int, server: str, example: str) -> None:
    _LOG.warning(
        "%s: %d from %s%s",
        reason,
        count,
        server,
        f", for example on {example}" if example else "",
        extra={"reason": reason, "count": count, "server": server},
    )


class _KeptElsewhere(Collector):
    """A counter whose value is read from another part; with a label one for each of its values."""

    def __init__(
        self,
        name: str,
        text: str,
        read: Callable[[], float | Mapping[str, float]],
        label: str = "",
    ) -> None:
        self._name = name
        self._text = text
        self._read = read
        self._label = label

    def collect(self) -> Iterator[CounterMetricFamily]:
        """The counter with its present value."""
        value = self._read()
        if isinstance(value, (int, float)):
            yield CounterMetricFamily(self._name, self._text, value=value)
            return
        family = CounterMetricFamily(self._name, self._text, labels=[self._label])
        for key, count in value.items():
            family.add_metric([key], count)
        yield family
