"""The shipped bounds of Mosquitto's queues do what their comments say, with a real one."""

from __future__ import annotations

import contextlib
import re
import time
from pathlib import Path

import paho.mqtt.client as mqtt
import pytest
from end_to_end.gateway import Gateway, metric
from end_to_end.world import world
from paho.mqtt.enums import CallbackAPIVersion
from support.mqtt_listener import listening
from support.services import PATIENCE, mosquitto

SHIPPED = Path(__file__).parents[3] / "mosquitto" / "mosquitto.conf"
BOUNDS = "\n".join(
    re.findall(
        r"^(?:max_queued_\w+|max_packet_size|memory_limit) .*$", SHIPPED.read_text(), re.MULTILINE
    )
)
DROPPED = "$SYS/broker/publish/messages/dropped"


class Subscriber:
    """A client that reads only when it is told to, so that the server has to queue."""

    def __init__(self, server, topic, qos):
        self.received = []
        self._subscribed = False
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2)
        self._client.on_message = lambda _c, _u, message: self.received.append(message.payload)
        self._client.on_subscribe = self._on_subscribe
        self._client.connect("127.0.0.1", server.port, keepalive=60)
        self._client.subscribe(topic, qos)
        self.read(lambda: self._subscribed)
        assert self._subscribed

    def _on_subscribe(self, *_args):
        self._subscribed = True

    def read(self, until, timeout=PATIENCE):
        deadline = time.monotonic() + timeout
        while not until() and time.monotonic() < deadline:
            self._client.loop(0.05)

    def step(self):
        self._client.loop(0.0)

    def close(self):
        self._client.disconnect()


@contextlib.contextmanager
def subscribed(server, topic, qos):
    subscriber = Subscriber(server, topic, qos)
    try:
        yield subscriber
    finally:
        subscriber.close()


def publish(server, count, size, qos):
    """Publish to `slow` from a client that waits until all is with the server."""
    with listening(server) as publisher:
        for number in range(count):
            publisher.client.publish("slow", f"{number} ".encode().ljust(size), qos)
        publisher.publish("done", b"")


def numbers(subscriber):
    return [int(payload.split(maxsplit=1)[0]) for payload in subscriber.received]


def lost_of(count, slow, told):
    """What the server said that it lost, once that and what came are all that was published."""

    def is_all():
        told.step()
        return bool(told.received) and len(slow.received) + int(told.received[-1]) == count

    slow.read(is_all)
    assert is_all()
    return int(told.received[-1])


@pytest.mark.parametrize(("qos", "size"), [(1, 200), (0, 20_000)])
def test_with_the_shipped_bounds_more_than_a_thousand_messages_wait(tmp_path, qos, size):
    # Of QoS 0 messages many are in the sockets' buffers; so they are larger.
    assert "max_queued_messages 0" in BOUNDS
    assert "max_queued_bytes" in BOUNDS
    with mosquitto(tmp_path, BOUNDS) as server, subscribed(server, "slow", qos) as slow:
        publish(server, 3_000, size, qos)
        slow.read(lambda: len(slow.received) >= 3_000)
        assert numbers(slow) == list(range(3_000))


def test_by_default_mosquitto_loses_messages_of_qos_0_beyond_a_thousand(tmp_path):
    with (
        mosquitto(tmp_path, "max_queued_messages 1000\nsys_interval 1") as server,
        subscribed(server, "slow", 0) as slow,
        subscribed(server, DROPPED, 0) as told,
    ):
        publish(server, 3_000, 20_000, qos=0)
        assert 0 < lost_of(3_000, slow, told) < 3_000


@pytest.mark.parametrize(
    "bounds", ["max_queued_messages 1000", re.sub(r"(?<=max_queued_bytes )\d+", "200000", BOUNDS)]
)
def test_a_bound_that_is_reached_loses_the_rest_and_only_the_count_tells(tmp_path, bounds):
    # The first are Mosquitto's own defaults; the second the shipped ones with fewer bytes.
    with (
        mosquitto(tmp_path, f"{bounds}\nsys_interval 1") as server,
        subscribed(server, "slow", 1) as slow,
        subscribed(server, DROPPED, 0) as told,
    ):
        publish(server, 3_000, 200, qos=1)
        assert 1_000 < lost_of(3_000, slow, told) < 3_000
        assert numbers(slow) == sorted(numbers(slow))


def test_the_consumer_tells_what_the_server_discards_and_takes_it_for_no_message(tmp_path):
    broker = "sys_interval 1\nmax_queued_messages 20\nmax_inflight_messages 5"
    with world(tmp_path, broker=broker) as system:
        system.consumer.start_ready()
        # The own STATE comes back to it, before whatever is published later.
        Gateway(system.publish, "Plant").born(metric("Level"))
        system.table.wait_for(1)
        with subscribed(system.server, "slow", 1):
            received = system.consumer.status()["messages_received"]
            publish(system.server, 300, 10, qos=1)

            def told():
                return system.consumer.status()["servers"][0]["broker_dropped_messages"]

            system.consumer.wait_for(lambda: told() == 275, "275 of 300")
            name = 'sparkplug_zerobus_broker_dropped_messages_total{server="plant-a"}'
            assert system.consumer.metric(name) == 275
            assert "plant-a discarded" in system.consumer.log()
            assert system.consumer.status()["messages_received"] == received
            assert system.consumer.status()["reasons"].get("bad_topic") is None
        assert system.consumer.stop() == 0
