"""Rows of many edge nodes, as a consumer with several streams has them."""

import random

from consumer.pb.tag_event_pb2 import TagEvent
from consumer.rows.encoded import EncodedRows
from support.tag_events import event

NODES = 23


def node_event(number, node):
    row = TagEvent.FromString(event(number))
    row.edge_node_id = f"Edge{node}"
    return row.SerializeToString()


def mixed(start, stop):
    """Rows of many nodes, mixed by chance that is the same each time."""
    chance = random.Random(start)
    return EncodedRows.from_messages(
        [node_event(number, chance.randrange(NODES)) for number in range(start, stop)]
    )
