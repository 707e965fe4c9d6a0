"""Metrics that are not counted but read: levels of queues, states, counters kept elsewhere."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from consumer.delivery import StreamState
from consumer.errors import FailureKind, SpoolError
from consumer.pipeline import ClosedBy, Gate, GateState
from consumer.spool import LetterKind, damaged_files
from sparkplug import GapReason, Healing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from prometheus_client.core import Metric

    from consumer.delivery import Delivery
    from consumer.pipeline import Consumer, GapTotals
    from consumer.spool import Balance, MessageBalance, RowBalance, Spool

_PREFIX: Final = "sparkplug_zerobus"
_PLACE: Final = ["table", "stream"]
_HEALINGS: Final = tuple(each for each in Healing if each is not Healing.OPEN)


def add_metrics(consumer: Consumer) -> None:
    """Add what is read from the consumer's parts whenever somebody asks for metrics."""
    intake, sources = consumer.intake, consumer.sources
    gauge = consumer.telemetry.gauge
    gauge("queued_bytes", "bytes between MQTT and decoding", lambda: intake.queued_bytes)
    gauge("spooled_rows", "rows not yet acknowledged", lambda: consumer.spooled_rows)
    gauge("spool_bytes", "bytes of the spool in use", lambda: consumer.spool.stats().used_bytes)
    gauge(
        "spool_oldest_seconds",
        "age of the oldest batch in the spool",
        lambda: consumer.spool.stats().oldest_age,
    )
    watch = consumer.watch
    gauge("spool_fill_ratio", "how full the spool is, 0 to 1", lambda: watch.stats.fill)
    gauge(
        "spool_above_watermark", "1 while the spool or its disk is nearly full", lambda: watch.above
    )
    gauge(
        "spool_full",
        "1 while messages are dropped because the spool has no room",
        lambda: consumer.overflow.active,
    )
    gauge(
        "disk_free_bytes",
        "bytes free on the disk of the spool",
        lambda: watch.stats.disk_free_bytes,
    )
    gauge("dead_letter_rows", "rows kept as dead letters", lambda: watch.stats.dead_letters)
    gauge(
        "dead_letter_bytes",
        "bytes of rows kept as dead letters",
        lambda: watch.stats.dead_letter_bytes,
    )
    gauge(
        "spool_damaged_files",
        "damaged spool files that were set aside and are still there",
        lambda: len(damaged_files(consumer.spool.path)),
    )
    gauge(
        "servers_connected",
        "MQTT servers connected and subscribed",
        lambda: sum(connection.connected.is_set() for connection in consumer.connections),
    )
    gauge(
        "edge_nodes",
        "edge nodes whose birth was seen",
        lambda: sum(source.fleet.node_count for source in sources),
    )
    gauge(
        "waiting_messages",
        "messages that wait for a missing one, or for a birth",
        lambda: consumer.waiting_messages,
    )
    gauge(
        "tags",
        "tags that present births declare",
        lambda: sum(source.fleet.live_tags for source in sources),
    )
    fleets = [source.fleet for source in sources]
    gauge(
        "duplicate_nodes",
        "edge node ids that two publishers seem to use",
        lambda: sum(len(fleet.alarms.duplicates.alarmed) for fleet in fleets),
    )
    gauge(
        "clock_problems",
        "edge nodes with implausible times, once per kind of problem",
        lambda: sum(fleet.alarms.clock_problems for fleet in fleets),
    )
    gauge(
        "clock_ahead_seconds",
        "most that the clock of an edge node is ahead",
        lambda: max(fleet.alarms.most_ahead for fleet in fleets),
    )
    gauge(
        "clock_behind_seconds",
        "most that the clock of an edge node is behind",
        lambda: max(fleet.alarms.most_behind for fleet in fleets),
    )
    gauge(
        "edge_nodes_unheard",
        "edge nodes not heard of since the connection was lost",
        lambda: sum(fleet.unheard_nodes for fleet in fleets),
    )
    gauge(
        "edge_nodes_silent",
        "edge nodes that say nothing for longer than usual, or answer no rebirth requests",
        lambda: sum(len(fleet.silent_nodes) for fleet in fleets),
    )
    consumer.telemetry.registry.register(_GapMetrics(consumer.gaps))
    stats = consumer.delivery.stats
    gauge(
        "stream_open",
        "1 while a stream to Zerobus is open",
        lambda: stats().state is StreamState.OPENED,
    )
    gauge("inflight_rows", "rows sent and not acknowledged", lambda: stats().inflight_rows)
    gauge(
        "last_acknowledgement_timestamp_seconds",
        "time of the last one, 0 before",
        lambda: stats().last_ack_time or 0.0,
    )
    counter = consumer.telemetry.counter
    counter("rows_sent", "rows sent, repetitions included", lambda: stats().rows_sent)
    counter("rows_acknowledged", "rows acknowledged", lambda: stats().rows_acked)
    counter("rows_set_aside", "rows that Zerobus cannot take", lambda: stats().rows_set_aside)
    counter("calls_sent", "batches sent", lambda: stats().calls_sent)
    counter("delivery_failures", "failures on the way to Zerobus", lambda: stats().failures)
    counter("stream_reconnects", "streams opened after the first", lambda: stats().reconnects)
    consumer.telemetry.counter_by(
        "broker_dropped_messages",
        "messages that an MQTT server discarded while connected, for all its clients",
        "server",
        lambda: {each.server.name: each.drops.total for each in consumer.connections},
    )
    consumer.telemetry.counter_by(
        "state_answers",
        "messages of others on the own STATE topic that were answered",
        "server",
        lambda: {each.server.name: each.own_state.answers for each in consumer.connections},
    )
    consumer.telemetry.counter_by(
        "foreign_host_births",
        "messages that said this host is online, and were not its own",
        "server",
        lambda: {each.server.name: each.own_state.foreign_births for each in consumer.connections},
    )
    if consumer.back_pressure.gate is not None:
        consumer.telemetry.registry.register(
            _GateMetrics(consumer.back_pressure.gate, time.monotonic)
        )
    consumer.telemetry.registry.register(_DeadLetterMetrics(consumer.spool))
    consumer.telemetry.registry.register(StreamMetrics(consumer.deliveries))
    consumer.telemetry.registry.register(_LedgerMetrics(consumer.balance))
    if side := consumer.deliveries.side:
        consumer.telemetry.registry.register(_SideTableMetrics(side, consumer.spool.pending_rows))


class StreamMetrics(Collector):
    """States and counters of all tables' streams, read when metrics are asked for.

    Streams of a table are numbered from 1.
    """

    def __init__(self, deliveries: Iterable[Delivery]) -> None:
        self._deliveries = tuple(deliveries)

    def collect(self) -> Iterator[Metric]:
        """All metrics; every state and class has a value, 0 when it is not."""
        state = GaugeMetricFamily(
            f"{_PREFIX}_stream_state",
            "1 for the state that the stream is in",
            labels=[*_PLACE, "state"],
        )
        failures = CounterMetricFamily(
            f"{_PREFIX}_stream_failures",
            "failures of the stream, by class",
            labels=[*_PLACE, "kind"],
        )
        rows = CounterMetricFamily(
            f"{_PREFIX}_stream_rows_acknowledged", "rows acknowledged on the stream", labels=_PLACE
        )
        rotations = CounterMetricFamily(
            f"{_PREFIX}_stream_rotations", "streams that the service ended in order", labels=_PLACE
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


class _GapMetrics(Collector):
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


class _SideTableMetrics(Collector):
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
            **{
                n: GaugeMetricFamily(f"{_PREFIX}_side_{n}", t, labels=["table"])
                for n, t in gauges.items()
            },
            **{
                n: CounterMetricFamily(f"{_PREFIX}_side_{n}", t, labels=["table"])
                for n, t in counters.items()
            },
        }
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


class _DeadLetterMetrics(Collector):
    """What each kind of dead letters takes of its share."""

    def __init__(self, spool: Spool) -> None:
        self._spool = spool

    def collect(self) -> Iterator[Metric]:
        """All kinds, of one moment."""
        try:
            shares = self._spool.dead_letter_shares()
        except SpoolError:
            return  # /status says what is wrong
        size = GaugeMetricFamily(
            f"{_PREFIX}_dead_letter_kind_bytes", "bytes of dead letters of a kind", labels=["kind"]
        )
        most = GaugeMetricFamily(
            f"{_PREFIX}_dead_letter_kind_max_bytes", "bytes that they may have", labels=["kind"]
        )
        dropped = CounterMetricFamily(
            f"{_PREFIX}_dead_letter_rows_dropped",
            "rows of a kind that found no room there",
            labels=["kind"],
        )
        for kind, share in shares.items():
            size.add_metric([kind], share.size)
            most.add_metric([kind], share.max_bytes)
            if kind is not LetterKind.UNREADABLE:
                dropped.add_metric([kind], share.dropped)
        yield from (size, most, dropped)


class _GateMetrics(Collector):
    """What the gate counts."""

    def __init__(self, gate: Gate, clock: Callable[[], float]) -> None:
        self._gate = gate
        self._clock = clock

    def collect(self) -> Iterator[GaugeMetricFamily | CounterMetricFamily]:
        """The state, how long it was closed in all, and how often for what."""
        gate = self._gate
        yield GaugeMetricFamily(
            f"{_PREFIX}_gate_closed",
            "1 while the gate to the edge is closing or closed",
            value=float(gate.state is not GateState.OPEN),
        )
        yield CounterMetricFamily(
            f"{_PREFIX}_gate_closed_seconds",
            "time for which it was",
            value=gate.closed_seconds(self._clock()),
        )
        closings = CounterMetricFamily(
            f"{_PREFIX}_gate_closings", "how often it closed", labels=["reason"]
        )
        for by in ClosedBy:
            closings.add_metric([str(by)], gate.closings[by])
        yield closings


class _LedgerMetrics(Collector):
    """Every account of every server and table, and how much is not explained."""

    def __init__(self, balance: Callable[[], Balance]) -> None:
        self._balance = balance

    def collect(self) -> Iterator[Metric]:
        """All of one moment."""
        try:
            balance = self._balance()
        except SpoolError:
            return  # /status says what is wrong
        yield from _accounts(
            balance.messages,
            ("messages", "server", "received"),
            ("discarded", "messages that were not read and are not kept"),
        )
        yield from _accounts(
            balance.rows,
            ("rows", "table", "produced"),
            ("dropped", "rows that were lost or deleted"),
        )
        yield GaugeMetricFamily(
            f"{_PREFIX}_ledger_difference",
            "messages and rows that no account explains",
            value=balance.difference,
        )


def _accounts(
    parts: Mapping[str, MessageBalance] | Mapping[str, RowBalance],
    of: tuple[str, str, str],
    lost: tuple[str, str],
) -> Iterator[Metric]:
    """The accounts of one balance, and by reason the one of what was lost.

    Args:
        parts: by server or table.
        of: what is counted, what the parts are, and the account that is the sum.
        lost: that account, and what it means.
    """
    what, label, whole = of
    account_lost, meaning = lost
    amounts = GaugeMetricFamily(
        f"{_PREFIX}_ledger_{what}",
        f"{what} since the spool was made: {whole} is the sum of all other accounts",
        labels=[label, "account"],
    )
    reasons = CounterMetricFamily(
        f"{_PREFIX}_ledger_{what}_{account_lost}", meaning, labels=[label, "reason"]
    )
    for name, part in parts.items():
        accounts = part.to_dict()
        del accounts["difference"]
        for reason, amount in accounts.pop(f"{account_lost}_by_reason").items():
            reasons.add_metric([name, reason], amount)
        for account, amount in accounts.items():
            amounts.add_metric([name, account], amount)
    yield from (amounts, reasons)
