"""The command that asks an edge node for its births."""

from __future__ import annotations

from typing import Final, NamedTuple

from sparkplug.datatypes import DataType
from sparkplug.names import REBIRTH
from sparkplug.pb import sparkplug_b_pb2 as pb
from sparkplug.topics import MessageType, Topic

COMMAND_QOS: Final = 0
"""Commands are published with QoS 0 and not retained (payloads-ncmd-qos, -retain)."""


class Command(NamedTuple):
    """A command to an edge node, as it is to be published."""

    topic: str
    payload: bytes


def rebirth_command(group_id: str, edge_node_id: str, now_ms: int) -> Command:
    """A command that asks an edge node for its births.

    Publish with QoS 0, not retained. The metric goes by its name, since whoever
    missed the birth cannot know an alias (operational-behavior-data-commands-
    ncmd-rebirth-name, -value). There is no seq (payloads-ncmd-seq) and no bdSeq,
    which some edges refuse.
    """
    payload = pb.Payload(timestamp=now_ms)
    payload.metrics.add(
        name=REBIRTH, timestamp=now_ms, datatype=DataType.Boolean, boolean_value=True
    )
    topic = Topic(group_id, MessageType.NCMD, edge_node_id)
    return Command(str(topic), payload.SerializeToString())
