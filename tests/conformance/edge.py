"""An edge node with an MQTT connection of its own, which keeps the rules or breaks them.

Everything about a message can be chosen: what is not said is as the specification asks.
"""

from __future__ import annotations

import contextlib
import itertools
import socket
import time
from typing import TYPE_CHECKING, Any

import paho.mqtt.client as mqtt
from oracle.messages import metric, payload
from paho.mqtt.enums import CallbackAPIVersion
from support.services import PATIENCE, wait_until

from sparkplug.datatypes import DataType

if TYPE_CHECKING:
    from collections.abc import Iterator

REBIRTH_METRIC = metric("Node Control/Rebirth", DataType.Boolean, boolean_value=False)


def now_ms() -> int:
    """The wall clock, in milliseconds since 1970 UTC."""
    return time.time_ns() // 1_000_000


def number(
    name: str | None, value: float, *, timestamp: int | None = None, **more: Any
) -> dict[str, Any]:
    """A metric of type Double; its time is the present unless another is given."""
    at_ms = timestamp if timestamp is not None else now_ms()
    datatype = DataType.Double if name else None
    return metric(name, datatype, timestamp=at_ms, double_value=value, **more)


class Edge:
    """One edge node. `connect` begins an MQTT session with the NDEATH as its will."""

    def __init__(self, port: int, group: str, node: str = "Edge") -> None:
        self.group = group
        self.node = node
        self.bd_seq = 0
        self.seq = -1
        self.death_ms: int | None = None
        """The time in the NDEATH; the present unless given."""
        self._port = port
        self._client: mqtt.Client | None = None

    def topic(self, verb: str, device: str | None = None) -> str:
        """The topic of this edge node, or of a device of it."""
        text = f"spBv1.0/{self.group}/{verb}/{self.node}"
        return text if device is None else f"{text}/{device}"

    def bd_seq_metric(self) -> dict[str, Any]:
        """bdSeq as both certificates carry it."""
        return metric("bdSeq", DataType.Int64, timestamp=now_ms(), long_value=self.bd_seq)

    def death(self) -> bytes:
        """The payload of the NDEATH."""
        at_ms = self.death_ms if self.death_ms is not None else now_ms()
        return payload(self.bd_seq_metric(), seq=None, timestamp=at_ms)

    def connect(self) -> None:
        """CONNECT with the NDEATH as the will, and wait for the answer."""
        client = mqtt.Client(CallbackAPIVersion.VERSION2, reconnect_on_failure=False)
        client.will_set(self.topic("NDEATH"), self.death(), qos=1, retain=False)
        client.connect("127.0.0.1", self._port)
        client.loop_start()
        wait_until(client.is_connected, what="the edge node's connection")
        self._client = client

    def send(self, verb: str, content: bytes, device: str | None = None) -> None:
        """Publish with QoS 0, and wait until it is on its way."""
        assert self._client is not None
        sent = self._client.publish(self.topic(verb, device), content, 0)
        sent.wait_for_publish(PATIENCE)
        assert sent.is_published(), f"the server does not take the {verb}"

    def born(self, *metrics: dict[str, Any], seq: int = 0) -> None:
        """NBIRTH with bdSeq, Node Control/Rebirth and these metrics."""
        self.seq = seq
        self.send(
            "NBIRTH",
            payload(
                self.bd_seq_metric(), REBIRTH_METRIC, *metrics, seq=self.seq, timestamp=now_ms()
            ),
        )

    def device_born(self, device: str, *metrics: dict[str, Any]) -> None:
        """DBIRTH."""
        self.send("DBIRTH", self._next(*metrics), device)

    def data(self, *metrics: dict[str, Any], device: str | None = None) -> None:
        """NDATA, or DDATA of a device."""
        self.send("NDATA" if device is None else "DDATA", self._next(*metrics), device)

    def device_died(self, device: str, *, timestamp: int | None = None) -> None:
        """DDEATH."""
        self.send("DDEATH", self._next(timestamp=timestamp), device)

    def skip_seq(self) -> None:
        """Behave as if a message had been lost on the way."""
        self.seq = (self.seq + 1) % 256

    def leave(self) -> None:
        """NDEATH, then DISCONNECT, as an edge node leaves in order."""
        self.send("NDEATH", self.death())
        self.close()

    def break_off(self) -> None:
        """End the connection without DISCONNECT: the server publishes the will."""
        assert self._client is not None
        connection = self._client.socket()
        assert isinstance(connection, socket.socket)
        connection.shutdown(socket.SHUT_RDWR)
        self._client.loop_stop()
        self._client = None

    def close(self) -> None:
        """DISCONNECT, if there is a connection."""
        if self._client is not None:
            self._client.disconnect()
            self._client.loop_stop()
            self._client = None

    def _next(self, *metrics: dict[str, Any], timestamp: int | None = None) -> bytes:
        self.seq = (self.seq + 1) % 256
        at_ms = timestamp if timestamp is not None else now_ms()
        return payload(*metrics, seq=self.seq, timestamp=at_ms)


_NUMBERS = itertools.count(1)


@contextlib.contextmanager
def edge_node(port: int, group: str = "", node: str = "Edge") -> Iterator[Edge]:
    """A connected edge node, of a group of its own unless one is given."""
    edge = Edge(port, group or f"Group {next(_NUMBERS)}", node)
    edge.connect()
    try:
        yield edge
    finally:
        edge.close()
