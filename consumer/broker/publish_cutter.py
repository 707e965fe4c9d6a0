"""Cuts plain PUBLISH packets out of what an MQTT server sends, many at once. No I/O.

*Plain* is a well-formed PUBLISH of QoS 0 or 1 whose topic, and whose MQTT 5 properties, the
caller says are plain. Whatever else comes (other packets, other topics, anything malformed) is
left to whoever reads MQTT in full, in its place in the order: the cutter stops there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

LONGEST_PLAIN: Final = 64 * 1024
"""Bytes of the largest packet that is cut; what is larger gains nothing by it."""

_PUBLISH: Final = 0x30
_DUP: Final = 0x08
_QOS_1: Final = 0x02
_RETAIN: Final = 0x01
_LONGEST_TOPIC: Final = 512
_MOST_TOPIC_BYTES: Final = 1 << 24
_TOPIC_BYTES: Final = 200
"""Bytes of memory that a remembered topic costs beside its own, which are there twice."""
_MOST_PROPERTIES: Final = 1024
_LENGTH_BYTES: Final = 4


class Run(NamedTuple):
    """Packets with the same first byte, one after another.

    `packet_ids`, two bytes each, are those of QoS 1, to be acknowledged in this order.
    """

    topics: list[str]
    payloads: list[bytes]
    retained: bool
    packet_ids: list[bytes]


class Cut(NamedTuple):
    """What was cut, None if nothing, and where the next packet begins."""

    run: Run | None
    at: int


class PublishCutter:
    """Cuts plain PUBLISH packets of one connection out of the bytes that come.

    It remembers which topics and properties are plain.

    Args:
        is_5: whether MQTT 5 is spoken, in which a PUBLISH has properties.
        plain_topic: the topic for its bytes if it is plain, else None.
        are_plain: whether properties, of at most 127 bytes, are valid and of no account.
    """

    def __init__(
        self,
        *,
        is_5: bool,
        plain_topic: Callable[[bytes], str | None],
        are_plain: Callable[[bytes], bool],
    ) -> None:
        self._is_5 = is_5
        self._plain_topic = plain_topic
        self._are_plain = are_plain
        self._topics: dict[bytes, str] = {}
        self._topic_bytes = 0
        self._properties: set[bytes] = set()

    def cut(self, data: bytes, at: int) -> Cut:
        """The plain packets of one kind at `at`.

        There are none if the packet there is not plain, or not all there yet.
        """
        first = data[at] if at < len(data) else 0
        kind = first & ~(_DUP | _RETAIN)
        # DUP is no news to us (MQTT 3.3.1.1), and malformed with QoS 0 (3.3.1-2).
        if kind != _PUBLISH | _QOS_1 and (kind != _PUBLISH or first & _DUP):
            return Cut(None, at)
        run = Run([], [], bool(first & _RETAIN), [])
        at = self._fill(run, data, at, first)
        return Cut(run if run.topics else None, at)

    # In one piece: a call for each packet would cost as much as all that is done here.
    def _fill(self, run: Run, data: bytes, at: int, first: int) -> int:  # noqa: C901
        """Cut packets that begin with this byte; where the first one begins that is not cut."""
        known, is_5, has_id = self._topics, self._is_5, first & _QOS_1
        behind_topic = (2 if has_id else 0) + is_5  # packet id, length of the properties
        add_topic, add_payload, add_id = (
            run.topics.append,
            run.payloads.append,
            run.packet_ids.append,
        )
        end = len(data)
        try:
            while data[at] == first:
                length = data[at + 1]
                body = at + 2
                if length >= 128:
                    length += (data[body] << 7) - 128
                    body += 1
                    if length >= 1 << 14:
                        length, body = _long_length(data, at)
                stop = body + length
                if stop > end or length > LONGEST_PLAIN:
                    break
                middle = body + 2 + (data[body] << 8) + data[body + 1]
                start = middle + behind_topic
                if start > stop:
                    break
                if is_5 and data[start - 1]:
                    start = self._behind_properties(data, start, stop)
                    if not start:
                        break
                raw = data[body + 2 : middle]
                topic = known.get(raw) or self._learn(raw)
                if topic is None:
                    break
                if has_id:
                    packet_id = data[middle : middle + 2]
                    if packet_id == b"\0\0":  # malformed (2.2.1)
                        break
                    add_id(packet_id)
                add_topic(topic)
                add_payload(data[start:stop])
                at = stop
        except IndexError:
            pass  # the last packet has only begun
        return at

    def _behind_properties(self, data: bytes, start: int, stop: int) -> int:
        """Position of the payload behind the properties at `start`; 0 if they are not plain."""
        length = data[start - 1]
        end = start + length
        if length >= 128 or end > stop:
            return 0
        raw = data[start:end]
        if raw not in self._properties:
            if not self._are_plain(raw):
                return 0
            if len(self._properties) >= _MOST_PROPERTIES:
                self._properties.clear()
            self._properties.add(raw)
        return end

    def _learn(self, raw: bytes) -> str | None:
        topic = self._plain_topic(raw) if 0 < len(raw) <= _LONGEST_TOPIC else None
        if topic is not None:
            size = 2 * len(raw) + _TOPIC_BYTES
            if self._topic_bytes + size > _MOST_TOPIC_BYTES:
                self._topics.clear()
                self._topic_bytes = 0
            self._topic_bytes += size
            self._topics[raw] = topic
        return topic


def _long_length(data: bytes, at: int) -> tuple[int, int]:
    """Remaining length of three or four bytes, and where the packet goes on behind it.

    A longer one is malformed: it gets a length that is never cut.
    """
    length = (data[at + 1] & 127) | (data[at + 2] & 127) << 7 | (data[at + 3] & 127) << 14
    if data[at + 3] < 128:
        return length, at + 4
    if data[at + 4] < 128:
        return length | data[at + 4] << 21, at + 5
    return LONGEST_PLAIN + 1, at + 5


def packet_size(data: bytes, at: int) -> int:
    """Bytes of the packet at `at`, its header included.

    0 if its length is not all there yet, -1 if it is one that no packet has (2.2.3, 1.5.5).
    """
    length = 0
    for index in range(1, _LENGTH_BYTES + 1):
        if at + index >= len(data):
            return 0
        byte = data[at + index]
        length |= (byte & 127) << 7 * (index - 1)
        if byte < 128:
            return 1 + index + length
    return -1
