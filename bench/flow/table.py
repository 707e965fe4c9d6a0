"""The figures as docs/performance.md shows them."""

from __future__ import annotations

from typing import Any, Final

_PARTS: Final = ("consumer", "mosquitto", "zerobus", "generator")
_HEAD: Final = (
    "| metrics per message | MQTT | rows/s sent | rows/s landed | latency p50 / p95 / p99, ms |"
    " consumer, % of a core | CPU s per million rows: consumer, mosquitto, server, generator |"
    " most MiB: the same |"
)


def markdown(found: dict[str, Any]) -> str:
    """Two tables: all cases, and the cost of a batch."""
    lines = [
        _HEAD,
        "|---|---|---|---|---|---|---|---|",
        *map(_case, found["cases"]),
        "",
        "| one-metric messages in a batch | CPU of a batch, ms | of a message, µs |",
        "|---|---|---|",
    ]
    batches = found["batches"]
    for messages, cost in batches["cpu_ms_of_a_batch"].items():
        lines.append(
            f"| {int(messages):,} | {cost:.1f} | {batches['cpu_us_per_message'][messages]:,.0f} |"
        )
    return "\n".join(lines)


def _case(found: dict[str, Any]) -> str:
    rate = {None: "flood", 0: f"none, {found['nodes']} nodes"}.get(found["rate"])
    landed = latency = cpu = ""
    if found["rows"]:
        landed = f"{found['rows_per_second']:,.0f}"
        latency = " / ".join(f"{ms:,.0f}" for ms in found["latency_ms"].values())
        cpu = ", ".join(f"{found['cpu_seconds_per_million_rows'][part]:.2f}" for part in _PARTS)
    memory = ", ".join(str(found["peak_memory_mib"][part]) for part in _PARTS)
    cells = (
        str(found["metrics"]),
        f"{found['protocol']}{', TLS' if found['tls'] else ''}",
        rate or f"{found['rate']:,.0f}",
        landed,
        latency,
        f"{found['cpu_percent_of_a_core']['consumer']:.1f}",
        cpu,
        memory,
    )
    return f"| {' | '.join(cells)} |"
