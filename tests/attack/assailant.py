"""Whoever attacks: a client of the MQTT server, and a process that plays all shapes in turn."""

from __future__ import annotations

import contextlib
import random
import socket
import time
from typing import TYPE_CHECKING, NamedTuple

from support import mqtt_packets
from support.services import PATIENCE

from attack.shapes import SHAPES
from attack.strangers import DEEDS, Target, connect_packet

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from attack.wire import Blow

_PINGREQ, _PINGRESP = b"\xc0\x00", b"\xd0\x00"
_BREATH = 0.25
"""Seconds of messages that go out together."""

_BETWEEN_DEEDS = 1.0
"""Seconds: the pace of an attacker at the sockets. Nothing is waited for."""


class Pace(NamedTuple):
    """The most that an attacker publishes in a second: messages, and bytes of payload."""

    messages: float = 20_000.0
    size: float = 60e6


class Assailant:
    """A connection that publishes with QoS 0, and waits now and then until the server has it."""

    def __init__(self, port: int, pace: Pace | None = None) -> None:
        self._port = port
        self._pace = pace or Pace()
        self._due = time.monotonic()
        self._socket = self._connect()

    def _connect(self) -> socket.socket:
        connection = socket.create_connection(("127.0.0.1", self._port), PATIENCE)
        connection.sendall(connect_packet())
        assert connection.recv(4) == b"\x20\x02\x00\x00", "the server refuses an attacker"
        return connection

    def hurl(self, blows: Iterable[Blow]) -> tuple[int, int, int]:
        """Publish, and wait until the server has all of it.

        Returns:
            How many messages, the bytes of the largest, and of all.
        """
        waiting, messages, largest, total = bytearray(), 0, 0, 0
        for topic, payload, retain in blows:
            waiting += mqtt_packets.publish(topic, payload, is_5=False, retained=retain)
            messages += 1
            largest, total = max(largest, len(payload)), total + len(payload)
            self._due += max(1 / self._pace.messages, len(payload) / self._pace.size)
            if self._due > time.monotonic() + _BREATH:
                self._send(waiting)
                waiting.clear()
                time.sleep(max(0.0, self._due - time.monotonic()))
        self._send(waiting)
        self._due = max(self._due, time.monotonic())
        return messages, largest, total

    def _send(self, packets: bytes | bytearray) -> None:
        try:
            self._socket.sendall(packets + _PINGREQ)
            answer = self._socket.recv(2, socket.MSG_WAITALL)
            assert answer in (_PINGRESP, b""), answer
        except ConnectionError:
            answer = b""
        if not answer:  # thrown out for what it published
            self._socket.close()
            self._socket = self._connect()

    def close(self) -> None:
        self._socket.close()


@contextlib.contextmanager
def assailant(port: int, pace: Pace | None = None) -> Iterator[Assailant]:
    somebody = Assailant(port, pace)
    try:
        yield somebody
    finally:
        somebody.close()


def assail(target: Target, names: Sequence[str], part: float, seed: int, pace: Pace | None) -> None:
    """Play the shapes with these names in an order of chance, over and over, until ended.

    A process of its own: what it takes to make them is not to slow down the honest fleet.
    """
    chance = random.Random(seed)
    with assailant(target.mqtt_port, pace) as somebody:
        while True:
            for name in chance.sample(names, len(names)):
                if name in DEEDS:
                    DEEDS[name](target, part, chance)
                    time.sleep(_BETWEEN_DEEDS)
                    continue
                with contextlib.suppress(ConnectionError):
                    somebody.hurl(SHAPES[name].blows(part, chance))
