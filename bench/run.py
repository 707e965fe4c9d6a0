"""`make bench`: everything that docs/performance.md tells, written to bench/results.json.

First from end to end, for some six minutes, then what comes over HTTP, for three. Then rows per
core and second, from MQTT payloads to encoded rows: CPU time of this process, median over batches
of 1,000 messages; the baseline runs in the same process, batch by batch in turn, so that the ratio
holds on a noisy machine. The outputs are compared byte for byte. Then bursts of births, the
spool, and last, for some nine minutes, an outage of Zerobus.
"""

from __future__ import annotations

import argparse
import gc
import json
import platform
import statistics
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import burst
import end_to_end
import fleet as generated
import ingest
import layouts
import outage
import spool
from baseline import Baseline

from consumer.rows import DEFAULT_LAYOUT, EncodedRows, SourceNames, TagColumns, normalize
from sparkplug import Fleet, Message, MessageBatch

if TYPE_CHECKING:
    from collections.abc import Callable

    from consumer.rows import TagLayout

A = TypeVar("A")
T = TypeVar("T")

RESULTS = Path(__file__).parent / "results.json"
BATCHES = {1: 40, 10: 24, 100: 8}
"""Measured batches per number of metrics in a message."""

WARM_UP = 2
BLOCK_ROWS = 10_000
"""The two paths take turns after about as many rows, as long as one needs to warm up."""


class Columnar:
    """The product's path as the pipeline calls it."""

    def __init__(self, layout: TagLayout = DEFAULT_LAYOUT) -> None:
        self._fleet = Fleet()
        self._tags = TagColumns(self._fleet.catalogue, SourceNames(), layout)
        self._next_arrival = 1
        self.normalize(MessageBatch(Message(*message) for message in generated.births()))
        self._next_arrival = 1

    def normalize(self, batch: MessageBatch) -> list[EncodedRows]:
        """Encoded rows of one batch, as the spool takes them."""
        (observations,) = self._fleet.feed(batch).observations
        events = normalize(observations, self._tags, self._next_arrival)
        self._next_arrival += len(events)
        return [EncodedRows(part) for part in events.encode()]


def measure(metrics_per_message: int, *, names: bool, datatypes: bool) -> dict[str, float]:
    """CPU microseconds per row of both paths, medians over batches.

    They take turns by the block: each has its own data in the processor's cache, as it
    would have under load.
    """
    count = BATCHES[metrics_per_message] + WARM_UP
    batches = generated.batches(metrics_per_message, count, names=names, datatypes=datatypes)
    columnar = Columnar()
    plain = Baseline(generated.births())
    prepared = Baseline(generated.births(), prepared=True)
    ours: list[float] = []
    theirs: list[float] = []
    theirs_prepared: list[float] = []
    gc.collect()
    gc.disable()
    step = max(1, BLOCK_ROWS // (metrics_per_message * generated.MESSAGES_PER_BATCH))
    for start in range(0, count, step):
        block = batches[start : start + step]
        messages = [MessageBatch(Message(*message) for message in raw) for raw in block]
        expected = [timed(theirs, plain.normalize, raw) for raw in block]
        for raw in block:
            timed(theirs_prepared, prepared.normalize, raw)
        encoded = [timed(ours, columnar.normalize, batch) for batch in messages]
        for parts, records in zip(encoded, expected, strict=True):
            if [row for part in parts for row in part.slice(0, len(part))] != records:
                sys.exit("the two paths do not give the same bytes")
    gc.enable()
    rows = metrics_per_message * generated.MESSAGES_PER_BATCH
    return {
        "us_per_row": statistics.median(ours[WARM_UP:]) / rows * 1e6,
        "plain_us_per_row": statistics.median(theirs[WARM_UP:]) / rows * 1e6,
        "prepared_us_per_row": statistics.median(theirs_prepared[WARM_UP:]) / rows * 1e6,
    }


def timed(times: list[float], work: Callable[[A], T], argument: A) -> T:
    """Do the work; add its CPU seconds to `times`."""
    started = time.process_time()
    result = work(argument)
    times.append(time.process_time() - started)
    return result


def birth_cost(metrics: int = 10_000) -> float:
    """CPU milliseconds of one NBIRTH with this many new metrics."""
    from sparkplug.pb.sparkplug_b_pb2 import Payload  # noqa: PLC0415 - only this needs it

    payload = Payload(timestamp=generated.START_MS, seq=0)
    for tag in range(metrics):
        payload.metrics.add(
            name=f"Area {tag // 100}/Tag {tag}",
            alias=tag,
            timestamp=generated.START_MS,
            datatype=generated.DOUBLE,
            double_value=float(tag),
        )
    raw = payload.SerializeToString()
    costs = []
    for _ in range(7):
        fleet = Fleet()
        tags = TagColumns(fleet.catalogue, SourceNames())
        birth = [Message("spBv1.0/Plant/NBIRTH/Edge", raw, generated.START_MS * 1000)]
        gc.collect()
        started = time.process_time()
        (observations,) = fleet.feed(birth).observations
        list(normalize(observations, tags, 1).encode())
        costs.append((time.process_time() - started) * 1e3)
    return statistics.median(costs)


def birth_bursts() -> dict[str, dict[str, float | bool]]:
    """Cost of a burst of births in each form, printed and returned."""
    print(
        f"births of {burst.NODES} edge nodes with {burst.METRICS_PER_NODE:,} metrics each, bounds"
        f" {burst.MOST_CPU_SECONDS:.0f} s CPU and {burst.MOST_MEMORY_BYTES >> 20} MiB:"
    )
    found: dict[str, dict[str, float | bool]] = {}
    for one_by_one in (False, True):
        for properties in (False, True):
            cost = burst.measure(properties=properties, one_by_one=one_by_one)
            name = "one by one" if one_by_one else "in full batches"
            name += ", with two properties per metric" if properties else ""
            megabytes = round(cost.memory_bytes / 2**20)
            verdict = "within bounds" if cost.within_bounds else "BEYOND BOUNDS"
            print(f"  {name}: {cost.cpu_seconds:.1f} s CPU, {megabytes} MiB, {verdict}")
            found[name] = {
                "cpu_seconds": round(cost.cpu_seconds, 1),
                "memory_mib": megabytes,
                "within_bounds": cost.within_bounds,
            }
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=RESULTS, help="file to write")
    parser.add_argument(
        "--outage",
        type=float,
        default=300.0,
        metavar="SECONDS",
        help="length of the outage of Zerobus that is measured last, 0 for none (default 300)",
    )
    parser.add_argument(
        "--rate",
        type=int,
        default=50_000,
        metavar="ROWS",
        help="rows per second of the outage (default 50000)",
    )
    parser.add_argument(
        "--no-end-to-end", action="store_true", help="leave out what is measured from end to end"
    )
    arguments = parser.parse_args()
    output = arguments.output
    results: dict[str, Any] = {"python": platform.python_version(), "machine": platform.machine()}
    if not arguments.no_end_to_end:
        print("from end to end:")
        results["end_to_end"] = end_to_end.measure_all()
        print("over HTTP:")
        results["ingest"] = ingest.measure_all()
    variants = {
        "aliases": {"names": False, "datatypes": False},
        "names": {"names": True, "datatypes": True},
    }
    measured: dict[str, dict[str, dict[str, float]]] = {}
    print(
        f"{'metrics/message':>15} {'variant':>8} {'rows/s/core':>12} {'plain loop':>11}"
        f" {'ratio':>6} {'prepared':>9} {'ratio':>6}"
    )
    for variant, options in variants.items():
        measured[variant] = {}
        for metrics in BATCHES:
            result = measure(metrics, **options)
            measured[variant][str(metrics)] = result
            ours = result["us_per_row"]
            plain, prepared = result["plain_us_per_row"], result["prepared_us_per_row"]
            print(
                f"{metrics:>15} {variant:>8} {1e6 / ours:>12,.0f} {1e6 / plain:>11,.0f}"
                f" {plain / ours:>6.1f} {1e6 / prepared:>9,.0f} {prepared / ours:>6.1f}"
            )
    results |= {
        "normalize_rows_per_core_second": _rates(measured["aliases"], "us_per_row"),
        "normalize_by_name_rows_per_core_second": _rates(measured["names"], "us_per_row"),
        "plain_loop_rows_per_core_second": _rates(measured["aliases"], "plain_us_per_row"),
        "prepared_loop_rows_per_core_second": _rates(measured["aliases"], "prepared_us_per_row"),
        "normalize_cpu_seconds_per_million_rows": {
            metrics: round(result["us_per_row"], 3)
            for metrics, result in measured["aliases"].items()
        },
        "ratio_to_plain_loop": _ratios(measured["aliases"], "plain_us_per_row"),
        "ratio_to_prepared_loop": _ratios(measured["aliases"], "prepared_us_per_row"),
        "birth_of_10000_metrics_cpu_ms": round(birth_cost(), 1),
    }
    results["layouts_us_per_row"] = layouts.measure_all()
    print(f"an NBIRTH of 10,000 new metrics: {results['birth_of_10000_metrics_cpu_ms']} ms CPU")
    results["burst_of_500_births_of_1000_metrics"] = birth_bursts()
    results["spool_cpu_seconds_per_million_rows"] = spool.measure()
    if arguments.outage:
        print("an outage of Zerobus:")
        results["outage"] = asdict(outage.measure(arguments.outage, arguments.rate))
    output.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    print(f"written to {output}")
    return 0


def _rates(measured: dict[str, dict[str, float]], key: str) -> dict[str, int]:
    return {metrics: round(1e6 / result[key]) for metrics, result in measured.items()}


def _ratios(measured: dict[str, dict[str, float]], key: str) -> dict[str, float]:
    return {
        metrics: round(result[key] / result["us_per_row"], 2)
        for metrics, result in measured.items()
    }


if __name__ == "__main__":
    sys.exit(main())
