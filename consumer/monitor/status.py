"""One picture of a running consumer, for /status, the demo and the last log line."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from consumer.errors import SpoolError
from consumer.monitor.numbers import NUMBERS
from consumer.monitor.snapshot import Snapshot

if TYPE_CHECKING:
    from consumer.delivery import DeliveryStats
    from consumer.monitor.number import Key
    from consumer.pipeline import Consumer

_SHOWN_NODES: Final = 20


def status_of(consumer: Consumer) -> dict[str, Any]:
    """Totals since the start, plus the state of every part. JSON-compatible."""
    now = Snapshot(consumer)
    numbers = _numbers(now)
    telemetry = consumer.telemetry
    return {
        **telemetry.totals,
        "reasons": telemetry.reasons,
        **numbers["", ()],
        "stream_state": str(now.main.state),
        "last_acked_offset": now.main.last_acked_offset,
        **_failure(now.main),
        "queue": numbers["queue", ()] | telemetry.noisiest.status(),
        "spool": {
            **numbers["spool", ()],
            **consumer.watch.status(),
            "dead_letter_shares": {
                str(kind): asdict(share) for (kind,), share in (now.letters or {}).items()
            },
            "overflow": consumer.overflow.status(),
        },
        "side_tables": [
            {
                "table": table,
                "rows_produced": telemetry.by_label("side_rows_produced").get(table, 0),
                "rows_sent": side.stats.rows_sent,
                **numbers["side_tables[]", (table,)],
                "stream_state": str(side.stats.state),
                "failure": side.stats.cause or "",
            }
            for (table,), side in (now.side or {}).items()
        ],
        "gate": consumer.back_pressure.status() | numbers["gate", ()],
        "drill": {"state": consumer.drill.status()["state"], "why": consumer.drill.why_offline},
        "ingest": numbers["ingest", ()],
        "streams": [
            _stream(place, stats) | numbers["streams[]", place]
            for place, stats in now.streams.items()
        ],
        "gaps": numbers["gaps", ()],
        "silent_nodes": numbers["silent_nodes", ()] | {"longest": _silent_longest(consumer)},
        "ledger": _ledger(now),
        "unmended_nodes": consumer.unmended_nodes,
        "servers": [
            {
                "name": connection.server.name,
                "connections": connection.connections,
                "last_error": connection.last_error,
                **numbers["servers[]", place],
            }
            for place, connection in now.servers.items()
        ],
    }


def _numbers(now: Snapshot) -> defaultdict[tuple[str, Key], dict[str, Any]]:
    """The numbers of /status, by their place there and, in a list, the labels of the item.

    A place of which there is no part, such as a gate, has none.
    """
    found: defaultdict[tuple[str, Key], dict[str, Any]] = defaultdict(dict)
    for numbers in NUMBERS:
        for labels, part in (numbers.parts(now) or {}).items():
            for number in numbers.rows.values():
                if number.status:
                    place, key = numbers.place(number)
                    found[place, labels][key] = number.read_status(part)
    return found


def _stream(place: Key, stats: DeliveryStats) -> dict[str, Any]:
    """The part of a stream's status that is in no table of numbers."""
    table, number = place
    return {
        "table": table,
        "stream": int(number),
        "state": str(stats.state),
        "generation": stats.generation,
        "rows_sent": stats.rows_sent,
        "rows_set_aside": stats.rows_set_aside,
        "inflight_rows": stats.inflight_rows,
        "failures": {str(kind): n for kind, n in stats.failures_by_kind.items()},
        **_failure(stats),
    }


def _failure(stats: DeliveryStats) -> dict[str, str]:
    """The first cause of what is wrong, of which kind it is, and what may help."""
    return {
        "failure": stats.cause or "",
        "failure_kind": str(stats.cause_kind or ""),
        "mend": stats.mend,
    }


def _silent_longest(consumer: Consumer) -> list[dict[str, Any]]:
    """The edge nodes that are silent, those that have been for longest first."""
    silent = [
        (node, source.name)
        for source in consumer.sources
        for node in source.fleet.absence.silences.nodes
    ]
    silent.sort(key=lambda each: each[0].since_us)
    return [
        {
            "server": server,
            "group_id": node.group_id,
            "edge_node_id": node.edge_node_id,
            "reason": str(node.reason),
            "since": datetime.fromtimestamp(node.since_us / 1e6, UTC).isoformat(),
        }
        for node, server in silent[:_SHOWN_NODES]
    ]


def _ledger(now: Snapshot) -> dict[str, Any]:
    """The two balances; what is wrong with the spool if they cannot be read."""
    if isinstance(now.ledger, SpoolError):
        return {"balanced": False, "error": str(now.ledger)}
    return now.ledger.to_dict()
