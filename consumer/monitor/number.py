"""Numbers that are read when somebody asks, declared in tables, and told to Prometheus."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Generic, NamedTuple, TypeAlias, TypeVar

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from consumer.pipeline import METRICS_PREFIX

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from prometheus_client import CollectorRegistry
    from prometheus_client.core import Metric

Seen = TypeVar("Seen")
Part = TypeVar("Part")
Key: TypeAlias = tuple[str, ...]
"""The values of the labels of a part; empty where it has no labels."""


@dataclass(frozen=True, slots=True)
class Number(Generic[Part]):
    """A number that is read when somebody asks: a row of the table in docs/operating.md.

    Args:
        help: what it means.
        read: takes it from its part of the program; with `label` several, by its values.
        status: where it is in /status, below its part; empty if it is not there.
        label: what its values are told apart by, beside the labels of its part.
        digits: to which it is rounded in /status; None if it is not.
    """

    kind: ClassVar[str]
    family: ClassVar[type[GaugeMetricFamily | CounterMetricFamily]]
    help: str
    read: Callable[[Part], float | Mapping[Any, float]]
    status: str = ""
    label: str = ""
    digits: int | None = None

    def read_status(self, part: Part) -> Any:
        """Read it for /status. JSON-compatible."""
        value = self.read(part)
        if isinstance(value, Mapping):
            return {str(label): each for label, each in value.items()}
        return value if self.digits is None else round(value, self.digits)


class Gauge(Number[Part]):
    """A number that goes up and down."""

    kind, family = "gauge", GaugeMetricFamily


class Counter(Number[Part]):
    """A number that somebody counts, and that only grows."""

    kind, family = "counter", CounterMetricFamily


Rows: TypeAlias = Mapping[str, Number[Part]]
"""Numbers by their names, without the prefix of all metrics and the `_total` of a counter."""


class Numbers(NamedTuple, Generic[Seen, Part]):
    """Numbers that are read from the same part of the program, or from each of several.

    Args:
        parts: finds the parts, by their values of the labels; None where there is no such thing.
        rows: the numbers.
        labels: what the parts are told apart by.
        status: where they are in /status, `name[]` for a list with an item for each part.
    """

    parts: Callable[[Seen], Mapping[Key, Part] | None]
    rows: Rows[Part]
    labels: tuple[str, ...] = ()
    status: str = ""

    def metrics(self, source: Seen) -> Iterator[Metric]:
        """Read all of them, for Prometheus."""
        parts = self.parts(source)
        if parts is None:
            return
        for name, number in self.rows.items():
            labels = self.labels_of(number)
            metric = number.family(METRICS_PREFIX + name, number.help, labels=labels)
            for key, part in parts.items():
                value = number.read(part)
                if isinstance(value, Mapping):
                    for label, each in value.items():
                        metric.add_metric((*key, label), each)
                else:
                    metric.add_metric(key, value)
            yield metric

    def labels_of(self, number: Number[Part]) -> tuple[str, ...]:
        """Names of the labels that tell the values of a number of this table apart."""
        return (*self.labels, number.label) if number.label else self.labels

    def place(self, number: Number[Part]) -> tuple[str, str]:
        """The object of /status that has a number of these, and its key there."""
        place, _, key = number.status.rpartition(".")
        return ".".join(filter(None, (self.status, place))), key


def expose(
    registry: CollectorRegistry, table: Sequence[Numbers[Seen, Any]], look: Callable[[], Seen]
) -> None:
    """Add numbers to what Prometheus is told; `look` gives their source, once for each scrape."""
    registry.register(_Exposed(table, look))


class _Exposed(Collector, Generic[Seen]):
    def __init__(self, table: Sequence[Numbers[Seen, Any]], look: Callable[[], Seen]) -> None:
        self._table = table
        self._look = look

    def collect(self) -> Iterator[Metric]:
        """Read all numbers, from one source."""
        source = self._look()
        for numbers in self._table:
            yield from numbers.metrics(source)
