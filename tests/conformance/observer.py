"""A client subscribed to everything on a server, over either protocol version."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.subscribeoptions import SubscribeOptions
from support.services import PATIENCE, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

PROTOCOLS = {"5": MQTTProtocolVersion.MQTTv5, "3.1.1": MQTTProtocolVersion.MQTTv311}


@dataclass(frozen=True)
class Arrival:
    """One message, with the wall-clock time of its arrival, in seconds.

    QoS is what it was published with. So is `retain` over MQTT 5; over 3.1.1 a server
    clears the flag of what is not history.
    """

    topic: str
    payload: bytes
    qos: int
    retain: bool
    at: float

    @property
    def at_ms(self) -> int:
        return int(self.at * 1000)


def state_of(payload: bytes) -> dict[str, Any]:
    """The content of a STATE message, which must be UTF-8 JSON."""
    content = json.loads(payload.decode("utf-8"))
    assert isinstance(content, dict), payload
    return content


class Observer:
    """Keeps every message that the server has for `#`, in order of arrival."""

    def __init__(self, port: int, protocol: str) -> None:
        self.protocol = protocol
        self._lock = threading.Lock()
        self._arrivals: list[Arrival] = []
        self._subscribed = threading.Event()
        self.client = client = mqtt.Client(
            CallbackAPIVersion.VERSION2, protocol=PROTOCOLS[protocol]
        )
        client.on_connect = self._on_connect
        client.on_subscribe = lambda *_: self._subscribed.set()
        client.on_message = self._on_message
        client.connect("127.0.0.1", port)
        client.loop_start()
        assert self._subscribed.wait(PATIENCE), "no SUBACK"

    @property
    def arrivals(self) -> list[Arrival]:
        """Everything received so far."""
        with self._lock:
            return list(self._arrivals)

    def on(self, topic: str) -> list[Arrival]:
        """What was received on a topic so far."""
        return [each for each in self.arrivals if each.topic == topic]

    def wait_for(self, topic: str, count: int = 1, timeout: float = PATIENCE) -> list[Arrival]:
        """Wait until so many messages arrived on a topic, and return them."""
        wait_until(lambda: len(self.on(topic)) >= count, timeout, f"{count} messages on {topic}")
        return self.on(topic)

    def publish(self, topic: str, payload: bytes, *, qos: int = 1, retain: bool = False) -> None:
        """Publish, and wait until the server has acknowledged (QoS 0: until it is sent)."""
        published = self.client.publish(topic, payload, qos, retain)
        published.wait_for_publish(PATIENCE)
        assert published.is_published(), f"the server does not take what is on {topic}"

    def close(self) -> None:
        """Leave the server."""
        self.client.disconnect()
        self.client.loop_stop()

    def _on_connect(self, client: mqtt.Client, *_args: Any) -> None:
        if self.protocol == "5":
            client.subscribe("#", options=SubscribeOptions(qos=2, retainAsPublished=True))
        else:
            client.subscribe("#", qos=2)

    def _on_message(self, _client: Any, _userdata: Any, message: mqtt.MQTTMessage) -> None:
        arrival = Arrival(
            message.topic, bytes(message.payload), message.qos, message.retain, time.time()
        )
        with self._lock:
            self._arrivals.append(arrival)


@contextlib.contextmanager
def observing(port: int, protocol: str = "5") -> Iterator[Observer]:
    """An observer whose subscription is acknowledged."""
    observer = Observer(port, protocol)
    try:
        yield observer
    finally:
        observer.close()


def kept(port: int, topic: str) -> Arrival | None:
    """The message that a server keeps for a topic, as a new subscriber gets it; None: nothing."""
    marker = "kept/all"
    with observing(port) as observer:
        # What is kept comes before anything that is published after the subscription.
        observer.publish(marker, b"")
        observer.wait_for(marker)
        found = observer.on(topic)
        return found[0] if found else None
