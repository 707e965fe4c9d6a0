"""What one batch costs: CPU from the inbox to the commit, and on to the acknowledgement.

`python -m flow.batch_cost OPTIONS` is a consumer without MQTT: messages are put into its inbox.
All behind that is real: decoding, the spool with `sync: full`, the SDK, and the local Zerobus
server as another process. `measure_apart` runs it, for CPU is counted by the process.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import fleet

from consumer.broker import BatchLimits, Inbox
from consumer.config import parse
from flow.chain import BENCH, Chain
from flow.landed import landed
from flow.measurement import require_all
from flow.messages import DataMessages
from sparkplug import Message

if TYPE_CHECKING:
    from consumer.pipeline import Consumer

MESSAGES: Final = (1, 50, 200, 1_000)
_BATCHES: Final = 24
_ROUNDS: Final = 3
_PAUSE: Final = 0.25
"""Between two batches: longer than the server waits between two commits, so that each batch is
sent, committed and acknowledged for itself."""
_IDLE_SECONDS: Final = 3.0
_PATIENCE: Final = 60.0
_TESTS: Final = str(BENCH.parent / "tests")


def measure_apart(batches: int = _BATCHES) -> dict[str, Any]:
    """The cost of batches of each size in a process of its own.

    Raises:
        SystemExit: rows are missing.
    """
    with tempfile.TemporaryDirectory(prefix="bench-") as name, Chain(Path(name)) as chain:
        zerobus = chain.start_zerobus()
        server = {"name": "bench", "url": "mqtt://127.0.0.1:9"}  # nobody connects to it
        configuration = chain.configuration(server, zerobus)
        configuration["spool"]["path"] = configuration["spool"]["path"].replace("$$", "$")
        answer = subprocess.run(  # noqa: S603 - this program itself
            [sys.executable, "-m", "flow.batch_cost", json.dumps([configuration, batches])],
            check=True,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join((str(BENCH), _TESTS))},
        )
        found: dict[str, Any] = json.loads(answer.stdout)
        rows = landed(chain.table, chain.acknowledgements)
    require_all(found["rows"], rows.distinct, "batches without MQTT")
    return found


class Feed:
    """Puts batches into the inbox of a running consumer, as a connection would."""

    def __init__(self, consumer: Consumer, inbox: Inbox) -> None:
        self._consumer = consumer
        self._inbox = inbox
        self._data = DataMessages(fleet.NODES, 1)
        self.rows = 0

    def births(self) -> None:
        """Let all nodes be born, and their values be delivered."""
        self._put([each[:2] for each in fleet.births(at_ms=time.time_ns() // 1_000_000)])
        self._delivered()

    def cost(self, messages: int, batches: int, idle: float) -> float:
        """CPU milliseconds of one batch of so many messages, less what an idle consumer uses."""
        at_ms = time.time_ns() // 1_000_000
        waiting = []
        for number in range(batches):  # made before, with times that come close to the truth
            due_ms = at_ms + int(number * _PAUSE * 1000)
            waiting.append(self._data.messages(self.rows, messages, due_ms))
            self.rows += messages
        before = self._consumer.telemetry.totals["batches_decoded"]
        used, started = time.process_time(), time.monotonic()
        for batch in waiting:
            self._put(batch)
            time.sleep(_PAUSE)
        self._delivered()
        used = time.process_time() - used - idle * (time.monotonic() - started)
        decoded = self._consumer.telemetry.totals["batches_decoded"] - before
        return used / decoded * 1e3

    def _put(self, messages: list[tuple[str, bytes]]) -> None:
        for topic, payload in messages:
            if not self._inbox.put(0, Message(topic, payload, time.time_ns() // 1_000)):
                sys.exit("the inbox is full")

    def _delivered(self) -> None:
        """Wait until everything is acknowledged."""
        deadline = time.monotonic() + _PATIENCE
        time.sleep(_PAUSE)
        while self._inbox.queued_bytes or self._consumer.spooled_rows:
            if time.monotonic() > deadline:
                sys.exit("rows were not acknowledged")
            time.sleep(0.02)


def main() -> None:
    from support.hand_fed import Courier, consuming  # noqa: PLC0415 - of tests/

    found, batches = json.loads(sys.argv[1])
    configuration = parse(found)
    limits = configuration.batch
    inbox = Inbox(
        configuration.limits.budget.queue_bytes,
        BatchLimits(limits.max_messages, limits.max_bytes, limits.max_delay),
        time.monotonic,
    )
    with consuming(configuration, inbox, Courier(configuration.servers[0])) as consumer:
        feed = Feed(consumer, inbox)
        feed.births()
        for messages in MESSAGES:
            feed.cost(messages, 2, 0.0)  # warms up
        used, started = time.process_time(), time.monotonic()
        time.sleep(_IDLE_SECONDS)
        idle = (time.process_time() - used) / (time.monotonic() - started)
        rounds: dict[int, list[float]] = {messages: [] for messages in MESSAGES}
        for _ in range(_ROUNDS):
            for messages, measured in rounds.items():
                measured.append(feed.cost(messages, max(1, batches // _ROUNDS), idle))
    costs = {messages: round(statistics.median(each), 2) for messages, each in rounds.items()}
    print(
        json.dumps(
            {
                "cpu_ms_of_a_batch": costs,
                "cpu_us_per_message": {n: round(ms * 1e3 / n, 1) for n, ms in costs.items()},
                "idle_percent_of_a_core": round(idle * 100, 2),
                "rows": feed.rows,
            }
        )
    )


if __name__ == "__main__":
    main()
