"""One picture of a running consumer, for /status, the demo and the last log line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from consumer.delivery_metrics import streams_status
from consumer.errors import SpoolError
from consumer.gap_metrics import gaps_status
from consumer.side_metrics import side_tables_status

if TYPE_CHECKING:
    from consumer.pipeline import Consumer


def _ledger(consumer: Consumer) -> dict[str, Any]:
    """The two balances; what is wrong with the spool if they cannot be read."""
    try:
        return consumer.balance().to_dict()
    except SpoolError as error:
        return {"balanced": False, "error": str(error)}


def status(consumer: Consumer) -> dict[str, Any]:
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
        "spooled_rows": consumer.spooled_rows,
        "spool": consumer.watch.status() | {"overflow": consumer.overflow.status()},
        "side_tables": side_tables_status(
            consumer.deliveries.side, consumer.spool.pending_rows, telemetry.side_rows
        ),
        "gate": consumer.back_pressure.status(),
        "streams": streams_status(consumer.deliveries),
        "gaps": gaps_status(consumer.gaps),
        "ledger": _ledger(consumer),
        "servers": [
            {
                "name": connection.server.name,
                "connected": connection.connected.is_set(),
                "connections": connection.connections,
                "last_error": connection.last_error,
                "broker_dropped_messages": connection.drops.total,
            }
            for connection in consumer.connections
        ],
    }
