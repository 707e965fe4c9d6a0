"""Somebody who may publish, and fills the host's memory with births of nodes that are none."""

from __future__ import annotations

import contextlib
import itertools
import os
import threading
import time
from typing import TYPE_CHECKING

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
from support.columnar import change, message, tag
from support.services import PATIENCE, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

GROUP = "Stranger"
_GIANT = "Giant"
_LARGE_METRICS = 600
_NAME_BYTES = 1_000
"""A large birth has 1.2 MB of names that compress to half of that."""


_GIANT_TAGS = 400
_GIANT_NAME = 4_000
_GIANT_CHANGES = 20
"""Of each tag in a giant: its rows have 66 MB, which is some pieces."""


def _birth(node: str, metrics: int, name_bytes: int) -> bytes:
    tags = [tag(os.urandom(name_bytes).hex(), number) for number in range(metrics)]
    return message("NBIRTH", *tags, group=GROUP, node=node).payload


class Stranger:
    """Publishes births as fast as the server takes them, and deaths for every second of them."""

    def __init__(self, port: int) -> None:
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2)
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._publish_large, daemon=True)
        self.large = 0
        self._seq = 0

    def many(self, count: int) -> None:
        """Publish so many small births, each of a node of its own."""
        for number in range(count):
            self._publish(f"spBv1.0/{GROUP}/NBIRTH/Small{number}", _birth(f"Small{number}", 3, 20))

    def giant_birth(self) -> None:
        """Begin a session in which a few bytes are many: names are long."""
        tags = [tag(f"{n:04}".ljust(_GIANT_NAME, "x"), n) for n in range(_GIANT_TAGS)]
        self._seq = 0
        birth = message("NBIRTH", *tags, group=GROUP, node=_GIANT)
        self._publish(f"spBv1.0/{GROUP}/NBIRTH/{_GIANT}", birth.payload)

    def giant_data(self) -> int:
        """All tags of that session, some times over, in one message; returns its rows."""
        self._seq = (self._seq + 1) % 256
        at = int(time.time() * 1000)
        changes = [
            {**change(n, float(each)), "timestamp": at + each}
            for each in range(_GIANT_CHANGES)
            for n in range(_GIANT_TAGS)
        ]
        data = message("NDATA", *changes, seq=self._seq, timestamp=at)
        self._publish(f"spBv1.0/{GROUP}/NDATA/{_GIANT}", data.payload)
        return len(changes)

    def start(self) -> None:
        """Begin with large ones."""
        self._thread.start()

    def wait_for(self, births: int) -> None:
        """Wait until so many large ones more were taken by the server."""
        before = self.large
        wait_until(lambda: self.large >= before + births, PATIENCE, "large births")

    def stop(self) -> None:
        self._over.set()
        if self._thread.ident is not None:
            self._thread.join(PATIENCE)
        self._client.disconnect()
        self._client.loop_stop()

    def _publish_large(self) -> None:
        death = message("NDEATH", group=GROUP).payload
        for number in itertools.count():
            if self._over.wait(0.02):
                return
            node = f"Large{number % 60}"
            birth = _birth(node, _LARGE_METRICS, _NAME_BYTES)
            self._publish(f"spBv1.0/{GROUP}/NBIRTH/{node}", birth)
            if number % 2:
                self._publish(f"spBv1.0/{GROUP}/NDEATH/{node}", death)
            self.large += 1

    def _publish(self, topic: str, payload: bytes) -> None:
        sent = self._client.publish(topic, payload, qos=1)
        sent.wait_for_publish(PATIENCE)


@contextlib.contextmanager
def stranger(port: int) -> Iterator[Stranger]:
    """One that is gone at the end."""
    somebody = Stranger(port)
    try:
        yield somebody
    finally:
        somebody.stop()
