"""A plain MQTT client for tests that keeps every message it receives, in order."""

from __future__ import annotations

import contextlib
import threading
import time
from typing import TYPE_CHECKING

import paho.mqtt.client as mqtt
from oracle import Arrival, Oracle
from paho.mqtt.enums import CallbackAPIVersion

from support.services import PATIENCE, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.services import MosquittoServer


class Listener:
    """Subscribed to everything under spBv1.0; connects again after a restart of the server."""

    def __init__(self, server: MosquittoServer) -> None:
        self._lock = threading.Lock()
        self._arrivals: list[Arrival] = []
        self.subscriptions = 0
        self.client = mqtt.Client(CallbackAPIVersion.VERSION2)
        self.client.reconnect_delay_set(1, 1)
        self.client.on_connect = lambda client, *_: client.subscribe("spBv1.0/#", qos=1)
        self.client.on_subscribe = self._on_subscribe
        self.client.on_message = self._on_message
        self.client.connect("127.0.0.1", server.port)

    def _on_subscribe(self, *_args) -> None:
        self.subscriptions += 1

    def _on_message(self, _client, _userdata, message: mqtt.MQTTMessage) -> None:
        at_us = time.time_ns() // 1_000
        with self._lock:
            self._arrivals.append(Arrival(message.topic, message.payload, at_us, message.retain))

    @property
    def arrivals(self) -> list[Arrival]:
        """Everything received so far."""
        with self._lock:
            return list(self._arrivals)

    def count(self, verb: str) -> int:
        """How many messages of a verb were received so far."""
        return sum(f"/{verb}/" in each.topic for each in self.arrivals)

    def wait_for(self, verb: str, count: int = 1) -> None:
        """Wait until so many messages of a verb were received."""
        wait_until(lambda: self.count(verb) >= count, what=f"{count} {verb}")

    def decoded(self) -> Oracle:
        """Everything received so far, decoded row by row as docs/decoding.md says."""
        oracle = Oracle()
        oracle.feed(each for each in self.arrivals if "/STATE/" not in each.topic)
        return oracle

    def publish(self, topic: str, payload: bytes, qos: int = 1, *, retain: bool = False) -> None:
        """Publish and wait until the server has acknowledged."""
        published = self.client.publish(topic, payload, qos, retain)
        published.wait_for_publish(PATIENCE)
        assert published.is_published(), f"the server does not acknowledge what is on {topic}"


@contextlib.contextmanager
def listening(server: MosquittoServer) -> Iterator[Listener]:
    """A listener whose subscription is acknowledged."""
    listener = Listener(server)
    listener.client.loop_start()
    try:
        wait_until(lambda: listener.subscriptions, what="SUBACK")
        yield listener
    finally:
        listener.client.disconnect()
        listener.client.loop_stop()
