"""What the edge nodes of the benchmark publish, encoded before it is sent.

Of a prepared message nothing but its time is left to be filled in: times of today are six
bytes on the wire, in which a placeholder holds their place. So writing costs what copying
costs, and the generator is no bottleneck.
"""

from __future__ import annotations

import random
from typing import Final

import fleet

from sparkplug.pb.sparkplug_b_pb2 import Payload

ROUNDS: Final = 256
"""Rounds in which each node sends one message, until seq is what it was before them."""

_PLACEHOLDER_MS: Final = 2_000_000_000_123
_LEAST_VARIED: Final = 64
"""Rounds with values of their own, at least; then values come again with other times."""


def encoded_time(at_ms: int) -> bytes:
    """Milliseconds since 1970 as a protobuf varint of six bytes, as those of 1971 to 2109 are."""
    if not 1 << 35 <= at_ms < 1 << 42:
        raise ValueError(f"{at_ms} does not take six bytes")
    return bytes([*(at_ms >> shift & 0x7F | 0x80 for shift in range(0, 35, 7)), at_ms >> 35])


def connect(client_id: str) -> bytes:
    """MQTT 3.1.1 CONNECT: clean session, no will, no keep-alive."""
    name = client_id.encode()
    body = b"\x00\x04MQTT\x04\x02\x00\x00" + len(name).to_bytes(2, "big") + name
    return b"\x10" + _length(len(body)) + body


def publish(topic: str, payload: bytes) -> bytes:
    """MQTT 3.1.1 PUBLISH with QoS 0."""
    name = topic.encode()
    body = len(name).to_bytes(2, "big") + name + payload
    return b"\x30" + _length(len(body)) + body


class DataMessages:
    """The NDATA of all nodes, in turn: message n is of node n % nodes and follows on its birth.

    They name tags by alias; each walks on through the tags of its node. A message that comes
    again after ROUNDS has the same seq, tags and values, and another time.

    Args:
        nodes: how many edge nodes.
        metrics: of each message.
    """

    def __init__(self, nodes: int, metrics: int) -> None:
        # A power of two, so that tags and seq come to their beginning together.
        parts = 1 << (fleet.TAGS_PER_NODE // metrics).bit_length() - 1
        self.most_at_once = nodes * parts
        """Messages that may have the same time: in more a tag would come twice."""
        varied = max(2 * parts, _LEAST_VARIED)
        rng = random.Random(metrics)
        values = [
            [_values(turn % parts * metrics, metrics, rng) for _ in range(nodes)]
            for turn in range(varied)
        ]
        head = Payload(timestamp=_PLACEHOLDER_MS).SerializeToString()
        self._placeholder = encoded_time(_PLACEHOLDER_MS)
        self._topics = ["spBv1.0/{}/NDATA/{}".format(*fleet.node_ids(n)) for n in range(nodes)]
        self._payloads = [
            head + part + Payload(seq=(turn + 1) % ROUNDS).SerializeToString()
            for turn in range(ROUNDS)
            for part in values[turn % varied]
        ]
        self._packets = [
            publish(self._topics[number % nodes], payload)
            for number, payload in enumerate(self._payloads)
        ]
        if any(each.count(self._placeholder) != 1 + metrics for each in self._packets):
            raise ValueError("a value looks like the place of a time")

    def packets(self, first: int, count: int, at_ms: int) -> bytes:
        """MQTT packets of `count` messages from number `first` on, with this time."""
        start = first % len(self._packets)
        found = self._packets[start : start + count]
        found += self._packets[: count - len(found)]
        return b"".join(found).replace(self._placeholder, encoded_time(at_ms))

    def messages(self, first: int, count: int, at_ms: int) -> list[tuple[str, bytes]]:
        """Topics and payloads of the same messages."""
        time = encoded_time(at_ms)
        return [
            (
                self._topics[number % len(self._topics)],
                self._payloads[number % len(self._payloads)].replace(self._placeholder, time),
            )
            for number in range(first, first + count)
        ]


def _values(first_tag: int, metrics: int, rng: random.Random) -> bytes:
    payload = Payload()
    for tag in range(first_tag, first_tag + metrics):
        metric = payload.metrics.add(alias=tag, timestamp=_PLACEHOLDER_MS)
        fleet.set_value(metric, fleet.tag_type(tag), rng)
    return payload.SerializeToString()


def _length(length: int) -> bytes:
    """A remaining length of MQTT."""
    found = bytearray()
    while length > 0x7F:
        found.append(length & 0x7F | 0x80)
        length >>= 7
    return bytes([*found, length])
