"""How a connection to an MQTT server ends when it ends on purpose: its packets, in order."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

import paho.mqtt.client as mqtt

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sparkplug.actions import Publish

LOOP_TIMEOUT: Final = 0.1
"""Longest wait for the socket, in seconds, before looking at what others want."""


def say(client: mqtt.Client, publish: Publish, deadline: float) -> bool:
    """Publish, and read until the server has acknowledged; False if it did not in time."""
    info = client.publish(publish.topic, publish.payload, qos=publish.qos, retain=publish.retain)
    return read_until(client, info.is_published, deadline)


def disconnect(client: mqtt.Client, topics: Sequence[str], deadline: float) -> None:
    """Give the subscriptions back, read what is still on the way, then DISCONNECT.

    A socket closed with something unread is reset, and a server that sees the reset
    before DISCONNECT publishes the will.
    """
    given_back: list[int] = []
    client.on_unsubscribe = lambda *_: given_back.append(1)
    client.unsubscribe(list(topics))
    read_until(client, lambda: given_back, deadline)
    client.disconnect()


def read_until(client: mqtt.Client, done: Callable[[], object], deadline: float) -> bool:
    """Read until `done()`; False if the deadline or the connection's end came first.

    `deadline` is by `time.monotonic`.
    """
    while not done():
        left = deadline - time.monotonic()
        if left <= 0 or client.loop(min(left, LOOP_TIMEOUT)) != mqtt.MQTT_ERR_SUCCESS:
            return bool(done())
    return True
