"""The edge nodes of a fleet as somebody sees them who looks from another thread.

What is read here changes meanwhile: each number is right by itself, and all of them are of about
the same moment. Nothing here waits, and nothing is changed.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sparkplug.host.fleet_state import FleetState
    from sparkplug.host.nodes.waiting import NodeKey
    from sparkplug.host.owner import MetricOwner


class DeviceView(NamedTuple):
    """A device: whether it is in a session, how many metrics its birth declared, and when.

    `born_ms` is the payload timestamp of its birth, milliseconds since 1970 UTC; None for none.
    """

    device_id: str
    is_alive: bool
    tags: int
    born_ms: int | None


class NodeView(NamedTuple):
    """An edge node.

    Args:
        group_id, edge_node_id: of its topics.
        is_born: whether it is in a session; None if no birth of it was ever heard.
        in_doubt: it is alive, but what its aliases stand for is not known until its birth.
        is_duplicate: two publishers seem to use its id.
        devices: of its births.
        tags: how many metrics its births declared, those of its devices included.
        bd_seq: of its last birth.
        next_seq: of its next message; None if none is expected.
        is_ignition: Ignition's module began the session.
        is_partial: topic filters show a part of it only.
        heard_seconds: for how long it was not heard, as far as somebody listened; None if it was
            not heard since it may have been missed.
        skew_seconds: how far its clock is behind, negative for ahead; None if it is not known.
        born_ms: payload timestamp of its birth, milliseconds since 1970 UTC.
    """

    group_id: str
    edge_node_id: str
    is_born: bool | None
    in_doubt: bool = False
    is_duplicate: bool = False
    devices: tuple[DeviceView, ...] = ()
    tags: int = 0
    bd_seq: int | None = None
    next_seq: int | None = None
    is_ignition: bool = False
    is_partial: bool = False
    heard_seconds: float | None = None
    skew_seconds: float | None = None
    born_ms: int | None = None


def node_views(state: FleetState) -> list[NodeView]:
    """All edge nodes, those without a birth last. From any thread."""
    edge_nodes = state.edge_nodes[: state.nodes.size]
    nodes, count, now = state.nodes, len(edge_nodes), state.hearing.now
    # Columns once: they may be replaced by longer ones meanwhile.
    next_seq, ignition = nodes.next_seq[:count].tolist(), nodes.ignition[:count].tolist()
    partial, heard_at = nodes.partial[:count].tolist(), nodes.heard_at[:count].tolist()
    skew_us = _skews_us(state)
    duplicates = state.alarms.duplicates.alarmed
    known: set[NodeKey] = set()
    found: list[NodeView] = []
    for edge_node in edge_nodes:
        index, owner = edge_node.index, edge_node.owner
        key = (owner.group_id, owner.edge_node_id)
        known.add(key)
        devices = tuple(
            DeviceView(each.device_id or "", each.born, len(each.declared), _born_ms(each))
            for each in list(edge_node.devices.values())
        )
        skew = skew_us[index] if index < len(skew_us) else math.nan
        found.append(
            NodeView(
                *key,
                owner.born,
                edge_node.in_doubt,
                key in duplicates,
                devices,
                len(owner.declared) + sum(each.tags for each in devices),
                edge_node.bd_seq,
                next_seq[index] if next_seq[index] >= 0 else None,
                ignition[index],
                partial[index],
                max(0.0, now - heard_at[index]) if math.isfinite(heard_at[index]) else None,
                skew / 1e6 if math.isfinite(skew) else None,
                _born_ms(owner),
            )
        )
    strangers = [key for key in state.completeness.strangers if key not in known]
    return found + [NodeView(*key, None) for key in strangers]


def declared_tags(state: FleetState) -> NDArray[np.int32]:
    """The tags that the last birth of each node and device declared. From any thread.

    Right if the generation of the catalogue is the same before and after.
    """
    declared = [owner.declared for owner in state.owners[: state.topics.size]]
    return np.concatenate([np.empty(0, dtype=np.int32), *declared])


def _skews_us(state: FleetState) -> list[float]:
    try:
        skews: list[float] = state.alarms.skew_us.tolist()
    except ValueError:  # columns of two sizes: a node was added this moment
        return []
    return skews


def _born_ms(owner: MetricOwner) -> int | None:
    return owner.born_ms if owner.born_ms >= 0 else None
