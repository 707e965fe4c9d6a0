"""Hundreds of edge nodes over one MQTT connection, which obey rebirth requests."""

from __future__ import annotations

import contextlib
import threading
import time
from typing import TYPE_CHECKING

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
from support.services import PATIENCE, wait_until

from sparkplug.actions import Publish
from sparkplug.datatypes import DataType
from sparkplug.edge.encoding import Metric
from sparkplug.edge.node import EdgeNode, Update
from sparkplug.pb.sparkplug_b_pb2 import Payload
from sparkplug.topics import parse_topic

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from support.services import MosquittoServer

    from sparkplug.actions import Action, Scalar

GROUP = "Plant"
DEVICE = "Boiler"


def _metric(name: str, data_type: DataType, value: Scalar, at: int) -> Metric:
    return Metric(name=name, data_type=data_type, value=value, timestamp_ms=at)


class ManyNodes:
    """Edge nodes with a metric of their own (Load) and a device (Level, Unit)."""

    def __init__(self, server: MosquittoServer, count: int) -> None:
        self._lock = threading.Lock()
        self._start_ms = time.time_ns() // 1_000_000
        self.nodes = {f"Edge {n:03}": self._node(f"Edge {n:03}") for n in range(count)}
        self.requests: list[tuple[int, str]] = []
        """When the host wrote each of them, and to which node it did."""
        self._subscribed = threading.Event()
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2)
        self._client.max_queued_messages_set(0)
        self._client.on_subscribe = lambda *_: self._subscribed.set()
        self._client.on_message = self._on_message
        self._client.connect("127.0.0.1", server.port)
        self._client.subscribe(f"spBv1.0/{GROUP}/NCMD/+", qos=1)
        self._client.loop_start()
        wait_until(self._subscribed.is_set, what="SUBACK")

    def _node(self, name: str) -> EdgeNode:
        at = self._start_ms
        node = EdgeNode(GROUP, name, [_metric("Load", DataType.Double, 0.0, at)])
        node.connect(at)
        node.add_device(
            DEVICE,
            [
                _metric("Level", DataType.Int32, 0, at),
                _metric("Unit", DataType.String, "m", at),
            ],
            at,
        )
        return node

    def publish_births(self) -> None:
        """Every node connects and publishes NBIRTH and DBIRTH."""
        for node in self.nodes.values():
            with self._lock:
                self._perform(node.connected(self._start_ms))

    def change(self, number: int) -> None:
        """One NDATA and one DDATA of each node, with this value and time."""
        at = self._start_ms + number
        for node in self.nodes.values():
            with self._lock:
                self._perform(node.update(None, [Update("Load", float(number), at)], at))
                self._perform(node.update(DEVICE, [Update("Level", number, at)], at))

    def time_of(self, number: int) -> int:
        """Milliseconds since 1970 of the values of `change(number)`."""
        return self._start_ms + number

    def flush(self) -> None:
        """Wait until everything published so far is with the server."""
        flushed = self._client.publish("flushed", b"", qos=1)
        flushed.wait_for_publish(PATIENCE)
        assert flushed.is_published(), "the server does not acknowledge"

    def _on_message(self, _client, _userdata, message: mqtt.MQTTMessage) -> None:
        node = self.nodes[parse_topic(message.topic).edge_node_id]
        written_ms = Payload.FromString(message.payload).timestamp
        self.requests.append((written_ms, node.edge_node_id))
        now_ms = time.time_ns() // 1_000_000
        with self._lock:
            self._perform(node.message(message.topic, message.payload, now_ms))

    def _perform(self, actions: Iterable[Action]) -> None:
        for action in actions:
            assert isinstance(action, Publish)
            self._client.publish(action.topic, action.payload, action.qos)

    def close(self) -> None:
        """Leave without a word."""
        self._client.disconnect()
        self._client.loop_stop()


@contextlib.contextmanager
def many_nodes(server: MosquittoServer, count: int) -> Iterator[ManyNodes]:
    """Edge nodes that have not published anything yet."""
    nodes = ManyNodes(server, count)
    try:
        yield nodes
    finally:
        nodes.close()
