"""From end to end: edge nodes -> Mosquitto -> consumer -> Databricks SDK -> Delta table.

Everything is real and a process of its own; the spool is on, with `sync: full`.
`python bench/end_to_end.py --metrics 1 --protocol 5 --tls --rate 10000 --seconds 10` is one
case, without `--rate` a flood; `--all` is all that `make bench` runs.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from flow import batch_cost
from flow.measurement import Case, measure
from flow.table import markdown

if TYPE_CHECKING:
    from collections.abc import Callable

CASES: Final = (
    *(Case(metrics, protocol) for protocol in ("5", "3.1.1") for metrics in (1, 10, 100)),
    Case(1, tls=True),
    Case(10, tls=True),
    *(Case(1, rate=rate) for rate in (50, 1_000, 10_000, 50_000)),
    Case(10, rate=50_000),
    Case(rate=0, nodes=100),
)


def measure_all(say: Callable[[str], None] = print) -> dict[str, Any]:
    """All cases and the cost of a batch, printed and returned."""
    cases = []
    for case in CASES:
        cases.append(measure(case))
        say(f"  {told(cases[-1])}")
    costs = batch_cost.measure_apart()
    for rows, cost in costs["cpu_ms_of_a_batch"].items():
        say(f"  a batch of {rows:>5} one-metric messages, delivered: {cost:.2f} ms CPU")
    return {"cases": cases, "batches": costs}


def told(found: dict[str, Any]) -> str:
    """One line about a case."""
    consumer = found["cpu_percent_of_a_core"]["consumer"]
    text = f"{found['name']}: consumer {consumer:.1f} % of a core"
    if not found["rows"]:
        return text
    cpu = ", ".join(f"{n} {s:.2f}" for n, s in found["cpu_seconds_per_million_rows"].items())
    latency = "/".join(f"{ms:,.0f}" for ms in found["latency_ms"].values())
    memory = ", ".join(f"{n} {mib}" for n, mib in found["peak_memory_mib"].items())
    return (
        f"{text}, {found['rows_per_second']:,.0f} rows/s, {found['rows_missing']} of "
        f"{found['rows']:,} missing, {found['messages_dropped_by_server']} dropped, latency "
        f"{latency} ms\n    CPU s per million rows: {cpu}; most MiB: {memory}"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--all", action="store_true", help="all cases, about six minutes")
    parser.add_argument("--metrics", type=int, default=1, help="metrics per message")
    parser.add_argument("--protocol", choices=("5", "3.1.1"), default="5")
    parser.add_argument("--tls", action="store_true")
    parser.add_argument("--rate", type=float, help="rows per second, 0 for quiet nodes")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--nodes", type=int, default=50)
    parser.add_argument("--batches", action="store_true", help="only the cost of a batch")
    parser.add_argument(
        "--table", type=Path, metavar="RESULTS", help="print the tables of a bench/results.json"
    )
    parser.add_argument("--output", type=Path, help="file to write, else it is printed")
    arguments = parser.parse_args()
    if arguments.table:
        results = json.loads(arguments.table.read_text(encoding="utf-8"))
        print(markdown(results["end_to_end"]))
        return 0
    found: Any
    if arguments.all:
        found = measure_all()
    elif arguments.batches:
        found = batch_cost.measure_apart()
    else:
        found = measure(
            Case(
                metrics=arguments.metrics,
                protocol=arguments.protocol,
                tls=arguments.tls,
                rate=arguments.rate,
                seconds=arguments.seconds,
                nodes=arguments.nodes,
            )
        )
    text = json.dumps(found, indent=2)
    if arguments.output:
        arguments.output.write_text(text + "\n", encoding="utf-8")
    else:
        print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
