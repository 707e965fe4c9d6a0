"""Topic filters that show less of an edge node than it publishes: what to say of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sparkplug import ANY_ID, NAMESPACE, MessageType, is_shared, plain_levels, sight_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sparkplug import NodeSight

_MOST_LOOKED_AT: Final = 100
"""Different edge nodes, or sets of them, that filters name; others are like these, most likely."""


def narrow_filters(topics: Sequence[str]) -> list[str]:
    """One text for each edge node, or set of them, that the filters together show in part."""
    found: list[str] = []
    looked_at: set[tuple[str, str]] = set()
    for topic in topics:
        levels = [*plain_levels(topic), *[ANY_ID] * 4]
        # What stands behind '#' are padding levels, and any id as well.
        group_id, edge_node_id = (ANY_ID if levels[n] in "+#" else levels[n] for n in (1, 3))
        if (group_id, edge_node_id) in looked_at or len(looked_at) >= _MOST_LOOKED_AT:
            continue
        looked_at.add((group_id, edge_node_id))
        sight = sight_of(topics, group_id, edge_node_id)
        if sight.anything and not sight.whole:
            found.append(_said_of(topic, group_id, edge_node_id, sight))
    return found


def _said_of(topic: str, group_id: str, edge_node_id: str, sight: NodeSight) -> str:
    whose, whole = _named(group_id, edge_node_id)
    if is_shared(topic):
        why = f"{topic} is shared, other subscribers get a part of what it shows of {whose}"
    else:
        why = f"{topic} shows {whose} in part, not all of {', '.join(sight.unseen)}"
    if not sight.node_births:
        effect = "without NBIRTH nothing of it can be read"
    elif MessageType.NDEATH in sight.unseen:
        effect = "a hole in its seq is not noticed, and maybe not its end"
    else:
        effect = "a hole in its seq is not noticed"
    return f"{why}: {effect}; subscribe to {whole}, and choose metrics with include and exclude"


def _named(group_id: str, edge_node_id: str) -> tuple[str, str]:
    """Name an edge node, or a set of them, for people, and the filter that shows all of it."""
    whole = f"{NAMESPACE}/{_level(group_id)}/+/{_level(edge_node_id)}/#"
    if edge_node_id != ANY_ID:
        place = "" if group_id == ANY_ID else f"{group_id}/"
        return f"edge node {place}{edge_node_id}", whole
    if group_id != ANY_ID:
        return f"edge nodes of group {group_id}", f"{NAMESPACE}/{group_id}/#"
    return "edge nodes", f"{NAMESPACE}/#"


def _level(name: str) -> str:
    return "+" if name == ANY_ID else name
