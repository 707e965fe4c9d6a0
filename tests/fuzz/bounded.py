"""What is kept stays within the limits, whatever comes: read again with very tight ones."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from consumer.rows import SourceNames, TagColumns, normalize
from consumer.rows.encoded import EncodedRows
from sparkplug.host.fleet import Fleet
from sparkplug.host.fleet_options import FleetOptions
from sparkplug.host.nodes.holding import HoldLimits
from sparkplug.host.screening import FleetLimits
from sparkplug.messages import Message

if TYPE_CHECKING:
    from oracle import Arrival

TIGHT = FleetLimits(
    max_payload_bytes=2048,
    max_metrics=60,
    max_inflated_bytes=4096,
    max_opened_memory=64 * 1024,
    max_nodes=2,
    max_tags=100,
)
HOLD = HoldLimits(node_messages=3, node_bytes=4096, total_bytes=6000, seconds=600.0)
_WINDOW = 256


def assert_bounded(batches: list[list[Arrival]]) -> Counter[str]:
    """Feed a fleet with room for little; it refuses what it has no room for.

    Returns the number of rows per edge node.
    """
    fleet = Fleet(TIGHT, FleetOptions(hold_limits=HOLD, reorder_timeout=2.0))
    tags = TagColumns(fleet.catalogue, SourceNames())
    rows: Counter[str] = Counter()
    for now, batch in enumerate(batches):
        messages = [Message(a.topic, a.payload, a.received_at_us, a.retained) for a in batch]
        for observations in fleet.feed(messages, float(now)).observations:
            events = normalize(observations, tags, rows.total() + 1)
            assert sum(len(EncodedRows(part)) for part in events.encode()) == len(events)
            owners = map(fleet.catalogue.owners.__getitem__, events.observations.tag.tolist())
            rows.update(owner.edge_node_id for owner in owners)
        assert fleet.gauges.node_count <= TIGHT.max_nodes
        assert fleet.gauges.live_tags <= TIGHT.max_tags
        assert len(fleet.memory.held()) <= HOLD.node_messages * 4 + TIGHT.max_nodes
        assert fleet.gauges.held_messages <= len(fleet.memory.held()) + _WINDOW * TIGHT.max_nodes
    fleet.tick(1e6)  # what waited for a missing message may be held from here on
    fleet.tick(2e6)
    assert fleet.gauges.held_messages == 0
    return rows
