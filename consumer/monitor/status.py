"""One picture of a running consumer, for /status, the demo and the last log line."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from consumer.errors import SpoolError
from sparkplug import GapReason, Healing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from consumer.delivery import Delivery
    from consumer.pipeline import Consumer, GapTotals

_SHOWN_NODES: Final = 20


def status_of(consumer: Consumer) -> dict[str, Any]:
    """Totals since the start, plus the state of every part. JSON-compatible."""
    delivery = consumer.delivery.stats()
    telemetry = consumer.telemetry
    return {
        **telemetry.totals,
        "reasons": dict(telemetry.reasons),
        "stream_state": str(delivery.state),
        "rows_sent": delivery.rows_sent,
        "rows_acked": delivery.rows_acked,
        "batches": delivery.calls_sent,
        "failures": delivery.failures,
        "last_acked_offset": delivery.last_acked_offset,
        "failure": delivery.cause or "",
        "failure_kind": str(delivery.cause_kind or ""),
        "mend": delivery.mend,
        "queue": {"bytes": consumer.intake.queued_bytes, **telemetry.noisiest.status()},
        "waiting_messages": consumer.waiting_messages,
        "spooled_rows": consumer.spooled_rows,
        "spool": consumer.watch.status() | {"overflow": consumer.overflow.status()},
        "side_tables": _side_tables_status(
            consumer.deliveries.side, consumer.spool.pending_rows, telemetry.side_rows
        ),
        "gate": consumer.back_pressure.status(),
        "streams": streams_status(consumer.deliveries),
        "gaps": _gaps_status(consumer.gaps),
        "silent_nodes": _silent_nodes(consumer),
        "ledger": _ledger(consumer),
        "unmended_nodes": consumer.unmended_nodes,
        "servers": [
            {
                "name": connection.server.name,
                "connected": connection.connected.is_set(),
                "connections": connection.connections,
                "last_error": connection.last_error,
                "broker_dropped_messages": connection.drops.total,
                "state_answers": connection.own_state.answers,
                "foreign_host_births": connection.own_state.foreign_births,
            }
            for connection in consumer.connections
        ],
    }


def streams_status(deliveries: Iterable[Delivery]) -> list[dict[str, Any]]:
    """One object per stream of every table, for /status."""
    found = []
    for delivery in deliveries:
        for number, stream in enumerate(delivery.streams, start=1):
            stats = stream.stats()
            found.append(
                {
                    "table": delivery.table,
                    "stream": number,
                    "state": str(stats.state),
                    "generation": stats.generation,
                    "rows_sent": stats.rows_sent,
                    "rows_acked": stats.rows_acked,
                    "rows_set_aside": stats.rows_set_aside,
                    "inflight_rows": stats.inflight_rows,
                    "rotations": stats.rotations,
                    "failures": {str(kind): n for kind, n in stats.failures_by_kind.items()},
                    "failure": stats.cause or "",
                    "failure_kind": str(stats.cause_kind or ""),
                    "mend": stats.mend,
                }
            )
    return found


def _gaps_status(totals: GapTotals) -> dict[str, Any]:
    """Gaps found, open and healed, and the messages missing in them, for /status."""
    return {
        "found": {str(reason): totals.found[reason] for reason in GapReason},
        "open": {str(reason): totals.open[reason] for reason in GapReason},
        "healed": {
            str(healing): totals.healed[healing]
            for healing in [each for each in Healing if each is not Healing.OPEN]
        },
        "messages_missing": totals.missing,
        "messages_late": totals.late,
        "history_rows": totals.history_rows,
        "sessions_missed": totals.sessions_missed,
        "unlisted": totals.unlisted,
    }


def _silent_nodes(consumer: Consumer) -> dict[str, Any]:
    """How many edge nodes are silent, and which ones, those that have been for longest first."""
    silent = [
        (node, source.name) for source in consumer.sources for node in source.fleet.silent_nodes
    ]
    silent.sort(key=lambda each: each[0].since_us)
    return {
        "count": len(silent),
        "longest": [
            {
                "server": server,
                "group_id": node.group_id,
                "edge_node_id": node.edge_node_id,
                "reason": str(node.reason),
                "since": datetime.fromtimestamp(node.since_us / 1e6, UTC).isoformat(),
            }
            for node, server in silent[:_SHOWN_NODES]
        ],
    }


def _side_tables_status(
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


def _ledger(consumer: Consumer) -> dict[str, Any]:
    """The two balances; what is wrong with the spool if they cannot be read."""
    try:
        return consumer.balance().to_dict()
    except SpoolError as error:
        return {"balanced": False, "error": str(error)}
