"""What the topic filters of a subscription show of an edge node (MQTT 5, 4.7 and 4.8.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from sparkplug.messages import Reason
from sparkplug.topics import NAMESPACE, MessageType

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_SHARED: Final = {"$share": 2, "$queue": 1}
"""First level of a shared subscription, and how many levels stand before its filter.
`$queue/` is what EMQX has for the group without a name."""

_OF_NODE: Final = (MessageType.NBIRTH, MessageType.NDEATH, MessageType.NDATA)
_OF_DEVICE: Final = (MessageType.DBIRTH, MessageType.DDEATH, MessageType.DDATA)
ANY_ID: Final = "\0"
"""Stands for each group id and edge node id that no filter names: MQTT has no topic with it."""
COUNTED_TYPES: Final = (*_OF_NODE, *_OF_DEVICE)
"""Types that must all be seen of an edge node and its devices for its seq to tell something."""


class NodeSight(NamedTuple):
    """The messages of one edge node that a subscription shows.

    Args:
        unseen: types of which not every message is seen, those of every device included.
        node_births: whether NBIRTH is seen at all; shared with other subscribers, too.
        device_births: whether DBIRTH of any device is seen; shared with others, too.
        anything: whether any message is seen.
    """

    unseen: tuple[MessageType, ...]
    node_births: bool
    device_births: bool
    anything: bool

    @property
    def whole(self) -> bool:
        """Whether all messages are seen: only then a hole in seq is a message that was lost."""
        return not self.unseen

    def would_show_answer(self, reason: Reason) -> bool:
        """Whether the births that a rebirth request for this reason asks for may be seen."""
        return self.node_births and (
            self.device_births or reason is not Reason.DEVICE_DATA_BEFORE_BIRTH
        )


def is_shared(topic_filter: str) -> bool:
    """Whether a subscription with this filter may be shared with others."""
    return topic_filter.partition("/")[0] in _SHARED


def plain_levels(topic_filter: str) -> list[str]:
    """The levels of a filter, without those that say that it is shared."""
    levels = topic_filter.split("/")
    return levels[_SHARED.get(levels[0], 0) :]


def sight_of(filters: Iterable[str], group_id: str, edge_node_id: str) -> NodeSight:
    """What filters show of an edge node, as far as they go: access rules may show less."""
    whole: set[MessageType] = set()
    some: set[MessageType] = set()
    for topic_filter in filters:
        levels, alone = plain_levels(topic_filter), not is_shared(topic_filter)
        if len(levels) > 1 and levels[1] not in (group_id, "+", "#"):
            continue  # most of many
        for kind in COUNTED_TYPES:
            topic = (NAMESPACE, group_id, kind, edge_node_id)
            all_of_it, any_of_it = _covers(levels, topic, with_device=kind in _OF_DEVICE)
            if any_of_it:
                some.add(kind)
            if all_of_it and alone:
                whole.add(kind)
    return NodeSight(
        tuple(kind for kind in COUNTED_TYPES if kind not in whole),
        node_births=MessageType.NBIRTH in some,
        device_births=MessageType.DBIRTH in some,
        anything=bool(some),
    )


def _covers(levels: Sequence[str], topic: Sequence[str], *, with_device: bool) -> tuple[bool, bool]:
    """Whether a filter matches a topic, which a device id may follow: for all devices, for any."""
    for position, name in enumerate(topic):
        if position == len(levels):
            return False, False
        if levels[position] == "#":
            return True, True
        if levels[position] not in ("+", name):
            return False, False
    rest = list(levels[len(topic) :])
    if with_device:
        everything = rest in (["#"], ["+"], ["+", "#"])
        # A device with a name that is empty, or has a wildcard in it, does not exist.
        return everything, everything or (rest[1:] in ([], ["#"]) and rest[:1] not in ([], [""]))
    return (rest in ([], ["#"]),) * 2
