"""An edge node for tests, and its messages read by an independent implementation."""

from __future__ import annotations

from sparkplug import topics
from sparkplug.actions import Publish
from sparkplug.datatypes import DataType
from sparkplug.edge import EdgeNode, EdgeNodeOptions
from sparkplug.edge.encoding import Metric, SignedEncoding
from support import peer

NOW = 1_700_000_000_000
HOST = "spBv1.0/STATE/historian"


def metric(name, data_type=DataType.Double, value=1.0, timestamp_ms=NOW - 5_000, **more):
    return Metric(name=name, data_type=data_type, value=value, timestamp_ms=timestamp_ms, **more)


def edge_node(**options) -> EdgeNode:
    """Node metrics "Node Info/Version" and "Load"; device "Pump" with a few of each kind."""
    options.setdefault("signed", SignedEncoding.NARROW)  # the peer cannot read the other form
    node = EdgeNode(
        "Plant 1",
        "Line A",
        [metric("Node Info/Version", DataType.String, "4.0"), metric("Load", value=0.5)],
        EdgeNodeOptions(**options),
    )
    node.add_device(
        "Pump",
        [
            metric("Speed", value=1480.0),
            metric("Running", DataType.Boolean, value=False, writeable=True),
            metric("Setpoint", DataType.Int16, -5, writeable=True),
            metric("Serial", DataType.String, "P-1", writeable=False),
        ],
        NOW,
    )
    return node


def online(**options) -> tuple[EdgeNode, list[Publish]]:
    """An edge node that has just published its births, and those."""
    node = edge_node(**options)
    node.connect(NOW)
    return node, node.connected(NOW)


def verb(publish: Publish) -> str:
    topic = topics.parse_topic(publish.topic)
    assert isinstance(topic, topics.Topic)
    return topic.message_type


def verbs(actions) -> list[str]:
    return [verb(each) if isinstance(each, Publish) else type(each).__name__ for each in actions]


def read(publish: Publish, birth=None):
    """The payload as pysparkplug reads it."""
    kinds = {
        "NBIRTH": peer.NBirth,
        "DBIRTH": peer.DBirth,
        "NDATA": peer.NData,
        "DDATA": peer.DData,
        "NDEATH": peer.NDeath,
        "DDEATH": peer.DDeath,
    }
    return kinds[verb(publish)].decode(publish.payload, birth=birth)


def values(payload) -> dict:
    return {each.name: each.value for each in payload.metrics}
