"""Metrics that are not counted but read: levels of queues, states, counters kept elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

from consumer.delivery_metrics import StreamMetrics
from consumer.delivery_types import StreamState
from consumer.ledger_metrics import LedgerMetrics
from consumer.side_metrics import SideTableMetrics

if TYPE_CHECKING:
    from collections.abc import Sequence

    from consumer.inbox import Inbox
    from consumer.pipeline import Consumer
    from consumer.source import Source


def add_gauges(consumer: Consumer, inbox: Inbox, sources: Sequence[Source]) -> None:
    """Add what is read from the consumer's parts whenever somebody asks for metrics."""
    gauge = consumer.telemetry.gauge
    gauge("queued_bytes", "bytes between MQTT and decoding", lambda: inbox.queued_bytes)
    gauge("spooled_rows", "rows not yet acknowledged", lambda: consumer.spooled_rows)
    gauge("spool_bytes", "bytes of the spool in use", lambda: consumer.spool.stats().used_bytes)
    gauge("spool_oldest_seconds", "age of the oldest batch in the spool",
          lambda: consumer.spool.stats().oldest_age)  # fmt: skip
    gauge(
        "servers_connected",
        "MQTT servers connected and subscribed",
        lambda: sum(connection.connected.is_set() for connection in consumer.connections),
    )
    gauge("edge_nodes", "edge nodes whose birth was seen",
          lambda: sum(source.fleet.node_count for source in sources))  # fmt: skip
    gauge("waiting_messages", "messages that wait for a missing one, or for a birth",
          lambda: sum(source.fleet.held_messages for source in sources))  # fmt: skip
    gauge("tags", "tags that present births declare",
          lambda: sum(source.fleet.live_tags for source in sources))  # fmt: skip
    fleets = [source.fleet for source in sources]
    gauge("duplicate_nodes", "edge node ids that two publishers seem to use",
          lambda: sum(len(fleet.alarms.duplicates.alarmed) for fleet in fleets))  # fmt: skip
    gauge("clock_problems", "edge nodes with implausible times, once per kind of problem",
          lambda: sum(fleet.alarms.clock_problems for fleet in fleets))  # fmt: skip
    gauge("clock_ahead_seconds", "most that the clock of an edge node is ahead",
          lambda: max(fleet.alarms.most_ahead for fleet in fleets))  # fmt: skip
    gauge("clock_behind_seconds", "most that the clock of an edge node is behind",
          lambda: max(fleet.alarms.most_behind for fleet in fleets))  # fmt: skip
    stats = consumer.delivery.stats
    gauge("stream_open", "1 while a stream to Zerobus is open",
          lambda: stats().state is StreamState.OPENED)  # fmt: skip
    gauge("inflight_rows", "rows sent and not acknowledged", lambda: stats().inflight_rows)
    gauge("last_acknowledgement_timestamp_seconds", "time of the last one, 0 before",
          lambda: stats().last_ack_time or 0.0)  # fmt: skip
    counter = consumer.telemetry.counter
    counter("rows_sent", "rows sent, repetitions included", lambda: stats().rows_sent)
    counter("rows_acknowledged", "rows acknowledged", lambda: stats().rows_acked)
    counter("rows_set_aside", "rows that Zerobus cannot take", lambda: stats().rows_set_aside)
    counter("calls_sent", "batches sent", lambda: stats().calls_sent)
    counter("delivery_failures", "failures on the way to Zerobus", lambda: stats().failures)
    counter("stream_reconnects", "streams opened after the first", lambda: stats().reconnects)
    consumer.telemetry.registry.register(StreamMetrics(consumer.deliveries))
    consumer.telemetry.registry.register(LedgerMetrics(consumer.balance))
    if side := consumer.deliveries.side:
        consumer.telemetry.registry.register(SideTableMetrics(side, consumer.spool.pending_rows))
