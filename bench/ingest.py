"""What comes over HTTP: how fast, what it costs, and what MQTT notices of it.

Everything is real and a process of its own, as from end to end; the spool is on, with
`sync: full`. `python bench/ingest.py --posts`, `--beside` and `--watched` are one part each.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from flow import poster, watchers
from flow.chain import Chain
from flow.generator import Options
from flow.measurement import Case, measure, tell_to_go, told

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

EVENTS: Final = 100
"""Events of a post."""
CONNECTIONS: Final = (1, 4, 16, 64)
LEAST_PER_SECOND: Final = 60_000
SECONDS: Final = 8.0
RATE: Final = 10_000
"""Rows per second over MQTT, beside a flood of posts."""
_POLLING, _SUBSCRIBERS = 50, 20
_LEAST_RATIO: Final = 0.95
_ROUNDS: Final = 3
_PATIENCE: Final = 60.0
_ACCEPTED: Final = "ingest_events_accepted_total"
_ROWS: Final = 'rows_produced_total{server="bench"}'


def measure_all(say: Callable[[str], None] = print) -> dict[str, Any]:
    """All parts, printed and returned."""
    found: dict[str, Any] = {"posts": {}}
    for connections in CONNECTIONS:
        found["posts"][str(connections)] = each = posts(connections)
        say(
            f"  {connections} senders of {EVENTS} events: {each['events_per_second']:,} events/s "
            f"accepted, {each['cpu_seconds_per_million_events']} CPU s per million, answers in "
            f"{each['answer_ms']} ms"
        )
    best = max(each["events_per_second"] for each in found["posts"].values())
    say(f"  at least {LEAST_PER_SECOND:,} events/s: {best >= LEAST_PER_SECOND}")
    found["beside"] = each = beside()
    say(
        f"  MQTT at {RATE:,} rows/s beside {each['events_per_second']:,} events/s: "
        f"{each['rows_refused']:.0f} refused, {each['messages_dropped_by_server']} dropped"
    )
    found["watched"] = each = watched()
    say(
        f"  {_POLLING} poll /status, {each['subscribed']} are subscribed: {each['ratio']:.1%} of "
        f"the rows/s without, within bounds: {each['ratio'] >= _LEAST_RATIO}"
    )
    return found


def posts(connections: int) -> dict[str, Any]:
    """A flood of posts, and nothing over MQTT."""
    with _running() as chain:
        cpu = chain.cpu_seconds()
        answered = _poster(chain, connections, SECONDS)
        used = {name: now - cpu[name] for name, now in chain.cpu_seconds().items()}
        _require(answered["statuses"].keys() == {"200"}, f"answers: {answered['statuses']}")
        committed = chain.metrics()[_ACCEPTED]
        _require(
            committed == answered["events"],
            f"{answered['events']} events were accepted, {committed:.0f} committed",
        )
        chain.wait_until(lambda: chain.metrics()["spooled_rows"] == 0, _PATIENCE)
        chain.stop_consumer()
        return answered | {
            "cpu_seconds_per_million_events": round(used["consumer"] / answered["events"] * 1e6, 2),
            "cpu_percent_of_a_core": round(used["consumer"] / SECONDS * 100, 1),
        }


def beside(connections: int = 16) -> dict[str, Any]:
    """MQTT at a steady pace, one metric per message, beside a flood of posts.

    Raises:
        SystemExit: a row of MQTT is missing.
    """
    with _running() as chain:
        generator = chain.start_generator(
            lambda port: Options(
                port=port,
                nodes=50,
                metrics=1,
                messages_per_second=RATE,
                seconds=SECONDS,
                least_window=0,
                table=str(chain.table),
            )
        )
        births = told(generator)["births"]
        chain.wait_until(lambda: chain.metrics().get(_ROWS, 0) >= births, _PATIENCE)
        tell_to_go(generator)
        answered = _poster(chain, connections, SECONDS)
        expected = births + told(generator)["rows"]
        chain.wait_until(lambda: chain.metrics()[_ROWS] >= expected, _PATIENCE)
        metrics, dropped = chain.metrics(), chain.dropped_by_server()
        generator.communicate(timeout=30)
        refused = metrics.get('remarks_total{reason="queue_full"}', 0.0)
        _require(not dropped and not refused, f"{dropped} dropped, {refused:.0f} refused")
        _require(metrics[_ROWS] == expected, f"of {expected} rows {metrics[_ROWS]:.0f} were made")
        chain.stop_consumer()
        return answered | {
            "mqtt_rows_per_second": RATE,
            "rows_refused": refused,
            "messages_dropped_by_server": dropped,
        }


def watched() -> dict[str, Any]:
    """A flood over MQTT with people who look, and without, in turns."""
    without: list[float] = []
    with_people: list[float] = []
    seen: dict[str, int] = {}

    @contextlib.contextmanager
    def looking(chain: Chain) -> Iterator[None]:
        options = watchers.Options(chain.http_port, _POLLING, _SUBSCRIBERS)
        people = chain.run("flow.watchers", asdict(options))
        yield
        said, _ = people.communicate("", timeout=_PATIENCE)
        seen.update(json.loads(said))

    for _ in range(_ROUNDS):
        without.append(measure(Case(10, seconds=SECONDS))["rows_per_second"])
        with_people.append(measure(Case(10, seconds=SECONDS), looking)["rows_per_second"])
    before, now = statistics.median(without), statistics.median(with_people)
    return {
        "rows_per_second_without": before,
        "rows_per_second_with": now,
        "ratio": round(now / before, 3),
        "subscribed": 0 if any(each.startswith("refused") for each in seen) else _SUBSCRIBERS,
        "seen": seen,
    }


@contextlib.contextmanager
def _running() -> Iterator[Chain]:
    with tempfile.TemporaryDirectory(prefix="bench-") as name, Chain(Path(name)) as chain:
        server = chain.start_mqtt(tls=False)
        chain.start_consumer(chain.configuration(server, chain.start_zerobus()))
        time.sleep(0.5)
        yield chain


def _poster(chain: Chain, connections: int, seconds: float) -> dict[str, Any]:
    options = poster.Options(chain.http_port, connections, EVENTS, seconds)
    process = chain.run("flow.poster", asdict(options))
    try:
        said, _ = process.communicate(timeout=seconds + _PATIENCE)
    except subprocess.TimeoutExpired:
        sys.exit("posts were not answered")
    answered: dict[str, Any] = json.loads(said)
    return answered


def _require(condition: object, otherwise: str) -> None:
    if not condition:
        sys.exit(otherwise)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    for part in ("posts", "beside", "watched"):
        parser.add_argument(f"--{part}", action="store_true")
    arguments = parser.parse_args()
    if arguments.posts:
        print(json.dumps({each: posts(each) for each in CONNECTIONS}, indent=2))
    elif arguments.beside:
        print(json.dumps(beside(), indent=2))
    elif arguments.watched:
        print(json.dumps(watched(), indent=2))
    else:
        measure_all()
    return 0


if __name__ == "__main__":
    sys.exit(main())
