"""docs/decoding.md, "Edge nodes that are seen in part": topic by topic."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

OF_NODE = ("NBIRTH", "NDEATH", "NDATA")
OF_DEVICE = ("DBIRTH", "DDEATH", "DDATA")
SOME_OTHER = "a device that no filter names"


def matches(topic_filter: str, topic: str) -> bool:
    """MQTT 5, 4.7.1, level by level."""
    wanted, found = topic_filter.split("/"), topic.split("/")
    while wanted and found:
        if wanted[0] == "#":
            return True
        if wanted[0] not in ("+", found[0]):
            return False
        wanted, found = wanted[1:], found[1:]
    return not found and wanted in ([], ["#"])


def split_shared(topic_filter: str) -> tuple[bool, str]:
    """Whether a filter is shared, and with which topics it is compared."""
    if topic_filter.startswith("$share/"):
        return True, topic_filter.split("/", 2)[2]
    if topic_filter.startswith("$queue/"):
        return True, topic_filter.split("/", 1)[1]
    return False, topic_filter


def seen(filters: Iterable[str], group: str, node: str) -> tuple[set[str], set[str]]:
    """Of which types all messages of a node are seen, and of which any.

    Devices are those that a filter names, and one that stands for all others.
    """
    split = [split_shared(each) for each in filters]
    named = {level for _, each in split for level in each.split("/")} - {"+", "#", ""}
    whole, some = set(), set()
    for kind in (*OF_NODE, *OF_DEVICE):
        topics = [f"spBv1.0/{group}/{kind}/{node}"]
        if kind in OF_DEVICE:
            topics = [f"{topics[0]}/{device}" for device in (*sorted(named), SOME_OTHER)]
        by_topic = [[shared for shared, each in split if matches(each, topic)] for topic in topics]
        if all(False in found for found in by_topic):
            whole.add(kind)
        if any(by_topic):
            some.add(kind)
    return whole, some
