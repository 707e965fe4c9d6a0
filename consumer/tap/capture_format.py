"""The bytes of a capture: what is in the file, as docs/on-the-wire.md describes it.

A capture is a sequence of Zstandard frames (RFC 8878), so that `zstd -t` and `zstd -dc` read it.
What is not a record is in skippable frames: the header at the beginning, the head in front of each
frame of records, the end mark. Whoever reads knows from a head how much is to be read and how much
memory it takes before a byte is decompressed: a capture may come from anybody.
"""

from __future__ import annotations

import enum
import json
import re
import struct
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import zstandard

from consumer.errors import CaptureError
from sparkplug import Message

if TYPE_CHECKING:
    from collections.abc import Iterator

VERSION: Final = 1

MAGIC: Final = b"SPZCAP"
"""First bytes of the header's content."""

MOST_TOPIC_BYTES: Final = 0xFFFF
"""Bytes of a topic: MQTT has no longer ones (1.5.4)."""

MOST_PAYLOAD_BYTES: Final = 32 << 20
"""Bytes of a payload that is kept; the consumer reads 16 MiB, unless configured otherwise."""

MOST_RAW_BYTES: Final = 40 << 20
"""Bytes of the records of one frame, before compression."""

MOST_PACKED_BYTES: Final = MOST_RAW_BYTES + (1 << 20)
"""Bytes of one frame of records. What cannot be compressed grows by less than a hundredth."""

MOST_HEADER_BYTES: Final = 1 << 20

MOST_PARTS: Final = 100_000
"""Files of a capture."""

_SKIPPABLE: Final = 0x184D2A5A
_PREFIX: Final = struct.Struct("<II")  # magic number of the frame, bytes of its content
_FRAME_MAGIC: Final = b"\x28\xb5\x2f\xfd"
_HEADER: Final = struct.Struct("<6sH")
_HEAD: Final = struct.Struct("<cIIIqq")
_END: Final = struct.Struct("<cBQQ")
_RECORD: Final = struct.Struct("<BBHqHI")
_RETAINED: Final = 1
_LEVEL: Final = 3
_MOST_SERVERS: Final = 1000
_MOST_SITE: Final = 0xFFFF
_MOST_PRODUCT: Final = 100
_LATEST_US: Final = 253_402_300_800_000_000  # the year 10,000
_NAME: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
_ID: Final = re.compile(r"[0-9a-f]{32}")

PREFIX_BYTES: Final = _PREFIX.size
END_BYTES: Final = PREFIX_BYTES + _END.size
RECORD_BYTES: Final = _RECORD.size


class CapturedServer(NamedTuple):
    """An MQTT server that was listened to: its name and site in the configuration."""

    name: str
    site: str = ""


class Header(NamedTuple):
    """What a file says of itself.

    Attributes:
        capture_id: the same in all files of one capture, 32 hexadecimal digits.
        product: name and version of the program that wrote it.
        created_us: when, microseconds since 1970 UTC.
        servers: those that were listened to; records name them by their position.
        redacted: whether names and texts were replaced.
        part: position of the file in its capture, from 0.
    """

    capture_id: str
    product: str
    created_us: int
    servers: tuple[CapturedServer, ...]
    redacted: bool = False
    part: int = 0


class Kind(enum.IntEnum):
    """Kinds of records."""

    MESSAGE = 0
    LOST = 1


class Record(NamedTuple):
    """Something that happened on a connection.

    Attributes:
        server: position of its server in the header.
        message: what came; its `received_us` is when. Of a lost connection topic and payload are
            empty.
        kind: a message, or the connection to the server ended.
    """

    server: int
    message: Message
    kind: Kind = Kind.MESSAGE


class Head(NamedTuple):
    """What stands in front of a frame of records.

    Attributes:
        packed: bytes of the frame.
        raw: bytes of its records, decompressed.
        records: how many there are.
        first_us: when the first one happened, microseconds since 1970 UTC.
        last_us: when the last one happened.
    """

    packed: int
    raw: int
    records: int
    first_us: int
    last_us: int


class End(NamedTuple):
    """The mark at the end of a file.

    Attributes:
        continued: whether the capture goes on in another file.
        records: how many the file has.
        left_out: messages that came, from the beginning of the capture on, and are in none of its
            files: too large, or more than could be written.
    """

    continued: bool
    records: int
    left_out: int


# ------------------------------------------------------------------ writing


def header_bytes(header: Header) -> bytes:
    """The beginning of a file."""
    fields = {
        "capture_id": header.capture_id,
        "product": header.product,
        "created_us": header.created_us,
        "servers": [each._asdict() for each in header.servers],
        "redacted": header.redacted,
        "part": header.part,
    }
    return _skippable(_HEADER.pack(MAGIC, VERSION) + json.dumps(fields).encode())


def record_bytes(record: Record) -> bytes:
    """A record, as it stands in a frame before compression."""
    message = record.message
    topic = message.topic.encode()
    flags = _RETAINED if message.retained else 0
    head = _RECORD.pack(
        record.kind, flags, record.server, message.received_us, len(topic), len(message.payload)
    )
    return head + topic + message.payload


def chunk_bytes(raw: bytes, records: int, first_us: int, last_us: int) -> bytes:
    """A frame of records with its head.

    Args:
        raw: the records, at most MOST_RAW_BYTES.
        records: how many there are.
        first_us: when the first one happened, microseconds since 1970 UTC.
        last_us: when the last one happened.
    """
    packed = zstandard.ZstdCompressor(_LEVEL, write_checksum=True).compress(raw)
    head = _HEAD.pack(b"C", len(packed), len(raw), records, first_us, last_us)
    return _skippable(head) + packed


def end_bytes(end: End) -> bytes:
    """The end of a file."""
    return _skippable(_END.pack(b"E", end.continued, end.records, end.left_out))


def _skippable(content: bytes) -> bytes:
    return _PREFIX.pack(_SKIPPABLE, len(content)) + content


# ------------------------------------------------------------------ reading


def content_size(prefix: bytes) -> int:
    """Bytes that follow the first ones of a header, a head or an end mark.

    Raises:
        CaptureError: none of these begins so.
    """
    if len(prefix) < PREFIX_BYTES:
        raise CaptureError("it ends where a mark must be")
    magic, size = _PREFIX.unpack(prefix)
    if magic != _SKIPPABLE or size > MOST_HEADER_BYTES:
        raise CaptureError("no mark of a capture is where one must be")
    return int(size)


def read_header(content: bytes) -> Header:
    """The header from its content.

    Raises:
        CaptureError: it is none, or of a later version.
    """
    if len(content) < _HEADER.size or not content.startswith(MAGIC):
        raise CaptureError("it is no capture")
    version = _HEADER.unpack_from(content)[1]
    if version != VERSION:
        raise CaptureError(
            f"it is a capture of version {version}, and this program reads version {VERSION}"
        )
    try:
        fields = json.loads(content[_HEADER.size :])
        sound = _is_sound(fields)
        servers = tuple(_server(each) for each in fields["servers"]) if sound else ()
    except (ValueError, TypeError, KeyError, RecursionError):
        raise CaptureError("its header is damaged") from None
    if not servers or len({each.name for each in servers}) < len(servers):
        raise CaptureError("its header is damaged")
    return Header(
        fields["capture_id"],
        fields["product"],
        fields["created_us"],
        servers,
        fields["redacted"],
        fields["part"],
    )


def _server(fields: Any) -> CapturedServer:
    name, site = fields["name"], fields["site"]
    if not _NAME.fullmatch(name) or not isinstance(site, str) or len(site) > _MOST_SITE:
        raise ValueError
    site.encode()  # JSON may write halves of letters, which no text has
    return CapturedServer(name, site)


def _is_sound(fields: Any) -> bool:
    part, servers = fields["part"], fields["servers"]
    return (
        _ID.fullmatch(fields["capture_id"]) is not None
        and isinstance(fields["product"], str)
        and len(fields["product"]) <= _MOST_PRODUCT
        and type(fields["created_us"]) is int
        and type(part) is int
        and 0 <= part < MOST_PARTS
        and isinstance(fields["redacted"], bool)
        and isinstance(servers, list)
        and 0 < len(servers) <= _MOST_SERVERS
    )


def read_mark(content: bytes) -> Head | End:
    """A head or an end mark from its content.

    Raises:
        CaptureError: it is neither, or of more than may be.
    """
    if content[:1] == b"C" and len(content) == _HEAD.size:
        head = Head(*_HEAD.unpack(content)[1:])
        fits = head.packed <= MOST_PACKED_BYTES and head.raw <= MOST_RAW_BYTES
        if fits and 0 < head.records * RECORD_BYTES <= head.raw:
            return head
    elif content[:1] == b"E" and len(content) == _END.size:
        _, continued, records, left_out = _END.unpack(content)
        if continued in {0, 1}:
            return End(bool(continued), records, left_out)
    raise CaptureError("no mark of a capture is where one must be")


def is_end(data: bytes) -> bool:
    """Whether these bytes are an end mark."""
    try:
        mark = read_mark(data[PREFIX_BYTES:])
        return content_size(data[:PREFIX_BYTES]) == _END.size and isinstance(mark, End)
    except CaptureError:
        return False


def read_chunk(head: Head, packed: bytes, servers: int) -> Iterator[Record]:
    """The records of a frame, one after the other.

    Takes no more memory than `head.raw`, whatever the frame says of itself.

    Args:
        head: what stands in front of it.
        packed: the frame, `head.packed` bytes.
        servers: how many the header has.

    Raises:
        CaptureError: the frame is not what was written.
    """
    raw = _decompressed(head, packed)
    at = 0
    for _ in range(head.records):
        record, at = _read_record(raw, at, servers)
        yield record
    if at != len(raw):
        raise CaptureError("there is more in a frame than its records")


def _decompressed(head: Head, packed: bytes) -> bytes:
    try:
        # A frame that is of unknown size, or of another than the head says, is not opened.
        if not packed.startswith(_FRAME_MAGIC) or (
            zstandard.get_frame_parameters(packed).content_size != head.raw
        ):
            raise CaptureError("a frame is not of the size that its head says")
        reader = zstandard.ZstdDecompressor(max_window_size=MOST_RAW_BYTES * 2)
        return reader.decompress(packed, allow_extra_data=False)
    except zstandard.ZstdError:
        raise CaptureError("a frame cannot be decompressed") from None


def _read_record(raw: bytes, at: int, servers: int) -> tuple[Record, int]:
    """A record, and where the next one begins."""
    begin = at + RECORD_BYTES
    if begin > len(raw):
        raise CaptureError("a record ends behind its frame")
    kind, flags, server, received_us, topic_size, payload_size = _RECORD.unpack_from(raw, at)
    middle = begin + topic_size
    end = middle + payload_size
    if end > len(raw):
        raise CaptureError("a record ends behind its frame")
    if kind not in {0, 1} or flags > _RETAINED or server >= servers:
        raise CaptureError("a record is of no kind that this program knows")
    if not 0 <= received_us < _LATEST_US:
        raise CaptureError("a record is of no time")
    try:
        topic = raw[begin:middle].decode()
    except UnicodeDecodeError:
        raise CaptureError("a topic is no text") from None
    message = Message(topic, raw[middle:end], received_us, bool(flags))
    return Record(server, message, Kind(kind)), end
