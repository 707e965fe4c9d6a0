"""Payloads as hostile publishers write them: field by field, so that a million metrics are cheap.

Field numbers are those of proto/sparkplug_b.proto.
"""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING, NamedTuple

from oracle.wire import varint

from sparkplug.datatypes import DataType
from sparkplug.pb.sparkplug_b_pb2 import Payload

if TYPE_CHECKING:
    from collections.abc import Iterable

GROUP = "Attack"
_LARGE = 65 << 20
"""Bytes that are compressed in haste: more than the consumer inflates."""
SENT_MS = 1_790_000_000_000


def of(total: int, part: float) -> int:
    """How many of so many, where a part of the full size is wanted; one at least."""
    return max(1, round(total * part))


class Blow(NamedTuple):
    """One message of an attacker."""

    topic: str
    payload: bytes
    retain: bool = False


def topic(verb: str, node: str, *device: str, group: str = GROUP) -> str:
    return "/".join(("spBv1.0", group, verb, node, *device))


def chunk(number: int, content: bytes) -> bytes:
    """A field with bytes."""
    return varint(number << 3 | 2) + varint(len(content)) + content


def count(number: int, value: int) -> bytes:
    """A field with an integer."""
    return varint(number << 3) + varint(value)


def double(value: float) -> bytes:
    """The value of a metric."""
    return b"\x69" + struct.pack("<d", value)


def text(value: bytes) -> bytes:
    """The same of a String."""
    return chunk(15, value)


def metric(
    name: str | bytes = b"", value: bytes = b"", *, alias: int | None = None, datatype: int = 0
) -> bytes:
    """One metric of a payload; `value` is its field, or several."""
    raw = name.encode() if isinstance(name, str) else name
    return chunk(
        2,
        (chunk(1, raw) if raw else b"")
        + (b"" if alias is None else count(2, alias))
        + (count(4, datatype) if datatype else b"")
        + value,
    )


def tag(name: str | bytes, alias: int | None = None, value: float = 0.0) -> bytes:
    """A Double of a birth."""
    return metric(name, double(value), alias=alias, datatype=DataType.Double)


def payload(
    metrics: bytes | Iterable[bytes] = b"", *, seq: int = 0, sent_ms: int = SENT_MS
) -> bytes:
    body = metrics if isinstance(metrics, bytes) else b"".join(metrics)
    return count(1, sent_ms) + body + count(3, seq)


def death(bd_seq: int = 0) -> bytes:
    return count(1, SENT_MS) + metric("bdSeq", count(11, bd_seq), datatype=DataType.Int64)


def long_names(total: int, length: int) -> Iterable[bytes]:
    """Names that differ at their end and are alike before it, so that they compress well."""
    for number in range(total):
        yield b"%b%09d" % (b"n" * (length - 9), number)


def envelope(
    content: bytes, *, seq: int = 0, wbits: int = -15, algorithm: str = "DEFLATE"
) -> bytes:
    """A compressed envelope; `wbits` is zlib's word for the format."""
    stream = zlib.compressobj(9 if len(content) < _LARGE else 1, wbits=wbits)
    return wrapped(stream.compress(content) + stream.flush(), seq=seq, algorithm=algorithm)


def wrapped(body: bytes, *, seq: int = 0, algorithm: str = "DEFLATE") -> bytes:
    """An envelope with a body that may be anything."""
    outer = Payload(timestamp=SENT_MS, seq=seq, uuid="SPBV1.0_COMPRESSED", body=body)
    outer.metrics.add(name="algorithm", datatype=DataType.String, string_value=algorithm)
    return outer.SerializeToString()


def zeros(total: int) -> bytes:
    """The raw deflate stream of so many zeros, made without having them."""
    stream = zlib.compressobj(1, wbits=-15)
    piece, parts = bytes(1 << 20), []
    while total > 0:
        parts.append(stream.compress(piece[:total]))
        total -= len(piece)
    return b"".join([*parts, stream.flush()])


def birth(node: str, metrics: bytes | Iterable[bytes], *, bd_seq: int = 0, **more: int) -> Blow:
    """An NBIRTH as it should be, but for what is in it."""
    head = metric("bdSeq", count(11, bd_seq), datatype=DataType.Int64)
    body = metrics if isinstance(metrics, bytes) else b"".join(metrics)
    return Blow(topic("NBIRTH", node), payload(head + body, **more))


def compressed(blow: Blow, *, seq: int = 0) -> Blow:
    return blow._replace(payload=envelope(blow.payload, seq=seq))
