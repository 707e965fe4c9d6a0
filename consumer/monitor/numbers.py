"""The table of all numbers that are read from a consumer, for /metrics and for /status.

What is counted while messages flow is declared by the pipeline (`COUNTED`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from consumer.delivery import StreamState
from consumer.errors import FailureKind
from consumer.monitor.number import Counter, Gauge, Numbers, expose
from consumer.monitor.snapshot import Snapshot
from consumer.spool import damaged_files
from sparkplug import GapReason, Healing

if TYPE_CHECKING:
    from collections.abc import Sequence

    from consumer.delivery import DeliveryStats, TableDelivery
    from consumer.monitor.number import Rows
    from consumer.monitor.snapshot import SideTable
    from consumer.pipeline import BackPressure, Connection, Consumer, GapTotals, Posts
    from consumer.spool import Balance, DeadLetterShare, MessageBalance, RowBalance, SpoolStats
    from sparkplug import Fleet


def _accounts(part: MessageBalance | RowBalance) -> dict[str, int]:
    """The amounts of all accounts: what is derived from them is left out."""
    derived = {"difference", "discarded_by_reason", "dropped_by_reason"}
    return {name: amount for name, amount in part.to_dict().items() if name not in derived}


_CONSUMER: Final[Rows[Consumer]] = {
    "start_timestamp_seconds": Gauge(
        "time when the consumer was started", lambda it: it.telemetry.started_at
    ),
    "log_lines_left_out": Counter(
        "lines that the log has not, because there were too many of their kind",
        lambda it: dict(it.telemetry.log_budget.left_out),
        label="kind",
    ),
    "queued_bytes": Gauge(
        "bytes between MQTT and decoding", lambda it: it.intake.queued_bytes, "queue.bytes"
    ),
    "waiting_messages": Gauge(
        "messages that wait for a missing one, or for a birth",
        lambda it: it.waiting_messages,
        "waiting_messages",
    ),
    "spooled_rows": Gauge("rows not yet acknowledged", lambda it: it.spooled_rows, "spooled_rows"),
    "spool_full": Gauge(
        "1 while messages are dropped because the spool has no room", lambda it: it.overflow.active
    ),
    "spool_above_watermark": Gauge(
        "1 while the spool or its disk is nearly full",
        lambda it: it.watch.above,
        "spool.above_watermark",
    ),
    "spool_damaged_files": Gauge(
        "damaged spool files that were set aside and are still there",
        lambda it: len(damaged_files(it.spool.path)),
    ),
    "servers_connected": Gauge(
        "MQTT servers connected and subscribed",
        lambda it: sum(each.connected.is_set() for each in it.connections),
    ),
}

_SPOOL: Final[Rows[SpoolStats]] = {
    "spool_bytes": Gauge("bytes of the spool in use", lambda it: it.used_bytes, "used_bytes"),
    "spool_fill_ratio": Gauge(
        "how full the spool is, 0 to 1", lambda it: it.fill, "fill_ratio", digits=4
    ),
    "spool_oldest_seconds": Gauge(
        "age of the oldest batch in the spool", lambda it: it.oldest_age, "oldest_seconds", digits=1
    ),
    "disk_free_bytes": Gauge(
        "bytes free on the disk of the spool", lambda it: it.disk_free_bytes, "disk_free_bytes"
    ),
    "dead_letter_rows": Gauge(
        "rows kept as dead letters", lambda it: it.dead_letters, "dead_letter_rows"
    ),
    "dead_letter_bytes": Gauge(
        "bytes of rows kept as dead letters", lambda it: it.dead_letter_bytes, "dead_letter_bytes"
    ),
}

_LETTERS: Final[Rows[DeadLetterShare]] = {
    "dead_letter_kind_bytes": Gauge("bytes of dead letters of a kind", lambda it: it.size),
    "dead_letter_kind_max_bytes": Gauge("bytes that they may have", lambda it: it.max_bytes),
}

_ROW_LETTERS: Final[Rows[DeadLetterShare]] = {
    "dead_letter_rows_dropped": Counter(
        "rows of a kind that found no room there", lambda it: it.dropped
    ),
}

_GATE: Final[Rows[BackPressure]] = {
    "gate_closed": Gauge(
        "1 while the gate to the edge is closing or closed", lambda it: not it.is_open
    ),
    "gate_closed_seconds": Counter(
        "time for which it was", lambda it: it.closed_seconds, "closed_seconds", digits=3
    ),
    "gate_closings": Counter(
        "how often it closed", lambda it: it.closings, "closings", label="reason"
    ),
}

_INGEST: Final[Rows[Posts]] = {
    "ingest_posts": Counter(
        "posts that were answered, by HTTP status", lambda it: dict(it.statuses), label="status"
    ),
    "ingest_events_accepted": Counter(
        "events over HTTP that were committed", lambda it: it.accepted, "events_accepted"
    ),
    "ingest_events_dropped": Counter(
        "events over HTTP that were not, in posts that can be read",
        lambda it: dict(it.dropped),
        "events_dropped",
        label="reason",
    ),
    "ingest_posts_under_way": Gauge(
        "posts that are read, or wait for their commit", lambda it: it.under_way, "posts_under_way"
    ),
    "ingest_bytes": Gauge("bytes of their bodies", lambda it: it.bytes, "bytes"),
    "ingest_wait_seconds": Counter(
        "time for which posts waited for their commits, all together",
        lambda it: it.wait_seconds,
        "wait_seconds",
        digits=3,
    ),
}

_SERVER: Final[Rows[Connection]] = {
    "server_connected": Gauge(
        "1 while the MQTT server is connected and subscribed",
        lambda it: it.connected.is_set(),
        "connected",
    ),
    "broker_dropped_messages": Counter(
        "messages that an MQTT server discarded while connected, for all its clients",
        lambda it: it.drops.total,
        "broker_dropped_messages",
    ),
    "state_answers": Counter(
        "messages of others on the own STATE topic that were answered",
        lambda it: it.own_state.answers,
        "state_answers",
    ),
    "foreign_host_births": Counter(
        "messages that said this host is online, and were not its own",
        lambda it: it.own_state.foreign_births,
        "foreign_host_births",
    ),
}

_FLEETS: Final[Rows[Sequence[Fleet]]] = {
    "edge_nodes": Gauge(
        "edge nodes whose birth was seen", lambda it: sum(each.gauges.node_count for each in it)
    ),
    "tags": Gauge(
        "tags that present births declare", lambda it: sum(each.gauges.live_tags for each in it)
    ),
    "edge_nodes_silent": Gauge(
        "edge nodes that say nothing for longer than usual, or answer no rebirth requests",
        lambda it: sum(len(each.absence.silences.nodes) for each in it),
        "silent_nodes.count",
    ),
    "edge_nodes_unheard": Gauge(
        "edge nodes not heard of since the connection was lost",
        lambda it: sum(each.gauges.unheard_nodes for each in it),
    ),
    "duplicate_nodes": Gauge(
        "edge node ids that two publishers seem to use",
        lambda it: sum(len(each.alarms.duplicates.alarmed) for each in it),
    ),
    "clock_problems": Gauge(
        "edge nodes with implausible times, once per kind of problem",
        lambda it: sum(each.alarms.clock_problems for each in it),
    ),
    "clock_ahead_seconds": Gauge(
        "most that the clock of an edge node is ahead",
        lambda it: max(each.alarms.most_ahead for each in it),
    ),
    "clock_behind_seconds": Gauge(
        "most that the clock of an edge node is behind",
        lambda it: max(each.alarms.most_behind for each in it),
    ),
}

_GAPS: Final[Rows[GapTotals]] = {
    "gaps": Counter(
        "gaps found",
        lambda it: {each: it.found[each] for each in GapReason},
        "found",
        label="reason",
    ),
    "gaps_open": Gauge(
        "gaps open now",
        lambda it: {each: it.open[each] for each in GapReason},
        "open",
        label="reason",
    ),
    "gaps_healed": Counter(
        "gaps healed",
        lambda it: {each: it.healed[each] for each in Healing if each is not Healing.OPEN},
        "healed",
        label="healing",
    ),
    "messages_missing": Counter(
        "messages missing in gaps, modulo 256 each", lambda it: it.missing, "messages_missing"
    ),
    "missing_messages_late": Counter(
        "of these, those that came late", lambda it: it.late, "messages_late"
    ),
    "gap_history_rows": Counter(
        "rows of history of times within gaps", lambda it: it.history_rows, "history_rows"
    ),
    "sessions_missed": Counter(
        "sessions of edge nodes not seen", lambda it: it.sessions_missed, "sessions_missed"
    ),
    "gaps_unlisted": Counter(
        "gaps without a record of their own", lambda it: it.unlisted, "unlisted"
    ),
}

_MAIN: Final[Rows[DeliveryStats]] = {
    "stream_open": Gauge(
        "1 while a stream to Zerobus is open", lambda it: it.state is StreamState.OPENED
    ),
    "inflight_rows": Gauge("rows sent and not acknowledged", lambda it: it.inflight_rows),
    "last_acknowledgement_timestamp_seconds": Gauge(
        "time of the last one, 0 before", lambda it: it.last_ack_time or 0.0
    ),
    "rows_sent": Counter("rows sent, repetitions included", lambda it: it.rows_sent, "rows_sent"),
    "calls_sent": Counter("batches sent", lambda it: it.calls_sent, "batches"),
    "rows_acknowledged": Counter("rows acknowledged", lambda it: it.rows_acked, "rows_acked"),
    "rows_set_aside": Counter("rows that Zerobus cannot take", lambda it: it.rows_set_aside),
    "delivery_failures": Counter(
        "failures on the way to Zerobus", lambda it: it.failures, "failures"
    ),
    "stream_reconnects": Counter("streams opened after the first", lambda it: it.reconnects),
}

_STREAM: Final[Rows[DeliveryStats]] = {
    "stream_state": Gauge(
        "1 for the state that the stream is in",
        lambda it: {each: it.state is each for each in StreamState},
        label="state",
    ),
    "stream_failures": Counter(
        "failures of the stream, by class",
        lambda it: {each: it.failures_by_kind.get(each, 0) for each in FailureKind},
        label="kind",
    ),
    "stream_rows_acknowledged": Counter(
        "rows acknowledged on the stream", lambda it: it.rows_acked, "rows_acked"
    ),
    "stream_rotations": Counter(
        "streams that the service ended in order", lambda it: it.rotations, "rotations"
    ),
}

_TABLE: Final[Rows[TableDelivery]] = {
    "delivery_paused": Gauge(
        "1 while delivery to the table is paused by somebody", lambda it: it.paused is not None
    ),
}

_SIDE: Final[Rows[SideTable]] = {
    "side_stream_open": Gauge(
        "1 while a stream of the side table is open",
        lambda it: it.stats.state is StreamState.OPENED,
    ),
    "side_spooled_rows": Gauge(
        "rows of the side table not yet acknowledged", lambda it: it.spooled_rows, "spooled_rows"
    ),
    "side_rows_acknowledged": Counter(
        "rows of the side table acknowledged", lambda it: it.stats.rows_acked, "rows_acked"
    ),
    "side_rows_set_aside": Counter(
        "rows of the side table that Zerobus cannot take", lambda it: it.stats.rows_set_aside
    ),
    "side_delivery_failures": Counter(
        "failures on the way of the side table's rows", lambda it: it.stats.failures, "failures"
    ),
}

_MESSAGES: Final[Rows[MessageBalance]] = {
    "ledger_messages": Gauge(
        "messages since the spool was made: received is the sum of all other accounts",
        _accounts,
        label="account",
    ),
    "ledger_messages_discarded": Counter(
        "messages that were not read and are not kept", lambda it: it.discarded, label="reason"
    ),
}

_ROWS: Final[Rows[RowBalance]] = {
    "ledger_rows": Gauge(
        "rows since the spool was made: produced is the sum of all other accounts",
        _accounts,
        label="account",
    ),
    "ledger_rows_dropped": Counter(
        "rows that were lost or deleted", lambda it: it.dropped, label="reason"
    ),
}

_BALANCE: Final[Rows[Balance]] = {
    "ledger_difference": Gauge(
        "messages and rows that no account explains", lambda it: it.difference
    ),
}

NUMBERS: Final[tuple[Numbers[Snapshot, Any], ...]] = (
    Numbers(lambda now: {(): now.consumer}, _CONSUMER),
    Numbers(lambda now: {(): now.spool}, _SPOOL, status="spool"),
    Numbers(lambda now: now.letters, _LETTERS, ("kind",)),
    Numbers(lambda now: now.letters_of_rows, _ROW_LETTERS, ("kind",)),
    Numbers(lambda now: now.gate, _GATE, status="gate"),
    Numbers(lambda now: {(): now.consumer.posts}, _INGEST, status="ingest"),
    Numbers(lambda now: now.servers, _SERVER, ("server",), "servers[]"),
    Numbers(lambda now: {(): now.fleets}, _FLEETS),
    Numbers(lambda now: {(): now.consumer.gaps}, _GAPS, status="gaps"),
    Numbers(lambda now: {(): now.main}, _MAIN),
    Numbers(lambda now: now.streams, _STREAM, ("table", "stream"), "streams[]"),
    Numbers(lambda now: now.deliveries, _TABLE, ("table",)),
    Numbers(lambda now: now.side, _SIDE, ("table",), "side_tables[]"),
    Numbers(lambda now: now.messages, _MESSAGES, ("server",)),
    Numbers(lambda now: now.rows, _ROWS, ("table",)),
    Numbers(lambda now: now.balance, _BALANCE),
)
"""The tables of all numbers, in the order of the documentation."""


def add_metrics(consumer: Consumer) -> None:
    """Add what is read from the consumer's parts whenever somebody asks for metrics."""
    expose(consumer.telemetry.registry, NUMBERS, lambda: Snapshot(consumer))
