"""Births that a Sparkplug-aware MQTT server keeps for those who come later.

Such a server publishes every NBIRTH and DBIRTH again, retained, under
`$sparkplug/certificates/` (specification chapter 10, tck-ids
conformance-mqtt-aware-store, -nbirth-mqtt-topic, -nbirth-mqtt-retain and the same for
dbirth). They tell a host that has just started what metrics there are, but neither
whether the node lives nor where its seq is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from sparkplug.decoded import Decoded
from sparkplug.host.screening import screen
from sparkplug.messages import Message, MessageBatch
from sparkplug.payload import ABSENT
from sparkplug.topics import MessageType, Topic

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sparkplug.host.nodes.edge_node import EdgeNodeState
    from sparkplug.host.screening import FleetLimits

CERTIFICATE_PREFIX: Final = "$sparkplug/certificates/"


class Certificate(NamedTuple):
    """A kept birth: its own topic, the birth as it was published, its payload timestamp."""

    topic: Topic
    message: Message
    sent_ms: int


def read_certificates(messages: Iterable[Message], limits: FleetLimits) -> list[Certificate]:
    """Those that can be read and tell when they were sent; NBIRTHs first.

    Servers send what they keep in no particular order. A birth without time cannot be
    compared with what is known, so it is of no use.
    """
    births = MessageBatch(
        Message(each.topic.removeprefix(CERTIFICATE_PREFIX), each.payload, each.received_us)
        for each in messages
        if each.topic.startswith(CERTIFICATE_PREFIX)
    )
    screened = screen(births, {}, limits, Decoded())
    columns = screened.columns
    found = [
        Certificate(topic, screened.messages[position], int(columns.timestamp_ms[position]))
        for position, topic in sorted(screened.parsed.items())
        if topic.message_type in (MessageType.NBIRTH, MessageType.DBIRTH)
        and not columns.compressed[position]
        and columns.timestamp_ms[position] != ABSENT
    ]
    return sorted(found, key=lambda each: each.topic.device_id is not None)


def tells_more(
    certificate: Certificate, edge_node: EdgeNodeState | None, *, confirmed: bool
) -> bool:
    """Whether a certificate is newer than what is known of its node or device.

    What was received as a birth on this connection, or is known to go on since, is never
    older. Times are compared by the node's own clock only, so the birth that is known counts
    after the node's death, too: a certificate that is not later tells of a session that is
    over, one of a device from before its node's birth of a device that may be gone.
    """
    device_id, sent_ms = certificate.topic.device_id, certificate.sent_ms
    if edge_node is None:
        return device_id is None
    node = edge_node.owner
    if (confirmed and node.born) or edge_node.late_birth is not None:
        return False
    if device_id is None:
        return sent_ms > node.born_ms
    if not node.born or sent_ms < node.born_ms:
        return False
    device = edge_node.devices.get(device_id)
    return device is None or not device.born or sent_ms > device.born_ms
