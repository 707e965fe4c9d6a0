"""Metrics that are not counted but read: levels of queues, states, counters kept elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

from consumer.delivery_metrics import StreamMetrics
from consumer.delivery_types import StreamState
from consumer.gap_metrics import GapMetrics
from consumer.ledger_metrics import LedgerMetrics
from consumer.side_metrics import SideTableMetrics
from consumer.spool_opening import damaged_files

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
    watch = consumer.watch
    gauge("spool_fill_ratio", "how full the spool is, 0 to 1", lambda: watch.stats.fill)
    gauge("spool_above_watermark", "1 while the spool or its disk is nearly full",
          lambda: watch.above)  # fmt: skip
    gauge("spool_full", "1 while messages are dropped because the spool has no room",
          lambda: consumer.overflow.active)  # fmt: skip
    gauge("disk_free_bytes", "bytes free on the disk of the spool",
          lambda: watch.stats.disk_free_bytes)  # fmt: skip
    gauge("dead_letter_rows", "rows kept as dead letters",
          lambda: watch.stats.dead_letters)  # fmt: skip
    gauge("dead_letter_bytes", "bytes of rows kept as dead letters",
          lambda: watch.stats.dead_letter_bytes)  # fmt: skip
    gauge("spool_damaged_files", "damaged spool files that were set aside and are still there",
          lambda: len(damaged_files(consumer.spool.path)))  # fmt: skip
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
    gauge("edge_nodes_unheard", "edge nodes not heard of since the connection was lost",
          lambda: sum(fleet.unheard_nodes for fleet in fleets))  # fmt: skip
    consumer.telemetry.registry.register(GapMetrics(consumer.gaps))
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
    consumer.telemetry.counter_by(
        "broker_dropped_messages",
        "messages that an MQTT server discarded while connected, for all its clients",
        "server",
        lambda: {each.server.name: each.drops.total for each in consumer.connections},
    )
    consumer.back_pressure.add_metrics(consumer.telemetry.registry)
    consumer.telemetry.registry.register(StreamMetrics(consumer.deliveries))
    consumer.telemetry.registry.register(LedgerMetrics(consumer.balance))
    if side := consumer.deliveries.side:
        consumer.telemetry.registry.register(SideTableMetrics(side, consumer.spool.pending_rows))
