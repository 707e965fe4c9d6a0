"""Edge nodes as a process of its own, which writes packets that were encoded before.

`python -m flow.generator OPTIONS`, a JSON object of `Options`. It sends the births, says so,
waits for a line, sends the data, and says what it has sent. All nodes share one connection,
in plain text and MQTT 3.1.1: the consumer's connection is what is measured.
"""

from __future__ import annotations

import json
import socket
import sys
import time
from collections import deque
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import fleet

from flow.commit_log import CommitLog
from flow.messages import DataMessages, connect, publish

_TICK: Final = 0.002
_CHUNK_BYTES: Final = 32_000
_ACCEPTED: Final = b"\x20\x02\x00\x00"


@dataclass(frozen=True, slots=True)
class Options:
    """What to send, and how fast.

    `messages_per_second` None is a flood: as fast as rows land in `table`, with as many on their
    way as `Window` says, at least `least_window`. 0 sends births only.
    """

    port: int
    nodes: int
    metrics: int
    messages_per_second: float | None
    seconds: float
    least_window: int
    table: str


@dataclass(slots=True)
class Sent:
    """Messages of data, their rows, and the time of the first in microseconds since 1970.

    `waited` is how many seconds of a flood nothing was sent, because the window was full.
    """

    messages: int = 0
    rows: int = 0
    first_us: int = 0
    waited: float = 0.0


class Window:
    """How many rows of a flood may be on their way: as many as landed in the last SECONDS.

    So all stages have enough to do, however fast they are, and none has to drop anything: while
    rows need less than SECONDS to land the window grows, and then it stays.

    Args:
        least: rows that may always be on their way.
    """

    SECONDS: Final = 1.5

    def __init__(self, least: int) -> None:
        self._least = least
        self._seen: deque[tuple[float, int]] = deque()

    def rows(self, landed: int, now: float) -> int:
        """The window at this time, in seconds, when so many rows have landed."""
        seen = self._seen
        if not seen or seen[-1][1] != landed:
            seen.append((now, landed))
        while len(seen) > 1 and seen[1][0] <= now - self.SECONDS:
            seen.popleft()
        return max(self._least, landed - seen[0][1])


class Generator:
    """One connection with all edge nodes."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._data = DataMessages(options.nodes, options.metrics)
        self._socket = socket.create_connection(("127.0.0.1", options.port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.sendall(connect("bench-generator"))
        if self._socket.recv(4) != _ACCEPTED:
            sys.exit("the MQTT server does not take the generator's connection")
        self.sent = Sent()
        self._at_ms = 0
        self._at_this_time = 0

    def births(self) -> int:
        """Send all births; return how many rows they give."""
        births = fleet.births(self._options.nodes, time.time_ns() // 1_000_000)
        self._socket.sendall(b"".join(publish(topic, payload) for topic, payload, _ in births))
        return self._options.nodes * fleet.TAGS_PER_NODE

    def flow(self, landed: int) -> None:
        """Send the data, after births of which so many rows have landed."""
        if self._options.messages_per_second is None:
            self._flood(landed)
        elif self._options.messages_per_second:
            self._pace(self._options.messages_per_second)

    def _flood(self, births: int) -> None:
        options = self._options
        one = len(self._data.packets(0, 1, time.time_ns() // 1_000_000))
        chunk = max(1, min(_CHUNK_BYTES // one, self._data.most_at_once))
        log = CommitLog(Path(options.table))
        window = Window(options.least_window)
        landed = log.rows() - births
        room = window.rows(landed, time.monotonic())
        end = time.monotonic() + options.seconds
        while (now := time.monotonic()) < end:
            if self.sent.rows - landed + chunk * options.metrics > room:
                landed = log.rows() - births
                room = window.rows(landed, now)
            if self.sent.rows - landed + chunk * options.metrics > room:
                time.sleep(_TICK)
                self.sent.waited += time.monotonic() - now
            else:
                self._send(chunk)

    def _pace(self, rate: float) -> None:
        started = time.monotonic()
        total = max(1, round(rate * self._options.seconds))
        while self.sent.messages < total:
            elapsed = time.monotonic() - started
            due = min(total, int(elapsed * rate) + 1)
            while self.sent.messages < due:
                self._send(min(due - self.sent.messages, self._data.most_at_once))
            next_at = self.sent.messages / rate
            time.sleep(max(_TICK, started + next_at - time.monotonic()))

    def _send(self, count: int) -> None:
        """The next messages, with the time of this moment, which no tag has twice."""
        while True:
            now_us = time.time_ns() // 1_000
            at_ms = max(self._at_ms, now_us // 1_000)
            if at_ms > self._at_ms:
                self._at_ms, self._at_this_time = at_ms, 0
            if self._at_this_time + count <= self._data.most_at_once:
                break
            time.sleep(0.0001)
        self._at_this_time += count
        self.sent.first_us = self.sent.first_us or now_us
        self._socket.sendall(self._data.packets(self.sent.messages, count, at_ms))
        self.sent.messages += count
        self.sent.rows += count * self._options.metrics


def main() -> None:
    generator = Generator(Options(**json.loads(sys.argv[1])))
    births = generator.births()
    print(json.dumps({"births": births}), flush=True)
    sys.stdin.readline()
    generator.flow(births)
    print(json.dumps(asdict(generator.sent)), flush=True)
    sys.stdin.read()  # the nodes stay connected until the measurement is over


if __name__ == "__main__":
    main()
