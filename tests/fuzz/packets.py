"""Target: what an MQTT server sends, whole or in pieces, read by paho alone and with the tap.

The first byte of an input says which version of MQTT is spoken and in how large pieces the
rest comes, which are the packets after CONNACK. Messages, answers and the end are the same.
"""

from __future__ import annotations

from itertools import islice
from typing import Final

from support.mqtt_packets import CONNACK, OWN_TOPIC, publish, read, up_to_type_0

PIECES: Final = (1, 2, 3, 7, 50, 1000, 100_000)


def run(data: bytes) -> None:
    """Both clients read the same."""
    if not data:
        return
    is_5 = bool(data[0] & 1)
    size = PIECES[(data[0] >> 1) % len(PIECES)]
    stream = CONNACK[is_5] + up_to_type_0(data[1:])
    chunks = [stream[at : at + size] for at in range(0, len(stream), size)]
    alone = read(chunks, is_5=is_5, tapped=False)
    tapped = read(chunks, is_5=is_5, tapped=True)
    assert tapped.messages == alone.messages
    assert tapped.said == alone.said
    assert tapped.end == alone.end


def _story(*, is_5: bool) -> bytes:
    properties = bytes.fromhex("02 00 00 00 3c") if is_5 else b""
    kinds = [
        publish(topic, payload, is_5=is_5, qos=qos, packet_id=number, properties=properties)
        for number, (topic, payload, qos) in enumerate(
            [
                ("a", b"x", 0),
                ("a", b"y" * 130, 0),
                (OWN_TOPIC, b"z", 1),
                ("b", b"z", 1),
                ("b", b"z", 2),
                ("P/NDEATH/E", b"", 1),
                ("a", b"x", 0),
            ],
            start=1,
        )
    ]
    others = [bytes.fromhex("62 02 00 05"), bytes.fromhex("d0 00")]
    return b"".join((*kinds, *others, *islice(kinds, 2)))


def seeds() -> list[bytes]:
    """A bit of everything, in both versions and all sizes of pieces."""
    return [
        bytes([number << 1 | is_5]) + _story(is_5=is_5)
        for is_5 in (True, False)
        for number in range(len(PIECES))
    ]
