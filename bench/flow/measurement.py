"""One case from end to end: how fast, what it costs, how late it is, what is missing."""

from __future__ import annotations

import json
import sys
import tempfile
import time
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from consumer.broker.inbox import HURRY_SECONDS
from flow.chain import Chain
from flow.commit_log import CommitLog
from flow.generator import Options
from flow.landed import QUANTILES, landed

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextlib import AbstractContextManager
    from subprocess import Popen

LEAST_MESSAGES: Final = 20_000
LEAST_ROWS: Final = 100_000
"""A flood begins with the lesser of both on its way."""
_MOST_BEHIND: Final = 180.0
_SETTLE_SECONDS: Final = 0.5
_NEW_SECONDS: Final = HURRY_SECONDS + 0.5
"""A paced case is one of operation: no connection is new."""
_AGES: Final = 'acknowledgement_seconds_bucket{le="'


@dataclass(frozen=True, slots=True)
class Case:
    """What is measured. `rate` is in rows per second: None for a flood, 0 for quiet nodes."""

    metrics: int = 1
    protocol: str = "5"
    tls: bool = False
    rate: float | None = None
    seconds: float = 10.0
    nodes: int = 50

    @property
    def name(self) -> str:
        """What it is, for people."""
        rate = "flood" if self.rate is None else f"{self.rate:,.0f} rows/s"
        way = f"MQTT {self.protocol}, {'TLS' if self.tls else 'plain'}"
        return f"{self.metrics} per message, {way}, {self.nodes} nodes, {rate}"


def measure(
    case: Case, beside: Callable[[Chain], AbstractContextManager[object]] = nullcontext
) -> dict[str, Any]:
    """Run one case; durations in the names' units. `beside`: what goes on while data is sent.

    Raises:
        SystemExit: rows are missing, or what landed was never published.
    """
    with tempfile.TemporaryDirectory(prefix="bench-") as name, Chain(Path(name)) as chain:
        server = chain.start_mqtt(tls=case.tls) | {"protocol": case.protocol}
        chain.start_consumer(chain.configuration(server, chain.start_zerobus()))
        generator = chain.start_generator(
            lambda port: Options(
                port=port,
                nodes=case.nodes,
                metrics=case.metrics,
                messages_per_second=None if case.rate is None else case.rate / case.metrics,
                seconds=case.seconds,
                least_window=min(LEAST_MESSAGES * case.metrics, LEAST_ROWS),
                table=str(chain.table),
            )
        )
        log = CommitLog(chain.table)
        births = told(generator)["births"]
        if not chain.wait_until(lambda: log.rows() >= births, _MOST_BEHIND):
            sys.exit(f"{case.name}: of {births:,} values of births {log.rows():,} have landed")
        time.sleep(_SETTLE_SECONDS if case.rate is None else _NEW_SECONDS)
        ages = chain.metrics()
        cpu, started = chain.cpu_seconds(), time.monotonic()
        with beside(chain):
            tell_to_go(generator)
            sent = told(generator)
            if case.rate == 0:
                time.sleep(case.seconds)
            chain.wait_until(lambda: log.rows() >= births + sent["rows"], _MOST_BEHIND)
            elapsed = time.monotonic() - started
        used = {name: now - cpu[name] for name, now in chain.cpu_seconds().items()}
        memory = chain.peak_memory_mib()
        metrics = chain.metrics()
        dropped = chain.dropped_by_server()
        chain.stop_consumer()
        found: dict[str, Any] = {
            **asdict(case),
            "name": case.name,
            "rows": sent["rows"],
            "messages_dropped_by_server": dropped,
            "cpu_percent_of_a_core": {n: round(s / elapsed * 100, 2) for n, s in used.items()},
            "peak_memory_mib": memory,
        }
        if sent["rows"]:
            rows = landed(chain.table, chain.acknowledgements)
            remarks = {n: v for n, v in metrics.items() if n.startswith("remarks_total") and v}
            require_all(
                sent["rows"],
                rows.distinct,
                f"{case.name}: dropped by the MQTT server: {dropped:,} messages; {remarks}",
            )
            seconds = (rows.last_us - sent["first_us"]) / 1e6
            found |= {
                "rows_missing": sent["rows"] - rows.distinct,
                "rows_landed_twice": rows.rows - rows.distinct,
                "seconds_to_last_acknowledgement": round(seconds, 2),
                "rows_per_second": round(sent["rows"] / seconds, 1),
                "cpu_seconds_per_million_rows": {
                    n: round(s / sent["rows"] * 1e6, 2) for n, s in used.items()
                },
                "latency_ms": _by_name(rows.latency_ms),
                "consumer_age_ms": _by_name(ages_ms(ages, metrics)),
                "generator_waited_seconds": round(sent["waited"], 1),
            }
        generator.communicate(timeout=30)
    return found


def require_all(published: int, landed_rows: int, circumstances: str) -> None:
    """Let no figure come of a run that lost rows, or landed some that nobody published.

    Raises:
        SystemExit: they are not equal.
    """
    if landed_rows != published:
        sys.exit(
            f"{published:,} rows were published, {landed_rows:,} different ones have landed"
            f" ({circumstances})"
        )


def _by_name(quantiles: list[float]) -> dict[str, float]:
    return {f"p{q * 100:.0f}": v for q, v in zip(QUANTILES, quantiles, strict=True)}


def ages_ms(before: Mapping[str, float], after: Mapping[str, float]) -> list[float]:
    """Quantiles of the consumer's own histogram in milliseconds, as Prometheus computes them."""
    counts = sorted(
        (float(name.removeprefix(_AGES).removesuffix('"}')), count - before.get(name, 0))
        for name, count in after.items()
        if name.startswith(_AGES)
    )
    found = []
    for quantile in QUANTILES:
        wanted = quantile * counts[-1][1]
        lower = below = 0.0
        for upper, count in counts:
            if count >= wanted and count > below:
                part = (wanted - below) / (count - below)
                found.append(round((lower + (upper - lower) * part) * 1e3, 1))
                break
            lower, below = upper, count
    return found


def told(generator: Popen[str]) -> dict[str, Any]:
    """What the generator says next."""
    assert generator.stdout is not None
    line = generator.stdout.readline()
    if not line:
        sys.exit("the generator has ended")
    said: dict[str, Any] = json.loads(line)
    return said


def tell_to_go(generator: Popen[str]) -> None:
    assert generator.stdin is not None
    generator.stdin.write("go\n")
    generator.stdin.flush()
