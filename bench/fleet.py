"""The benchmark's input: 10,000 tags on 50 edge nodes, the same bytes on every run.

Each node has 200 tags of its own: 120 Double, 40 Int32, 20 Boolean, 20 String. Data
names tags by alias and carries metric timestamps and no datatype, as the
specification asks for; half of the Int32 values are negative, in the only form
an Int32 has on the wire (its 32 bits as unsigned number).
"""

from __future__ import annotations

import random

from sparkplug.pb.sparkplug_b_pb2 import Metric, Payload

NODES = 50
TAGS_PER_NODE = 200
MESSAGES_PER_BATCH = 1000

INT32, DOUBLE, BOOLEAN, STRING, INT64 = 3, 10, 11, 12, 4
# Every ten consecutive tags have the mix: 60 % Double, 20 % Int32, 10 % each of the others.
TYPES = (DOUBLE, DOUBLE, INT32, DOUBLE, BOOLEAN, DOUBLE, DOUBLE, INT32, DOUBLE, STRING)
MEASURES = ("Temperature", "Pressure", "Count", "Flow", "Running", "Level", "Speed", "Offset")
STATES = ("Running", "Stopped", "Changeover", "Reinigung läuft", "Fault 17: guard door open", "")

START_MS = 1_700_000_000_000
DELIVERY_MS = 5

Message = tuple[str, bytes, int]
"""Topic, payload, time of arrival in microseconds since 1970 UTC."""


def node_ids(node: int) -> tuple[str, str]:
    """Group id and edge node id of a node by its number."""
    return f"Plant {node // 10 + 1}", f"Edge {node % 10 + 1:02}"


def tag_name(tag: int) -> str:
    """Name of a tag by its number within the node."""
    return f"Line {tag // 40 + 1}/Machine {tag // 8 % 5 + 1}/{MEASURES[tag % 8]} {tag + 1}"


def births(nodes: int = NODES, at_ms: int = START_MS) -> list[Message]:
    """One NBIRTH with seq 0 per node; declares all tags, bdSeq and the rebirth control."""
    rng = random.Random(0)
    messages = []
    for node in range(nodes):
        payload = Payload(timestamp=at_ms, seq=0)
        payload.metrics.add(name="bdSeq", timestamp=at_ms, datatype=INT64, long_value=0)
        payload.metrics.add(
            name="Node Control/Rebirth", timestamp=at_ms, datatype=BOOLEAN, boolean_value=False
        )
        for tag in range(TAGS_PER_NODE):
            metric = payload.metrics.add(
                name=tag_name(tag), alias=tag, timestamp=at_ms, datatype=tag_type(tag)
            )
            set_value(metric, tag_type(tag), rng)
        messages.append(_message("NBIRTH", node, payload, at_ms))
    return messages


def batches(
    metrics_per_message: int,
    count: int,
    messages: int = MESSAGES_PER_BATCH,
    *,
    names: bool = False,
    datatypes: bool = False,
) -> list[list[Message]]:
    """Batches of NDATA, node after node, each seq following on the births of `births`.

    A node's messages walk through its tags in turn, so that every tag is used.

    Args:
        metrics_per_message: from 1 to TAGS_PER_NODE.
        count: number of batches.
        messages: number of messages in a batch.
        names: data carries names instead of aliases.
        datatypes: data carries datatypes, as Ignition sends them.
    """
    rng = random.Random(metrics_per_message)
    batches = []
    sent = 0
    for _ in range(count):
        batch = []
        for _ in range(messages):
            turn, node = divmod(sent, NODES)
            sent_ms = START_MS + sent
            payload = Payload(timestamp=sent_ms, seq=(turn + 1) % 256)
            for index in range(metrics_per_message):
                tag = (turn * metrics_per_message + index) % TAGS_PER_NODE
                metric = payload.metrics.add(timestamp=sent_ms - index % 100)
                if names:
                    metric.name = tag_name(tag)
                else:
                    metric.alias = tag
                if datatypes:
                    metric.datatype = tag_type(tag)
                set_value(metric, tag_type(tag), rng)
            batch.append(_message("NDATA", node, payload, sent_ms))
            sent += 1
        batches.append(batch)
    return batches


def tag_type(tag: int) -> int:
    """Sparkplug datatype of a tag by its number within the node."""
    return TYPES[tag % len(TYPES)]


def set_value(metric: Metric, datatype: int, rng: random.Random) -> None:
    """Give a metric a value of its datatype."""
    if datatype == DOUBLE:
        metric.double_value = rng.uniform(-50, 500)
    elif datatype == INT32:
        metric.int_value = rng.randint(-(2**31), 2**31 - 1) % 2**32
    elif datatype == BOOLEAN:
        metric.boolean_value = rng.random() < 0.5
    else:
        metric.string_value = rng.choice(STATES)


def _message(verb: str, node: int, payload: Payload, sent_ms: int) -> Message:
    group, edge_node = node_ids(node)
    topic = f"spBv1.0/{group}/{verb}/{edge_node}"
    return topic, payload.SerializeToString(), (sent_ms + DELIVERY_MS) * 1000
