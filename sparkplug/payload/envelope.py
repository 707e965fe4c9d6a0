"""Compressed envelopes: a payload whose body is another payload, compressed.

The form is Eclipse Tahu's (PayloadUtil, CompressionAlgorithm) and that of Ignition's MQTT
Transmission ("Compression Type"): uuid `SPBV1.0_COMPRESSED`, seq on the outside, the metric
`algorithm` (GZIP or DEFLATE) or none. What the body starts with decides, whatever that
metric says: there are publishers that send gzip without it.
"""

from __future__ import annotations

import zlib
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from google.protobuf.message import DecodeError

from sparkplug.names import COMPRESSED_UUID
from sparkplug.pb.sparkplug_b_head_pb2 import PayloadHead

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_INFLATED_BYTES: Final = 32 * 1024 * 1024

_STEP: Final = 256 * 1024

_GZIP_MAGIC: Final = b"\x1f\x8b"
_GZIP: Final = 16 + zlib.MAX_WBITS
_ZLIB: Final = zlib.MAX_WBITS
_RAW: Final = -zlib.MAX_WBITS


class EnvelopeProblem(StrEnum):
    """Why an envelope was not opened."""

    BAD_ENVELOPE = "bad_envelope"
    TOO_LARGE = "envelope_too_large"


def open_envelope(payload: bytes, max_bytes: int = MAX_INFLATED_BYTES) -> bytes | EnvelopeProblem:
    """The uncompressed payload that an envelope stands for.

    It has all fields of the inner payload, but seq and timestamp of the envelope where the
    envelope has them. Its fields are well-formed as far as the payload's own level goes;
    what is inside the metrics is not looked at.

    `max_bytes` bounds the inner payload; no more than that is ever inflated. An envelope in
    an envelope is not opened. Bytes after the end of the compressed stream are ignored.
    """
    outer = _head(payload)
    if outer is None or outer.uuid != COMPRESSED_UUID:
        return EnvelopeProblem.BAD_ENVELOPE
    inner = _inflate(outer.body, max_bytes)
    if isinstance(inner, EnvelopeProblem):
        return inner
    # Checked before anything is appended: a length that points beyond the end would take
    # the appended fields for its own.
    head = _head(inner)
    if head is None or head.uuid == COMPRESSED_UUID:
        return EnvelopeProblem.BAD_ENVELOPE
    wins = PayloadHead()
    if outer.HasField("seq"):
        wins.seq = outer.seq
    if outer.HasField("timestamp"):
        wins.timestamp = outer.timestamp
    # Two payloads, one behind the other, are one payload in which the later scalars count.
    return inner + wins.SerializeToString()


def inflated(payload: bytes, max_bytes: int) -> Iterator[bytes]:
    """Inflate a compressed envelope in pieces, up to `max_bytes`; none if it is no envelope."""
    outer = _head(payload)
    if outer is None or outer.uuid != COMPRESSED_UUID:
        return
    body = outer.body
    stream = zlib.decompressobj(_window(body))
    left = max_bytes
    while body and left > 0:
        try:
            piece = stream.decompress(body, min(_STEP, left))
        except zlib.error:
            return
        if not piece:
            return
        yield piece
        left -= len(piece)
        body = stream.unconsumed_tail


def _head(payload: bytes) -> PayloadHead | None:
    try:
        return PayloadHead.FromString(payload)
    except DecodeError:
        return None


def _inflate(body: bytes, max_bytes: int) -> bytes | EnvelopeProblem:
    stream = zlib.decompressobj(_window(body))
    try:
        inflated = stream.decompress(body, max_bytes + 1)
    except zlib.error:
        return EnvelopeProblem.BAD_ENVELOPE
    if len(inflated) > max_bytes:
        return EnvelopeProblem.TOO_LARGE
    return inflated if stream.eof else EnvelopeProblem.BAD_ENVELOPE


def _window(body: bytes) -> int:
    """The `wbits` of zlib for what the body starts with.

    No raw deflate stream of a sane encoder looks like one of the others: 1F would be a
    reserved block type, and a low half byte of 8 a stored block with padding that is not
    zero (RFC 1950, 1951, 1952).
    """
    if body[:2] == _GZIP_MAGIC:
        return _GZIP
    if len(body) >= 2:
        method_and_window, flags = body[0], body[1]
        checks = (method_and_window * 256 + flags) % 31 == 0
        if method_and_window & 0x0F == zlib.DEFLATED and method_and_window < 0x80 and checks:
            return _ZLIB
    return _RAW


def compressed_like(body: bytes, inner: bytes) -> bytes:
    """Compress a payload in the way in which the body of an envelope is compressed."""
    stream = zlib.compressobj(wbits=_window(body))
    return stream.compress(inner) + stream.flush()
