"""Diagnostics as plain text, in the layout that operators of the Ignition module know."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

from fastapi import APIRouter, Depends
from starlette.responses import PlainTextResponse

from consumer.http.access import needs
from consumer.http.api import TheConsumer, effective
from consumer.http.errors import answer
from consumer.http.keys import Role

if TYPE_CHECKING:
    from consumer.pipeline import Consumer

router: Final = APIRouter(tags=["health"], dependencies=[Depends(needs(Role.READER))])


@router.get("/diagnostics", response_class=PlainTextResponse)
@router.get(
    "/system/zerobus/diagnostics", response_class=PlainTextResponse, include_in_schema=False
)
def diagnostics(consumer: TheConsumer) -> PlainTextResponse:
    """How delivery to Zerobus is, and what waits for it."""
    return PlainTextResponse("\n".join(_lines(consumer)) + "\n")


@router.get("/config")
def config(consumer: TheConsumer) -> Any:
    """The configuration in force, its secrets masked."""
    return answer(effective(consumer))


def _lines(consumer: Consumer) -> list[str]:
    stats, spool = consumer.main_delivery.stats(), consumer.watch.stats
    totals = consumer.telemetry.totals
    last = _ago(stats.last_ack_time)
    return [
        "=== Zerobus Module Diagnostics ===",
        "Module Enabled: true",
        "",
        "=== Zerobus Client Diagnostics ===",
        f"Initialized: {_flag(consumer.alive)}",
        f"Connected: {_flag(consumer.main_delivery.is_open)}",
        f"Stream ID: {consumer.main_delivery.table}#{stats.generation}",
        f"Stream State: {stats.state}",
        f"Total Events Sent: {stats.rows_sent}",
        f"Total Batches Sent: {stats.calls_sent}",
        f"Total Failures: {stats.failures}",
        f"Last Acked Offset: {stats.last_acked_offset}",
        f"Last Successful Send: {last}",
        "",
        "=== Event Processing Service Diagnostics ===",
        f"Running: {_flag(consumer.alive)}",
        f"Queue Size: {spool.used_bytes}/{spool.max_bytes}",
        f"Total Events Received: {totals['rows_produced']}",
        f"Total Events Dropped: {totals['rows_dropped']}",
        f"Total Batches Flushed: {stats.calls_sent}",
        f"Last Flush: {last}",
    ]


def _flag(value: bool) -> str:
    return "true" if value else "false"


def _ago(at: float | None) -> str:
    return "Never" if at is None else f"{max(0, int(time.time() - at))} seconds ago"
