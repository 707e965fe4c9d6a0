"""What readers of the wire share: topics in words, messages as they came, bounds of a fleet."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final, Protocol

from consumer.config import fleet_limits
from consumer.tap.items import Heard
from sparkplug import CERTIFICATE_PREFIX, StateTopic, Topic, parse_topic

if TYPE_CHECKING:
    from collections.abc import Iterator

    from consumer.config import Configuration
    from consumer.tap.items import Item
    from consumer.tap.listening import HeardBatch
    from sparkplug import FleetLimits, Message

MOST_ROW_BYTES: Final = 64 * 1024 * 1024
"""Bytes of the rows of one message; those of one with more are not read."""


class Reader(Protocol):
    """Makes of what one server brings what is shown of it. Single-threaded.

    Attributes:
        unnamed: metrics that a glob kept from being shown because their names are not known.
    """

    unnamed: int

    @property
    def waiting(self) -> int:
        """Messages that wait for a birth."""

    def read(self, batch: HeardBatch, now: float) -> Iterator[Item]:
        """What is to be shown of a batch. `now`: monotonic seconds."""

    def let_pass(self, now: float) -> Iterator[Item]:
        """What is to be shown because time has passed. `now`: monotonic seconds."""


def heard(server: str, message: Message, *, problem: str = "") -> Heard:
    """A message as it came, its payload not looked at."""
    return Heard(
        server,
        message.topic,
        kind_of(message.topic),
        message.payload,
        message.received_us,
        message.retained,
        problem=problem,
    )


def kind_of(topic: str) -> str:
    """NBIRTH, ..., DCMD, STATE; empty for a topic that is none of Sparkplug's."""
    read = parse_topic(topic.removeprefix(CERTIFICATE_PREFIX))
    if isinstance(read, Topic):
        return str(read.message_type)
    return "STATE" if isinstance(read, StateTopic) else ""


def place_of(group_id: str, edge_node_id: str, device_id: str | None) -> str:
    """`group/node[/device]`."""
    node = f"{group_id}/{edge_node_id}"
    return node if device_id is None else f"{node}/{device_id}"


def limits_of(configuration: Configuration) -> FleetLimits:
    """Bounds of what a fleet reads and remembers: those of the consumer, but for its rows."""
    return replace(fleet_limits(configuration.limits, 1), max_row_bytes=MOST_ROW_BYTES)
