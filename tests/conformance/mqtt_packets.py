"""MQTT control packets of both protocol versions, read from the bytes of a connection.

Only for looking at a conversation between others, so it reads what both sides send and
checks no more than it needs. Written from the MQTT 3.1.1 and 5.0 standards, independent
of paho-mqtt, which the consumer uses.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import Any, Final

VERSION_311: Final = 4
VERSION_5: Final = 5

SESSION_EXPIRY_INTERVAL: Final = 0x11


class MalformedPacket(ValueError):  # noqa: N818 - the standard's own term
    """Bytes that are no MQTT control packet."""


@dataclass(frozen=True)
class Will:
    topic: str
    payload: bytes
    qos: int
    retain: bool


@dataclass(frozen=True)
class Connect:
    version: int
    client_id: str
    clean_start: bool
    keepalive: int
    will: Will | None
    username: str | None = None
    properties: dict[int, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Connack:
    session_present: bool
    reason: int


@dataclass(frozen=True)
class Publish:
    topic: str
    payload: bytes
    qos: int
    retain: bool
    duplicate: bool = False
    packet_id: int | None = None


@dataclass(frozen=True)
class Puback:
    packet_id: int
    reason: int = 0


@dataclass(frozen=True)
class Subscribe:
    packet_id: int
    filters: tuple[tuple[str, int], ...]
    """Topic filters with their subscription options; the lowest two bits are the QoS."""


@dataclass(frozen=True)
class Suback:
    packet_id: int
    reasons: tuple[int, ...]


@dataclass(frozen=True)
class Unsubscribe:
    packet_id: int
    filters: tuple[str, ...]


@dataclass(frozen=True)
class Disconnect:
    reason: int = 0


@dataclass(frozen=True)
class Other:
    """A packet whose content nobody here looks at, by its name in the standard."""

    name: str


Packet = (
    Connect | Connack | Publish | Puback | Subscribe | Suback | Unsubscribe | Disconnect | Other
)

_OTHERS: Final = {
    5: "PUBREC",
    6: "PUBREL",
    7: "PUBCOMP",
    11: "UNSUBACK",
    12: "PINGREQ",
    13: "PINGRESP",
    15: "AUTH",
}

# How the value of each property of MQTT 5 is written (table 2-4 of the standard).
_BYTE: Final = frozenset({0x01, 0x17, 0x19, 0x24, 0x25, 0x28, 0x29, 0x2A})
_TWO_BYTES: Final = frozenset({0x13, 0x21, 0x22, 0x23})
_FOUR_BYTES: Final = frozenset({0x02, 0x11, 0x18, 0x27})
_VARIABLE: Final = frozenset({0x0B})
_TEXT: Final = frozenset({0x03, 0x08, 0x12, 0x15, 0x1A, 0x1C, 0x1F})
_BINARY: Final = frozenset({0x09, 0x16})
_PAIR: Final = frozenset({0x26})


class Conversation:
    """Splits what client and server of one connection send into packets.

    The client's CONNECT tells the protocol version of both sides.
    """

    def __init__(self) -> None:
        self.version: int | None = None
        self._unread = {True: bytearray(), False: bytearray()}

    def feed(self, data: bytes, *, from_client: bool) -> list[Packet]:
        """The packets that these bytes complete.

        Raises:
            MalformedPacket: this is not MQTT; what follows cannot be read either.
        """
        unread = self._unread[from_client]
        unread += data
        packets = []
        while (length := _length(unread)) is not None:
            header, total = length
            if len(unread) < total:
                break
            body = bytes(unread[header:total])
            first = unread[0]
            del unread[:total]
            packets.append(self._packet(first, body))
        return packets

    def _packet(self, first: int, body: bytes) -> Packet:
        reader = _Reader(body)
        kind, flags = first >> 4, first & 15
        if kind == 1:
            packet = _connect(reader)
            self.version = packet.version
            return packet
        if self.version is None:
            raise MalformedPacket("CONNECT must come first")
        try:
            return _READ[kind](reader, flags, self.version == VERSION_5)
        except KeyError:
            if kind in _OTHERS:
                return Other(_OTHERS[kind])
            raise MalformedPacket(f"no packet has type {kind}") from None


class _Reader:
    """Takes fields from the front of a packet's body."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        self._at = 0

    def __bool__(self) -> bool:
        return self._at < len(self._body)

    def take(self, count: int) -> bytes:
        end = self._at + count
        if end > len(self._body):
            raise MalformedPacket("a packet ends within a field")
        part = self._body[self._at : end]
        self._at = end
        return part

    def rest(self) -> bytes:
        return self.take(len(self._body) - self._at)

    def number(self, width: int) -> int:
        return int.from_bytes(self.take(width), "big")

    def binary(self) -> bytes:
        return self.take(self.number(2))

    def text(self) -> str:
        try:
            return self.binary().decode()
        except UnicodeDecodeError as error:
            raise MalformedPacket(f"text that is not UTF-8: {error}") from error

    def variable(self) -> int:
        value = shift = 0
        while True:
            byte = self.number(1)
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value
            if shift > 21:
                raise MalformedPacket("a variable byte integer of more than four bytes")

    def properties(self, is_5: bool) -> dict[int, Any]:
        """Properties by identifier; of those that may repeat, the last."""
        if not is_5:
            return {}
        inner = _Reader(self.take(self.variable()))
        found: dict[int, Any] = {}
        while inner:
            identifier = inner.variable()
            found[identifier] = inner.property_value(identifier)
        return found

    def property_value(self, identifier: int) -> Any:
        for kinds, width in ((_BYTE, 1), (_TWO_BYTES, 2), (_FOUR_BYTES, 4)):
            if identifier in kinds:
                return self.number(width)
        if identifier in _VARIABLE:
            return self.variable()
        if identifier in _TEXT:
            return self.text()
        if identifier in _BINARY:
            return self.binary()
        if identifier in _PAIR:
            return self.text(), self.text()
        raise MalformedPacket(f"no property has identifier {identifier}")


def _length(data: bytearray) -> tuple[int, int] | None:
    """Bytes of the fixed header and of the whole packet; None while not all of it is there."""
    value = 0
    for index in range(1, min(len(data), 5)):
        value |= (data[index] & 127) << 7 * (index - 1)
        if data[index] < 128:
            return index + 1, index + 1 + value
    if len(data) >= 5:
        raise MalformedPacket("a remaining length of more than four bytes")
    return None


def _connect(reader: _Reader) -> Connect:
    if reader.text() != "MQTT":
        raise MalformedPacket("CONNECT names another protocol")
    version, flags, keepalive = struct.unpack(">BBH", reader.take(4))
    if version not in (VERSION_311, VERSION_5):
        raise MalformedPacket(f"protocol version {version}")
    is_5 = version == VERSION_5
    properties = reader.properties(is_5)
    client_id = reader.text()
    will = None
    if flags & 0x04:
        reader.properties(is_5)
        will = Will(reader.text(), reader.binary(), flags >> 3 & 3, bool(flags & 0x20))
    username = reader.text() if flags & 0x80 else None
    return Connect(version, client_id, bool(flags & 2), keepalive, will, username, properties)


def _connack(reader: _Reader, _flags: int, _is_5: bool) -> Connack:
    return Connack(bool(reader.number(1) & 1), reader.number(1))


def _publish(reader: _Reader, flags: int, is_5: bool) -> Publish:
    qos = flags >> 1 & 3
    topic = reader.text()
    packet_id = reader.number(2) if qos else None
    reader.properties(is_5)
    return Publish(topic, reader.rest(), qos, bool(flags & 1), bool(flags & 8), packet_id)


def _puback(reader: _Reader, _flags: int, _is_5: bool) -> Puback:
    return Puback(reader.number(2), reader.number(1) if reader else 0)


def _subscribe(reader: _Reader, _flags: int, is_5: bool) -> Subscribe:
    packet_id = reader.number(2)
    reader.properties(is_5)
    filters = []
    while reader:
        filters.append((reader.text(), reader.number(1)))
    return Subscribe(packet_id, tuple(filters))


def _suback(reader: _Reader, _flags: int, is_5: bool) -> Suback:
    packet_id = reader.number(2)
    reader.properties(is_5)
    return Suback(packet_id, tuple(reader.rest()))


def _unsubscribe(reader: _Reader, _flags: int, is_5: bool) -> Unsubscribe:
    packet_id = reader.number(2)
    reader.properties(is_5)
    filters = []
    while reader:
        filters.append(reader.text())
    return Unsubscribe(packet_id, tuple(filters))


def _disconnect(reader: _Reader, _flags: int, _is_5: bool) -> Disconnect:
    return Disconnect(reader.number(1) if reader else 0)


_READ: Final = {
    2: _connack,
    3: _publish,
    4: _puback,
    8: _subscribe,
    9: _suback,
    10: _unsubscribe,
    14: _disconnect,
}
