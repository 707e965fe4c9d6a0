"""What the consumer counts, per batch: Prometheus metrics and one summary for people.

Naming rule: `sparkplug_zerobus_<what>_<unit>`, counters end in `_total`. What is not read,
or only with a remark, is counted under its `reason` in remarks_total; rows that were lost
in rows_dropped_total. All that is counted here is declared in `COUNTED`; what is only read when
somebody asks is declared by the room `monitor`.
"""

from __future__ import annotations

import time
from functools import cache
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from prometheus_client import CollectorRegistry, Counter, Histogram

from consumer.log_budget import LogBudget
from consumer.pipeline.noisiest import Noisiest
from consumer.pipeline.remarks import Remarks

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

METRICS_PREFIX: Final = "sparkplug_zerobus_"
QUEUE_FULL: Final = "queue_full"
"""Reason: a message was refused because more comes than can be read."""

_BATCH_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
_AGES: Final = (
    *(0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.75, 1.0, 1.5, 2.5, 5.0, 10.0),
    *(30.0, 60.0, 300.0, 1800.0, 3600.0, 21600.0, 86400.0),
)
"""Some are of what waited in the spool while Zerobus, or the consumer, was away."""


class Counted(NamedTuple):
    """A number that is counted while messages flow: a row of the table in docs/operating.md.

    Args:
        help: what it means.
        labels: what its values are told apart by, at most one thing.
        status: key in /status of the sum over all values of the label; empty if it is not there.
        buckets: their upper bounds, in seconds, which make it a histogram.
    """

    help: str
    labels: tuple[str, ...] = ()
    status: str = ""
    buckets: tuple[float, ...] = ()

    @property
    def kind(self) -> Literal["counter", "histogram"]:
        """The type of the metric, in the words of Prometheus."""
        return "histogram" if self.buckets else "counter"


COUNTED: Final[Mapping[str, Counted]] = {
    "messages_received": Counted(
        "MQTT messages taken from the queue", ("server",), "messages_received"
    ),
    "received_bytes": Counted("payload bytes of those messages", ("server",), "bytes_received"),
    "rows_produced": Counted("rows made from metrics", ("server",), "rows_produced"),
    "side_rows_produced": Counted("rows made for side tables", ("table",)),
    "batches_decoded": Counted("batches decoded", (), "batches_decoded"),
    "remarks": Counted("messages or metrics not read, by reason", ("reason",)),
    "rebirths_requested": Counted("rebirth requests sent", ("reason",), "rebirths_requested"),
    "rows_dropped": Counted("rows that were lost, by reason", ("reason",), "rows_dropped"),
    "dead_messages": Counted(
        "messages held in vain, now dead letters", ("reason",), "dead_messages"
    ),
    "dead_messages_lost": Counted("dead messages beyond what is kept"),
    "decode_seconds": Counted(
        "time from a batch of payloads, or of posted events, to rows that are not encoded yet",
        buckets=_BATCH_SECONDS,
    ),
    "spool_commit_seconds": Counted(
        "time to encode the rows of a batch and to commit them to the spool",
        buckets=_BATCH_SECONDS,
    ),
    "acknowledgement_seconds": Counted(
        "time from the arrival of a batch's first row to the acknowledgement of its last",
        buckets=_AGES,
    ),
}
"""All that is counted here, by names without `METRICS_PREFIX` and the `_total` of a counter."""


class Telemetry:
    """Counters of one consumer. Thread-safe; `add_*` is called once per batch.

    Args:
        clock: monotonic seconds.
        budget: that of the log; one of its own if there is none.

    Attributes:
        registry: of everything that is exposed of this consumer.
        log_budget: what all parts of the consumer may log of what others cause.
        messages_discarded: whole messages that were lost since the start, knowingly.
        remarks: what was not read, or only with a remark, is counted and logged there.
        noisiest: whose messages the queue refused.
        started_at: when it was made, with the consumer; seconds since 1970.
        AGES: upper bounds of the ages of `acknowledgement_ages`, in seconds.
    """

    AGES: Final = _AGES

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, budget: LogBudget | None = None
    ) -> None:
        self.registry = CollectorRegistry()
        self.log_budget = budget or LogBudget(clock)
        self.started_at = time.time()
        self.messages_discarded = 0
        self.noisiest = Noisiest()
        self._counters = counters = {
            name: Counter(METRICS_PREFIX + name, each.help, each.labels, registry=self.registry)
            for name, each in COUNTED.items()
            if each.kind == "counter"
        }
        self._histograms = {
            name: Histogram(
                METRICS_PREFIX + name, each.help, registry=self.registry, buckets=each.buckets
            )
            for name, each in COUNTED.items()
            if each.kind == "histogram"
        }
        # Looking one up by its label costs more than counting.
        self._labelled = cache(lambda name, label: counters[name].labels(label))
        self.remarks = Remarks(
            lambda reason, count: self._labelled("remarks", reason).inc(count),
            self.log_budget,
            clock,
        )

    @property
    def totals(self) -> dict[str, int]:
        """Sums over all labels since the start, by their keys in /status."""
        return {
            **{
                each.status: sum(self.by_label(name).values())
                for name, each in COUNTED.items()
                if each.status
            },
            "messages_discarded": self.messages_discarded,
        }

    @property
    def acknowledgement_ages(self) -> list[float]:
        """How many batches were acknowledged since the start, by their age.

        One number for each of `AGES`, ages up to it and beyond the one before, and one for those
        beyond all.
        """
        counts = [
            sample.value
            for family in self._histograms["acknowledgement_seconds"].collect()
            for sample in family.samples
            if sample.name.endswith("_bucket")
        ]
        return [one - other for one, other in zip(counts, [0.0, *counts], strict=False)]

    @property
    def reasons(self) -> dict[str, int]:
        """Counts by reason of what was not read, or only with a remark, since the start."""
        return self.by_label("remarks")

    def by_label(self, counter: str) -> dict[str, int]:
        """A counter of `COUNTED` since the start, by what it tells apart: server, table, reason."""
        return {
            next(iter(sample.labels.values()), ""): int(sample.value)
            for family in self._counters[counter].collect()
            for sample in family.samples
            if sample.name.endswith("_total")
        }

    def add_received(self, server: str, messages: int, size: int) -> None:
        """Messages of one server in a batch, and their payload bytes."""
        self._labelled("messages_received", server).inc(messages)
        self._labelled("received_bytes", server).inc(size)

    def add_decoded(self, server: str, rows: int, seconds: float) -> None:
        """Rows that a batch of one server gave, and the seconds until they could be encoded."""
        self._labelled("rows_produced", server).inc(rows)
        self._counters["batches_decoded"].inc()
        self._histograms["decode_seconds"].observe(seconds)

    def add_spooled(self, seconds: float) -> None:
        """Count a commit to the spool, and observe the seconds that it and encoding took."""
        self._histograms["spool_commit_seconds"].observe(seconds)

    def add_acknowledged(self, seconds: float) -> None:
        """A batch of rows that was acknowledged so long after its first row had arrived."""
        self._histograms["acknowledgement_seconds"].observe(seconds)

    def add_side_rows(self, table: str, rows: int) -> None:
        """Rows for a side table that were committed to the spool."""
        self._labelled("side_rows_produced", table).inc(rows)

    def add_dropped(self, rows: int, reason: str) -> None:
        """Count rows that were lost, knowingly."""
        self._labelled("rows_dropped", reason).inc(rows)

    def add_discarded(self, messages: int, reason: str, server: str, example: str = "") -> None:
        """Count whole messages that were lost, knowingly; `example` is an edge node they are of."""
        self.messages_discarded += messages
        self.remarks.note(reason, messages, server, example)

    def add_queue_full(self, server: str, nodes: Mapping[str, int]) -> None:
        """Messages of a server that the queue refused, by edge node; empty for those of none."""
        self.noisiest.count(server, nodes)
        self.remarks.note(
            QUEUE_FULL, sum(nodes.values()), server, max(nodes, key=nodes.__getitem__)
        )

    def add_dead_messages(self, reasons: Mapping[str, int]) -> None:
        """Messages that were held and could not be read."""
        for reason, count in reasons.items():
            self._labelled("dead_messages", reason).inc(count)

    def add_dead_messages_lost(self, count: int) -> None:
        """Messages that could not be read, and are not kept either: there are too many."""
        self._counters["dead_messages_lost"].inc(count)

    def add_rebirth(self, reason: str) -> None:
        """A rebirth request that was sent."""
        self._labelled("rebirths_requested", reason).inc()
